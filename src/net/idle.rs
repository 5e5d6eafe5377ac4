//! `idle_timeout`: finds TCP clients that made no progress for that long (section 10; unix sockets are exempt).
//!
//! Progress is a request run, a piece of a value received, or bytes of a waiting reply taken; so a client that stalls inside a
//! value or does not read its answers ends as one that says nothing does. There is no timer for each client: a pass looks at
//! all of them, a bounded piece at a time, and the next pass begins when the first of them can be due, at least a second
//! later. A TLS handshake is given [`HANDSHAKE_SECONDS`](super::tls::HANDSHAKE_SECONDS) in the same way, whatever arrives
//! meanwhile. Activity only moves that moment away, so nothing is missed.

use std::time::Duration;

use super::roster::Roster;
use crate::clock::Now;

/// Entries looked at in one step, under the roster's lock.
const STEP_ENTRIES: usize = 1024;

/// When to look, and where.
#[derive(Debug)]
pub(super) struct IdleWatch {
    /// Seconds without progress that are allowed; `None` when there is no timeout.
    timeout: Option<u32>,
    /// Seconds that a TLS handshake may take; `None` when there is no TLS.
    handshake: Option<u32>,
    /// Second at which the next step is due.
    due: u32,
    /// Key at which the pass goes on.
    cursor: usize,
    /// First second at which one of those seen in this pass can be over its time.
    earliest: u32,
}

impl IdleWatch {
    /// Both in seconds; `None` never closes anybody.
    pub(super) fn new(timeout: Option<u32>, handshake: Option<u32>, now: Now) -> IdleWatch {
        IdleWatch { timeout, handshake, due: now.seconds, cursor: 0, earliest: u32::MAX }
    }

    /// How long the worker may sleep; `None` for ever.
    pub(super) fn wait(&self, now: Now) -> Option<Duration> {
        self.shortest().map(|_| Duration::from_secs(u64::from(self.due.saturating_sub(now.seconds))))
    }

    /// The first of the timeouts that can end anybody.
    fn shortest(&self) -> Option<u32> {
        [self.timeout, self.handshake].into_iter().flatten().min()
    }

    /// One step: calls `overdue` with the key of each client that is over its time. Holds the roster's lock meanwhile.
    pub(super) fn step(&mut self, roster: &Roster, now: Now, mut overdue: impl FnMut(usize)) {
        let Some(shortest) = self.shortest() else { return };
        if now.seconds < self.due {
            return;
        }
        let mut earliest = self.earliest;
        let next = roster.visit_tcp(self.cursor, STEP_ENTRIES, |key, pulse| {
            let limits = [self.timeout, self.handshake.filter(|_| pulse.is_handshaking())];
            let Some(timeout) = limits.into_iter().flatten().min() else { return };
            let idle = pulse.idle_seconds(now);
            if idle > timeout {
                overdue(key);
            } else {
                earliest = earliest.min(now.seconds.saturating_add(timeout - idle + 1));
            }
        });
        match next {
            Some(cursor) => (self.cursor, self.earliest) = (cursor, earliest),
            None => {
                // A client that comes right now is due after a whole timeout.
                let soonest = earliest.min(now.seconds.saturating_add(shortest).saturating_add(1));
                self.due = soonest.max(now.seconds + 1);
                (self.cursor, self.earliest) = (0, u32::MAX);
            }
        }
    }
}
