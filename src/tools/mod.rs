//! Subcommands of memhold's own that talk to running servers as clients do: `memhold dump`, `memhold load`, `memhold bench`.
//!
//! - [`dump`] and [`load`]: items to a file and back; [`archive`]: that file.
//! - [`link`]: a connection; [`spelling`]: keys as the meta commands want them; [`binary`]: for keys that those cannot name.
//! - [`bench`]: load, and figures; [`trace`]: how much of what is asked for a cache finds; [`tls`]: connections that are enciphered.
//! - [`progress`]: a bar for whoever watches.
//!
//! A subcommand is the first word of the command line and a row of `server::subcommands`; clap reads the words behind it. Whatever
//! goes wrong is one line on standard error and an exit status that is not 0.

pub mod archive;
pub mod bench;
pub mod binary;
pub mod dump;
pub mod link;
pub mod load;
pub mod progress;
pub mod spelling;
pub mod tls;
pub mod trace;

use crate::server::exit::{FAILURE, SUCCESS, USAGE};
use crate::server::subcommands::{SUBCOMMANDS, Subcommand};
use crate::sys::reason;
use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind as Mistake;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Why a subcommand could not do what it was told, in a line.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}

/// Runs the subcommand that `words` begin with and returns the exit code; `None` when they begin with none.
#[must_use]
pub fn run(program: &str, words: &[Vec<u8>]) -> Option<u8> {
    let first = words.first()?;
    let row = SUBCOMMANDS.iter().find(|row| row.name.as_bytes() == first.as_slice())?;
    let name = format!("{program} {}", row.name);
    let typed = words.iter().cloned().map(OsString::from_vec);
    let mut matches = match command(row, &name).try_get_matches_from(typed) {
        Ok(matches) => matches,
        Err(error) => return Some(refuse(&name, &error)),
    };
    let done = match row.name {
        "dump" => dump::run(&dump_options(&mut matches)),
        "load" => load::run(&load_options(&mut matches)),
        _ => match bench::options::Options::read(&mut matches) {
            Ok(options) => match &options.trace {
                Some(trace) => trace::run(trace, &options.target.address, options.json),
                None => bench::run(&options),
            },
            Err(Failure(mistake)) => {
                let _ = writeln!(std::io::stderr(), "{name}: {mistake} (see {name} --help)");
                return Some(USAGE);
            }
        },
    };
    Some(match done {
        Ok(line) => say(&name, &format!("{line}\n")),
        Err(Failure(line)) => {
            let _ = writeln!(std::io::stderr(), "{name}: {line}");
            FAILURE
        }
    })
}

/// Puts the result where it is wanted, and returns the exit code.
fn say(name: &str, text: &str) -> u8 {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever closed the pipe does not want to know.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "{name}: standard output: {}", reason(&error));
            FAILURE
        }
        _ => SUCCESS,
    }
}

/// The command line of a row.
fn command(row: &'static Subcommand, name: &str) -> Command {
    let mut command = Command::new(row.name).bin_name(name.to_owned()).about(row.about);
    if !row.argument.is_empty() {
        let file = Arg::new("file").value_name(row.argument).help(row.argument_help).required(true);
        command = command.arg(file.value_parser(value_parser!(PathBuf)));
    }
    for flag in row.flags {
        let mut arg = Arg::new(flag.long).long(flag.long).help(flag.help);
        if flag.value.is_empty() {
            arg = arg.action(ArgAction::SetTrue);
        } else {
            // An empty word is a variable that was not set; and -1 is a number that is wrong, not an option.
            arg =
                arg.value_name(flag.value).value_parser(NonEmptyStringValueParser::new()).allow_negative_numbers(true);
            if !flag.default.is_empty() {
                arg = arg.default_value(flag.default);
            }
        }
        command = command.arg(arg);
    }
    command
}

/// Says what clap has to say: help as it is, a mistake in a line.
fn refuse(name: &str, error: &clap::Error) -> u8 {
    if error.kind() == Mistake::DisplayHelp {
        return say(name, &error.to_string());
    }
    // The first paragraph is the mistake; what is missing stands indented below it.
    let text = error.to_string();
    let mistake = text.split("\n\n").next().unwrap_or_default();
    let mistake = mistake.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = writeln!(std::io::stderr(), "{name}: {mistake} (see {name} --help)");
    USAGE
}

fn dump_options(matches: &mut ArgMatches) -> dump::Options {
    dump::Options { file: file(matches), server: server(matches), force: matches.get_flag("force") }
}

fn load_options(matches: &mut ArgMatches) -> load::Options {
    load::Options {
        file: file(matches),
        server: server(matches),
        keep: matches.get_flag("keep"),
        check: matches.get_flag("check"),
    }
}

fn text(matches: &mut ArgMatches, name: &str) -> String {
    matches.remove_one(name).unwrap_or_default()
}

fn file(matches: &mut ArgMatches) -> PathBuf {
    matches.remove_one("file").unwrap_or_default()
}

fn server(matches: &mut ArgMatches) -> String {
    text(matches, "server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_command_line_that_holds() {
        for row in SUBCOMMANDS {
            command(row, row.name).debug_assert();
        }
    }

    #[test]
    fn only_the_first_word_can_be_a_subcommand() {
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(run("memhold", &words(&["-p", "dump"])), None);
        assert_eq!(run("memhold", &words(&[])), None);
        assert_eq!(run("memhold", &words(&["dumps"])), None);
        assert_eq!(run("memhold", &words(&["dump"])), Some(USAGE));
        assert_eq!(run("memhold", &words(&["load", "--server", "[", "--check", "/nowhere/at/all"])), Some(FAILURE));
    }
}
