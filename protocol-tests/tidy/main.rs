//! Rules about our own sources, as ordinary tests: what the layers may name, where the few dangerous things live, and
//! that what is generated is fresh. A complaint names the place and says what to do instead.
//!
//! What only tests contain (`tests.rs`, `testing.rs`, `#[cfg(test)] mod`) is held to fewer rules: it may open sockets, ask
//! the environment and wire layers together, as tests do.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure it reports")]

mod map;
mod source;

use memhold::server::{compatibility, completions, documents};
use source::{Source, files, names_after, root, sources, words};
use std::fs;

/// What each layer may name of the others; see the map in `src/lib.rs`. Below are the leaves.
const LAYERS: &[(&str, &[&str])] = &[
    ("main", &["server", "tools"]),
    ("server", &["net", "commands", "protocol", "store", "stats", "settings", "logger", "clock", "sync", "sys"]),
    ("tools", &["server", "protocol", "stats", "settings", "clock", "sync", "sys"]),
    ("net", &["conn", "commands", "store", "stats", "settings", "logger", "clock", "sync", "sys"]),
    ("conn", &["commands", "protocol", "store", "stats", "settings", "logger", "clock", "sync"]),
    ("commands", &["protocol", "store", "stats", "settings", "logger", "clock", "sync"]),
    ("protocol", &[]),
    ("store", &["logger", "clock", "sync", "sys"]),
    ("logger", &["stats", "clock", "sync"]),
    ("stats", &["clock", "sync"]),
    ("settings", &["sync"]),
    ("clock", &["sync"]),
    ("sync", &[]),
    ("sys", &[]),
];

/// A word of code that has its one place.
struct Reserved {
    words: &'static [&'static str],
    /// Files or folders in which it may stand.
    places: &'static [&'static str],
    instead: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        words: &["Instant::now", "SystemTime::now", ".elapsed("],
        places: &["src/clock.rs"],
        instead: "only clock.rs asks the time: take a `Now` from the caller, or `Clock::running_micros` to measure",
    },
    Reserved {
        words: &["std::net", "os::unix::net", "mio::", "socket2::"],
        // sys asks a descriptor for its address, and only uses socket2's type for that; a tool is a client.
        places: &["src/net/", "src/tools/", "src/sys/socket.rs"],
        instead: "only net has sockets, and the tools as clients: hand bytes down, or move this to src/net",
    },
    Reserved {
        words: &["env::var", "env::vars", "env::var_os", "env::args", "env::args_os", "env::set_var"],
        places: &["src/server/", "src/main.rs"],
        instead: "only server reads arguments and environment: make it a field of Settings",
    },
    Reserved {
        words: &["println!", "print!", "eprintln!", "eprint!", "io::stdout", "io::stderr"],
        places: &["src/server/", "src/tools/", "src/main.rs"],
        instead: "use the log crate's macros (error!, info!, debug!); server::logging decides where lines go",
    },
    Reserved {
        words: &["std::process::exit", "process::abort"],
        places: &["src/server/"],
        instead: "return an error: server ends the process, after stopping in order",
    },
    Reserved {
        words: &["thread::sleep"],
        places: &[],
        instead: "wait for what you wait for; background work parks in server::background, with a way to wake it",
    },
];

/// std's synchronisation that may be named anywhere: set once, before or without a second thread that could race; loom
/// has no counterpart.
const STD_SYNC_ALLOWED: &[&str] = &["OnceLock", "LazyLock"];

/// Lines of code in a file, tests, comments and blank lines not counted. Most files have half of it.
const CODE_LINES_MAX: usize = 550;

/// Fails with all complaints at once.
fn settle(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Looks at each file under the folders.
fn check(folders: &[&str], mut rule: impl FnMut(&Source, &mut Vec<String>)) {
    let mut complaints = Vec::new();
    for source in sources(folders) {
        rule(&source, &mut complaints);
    }
    settle(&complaints);
}

const EVERYTHING: &[&str] = &["src", "protocol-tests", "benches"];

#[test]
fn layers_name_only_what_lies_below_them() {
    check(&["src"], |source, complaints| {
        let Some(layer) = source.layer().filter(|layer| *layer != "lib") else { return };
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            complaints.push(format!(
                "{}: a new layer: give it a row in LAYERS of this test, and a place in lib.rs",
                source.path
            ));
            return;
        };
        let prefix = if layer == "main" { "memhold::" } else { "crate::" };
        for at in words(&source.product, prefix) {
            for name in names_after(&source.product, at + prefix.len()) {
                let known = LAYERS.iter().any(|(layer, _)| *layer == name);
                if known && name != layer && !allowed.contains(&name.as_str()) {
                    let what = format!(
                        "{layer} must not know {name} (it may name {allowed:?}): move the code to the layer that knows both, \
                         or hand the value in"
                    );
                    complaints.push(source.complain(at, &what));
                }
            }
        }
        // Other layers are named from the root, so that the rule above sees them.
        for at in words(&source.product, &"super::".repeat(source.depth())) {
            complaints.push(source.complain(at, "name other layers by crate::, not by super::"));
        }
    });
}

#[test]
fn commands_do_not_know_how_requests_are_spelled() {
    check(&["src/commands"], |source, complaints| {
        let dialects = ["protocol::text", "protocol::meta", "protocol::binary"];
        for at in dialects.iter().flat_map(|dialect| words(&source.product, dialect)) {
            complaints.push(
                source.complain(at, "commands speak the neutral Request and Reply; spelling belongs to protocol"),
            );
        }
    });
}

#[test]
fn unsafe_code_stays_in_its_two_rooms() {
    check(&["src"], |source, complaints| {
        let room = ["src/store/memory/", "src/sys/"].iter().any(|room| source.path.starts_with(room));
        let uses = words(&source.code, "unsafe").chain(words(&source.code, "unsafe_code"));
        for at in uses.filter(|_| !room) {
            let what = "unsafe lives in src/store/memory and src/sys: offer a safe function there and call it";
            complaints.push(source.complain(at, what));
        }
    });
}

#[test]
fn system_calls_are_made_in_sys() {
    check(&["src"], |source, complaints| {
        let room = ["src/store/memory/", "src/sys/"].iter().any(|room| source.path.starts_with(room));
        for at in words(&source.product, "libc::").filter(|_| !room) {
            // Names in capitals are numbers, such as EMFILE, and harmless.
            if names_after(&source.product, at + 6).iter().any(|name| name.starts_with(|c: char| c.is_lowercase())) {
                complaints.push(source.complain(at, "wrap the call in src/sys, so that callers need no unsafe"));
            }
        }
    });
}

#[test]
fn every_file_opens_with_its_purpose() {
    check(EVERYTHING, |source, complaints| {
        let opening = source.text.lines().take_while(|line| line.starts_with("//!"));
        if opening.map(str::len).sum::<usize>() < 20 {
            complaints.push(format!(
                "{}:1: begin with `//!`: what it is for, what it leaves to others, what holds it together",
                source.path
            ));
        }
    });
}

#[test]
fn atomics_and_locks_come_from_the_sync_module() {
    check(&["src"], |source, complaints| {
        let prefix = "std::sync::";
        for at in words(&source.product, prefix).filter(|_| source.path != "src/sync.rs") {
            let names = names_after(&source.product, at + prefix.len());
            if !names.iter().all(|name| STD_SYNC_ALLOWED.contains(&name.as_str())) {
                let what = "use crate::sync, which is loom's under the model checker; add there what it has not yet";
                complaints.push(source.complain(at, what));
            }
        }
    });
}

#[test]
fn what_has_one_place_stays_there() {
    check(&["src"], |source, complaints| {
        for rule in RESERVED.iter().filter(|rule| !rule.places.iter().any(|place| source.path.starts_with(place))) {
            for at in rule.words.iter().flat_map(|word| words(&source.product, word)) {
                complaints.push(source.complain(at, rule.instead));
            }
        }
    });
}

#[test]
fn nothing_unfinished_is_left_behind() {
    // In pieces, or this file would complain about itself.
    let macros = [concat!("db", "g!("), concat!("tod", "o!("), concat!("unimplement", "ed!(")];
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    check(EVERYTHING, |source, complaints| {
        let unfinished = macros.iter().flat_map(|word| words(&source.code, word));
        let noted = notes.iter().flat_map(|word| words(&source.text, word));
        for at in unfinished.chain(noted) {
            complaints.push(
                source.complain(at, "finish it, or say in an issue what is missing and in the README that it is"),
            );
        }
    });
}

#[test]
fn no_test_is_skipped() {
    check(EVERYTHING, |source, complaints| {
        for at in words(&source.code, concat!("#[", "ignore")) {
            complaints.push(
                source.complain(at, "make the test fast and certain, or delete it: a skipped test tells nothing"),
            );
        }
    });
}

#[test]
fn files_stay_small_enough_to_read() {
    check(&["src"], |source, complaints| {
        let lines = source.product.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > CODE_LINES_MAX {
            complaints.push(format!("{}: {lines} lines of code: cut it where a subject ends", source.path));
        }
    });
}

#[test]
fn generated_documents_are_fresh() {
    let options = documents::options_markdown();
    let counters = documents::counters_markdown();
    let manual = documents::man_page();
    let architecture = map::insert(&fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap());
    let mut generated = vec![
        ("docs/options.md".to_owned(), options),
        ("docs/counters.md".to_owned(), counters),
        ("docs/compatibility.md".to_owned(), compatibility::markdown()),
        ("docs/memhold.1".to_owned(), manual),
        ("ARCHITECTURE.md".to_owned(), architecture),
    ];
    generated.extend(completions::files().map(|(name, text)| (format!("docs/completions/{name}"), text)));
    let mut complaints = Vec::new();
    for (name, text) in generated {
        let path = root().join(&name);
        if std::env::var_os("MEMHOLD_UPDATE_DOCS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != text {
            complaints.push(format!("{name} is stale: run MEMHOLD_UPDATE_DOCS=1 cargo test --test tidy"));
        }
    }
    settle(&complaints);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut complaints = Vec::new();
    let mut documents: Vec<_> = files(&root().join("docs"), "md");
    documents.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name)));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap_or_default();
            let folder = document.parent().unwrap();
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                complaints.push(format!("{}: the link to {target} leads nowhere", document.display()));
            }
        }
    }
    settle(&complaints);
}

#[test]
fn no_line_is_wider_than_the_rules_allow() {
    check(EVERYTHING, |source, complaints| {
        for (number, line) in source.text.lines().enumerate() {
            // rustfmt keeps code at 120; what it cannot break is prose and literals.
            if line.chars().count() > 140 {
                complaints.push(format!(
                    "{}:{}: break the line: rustfmt keeps code at 120 columns, prose may be a little longer",
                    source.path,
                    number + 1
                ));
            }
        }
    });
}
