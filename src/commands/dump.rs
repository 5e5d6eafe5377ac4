//! `lru_crawler metadump` and `mgdump`: every live item as a line (section 13.1), a bounded piece at a time.
//!
//! A [`Dump`] is a place in the walk over all items. It holds no lock and no item between pieces, so what is stored or
//! deleted meanwhile may or may not be seen; what was there all the time is seen once.

use super::Context;
use crate::logger::percent_encode;
use crate::protocol::reply::Error;
use crate::store::{Cursor, Entry};

/// How each item is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `metadump`: `key=... exp=... `
    Meta,
    /// `mgdump`: `mg <key>`
    Keys,
}

/// Which items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Of every class.
    All,
    /// The same, by walking the index in memcached; here the order is no different.
    Hash,
    /// Of these classes.
    Classes(Vec<u32>),
}

/// A dump that goes on.
#[derive(Debug)]
pub struct Dump {
    format: Format,
    /// Classes still to be walked, the next one last; 0 is all of them in one walk.
    classes: Vec<u32>,
    cursor: Cursor,
    begun: bool,
}

/// Chunks looked at in one step of the store's walk; with lines of at most [`LINE_MAX`] bytes this bounds what a step writes.
const CHUNKS_PER_STEP: usize = 128;
/// Such steps in a turn, lest memory with few items in it takes long.
const STEPS_PER_TURN: usize = 64;
/// Longest line of a dump: a key of 250 bytes, each percent-encoded, and nine numbers.
const LINE_MAX: usize = 3 * 250 + 200;

impl Dump {
    pub(super) fn new(format: Format, selection: Selection) -> Dump {
        let classes = match selection {
            Selection::All | Selection::Hash => vec![0],
            Selection::Classes(mut classes) => {
                classes.sort_unstable_by(|one, other| other.cmp(one));
                classes.dedup();
                classes
            }
        };
        Dump { format, classes, cursor: Cursor::default(), begun: false }
    }

    /// What is answered when earlier replies of the same burst still wait.
    #[must_use]
    pub const fn cannot_pipeline(&self) -> Error {
        Error::Line(match self.format {
            Format::Meta => "ERROR cannot pipeline other commands before metadump",
            Format::Keys => "ERROR cannot pipeline other commands before mgdump",
        })
    }

    /// Writes the next lines, stopping some 128 KiB above `bytes_max` at the latest. Returns whether the dump is complete.
    pub fn step(&mut self, cx: &Context<'_>, out: &mut Vec<u8>, bytes_max: usize) -> bool {
        if !self.begun {
            self.begun = true;
            out.extend_from_slice(b"OK\r\n");
        }
        let mut steps = 0;
        while let Some(&class) = self.classes.last() {
            if out.len() >= bytes_max || steps == STEPS_PER_TURN {
                return false;
            }
            steps += 1;
            // The visitor runs under a lock of the store: no growing there.
            out.reserve(CHUNKS_PER_STEP * LINE_MAX);
            let format = self.format;
            let next = cx.store.walk(self.cursor, class, CHUNKS_PER_STEP, cx.now, &mut |entry| match format {
                Format::Meta => meta_line(entry, cx, out),
                Format::Keys => key_line(entry, out),
            });
            if let Some(cursor) = next {
                self.cursor = cursor;
            } else {
                self.classes.pop();
                self.cursor = Cursor::default();
            }
        }
        out.extend_from_slice(match self.format {
            Format::Meta => b"END\r\n",
            Format::Keys => b"EN\r\n",
        });
        true
    }
}

/// `key=<percent-encoded> exp=<unix time or -1> la=<unix time> cas=<n> fetch=<yes|no> cls=<class> size=<n> flags=<n> `
fn meta_line(entry: &Entry<'_>, cx: &Context<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"key=");
    percent_encode(entry.key(), |bytes| out.extend_from_slice(bytes));
    out.extend_from_slice(b" exp=");
    match entry.exptime() {
        0 => out.extend_from_slice(b"-1"),
        exptime => number(u64::from(exptime), out),
    }
    out.extend_from_slice(b" la=");
    number(u64::from(cx.now.seconds.saturating_sub(entry.idle_seconds(cx.now))), out);
    out.extend_from_slice(b" cas=");
    number(entry.cas(), out);
    out.extend_from_slice(if entry.fetched() { b" fetch=yes" } else { b" fetch=no" });
    out.extend_from_slice(b" cls=");
    number(u64::from(entry.class()), out);
    out.extend_from_slice(b" size=");
    number(entry.account_size() as u64, out);
    out.extend_from_slice(b" flags=");
    number(u64::from(entry.flags()), out);
    out.extend_from_slice(b" \n");
}

/// `mg <key>`, or `mg <base64> b` for a key that came as base64.
fn key_line(entry: &Entry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"mg ");
    if entry.base64_key() {
        crate::protocol::base64::encode(out, entry.key());
        out.extend_from_slice(b" b\r\n");
    } else {
        out.extend_from_slice(entry.key());
        out.extend_from_slice(b"\r\n");
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}
