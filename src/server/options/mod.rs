//! The command line: words in, [`Settings`] out, or the lines and the code that the process ends with.
//!
//! Two steps, in memcached's order. Reading takes each option as it comes and refuses what cannot be meant ([`table`]
//! has a row for each option, [`extended`] for each of `-o`). Then [`check`] refuses what cannot be meant together.
//! Nothing here touches the system but the files that
//! `--config` names, so every error text is tested as a function call.

pub mod check;
pub mod extended;
pub mod number;
pub mod table;

use crate::server::config;
use crate::server::exit::{Exit, FAILURE, SUCCESS};
use crate::server::getopt::{Found, Scanner, Spelling};
use crate::settings::Settings;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// A row of the option table.
pub struct Opt {
    /// The letter; 0 for none.
    pub short: u8,
    /// The long name; empty for none.
    pub long: &'static str,
    /// What its argument is called; empty for a switch.
    pub value: &'static str,
    /// The default as it would be typed; empty where nothing typed means the same.
    pub default: &'static str,
    /// One or more lines for `-h` and the documentation.
    pub help: &'static str,
    /// What it does.
    pub action: Action,
}

/// What an option does when it is met.
pub enum Action {
    /// Sets something.
    Set(fn(&mut Typed, &[u8]) -> Result<(), Exit>),
    /// Ends the process with this text on standard output.
    Print(fn() -> String),
    /// memcached has it, memhold does not yet.
    Absent,
    /// Sets something, and is not in the help: for test suites, and between one version and the next.
    Hidden(fn(&mut Typed)),
}

impl Spelling for Opt {
    fn short(&self) -> Option<u8> {
        Some(self.short).filter(|&letter| letter != 0)
    }

    fn long(&self) -> Option<&'static str> {
        Some(self.long).filter(|long| !long.is_empty())
    }

    fn takes_argument(&self) -> bool {
        !self.value.is_empty()
    }

    /// memhold's own long names are written out, so that what memcached understands as a beginning of its names still is.
    fn may_be_cut(&self) -> bool {
        !table::OURS.contains(&self.long)
    }
}

/// The options as typed so far: settings, and what the checks have to know beyond them.
#[derive(Debug, Default)]
pub struct Typed {
    /// What was set.
    pub settings: Settings,
    /// `slab_chunk_max` was given, so `-I` does not choose it.
    pub chunk_max_given: bool,
    /// `-B` was given, so authentication does not choose the protocol.
    pub protocol_given: bool,
    /// `-p` was given, so `-U` does not choose it.
    pub tcp_given: bool,
    /// `-U` was given.
    pub udp_given: bool,
    /// `slab_sizes` as given.
    pub slab_sizes: Option<Vec<u8>>,
    /// The first option that memhold does not have yet. It is told only when all have been read, so that tools that look
    /// for the version with `-S --version` find it.
    pub absent: Option<String>,
    /// Lines for standard error, whatever comes of the rest.
    pub warnings: Vec<String>,
    /// `--check-config`: read everything, then end.
    pub check_only: bool,
    /// `--check-takeover`: say whether this could take over from a running server, then end.
    pub check_takeover: bool,
    /// How many files are being read, one named by the other.
    depth: usize,
}

impl Typed {
    /// Notes an option that memcached has and memhold has not yet.
    fn miss(&mut self, option: &str) {
        self.absent.get_or_insert_with(|| option.to_owned());
    }
}

/// Settings, and warnings to print before the start.
#[derive(Debug)]
pub struct Parsed {
    /// Complete and free of conflicts.
    pub settings: Settings,
    /// Lines for standard error.
    pub warnings: Vec<String>,
    /// `--check-takeover`
    pub check_takeover: bool,
}

/// Reads the command line. `program` is the name in messages, `words` what follows it.
///
/// # Errors
/// The end of the process: help and the like with code 0, otherwise what is wrong, after any warnings.
pub fn parse(program: &str, words: &[Vec<u8>]) -> Result<Parsed, Exit> {
    let mut typed = Typed::default();
    let read = read(&mut typed, program, words).and_then(|()| match &typed.absent {
        Some(option) => Err(Exit::new(FAILURE, format!("not supported yet: {option}"))),
        None => check::settle(&mut typed),
    });
    match read {
        Ok(()) if typed.check_only => {
            let lines = typed.warnings.into_iter().chain(["the options can be used".to_owned()]);
            Err(Exit { code: SUCCESS, lines: lines.collect() })
        }
        Ok(()) => {
            let Typed { settings, warnings, check_takeover, .. } = typed;
            Ok(Parsed { settings, warnings, check_takeover })
        }
        Err(mut exit) if exit.code != 0 => {
            exit.lines.splice(0..0, typed.warnings);
            Err(exit)
        }
        Err(exit) => Err(exit),
    }
}

fn read(typed: &mut Typed, program: &str, words: &[Vec<u8>]) -> Result<(), Exit> {
    for found in Scanner::new(table::OPTIONS, program, words) {
        let found = found
            .map_err(|message| Exit { code: FAILURE, lines: vec![message, r#"Illegal argument "?""#.to_owned()] })?;
        match found.option.action {
            Action::Set(set) => set(typed, number::skip_space(found.argument.unwrap_or_default()))?,
            Action::Print(text) => return Err(Exit::new(0, text())),
            Action::Absent => typed.miss(&spelled(&found)),
            Action::Hidden(set) => set(typed),
        }
    }
    Ok(())
}

/// Reads the options of a file where `--config` stands, as if they had been typed there.
fn read_file(typed: &mut Typed, name: &[u8]) -> Result<(), Exit> {
    let (path, found) = config::read(name)?;
    let path = path.display();
    if typed.depth == config::DEPTH_MAX {
        return Err(Exit::new(FAILURE, format!("{path}: too many files that name one another")));
    }
    for number in found.ignored {
        typed.warnings.push(format!("{path}:{number}: ignored, an option begins with -"));
    }
    typed.depth += 1;
    for line in found.lines {
        let place = format!("{path}:{}", line.number);
        read(typed, &place, &line.words).map_err(|mut exit| {
            // What getopt says begins with the place already.
            if exit.code != SUCCESS && !exit.lines.iter().any(|text| text.starts_with(&place)) {
                exit.lines.insert(0, format!("{place}: this option is refused:"));
            }
            exit
        })?;
    }
    typed.depth -= 1;
    Ok(())
}

fn spelled(found: &Found<'_, Opt>) -> String {
    if found.long || found.option.short == 0 {
        format!("--{}", found.option.long)
    } else {
        format!("-{}", char::from(found.option.short))
    }
}

/// An argument for a message or a name.
fn text(argument: &[u8]) -> String {
    String::from_utf8_lossy(argument).into_owned()
}

fn path(argument: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(argument))
}

#[cfg(test)]
mod tests;
