//! The command line of `memhold bench`, from words to what can no longer be wrong.

use super::dialect::Dialect;
use super::items::{KEY_LEN_MAX, KEY_LEN_MIN};
use super::mix::Mix;
use crate::tools::link::{Login, Target};
use crate::tools::tls::Tls;
use crate::tools::{Failure, text};
use clap::parser::ValueSource;
use clap::{ArgMatches, Id};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

/// What was typed, checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the server is, and how it is spoken to.
    pub target: Target,
    /// Which protocol is spoken.
    pub dialect: Dialect,
    /// Threads of ours.
    pub threads: usize,
    /// Connections in all, at least one a thread.
    pub connections: usize,
    /// Requests in a burst.
    pub pipeline: usize,
    /// Keys in a request to read.
    pub multiget: usize,
    /// Items.
    pub keys: u64,
    /// Bytes of a key.
    pub key_len: usize,
    /// Exponent of Zipf's distribution; 0 for none.
    pub skew: f64,
    /// Bytes of a value: least and most.
    pub value_len: (usize, usize),
    /// How many of a hundred requests do what.
    pub mix: Mix,
    /// Requests a second over all connections; 0 for as many as the server answers.
    pub rate: u64,
    /// How long.
    pub seconds: f64,
    /// Whether all items are stored first.
    pub fill: bool,
    /// Whether to look for answers without ever sleeping.
    pub awake: bool,
    /// The process of the server, if it is on this machine and to be looked at.
    pub pid: Option<u32>,
    /// The trace that is played instead of all this: its name, or the file it is in.
    pub trace: Option<String>,
    /// Whether the result is JSON.
    pub json: bool,
}

/// The largest value: 1 GiB, the most that any server takes.
const VALUE_LEN_MAX: usize = 1 << 30;

impl Options {
    /// Reads what clap has split.
    ///
    /// # Errors
    /// The line that says what is wrong with which option.
    pub fn read(matches: &mut ArgMatches) -> Result<Options, Failure> {
        let trace = trace(matches)?;
        let threads = number(matches, "threads", 1..=256)? as usize;
        let connections = number(matches, "connections", 1..=100_000)? as usize;
        if connections < threads {
            return Err(Failure("--connections: at least one for each thread".to_owned()));
        }
        let mut percent = |name| number(matches, name, 0..=100);
        let (sets, touches, incrs) = (percent("sets")?, percent("touches")?, percent("incrs")?);
        let mix = Mix { sets, touches, incrs, deletes: percent("deletes")?, misses: percent("misses")? };
        if mix.sum() > 100 {
            let what = "--sets, --touches, --incrs, --deletes: more than a hundred of a hundred";
            return Err(Failure(what.to_owned()));
        }
        let pid = number(matches, "pid", 0..=u64::from(u32::MAX))? as u32;
        Ok(Options {
            target: target(matches)?,
            dialect: match text(matches, "protocol").as_str() {
                "text" => Dialect::Text,
                "meta" => Dialect::Meta,
                "binary" => Dialect::Binary,
                _ => return Err(Failure("--protocol: not text, meta or binary".to_owned())),
            },
            threads,
            connections,
            pipeline: number(matches, "pipeline", 1..=10_000)? as usize,
            multiget: number(matches, "multiget", 1..=10_000)? as usize,
            keys: number(matches, "keys", 1..=100_000_000)?,
            key_len: number(matches, "key-size", KEY_LEN_MIN as u64..=KEY_LEN_MAX as u64)? as usize,
            skew: fraction(matches, "skew", 10.0)?,
            value_len: value_len(&text(matches, "value-size"))?,
            mix,
            rate: number(matches, "rate", 0..=1_000_000_000)?,
            seconds: fraction(matches, "seconds", 1e6)?,
            fill: !matches.get_flag("no-fill"),
            awake: matches.get_flag("awake"),
            pid: Some(pid).filter(|pid| *pid > 0),
            trace,
            json: matches.get_flag("json"),
        })
    }
}

/// The trace, if one is wanted. What else was typed would not count, which somebody who asks for TLS has to be told.
fn trace(matches: &mut ArgMatches) -> Result<Option<String>, Failure> {
    let Some(trace) = matches.remove_one("trace") else { return Ok(None) };
    let is_typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let other = matches.ids().map(Id::as_str).find(|id| !["server", "json"].contains(id) && is_typed(id));
    match other {
        Some(other) => Err(Failure(format!("--trace: goes with --server and --json only, not with --{other}"))),
        None => Ok(Some(trace)),
    }
}

fn target(matches: &mut ArgMatches) -> Result<Target, Failure> {
    let address = text(matches, "server");
    let authorities = text(matches, "tls-ca");
    let tls = match (authorities.as_str(), matches.get_flag("tls-unchecked")) {
        ("", false) => None,
        ("", true) => Some(Tls::trusting_everybody()?),
        (file, false) => Some(Tls::trusting(Path::new(file))?),
        (_, true) => return Err(Failure("--tls-ca, --tls-unchecked: one of them".to_owned())),
    };
    if tls.is_some() && address.contains('/') {
        return Err(Failure("--server: no TLS on a unix socket".to_owned()));
    }
    let login = match text(matches, "login").as_str() {
        "" => None,
        file => Some(login(Path::new(file))?),
    };
    Ok(Target { address, tls, login })
}

/// Reads name and password from a file, because the command line is for everybody to see.
fn login(file: &Path) -> Result<Login, Failure> {
    let failure = |why: &str| Failure(format!("{}: {why}", file.display()));
    let line = fs::read_to_string(file).map_err(|error| failure(&crate::sys::reason(&error)))?;
    let line = line.lines().next().unwrap_or_default();
    let (name, password) = line.split_once(':').ok_or_else(|| failure("its first line is not NAME:PASSWORD"))?;
    Ok(Login { name: name.to_owned(), password: password.to_owned() })
}

/// `100`, `10-1000`
fn value_len(typed: &str) -> Result<(usize, usize), Failure> {
    let (least, most) = typed.split_once('-').unwrap_or((typed, typed));
    let read = |digits: &str| digits.parse().ok().filter(|length| *length <= VALUE_LEN_MAX);
    match (read(least), read(most)) {
        (Some(least), Some(most)) if least <= most => Ok((least, most)),
        _ => Err(Failure("--value-size: not a number of bytes, nor a range as 10-1000".to_owned())),
    }
}

fn number(matches: &mut ArgMatches, name: &str, range: RangeInclusive<u64>) -> Result<u64, Failure> {
    let number = text(matches, name).parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| Failure(format!("--{name}: not a number from {} to {}", range.start(), range.end())))
}

fn fraction(matches: &mut ArgMatches, name: &str, most: f64) -> Result<f64, Failure> {
    let number = text(matches, name).parse().ok().filter(|number| (0.0..=most).contains(number));
    number.ok_or_else(|| Failure(format!("--{name}: not a number from 0 to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_a_number_or_a_range() {
        assert_eq!(value_len("100").ok(), Some((100, 100)));
        assert_eq!(value_len("0-1000").ok(), Some((0, 1000)));
        for wrong in ["", "-", "5-", "-5", "9-5", "x", "2000000000"] {
            assert!(value_len(wrong).is_err(), "{wrong}");
        }
    }
}
