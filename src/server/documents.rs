//! The documents that are generated from the tables: `docs/options.md`, `docs/counters.md` and the man page.
//!
//! They are kept in the repository, so that they can be read without building; the test `tidy` fails when a file is not what
//! the tables say, and writes it anew when `MEMHOLD_UPDATE_DOCS` is set.

use super::manual::{given_default, label};
use super::options::extended::{EXTENDED, Kind, Sub};
use super::options::table::OPTIONS;
use super::options::{Action, Opt};
use super::subcommands::SUBCOMMANDS;
use crate::settings::MEMCACHED_VERSION;
use crate::stats::table::{self, ROWS, When};
use std::fmt::Write as _;

/// Options that do something.
pub(super) fn options() -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().filter(|opt| !matches!(opt.action, Action::Absent | Action::Hidden(_)))
}

/// Options that memcached has and memhold has not yet.
fn absent_options() -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().filter(|opt| matches!(opt.action, Action::Absent))
}

/// How an extended option is written in a list of options: its forms.
pub(super) fn forms(sub: &Sub) -> Vec<String> {
    let name = sub.name;
    match sub.kind {
        Kind::Switch(_) => vec![name.to_owned(), format!("no_{name}")],
        Kind::Value(..) => vec![format!("{name}=...")],
        Kind::Optional(..) => vec![format!("{name}[=...]")],
        Kind::Word(_) | Kind::Absent => vec![name.to_owned()],
    }
}

/// `docs/options.md`.
#[must_use]
pub fn options_markdown() -> String {
    let mut out = String::from(OPTIONS_HEAD);
    for opt in options() {
        row(&mut out, &[&code(&label(opt)), &code(opt.default), opt.help]);
    }
    out.push_str(EXTENDED_HEAD);
    for sub in EXTENDED.iter().filter(|sub| sub.built()) {
        let forms: Vec<String> = forms(sub).iter().map(|form| code(form)).collect();
        row(&mut out, &[&forms.join(", "), &code(sub.default), sub.help]);
    }
    out.push_str(ABSENT_HEAD);
    for opt in absent_options() {
        row(&mut out, &[&code(&label(opt)), &code(opt.default), opt.help]);
    }
    for sub in EXTENDED.iter().filter(|sub| !sub.built()) {
        row(&mut out, &[&code(&format!("-o {}", sub.name)), &code(sub.default), sub.help]);
    }
    out
}

const OPTIONS_HEAD: &str = "\
# Options

Generated from the option tables by `MEMHOLD_UPDATE_DOCS=1 cargo test --test tidy`. The options are memcached
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

/// `docs/counters.md`.
#[must_use]
pub fn counters_markdown() -> String {
    let mut out = String::from(COUNTERS_HEAD);
    for line in ROWS {
        let kind = match line.kind {
            table::Kind::Counter => "counter",
            table::Kind::State => "state",
            table::Kind::Text => "text",
        };
        row(&mut out, &[&code(line.name), kind, condition(line.when), line.help]);
    }
    out
}

const COUNTERS_HEAD: &str = "\
# Lines of `stats`

Generated from the table of counters by `MEMHOLD_UPDATE_DOCS=1 cargo test --test tidy`. Names and order are memcached
1.6.45's; the last line is memhold's own. A *counter* only grows and starts again at `stats reset`; a *state* says how
things stand. Lines of a mechanism that memhold does not have stay 0, so that monitors find them.

| name | kind | shown with | meaning |
| --- | --- | --- | --- |
";

/// What has to be set for a line to appear.
const fn condition(when: When) -> &'static str {
    match when {
        When::Always => "",
        When::MaxconnsFast => "`maxconns_fast` (the default)",
        When::IdleTimeout => "`idle_timeout`",
        When::PageMoves => "`slab_reassign` (the default)",
        When::Crawler => "`lru_crawler` (the default)",
        When::Maintainer => "`lru_maintainer` (the default)",
        When::Tls => "TLS (not supported yet)",
        When::TlsSessionCache => "TLS with `ssl_session_cache` (not supported yet)",
    }
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// A row of a Markdown table.
fn row(out: &mut String, cells: &[&str]) {
    for cell in cells {
        let mut cell = cell.replace('\n', " ").replace('|', "\\|");
        // In prose, what looks like a tag would vanish.
        if !cell.starts_with('`') {
            cell = cell.replace('<', "&lt;");
        }
        let _ = write!(out, "| {cell} ");
    }
    out.push_str("|\n");
}

/// `docs/memhold.1`, for `man`.
#[must_use]
pub fn man_page() -> String {
    let mut out = format!(".TH MEMHOLD 1 \"\" \"memhold {}\" \"User Commands\"\n", env!("CARGO_PKG_VERSION"));
    section(&mut out, "NAME");
    out.push_str("memhold \\- memory cache for web sessions that speaks memcached's protocols\n");
    section(&mut out, "SYNOPSIS");
    out.push_str(".B memhold\n[\\fIoptions\\fR]\n");
    for row in SUBCOMMANDS {
        let argument = if row.argument.is_empty() { String::new() } else { format!(" \\fI{}\\fR", row.argument) };
        let _ = writeln!(out, ".PP\n.B memhold {}\n[\\fIoptions\\fR]{argument}", row.name);
    }
    section(&mut out, "DESCRIPTION");
    let _ = writeln!(out, "{}", roff(DESCRIPTION).replace("1.6.x", MEMCACHED_VERSION));
    section(&mut out, "OPTIONS");
    for opt in options() {
        entry(&mut out, &label(opt), &[opt.help, &given_default(opt.default)].concat());
    }
    section(&mut out, "EXTENDED OPTIONS");
    out.push_str(&roff("Given as -o a,b=c,... which may be repeated.\n"));
    for sub in EXTENDED.iter().filter(|sub| sub.built()) {
        entry(&mut out, &forms(sub).join(", "), &[sub.help, &given_default(sub.default)].concat());
    }
    section(&mut out, "NOT SUPPORTED YET");
    out.push_str(&roff("memhold ends with \"not supported yet: <option>\" and code 1 when one of these is given.\n"));
    for opt in absent_options() {
        entry(&mut out, &label(opt), opt.help);
    }
    for sub in EXTENDED.iter().filter(|sub| !sub.built()) {
        entry(&mut out, &format!("-o {}", sub.name), sub.help);
    }
    section(&mut out, "SUBCOMMANDS");
    out.push_str(&roff("One of these words may stand first on the command line, with options of its own behind it.\n"));
    for row in SUBCOMMANDS {
        entry(&mut out, format!("{} {}", row.name, row.argument).trim_end(), &format!("{}.", row.about));
        for flag in row.flags {
            let value = if flag.value.is_empty() { String::new() } else { format!("={}", flag.value) };
            let name = format!("{} --{}{value}", row.name, flag.long);
            entry(&mut out, &name, &[flag.help, &given_default(flag.default)].concat());
        }
    }
    for (title, entries) in MAN_SECTIONS {
        section(&mut out, title);
        for (name, text) in *entries {
            entry(&mut out, name, text);
        }
    }
    section(&mut out, "SEE ALSO");
    out.push_str(".BR memcached (1)\n");
    out
}

const DESCRIPTION: &str = "\
memhold keeps items in memory and serves them over memcached's text and meta protocols. It takes the options of
memcached 1.6.x and answers as that does, so that it can stand in its place without a change to clients.

Without options it listens on TCP port 11211 of all addresses and uses 64 megabytes for items. Started by root it
insists on -u.";

const MAN_SECTIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "SIGNALS",
        &[
            ("SIGINT", "stop: open connections are closed"),
            (
                "SIGTERM",
                "the same; but under a service manager that keeps descriptors (systemd: FileDescriptorStoreMax=) listeners \
                 and connections without TLS are left with it, and the next process of the service goes on with them",
            ),
            ("SIGUSR1", "stop gracefully, as memcached does with -e"),
            (
                "SIGUSR2",
                "upgrade in place: the binary that is installed now takes over, with the options of now; items and \
                 connections stay, if items are kept (-e)",
            ),
            ("SIGHUP", "certificates and passwords are read again"),
        ],
    ),
    (
        "FILES",
        &[
            ("/etc/memhold.conf", "options of the service, one a line; /etc/memhold_NAME.conf those of memhold@NAME"),
            ("/etc/default/memhold", "environment of the service: OPTIONS, CONFIG"),
            ("/run/memhold/memory", "items of the service, kept between its processes"),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            ("0", "a normal end, also after -h, -V and -i"),
            ("1", "a bad value, a failed start, or a subcommand that could not do all it was told"),
            ("64", "options that conflict, root without -u, or a subcommand that was told nonsense"),
            ("67", "the user of -u is not known"),
            ("71", "the system refused something: a socket, a limit"),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "MEMCACHED_PORT_FILENAME",
                "a file that the bound ports are written to, a line each, once all are listening",
            ),
            ("LISTEN_PID, LISTEN_FDS", "sockets of a service manager, to be served instead of -p and -s"),
            (
                "NOTIFY_SOCKET, WATCHDOG_USEC",
                "a service manager to be told that the server is ready, alive and stopping",
            ),
        ],
    ),
];

fn section(out: &mut String, title: &str) {
    let _ = writeln!(out, ".SH \"{title}\"");
}

/// A tagged paragraph.
fn entry(out: &mut String, tag: &str, text: &str) {
    let _ = writeln!(out, ".TP\n\\fB{}\\fR\n{}", roff(tag), roff(text));
}

/// Text with roff's own characters made harmless: backslashes, hyphens that are typed as such, and control lines.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('-', "\\-");
    let lines = escaped.split('\n').map(|line| match line.as_bytes() {
        [b'.' | b'\'', ..] => format!("\\&{line}"),
        [] => ".PP".to_owned(),
        _ => line.to_owned(),
    });
    let joined = lines.collect::<Vec<_>>().join("\n");
    // The line end that the text came with is no paragraph.
    joined.strip_suffix("\n.PP").map_or_else(|| joined.clone(), |text| format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_and_counter_is_documented() {
        let (markdown, man, counters) = (options_markdown(), man_page(), counters_markdown());
        for opt in options().chain(absent_options()) {
            assert!(markdown.contains(&label(opt)) && man.contains(&roff(&label(opt))), "{}", label(opt));
        }
        for sub in EXTENDED {
            assert!(markdown.contains(sub.name) && man.contains(&roff(sub.name)), "{}", sub.name);
        }
        assert_eq!(counters.matches("\n| `").count(), ROWS.len());
        for row in SUBCOMMANDS {
            assert!(man.contains(&format!(".B memhold {}\n", row.name)), "{}", row.name);
            for flag in row.flags {
                assert!(man.contains(&roff(&format!("{} --{}", row.name, flag.long))), "{}", flag.long);
            }
        }
    }

    #[test]
    fn hidden_options_are_not_documented() {
        assert!(!options_markdown().contains("debug-commands") && !man_page().contains("debug"));
    }

    #[test]
    fn no_text_becomes_a_roff_command() {
        assert_eq!(roff(".TH\n'x\n\n-a \\b\n"), "\\&.TH\n\\&'x\n.PP\n\\-a \\\\b\n");
        let bad = |line: &str| line.starts_with('.') && !line.starts_with(".TP") && !line.starts_with(".SH");
        let page = man_page();
        let commands: Vec<&str> = page.lines().filter(|line| bad(line)).collect();
        assert!(commands.iter().all(|line| [".TH ", ".B ", ".BR ", ".PP"].iter().any(|c| line.starts_with(c))));
    }

    #[test]
    fn a_cell_stays_a_cell() {
        let mut out = String::new();
        row(&mut out, &["`-l=<addr>`", "", "a|b\n<c>"]);
        assert_eq!(out, "| `-l=<addr>` |  | a\\|b &lt;c> |\n");
    }
}
