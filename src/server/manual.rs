//! What is told about the program: `-h`, `-V`, `-i` and the documents generated from the tables.
//!
//! Tools parse the first line of `-h` and `-V` (`memcached 1.6.x`), and test suites look for option names in `-h`, so
//! the layout is memcached's. The words come from the rows, and `docs/options.md` is checked to be what they say.

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
fn label(opt: &Opt) -> String {
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

fn given_default(default: &str) -> String {
    if default.is_empty() { String::new() } else { format!(" (default: {default})") }
}

impl Sub {
    /// Whether it does, or harmlessly accepts, what it says.
    fn built(&self) -> bool {
        !matches!(self.kind, Kind::Absent | Kind::AlwaysOff)
    }

    /// How it is written in a list of options.
    fn usage(&self) -> String {
        match self.kind {
            Kind::Switch(_) => format!("`{0}`, `no_{0}`", self.name),
            Kind::Value(..) => format!("`{}=...`", self.name),
            Kind::Optional(..) => format!("`{}[=...]`", self.name),
            Kind::Word(_) | Kind::Absent | Kind::AlwaysOff => format!("`{}`", self.name),
        }
    }
}

/// `docs/options.md`, from the tables.
#[must_use]
pub fn options_markdown() -> String {
    let mut out = String::from(OPTIONS_HEAD);
    for opt in OPTIONS.iter().filter(|opt| !matches!(opt.action, Action::Absent | Action::Hidden(_))) {
        row(&mut out, &format!("`{}`", label(opt)), opt.default, opt.help);
    }
    out.push_str(EXTENDED_HEAD);
    for sub in EXTENDED.iter().filter(|sub| sub.built()) {
        row(&mut out, &sub.usage(), sub.default, sub.help);
    }
    out.push_str(ABSENT_HEAD);
    for opt in OPTIONS.iter().filter(|opt| matches!(opt.action, Action::Absent)) {
        row(&mut out, &format!("`{}`", label(opt)), opt.default, opt.help);
    }
    for sub in EXTENDED.iter().filter(|sub| !sub.built()) {
        row(&mut out, &format!("`-o {}`", sub.name), sub.default, sub.help);
    }
    out
}

const OPTIONS_HEAD: &str = "\
# Options

Generated from the option tables; `MEMHOLD_UPDATE_DOCS=1 cargo test manual` writes it anew. The options are memcached
1.6.45's. Numbers are read as memcached reads them: what is no number counts as 0.

| option | default | meaning |
| --- | --- | --- |
";

const EXTENDED_HEAD: &str = "
## Extended options

Given as `-o a,b=c,...`, which may be repeated. \"Kept and shown\" options are checked, and shown by `stats settings`,
but steer a mechanism that memhold does not have.

| option | default | meaning |
| --- | --- | --- |
";

const ABSENT_HEAD: &str = "
## Not supported yet

memhold ends with `not supported yet: <option>` and code 1 when one of these is given.

| option | default | meaning |
| --- | --- | --- |
";

fn row(out: &mut String, option: &str, default: &str, help: &str) {
    let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
    let help = help.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;");
    let _ = writeln!(out, "| {option} | {default} | {help} |");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a generated document with the file, or writes it when `MEMHOLD_UPDATE_DOCS` is set.
    fn assert_fresh(name: &str, generated: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
        if std::env::var_os("MEMHOLD_UPDATE_DOCS").is_some() {
            std::fs::write(&path, generated).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == generated, "docs/{name} is stale: run MEMHOLD_UPDATE_DOCS=1 cargo test manual");
    }

    #[test]
    fn documented_options_are_those_of_the_tables() {
        assert_fresh("options.md", &options_markdown());
    }

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
