//! Replacing an item by one made from it.
//!
//! Append, arithmetic and `md` read an item under its lock, let it go, fill a new one, and link that only if
//! the old one is still there unchanged; otherwise they begin again. So no lock is held while memory is being found. Arithmetic comes
//! here only with what one store cannot change where it is, and a crash could tear.

use super::Context;
use crate::store::{Decision, Draft, Entry, Exptime, Lookup, Marks, PIN_BYTES, Pinned, Refused, Value};

/// What is remembered of the item that was read.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    version: u64,
    pub cas: u64,
    pub flags: u32,
    pub exptime: Exptime,
    pub value_len: usize,
    pub base64_key: bool,
    pub marks: Marks,
    pub class: u32,
}

impl Seen {
    pub fn of(entry: &Entry<'_>) -> Seen {
        Seen {
            version: entry.version(),
            cas: entry.cas(),
            flags: entry.flags(),
            exptime: entry.exptime(),
            value_len: entry.value_len(),
            base64_key: entry.base64_key(),
            marks: Marks { stale: entry.stale(), token_sent: entry.token_sent(), fetched: entry.fetched() },
            class: entry.class(),
        }
    }
}

/// Links `draft` in place of the item that was seen and returns its CAS; `None` when that item has changed since.
pub(super) fn commit_over(cx: &Context<'_>, draft: Draft, seen: &Seen, marks: Marks) -> Option<u64> {
    let linked = cx.store.commit(draft, cx.now, |found, _| match found {
        Lookup::Found(entry) if entry.version() == seen.version => Decision::Link(marks),
        _ => Decision::Refuse(()),
    });
    linked.ok()
}

/// A value taken along out of the lock: copied when small, pinned when large.
pub(super) struct Copied {
    small: [u8; PIN_BYTES],
    len: usize,
    large: Option<Pinned>,
}

impl Copied {
    pub const fn none() -> Copied {
        Copied { small: [0; PIN_BYTES], len: 0, large: None }
    }

    /// Takes the entry's value.
    pub fn take(&mut self, entry: &Entry<'_>) {
        match entry.value() {
            Value::Pinned(pinned) => self.large = Some(pinned),
            Value::Inline(value) => {
                if let Some(room) = self.small.get_mut(..value.len()) {
                    room.copy_from_slice(value);
                    self.len = value.len();
                }
            }
        }
    }

    /// Writes it behind what the draft holds.
    pub fn write(&self, draft: &mut Draft, cx: &Context<'_>) -> Result<(), Refused> {
        let Some(pinned) = &self.large else { return draft.write(&self.small[..self.len], cx.now) };
        let mut at = 0;
        loop {
            let piece = pinned.slice_at(at);
            if piece.is_empty() {
                return Ok(());
            }
            draft.write(piece, cx.now)?;
            at += piece.len();
        }
    }
}
