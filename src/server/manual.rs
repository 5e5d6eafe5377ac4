//! What the program tells about itself: `-h`, `-V`, `-i`.
//!
//! Tools parse the first line of `-h` and `-V` (`memcached 1.6.x`), and test suites look for option names in `-h`, so
//! the layout is memcached's. The words come from the rows.

use super::options::extended::{EXTENDED, Kind, Sub};
use super::options::table::OPTIONS;
use super::options::{Action, Opt};
use crate::settings::MEMCACHED_VERSION;
use std::fmt::Write as _;

/// The column where help texts begin.
const HELP_COLUMN: usize = 26;

/// `-V`: memcached's form first, then our own version.
#[must_use]
pub fn version() -> String {
    format!("memcached {MEMCACHED_VERSION} (memhold {})", env!("CARGO_PKG_VERSION"))
}

/// `-i`.
#[must_use]
pub fn license() -> String {
    format!("{}\n\n{}", version(), include_str!("../../LICENSE").trim_end())
}

/// `-h`: every option but the hidden ones, every extended option that works.
#[must_use]
pub fn help() -> String {
    let mut out = version();
    for opt in OPTIONS.iter().filter(|opt| !matches!(opt.action, Action::Hidden(_))) {
        entry(&mut out, &label(opt), &[opt.help, &remark(opt)].concat());
    }
    for sub in EXTENDED.iter().filter(|sub| sub.built()) {
        entry(&mut out, &format!("   - {}:", sub.name), &[sub.help, &given_default(sub.default)].concat());
    }
    out
}

/// One entry: a label, and a text of one or more lines beside it.
fn entry(out: &mut String, label: &str, text: &str) {
    let mut lines = text.lines();
    // Writing to a String cannot fail.
    let first = lines.next().unwrap_or_default();
    let width = HELP_COLUMN - 1;
    let _ = write!(out, "\n{label:width$} {first}");
    for line in lines {
        let _ = write!(out, "\n{:HELP_COLUMN$}{line}", "");
    }
}

/// `-p, --port=<num>`.
pub(super) fn label(opt: &Opt) -> String {
    let mut label = String::new();
    if opt.short != 0 {
        let _ = write!(label, "-{}", char::from(opt.short));
    }
    match (opt.long, opt.value) {
        ("", "") => {}
        ("", value) => {
            let _ = write!(label, " <{value}>");
        }
        (long, value) => {
            let comma = if label.is_empty() { "" } else { ", " };
            let _ = write!(label, "{comma}--{long}");
            if !value.is_empty() {
                let _ = write!(label, "=<{value}>");
            }
        }
    }
    label
}

fn remark(opt: &Opt) -> String {
    match opt.action {
        Action::Absent => " (not supported yet)".to_owned(),
        _ => given_default(opt.default),
    }
}

pub(super) fn given_default(default: &str) -> String {
    if default.is_empty() { String::new() } else { format!(" (default: {default})") }
}

impl Sub {
    /// Whether it does, or harmlessly accepts, what it says.
    pub(super) fn built(&self) -> bool {
        !matches!(self.kind, Kind::Absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_find_memcached_in_the_first_lines() {
        assert!(version().starts_with("memcached 1.6.45 (memhold "));
        assert_eq!(help().lines().next(), Some(version().as_str()));
        assert!(license().contains("Apache License"));
    }

    #[test]
    fn help_names_what_test_suites_look_for() {
        let help = help();
        for name in ["unix-socket", "enable-ssl", "sasl", "udp-port", "enable-shutdown", "maxconns_fast", "napi_ids"] {
            assert!(help.contains(name), "{name} is missing");
        }
        assert!(help.contains("\n-p, --port=<num>          TCP port to listen on"), "{help}");
        assert!(!help.contains("debug-commands"));
    }

    #[test]
    fn help_fits_a_terminal() {
        for line in help().lines() {
            assert!(line.len() <= 110, "{line}");
        }
    }
}
