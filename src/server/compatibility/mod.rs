//! `docs/compatibility.md`: what memcached 1.6.45 has, and how memhold stands to it.
//!
//! [`surface`] lists memcached's names. Whether memhold has one is read from the tables of commands, options and counters; a
//! [`Note`] says where it is different, and why, or why it is absent. What has neither a row nor a note fails a test, and so does a
//! row of ours that memcached does not know and that has no note as memhold's own. So the page cannot be incomplete.

mod notes;
mod surface;

use super::options::Action;
use super::options::extended::EXTENDED;
use super::options::table::OPTIONS;
use crate::protocol::{binary, command};
use crate::settings::{LiveSettings, Settings};
use crate::stats::table::ROWS;
use std::fmt::Write as _;

/// What is to be said about a name.
struct Note {
    name: &'static str,
    standing: Standing,
    why: &'static str,
}

/// How memhold stands to something of memcached's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Different,
    Absent,
    /// memcached does not have it.
    Own,
}

/// One part of the page.
struct Part {
    title: &'static str,
    head: &'static str,
    /// memcached's names.
    theirs: Vec<String>,
    /// memhold's, from its tables, with a remark that the row itself makes.
    ours: Vec<(String, String)>,
    notes: &'static [Note],
}

/// `docs/compatibility.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(notes::HEAD);
    for part in parts() {
        let _ = write!(
            out,
            "\n## {}\n\n{}| name | standing | difference, or reason |\n| --- | --- | --- |\n",
            part.title, part.head
        );
        for (name, standing, why) in part.rows() {
            let _ = writeln!(out, "| `{name}` | {standing} | {} |", why.replace('\n', " ").replace('|', "\\|"));
        }
    }
    out
}

impl Part {
    fn note(&self, name: &str) -> Option<&Note> {
        self.notes.iter().find(|note| note.name == name)
    }

    /// memcached's names in its order, then memhold's own.
    fn rows(&self) -> impl Iterator<Item = (&str, &'static str, &str)> {
        let theirs = self.theirs.iter().map(|name| {
            let ours = self.ours.iter().find(|(ours, _)| ours == name);
            match (self.note(name), ours) {
                (Some(note), _) => (name.as_str(), note.standing.word(), note.why),
                (None, Some((_, remark))) if remark.contains("kept and shown") || remark.contains("accepted") => {
                    (name.as_str(), Standing::Different.word(), remark.as_str())
                }
                (None, _) => (name.as_str(), "same", ""),
            }
        });
        let own = self.ours.iter().filter(|(name, _)| !self.theirs.contains(name));
        theirs.chain(own.map(|(name, remark)| {
            let why = self.note(name).map_or(remark.as_str(), |note| note.why);
            (name.as_str(), Standing::Own.word(), why)
        }))
    }
}

impl Standing {
    const fn word(self) -> &'static str {
        match self {
            Standing::Different => "different",
            Standing::Absent => "absent",
            Standing::Own => "memhold's own",
        }
    }
}

fn parts() -> Vec<Part> {
    let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let plain = |names: Vec<String>| names.into_iter().map(|name| (name, String::new())).collect::<Vec<_>>();
    let settings = Settings::default();
    let live = LiveSettings::new(&settings);
    let shown = settings.stats_settings(&live).map(|(name, _)| name.to_owned()).collect();
    vec![
        Part {
            title: "Commands of the text and meta protocols",
            head: notes::COMMANDS_HEAD,
            theirs: list(surface::COMMANDS),
            ours: plain(command::public_names()),
            notes: notes::COMMANDS,
        },
        Part {
            title: "Opcodes of the binary protocol",
            head: "Quiet forms included.\n\n",
            theirs: list(surface::OPCODES),
            ours: plain(binary::opcodes::ROWS.iter().map(|row| row.name.to_owned()).collect()),
            notes: notes::OPCODES,
        },
        Part {
            title: "Options",
            head: "",
            theirs: surface::OPTIONS.iter().map(|&(letter, long)| spelled(letter, long)).collect(),
            ours: options(),
            notes: notes::OPTIONS,
        },
        Part {
            title: "Extended options, `-o`",
            head: "",
            theirs: list(surface::EXTENDED),
            ours: EXTENDED
                .iter()
                .filter(|sub| sub.built())
                .map(|sub| (sub.name.to_owned(), sub.help.to_owned()))
                .collect(),
            notes: notes::EXTENDED,
        },
        Part {
            title: "Lines of `stats`",
            head: notes::COUNTERS_HEAD,
            theirs: list(surface::COUNTERS),
            ours: plain(ROWS.iter().map(|row| row.name.to_owned()).collect()),
            notes: notes::COUNTERS,
        },
        Part {
            title: "Lines of `stats settings`",
            head: "",
            theirs: list(surface::SETTINGS),
            ours: plain(shown),
            notes: notes::SETTINGS,
        },
        Part {
            title: "Signals",
            head: "",
            theirs: list(surface::SIGNALS),
            ours: plain(list(notes::OUR_SIGNALS)),
            notes: notes::SIGNALS,
        },
        Part {
            title: "Environment",
            head: "",
            theirs: list(surface::VARIABLES),
            ours: plain(list(notes::OUR_VARIABLES)),
            notes: notes::VARIABLES,
        },
    ]
}

fn spelled(letter: char, long: &str) -> String {
    if long.is_empty() { format!("-{letter}") } else { format!("-{letter}, --{long}") }
}

/// Options that do something, and are no secret.
fn options() -> Vec<(String, String)> {
    let shown = OPTIONS.iter().filter(|opt| !matches!(opt.action, Action::Absent | Action::Hidden(_)));
    let name = |short: u8, long: &str| {
        if short == 0 { format!("--{long}") } else { spelled(char::from(short), long) }
    };
    shown.map(|opt| (name(opt.short, opt.long), opt.help.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_memcacheds_is_missing_and_nothing_of_ours_is_untold() {
        let mut wrong = Vec::new();
        for part in parts() {
            let ours = |name: &str| part.ours.iter().any(|(ours, _)| ours == name);
            for name in &part.theirs {
                match part.note(name).map(|note| note.standing) {
                    None if !ours(name) => {
                        wrong.push(format!("{}: {name} is not there, and no note says why", part.title))
                    }
                    Some(Standing::Different) if !ours(name) => {
                        wrong.push(format!("{}: {name} is called different and is not there", part.title));
                    }
                    Some(Standing::Absent) if ours(name) => {
                        wrong.push(format!("{}: {name} is there, and called absent", part.title));
                    }
                    Some(Standing::Own) => wrong.push(format!("{}: {name} is memcached's", part.title)),
                    _ => {}
                }
            }
            for (name, remark) in part.ours.iter().filter(|(name, _)| !part.theirs.contains(name)) {
                if remark.is_empty() && part.note(name).is_none_or(|note| note.standing != Standing::Own) {
                    wrong.push(format!("{}: {name} is not memcached's, and nothing is said of it", part.title));
                }
            }
            for note in part.notes {
                if !part.theirs.iter().any(|name| name == note.name) && !ours(note.name) {
                    wrong.push(format!("{}: a note about {}, which nobody has", part.title, note.name));
                }
                assert!(!note.why.is_empty(), "{}", note.name);
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    #[test]
    fn every_name_has_its_row() {
        let page = markdown();
        for name in parts().iter().flat_map(|part| part.theirs.iter().chain(part.ours.iter().map(|(name, _)| name))) {
            assert!(page.contains(&format!("\n| `{name}` | ")), "{name}");
        }
    }
}
