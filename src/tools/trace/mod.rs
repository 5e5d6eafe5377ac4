//! Traces: what many clients ask of a cache, request by request, for measuring how much of it the cache finds.
//!
//! - here: what a trace is; [`generate`]: made from a seed, the same in every run; [`file`]: read from a file.
//! - [`replay`]: played against a server, as clients would that fetch elsewhere what the cache has not.
//!
//! A trace is played as fast as the server answers, unless times to live matter in it: then by its own clock, second for second.

pub mod file;
pub mod generate;
pub mod replay;

use super::{Failure, progress};
use replay::{Outcome, replay};
use std::fmt::Write as _;
use std::path::Path;

/// Plays the trace of a name, or that in a file, against a server, and gives the result.
///
/// # Errors
/// When there is no such trace, or the server is not there, goes away, or answers wrongly.
pub fn run(name: &str, server: &str, json: bool) -> Result<String, Failure> {
    let made = generate::ROWS.iter().find(|row| row.name == name);
    let trace = match made {
        Some(row) => row.make(1),
        None if Path::new(name).exists() => file::read(Path::new(name))?,
        None => {
            let names = generate::ROWS.map(|row| row.name).join(", ");
            return Err(Failure(format!("--trace: {name} is no file, and none of {names}")));
        }
    };
    let bar = progress::bar("playing", trace.requests.len() as u64, false);
    let outcome = replay(&trace, server, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(if json { trace.json(&outcome) } else { trace.table(&outcome) })
}

/// What a client does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads; what was not found is stored.
    Get,
    /// Reads and gives a new time to live; what was not found is stored.
    GetAndTouch,
    /// Stores.
    Set,
    /// Removes.
    Delete,
}

impl Op {
    /// Whether something is asked that can be found or not.
    #[must_use]
    pub fn reads(self) -> bool {
        matches!(self, Op::Get | Op::GetAndTouch)
    }
}

/// One line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When, from the beginning of the trace.
    pub millis: u32,
    /// What is done.
    pub op: Op,
    /// Which of the trace's groups it is counted in.
    pub group: u8,
    /// Number of the key, from 0 without gaps.
    pub key: u32,
    /// Bytes of the value if it is stored.
    pub size: u32,
    /// Seconds that it then lives; 0 for ever.
    pub ttl: u32,
}

/// A kind of requests that is counted by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it is called in tables.
    pub name: &'static str,
    /// Whether it belongs to the hit ratio of the trace: not what comes while the cache fills, nor what no cache can know.
    pub counts: bool,
}

/// Requests in order of time.
#[derive(Clone, Debug)]
pub struct Trace {
    /// See [`Request`].
    pub requests: Vec<Request>,
    /// See [`Group`].
    pub groups: Vec<Group>,
    /// Whether it has to be played by its own clock.
    pub timed: bool,
    /// Keys by their numbers; empty where they are made from these.
    names: Vec<Box<[u8]>>,
}

/// How often something was asked for, and how often it was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Requests that read.
    pub asked: u64,
    /// Those that found something.
    pub hits: u64,
}

impl Found {
    /// Counts one request.
    pub fn count(&mut self, hit: bool) {
        self.asked += 1;
        self.hits += u64::from(hit);
    }

    /// Hits of the asked; 0 of none.
    #[must_use]
    pub fn ratio(self) -> f64 {
        if self.asked == 0 { 0.0 } else { self.hits as f64 / self.asked as f64 }
    }

    /// For a table, where nothing is said of what nobody asked for.
    #[must_use]
    pub fn shown(self) -> String {
        if self.asked == 0 { "-".to_owned() } else { format!("{:.4}", self.ratio()) }
    }
}

impl Trace {
    /// How many different keys there are.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.requests.iter().map(|request| request.key as usize + 1).max().unwrap_or(0)
    }

    /// Appends a key.
    pub fn push_key(&self, number: u32, out: &mut Vec<u8>) {
        if let Some(name) = self.names.get(number as usize) {
            return out.extend_from_slice(name);
        }
        // 24 bytes, as session ids often have.
        out.extend_from_slice(b"trace:");
        let scrambled = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        out.extend((0..18).map(|place| b"0123456789abcdef"[(scrambled.rotate_left(4 * place) & 15) as usize]));
    }

    /// Bytes of a key.
    #[must_use]
    pub fn key_len(&self, number: u32) -> usize {
        self.names.get(number as usize).map_or(24, |name| name.len())
    }

    /// The hit ratio of the trace, from what was counted for each group.
    #[must_use]
    pub fn hit_ratio(&self, found: &[Found]) -> f64 {
        let counted = self.groups.iter().zip(found).filter(|(group, _)| group.counts);
        let sum = counted.fold(Found::default(), |sum, (_, part)| Found {
            asked: sum.asked + part.asked,
            hits: sum.hits + part.hits,
        });
        sum.ratio()
    }
}

impl Trace {
    fn table(&self, outcome: &Outcome) -> String {
        let mut out = format!("{:<12}{:>12}{:>12}{:>12}", "", "asked", "found", "hit ratio");
        for (group, found) in self.groups.iter().zip(&outcome.found) {
            let Found { asked, hits } = found;
            let _ = write!(out, "\n{:<12}{asked:>12}{hits:>12}{:>12}", group.name, found.shown());
        }
        let (ratio, seconds) = (self.hit_ratio(&outcome.found), outcome.seconds);
        let _ = write!(out, "\nhit ratio {ratio:.4}; {} requests in {seconds:.1} s", self.requests.len());
        if outcome.refused > 0 {
            let _ = write!(out, "; {} values were refused", outcome.refused);
        }
        if self.timed {
            let _ = write!(out, "; late by up to {} ms", outcome.late_millis);
        }
        out
    }

    fn json(&self, outcome: &Outcome) -> String {
        let groups: Vec<String> = self
            .groups
            .iter()
            .zip(&outcome.found)
            .map(|(group, found)| format!("\"{}\":{{\"asked\":{},\"hits\":{}}}", group.name, found.asked, found.hits))
            .collect();
        let Outcome { refused, seconds, late_millis, .. } = outcome;
        let (ratio, requests) = (self.hit_ratio(&outcome.found), self.requests.len());
        let counts = format!("\"hit_ratio\":{ratio:.6},\"requests\":{requests},\"seconds\":{seconds:.3}");
        let troubles = format!("\"refused\":{refused},\"late_millis\":{late_millis}");
        format!("{{{counts},{troubles},\"groups\":{{{}}}}}", groups.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_key_is_another_one_and_of_the_length_that_is_told() {
        let trace = generate::ROWS[0].make(1000);
        let mut seen = HashSet::new();
        for number in 0..10_000 {
            let mut key = Vec::new();
            trace.push_key(number, &mut key);
            assert_eq!(key.len(), trace.key_len(number));
            assert!(seen.insert(key), "{number}");
        }
    }

    #[test]
    fn only_groups_that_count_are_in_the_hit_ratio() {
        let trace = Trace {
            requests: Vec::new(),
            groups: vec![Group { name: "filling", counts: false }, Group { name: "all", counts: true }],
            timed: false,
            names: Vec::new(),
        };
        let ratio = trace.hit_ratio(&[Found { asked: 100, hits: 0 }, Found { asked: 4, hits: 3 }]);
        assert!((ratio - 0.75).abs() < 1e-9, "{ratio}");
    }
}
