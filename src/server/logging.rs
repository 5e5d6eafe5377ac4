//! The `log` backend: one line to standard error for each record, nothing around it.
//!
//! memcached's lines have no time and no level, and the journal adds its own. What is said at which `-v` is
//! [`log_level`](crate::settings::log_level): errors always, warnings and notices with `-v`, commands and replies
//! with `-vv`, state changes with `-vvv`.

use crate::settings::log_level;
use log::{Log, Metadata, Record};
use std::io::Write as _;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Other crates (mio) log for their own developers.
        metadata.level() <= log::max_level() && metadata.target().starts_with(env!("CARGO_PKG_NAME"))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            say(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Prints a line to standard error in one write, so that lines of several threads do not mix. Where it cannot go, it is
/// lost: there is nobody else to tell.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Starts logging at a `-v` level. `LiveSettings::set_verbosity` changes it later.
pub fn start(verbosity: u32) {
    // Only fails when a logger is there already, which is then this one: in tests that start several servers.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(log_level(verbosity));
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Level, LevelFilter};

    #[test]
    fn each_v_says_more() {
        assert_eq!([0, 1, 2, 3, 9].map(log_level), {
            use LevelFilter::{Debug, Error, Info, Trace};
            [Error, Info, Debug, Trace, Trace]
        });
    }

    #[test]
    fn only_our_own_lines_are_printed() {
        start(3);
        let enabled = |target| Stderr.enabled(&Metadata::builder().level(Level::Error).target(target).build());
        assert!(enabled("memhold::net::worker"));
        assert!(!enabled("mio::poll"));
    }
}
