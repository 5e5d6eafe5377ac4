//! The options that all benches have, and how they are read.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

/// A bench with the two servers to compare.
pub fn command(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .arg(path("ours", env!("CARGO_BIN_EXE_memhold"), "the server to look at"))
        .arg(path("theirs", "/usr/bin/memcached", "the server to compare with"))
        .arg(flag("bench", "ignored; cargo passes it").hide(true))
}

/// `--check`, for those that know how to.
pub fn check() -> Arg {
    flag("check", "look at the replies only, briefly: the figures mean nothing")
}

/// An option with a number.
pub fn count(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    let numbers = value_parser!(u64).range(..=1_000_000_000);
    Arg::new(name).long(name).default_value(default).value_parser(numbers).help(help)
}

/// An option that is there or not.
pub fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn path(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).default_value(default).value_parser(value_parser!(PathBuf)).help(help)
}

/// The number that was given.
pub fn number(options: &ArgMatches, name: &str) -> u64 {
    options.get_one(name).copied().unwrap_or(0)
}

/// Our server and the other one.
pub fn servers(options: &ArgMatches) -> [PathBuf; 2] {
    ["ours", "theirs"].map(|name| options.get_one::<PathBuf>(name).cloned().unwrap_or_default())
}
