//! An item in its chunk, byte by byte.
//!
//! ```text
//! 0        4        8                16       20
//! ┌────────┬────────┬────────────────┬────────┬─[12]───┬─[4]────┬─[8]──────┬─────┬───────┐
//! │exptime │ shape  │ cas 48 state 16│  time  │ large  │ flags  │ wide cas │ key │ value │
//! └────────┴────────┴────────────────┴────────┴────────┴────────┴──────────┴─────┴───────┘
//! ```
//!
//! - *exptime*: unix seconds, 0 for never. *shape*: value length 21 bits, key length 8, three bits that say which of
//!   the bracketed parts are there. The two are one word, so a touch is one store.
//! - *cas* and *state* are one word: publishing, unpublishing and every mark is one store of it ([`State`]).
//! - *time*: last recorded access in ticks (1/32 s). In a free chunk: the next free chunk of the page.
//! - *large*: value length 32, place in the ring of large items 32, first body piece 32. Then `value length` of the shape holds the
//!   head piece's order.
//! - *flags*: client flags, when not 0. *wide cas*: the CAS a client chose.
//!
//! A body piece of a large item has a header of 16 bytes: owner and next piece in place of exptime and shape, and
//! the state word, with the piece's order in place of the CAS.

use super::{Arena, Ref};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Bytes before the parts that not every item has.
pub const HEADER: usize = 20;
/// Bytes of a body piece before its data.
pub const BODY_HEADER: usize = 16;
const LARGE_PART: usize = 12;
const FLAGS_PART: usize = 4;
const WIDE_PART: usize = 8;

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody's. Also what memory that was never written says.
    Free,
    /// Taken, not (or no longer) to be found: being filled, being freed, or waiting for its last reader.
    Draft,
    /// A published item.
    Item,
    /// A further piece of a large item.
    Body,
}

/// The state word: sequence number (also the CAS) in the upper 48 bits, kind and marks in the lower 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(pub u64);

/// A mark of the state word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// Fetched at least once since stored.
pub const FETCHED: Mark = Mark(1 << 2);
/// Stale (`md I`, `ms I`).
pub const STALE: Mark = Mark(1 << 3);
/// A winning token has been sent.
pub const TOKEN_SENT: Mark = Mark(1 << 4);
/// Stored with a base64 key.
pub const BASE64_KEY: Mark = Mark(1 << 5);
/// Somebody reads the value without a lock; the memory waits for them.
pub const PINNED: Mark = Mark(1 << 6);
/// Never evicted, only expired (`temporary_ttl`).
pub const TEMPORARY: Mark = Mark(1 << 7);
/// Proved itself: was hit, or replaced an item that was.
pub const MAIN: Mark = Mark(1 << 8);

impl State {
    /// The state of a chunk of this kind with no marks and no sequence number.
    #[must_use]
    pub const fn of(kind: Kind) -> State {
        State(match kind {
            Kind::Free => 0,
            Kind::Draft => 1,
            Kind::Item => 2,
            Kind::Body => 3,
        })
    }

    /// What the chunk is.
    #[inline]
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.0 & 3 {
            0 => Kind::Free,
            1 => Kind::Draft,
            2 => Kind::Item,
            _ => Kind::Body,
        }
    }

    /// The sequence number, 48 bits.
    #[inline]
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.0 >> 16
    }

    /// The same state with another sequence number.
    #[must_use]
    pub const fn with_sequence(self, sequence: u64) -> State {
        State(self.0 & 0xffff | sequence << 16)
    }

    /// Whether the mark is set.
    #[inline]
    #[must_use]
    pub const fn has(self, mark: Mark) -> bool {
        self.0 & mark.0 != 0
    }

    /// The same state with the mark set or cleared.
    #[inline]
    #[must_use]
    pub const fn with(self, mark: Mark, set: bool) -> State {
        State(if set { self.0 | mark.0 } else { self.0 & !mark.0 })
    }
}

/// Where in its chunk the parts of an item lie: decoded from the first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the key, 1..=250.
    pub key_len: usize,
    /// Bytes of the value; of a large item the order of its head piece.
    pub value_len: usize,
    /// A large item, in several pieces.
    pub large: bool,
    /// Client flags are stored.
    pub flags: bool,
    /// A CAS that the client chose is stored.
    pub wide: bool,
}

impl Layout {
    /// Offset of the client flags in the chunk, where stored.
    #[inline]
    #[must_use]
    pub const fn flags_at(&self) -> usize {
        HEADER + if self.large { LARGE_PART } else { 0 }
    }
    /// Offset of the wide CAS, where stored.
    #[inline]
    #[must_use]
    pub const fn wide_at(&self) -> usize {
        self.flags_at() + if self.flags { FLAGS_PART } else { 0 }
    }
    /// Offset of the key.
    #[inline]
    #[must_use]
    pub const fn key_at(&self) -> usize {
        self.wide_at() + if self.wide { WIDE_PART } else { 0 }
    }
    /// Offset of the value's first byte.
    #[inline]
    #[must_use]
    pub const fn value_at(&self) -> usize {
        self.key_at() + self.key_len
    }
    /// Bytes of the whole item, for an item that is not large.
    #[inline]
    #[must_use]
    pub const fn total(&self) -> usize {
        self.value_at() + self.value_len
    }

    /// The shape half of the first word.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "lengths are bounded: value below 2^21 here, key at most 250")]
    pub const fn pack(&self) -> u32 {
        debug_assert!(self.value_len < 1 << 21 && self.key_len < 256, "fields fit");
        (self.value_len as u32) << 11
            | (self.key_len as u32) << 3
            | (self.large as u32) << 2
            | (self.flags as u32) << 1
            | self.wide as u32
    }

    /// The inverse of [`Layout::pack`].
    #[inline]
    #[must_use]
    pub const fn unpack(shape: u32) -> Layout {
        Layout {
            value_len: (shape >> 11) as usize,
            key_len: (shape >> 3 & 0xff) as usize,
            large: shape & 4 != 0,
            flags: shape & 2 != 0,
            wide: shape & 1 != 0,
        }
    }
}

/// Access to the header words of the chunk at an offset. Words are atomics, so any chunk may be looked at any time; what they say is
/// reliable under the locks that the functions of the store hold.
#[derive(Clone, Copy)]
pub struct Chunk<'a> {
    arena: &'a Arena,
    /// The first two words: expiry and shape; state.
    header: &'a [AtomicU64; 2],
    /// The chunk's offset in the arena.
    pub offset: usize,
}

impl<'a> Chunk<'a> {
    /// The chunk that begins at `offset`.
    #[inline]
    #[must_use]
    pub fn at(arena: &'a Arena, offset: usize) -> Chunk<'a> {
        Chunk { arena, header: arena.header(offset), offset }
    }

    /// The chunk that `name` names.
    #[inline]
    #[must_use]
    pub fn named(arena: &'a Arena, name: Ref) -> Chunk<'a> {
        Chunk::at(arena, arena.offset(name))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> Ref {
        self.arena.name(self.offset)
    }

    fn first(&self) -> &'a AtomicU64 {
        &self.header[0]
    }

    /// The state word.
    #[inline]
    #[must_use]
    pub fn state(&self) -> State {
        State(self.state_word().load(Ordering::Acquire))
    }

    /// Stores the state word: everything written to the chunk before is seen by whoever sees this.
    #[inline]
    pub fn set_state(&self, state: State) {
        if super::alive() {
            self.state_word().store(state.0, Ordering::Release);
        }
    }

    fn state_word(&self) -> &'a AtomicU64 {
        &self.header[1]
    }

    /// Last recorded access in ticks; in a free chunk the next free one.
    #[inline]
    #[must_use]
    pub fn time(&self) -> &'a AtomicU32 {
        self.arena.word32(self.offset + 16)
    }

    /// Expiry and layout.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "two halves of a word")]
    pub fn shape(&self) -> (u32, Layout) {
        let word = self.first().load(Ordering::Relaxed);
        (word as u32, Layout::unpack((word >> 32) as u32))
    }

    /// Writes expiry and layout.
    pub fn set_shape(&self, exptime: u32, layout: &Layout) {
        if super::alive() {
            self.first().store(u64::from(layout.pack()) << 32 | u64::from(exptime), Ordering::Relaxed);
        }
    }

    /// Of a large item: the length of its value.
    #[must_use]
    pub fn large_len(&self) -> u32 {
        self.arena.word32(self.offset + HEADER).load(Ordering::Relaxed)
    }
    /// Sets it.
    pub fn set_large_len(&self, len: u32) {
        if super::alive() {
            self.arena.word32(self.offset + HEADER).store(len, Ordering::Relaxed);
        }
    }
    /// Of a large item: its bytes, those of its head with key and of its value.
    #[must_use]
    pub fn large_total(&self) -> usize {
        self.shape().1.value_at() + self.large_len() as usize
    }
    /// Of a large item: its place in the ring of large items.
    #[must_use]
    pub fn large_slot(&self) -> &'a AtomicU32 {
        self.arena.word32(self.offset + HEADER + 4)
    }
    /// Of a large item's head: its first body piece, or 0.
    #[must_use]
    pub fn large_next(&self) -> Ref {
        Ref(self.arena.word32(self.offset + HEADER + 8).load(Ordering::Acquire))
    }
    /// Sets the first body piece.
    pub fn set_large_next(&self, next: Ref) {
        if super::alive() {
            self.arena.word32(self.offset + HEADER + 8).store(next.0, Ordering::Release);
        }
    }

    /// Of a body piece: owner and next piece (0 for none).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "two halves of a word")]
    pub fn body(&self) -> (Ref, Ref) {
        let word = self.first().load(Ordering::Relaxed);
        (Ref(word as u32), Ref((word >> 32) as u32))
    }
    /// Writes owner and next piece.
    pub fn set_body(&self, owner: Ref, next: Ref) {
        if super::alive() {
            self.first().store(u64::from(next.0) << 32 | u64::from(owner.0), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_survives_packing() {
        for (value_len, key_len, bits) in [(0, 1, 0), (1, 250, 7), ((1 << 21) - 1, 250, 5), (512, 24, 2)] {
            let layout = Layout { key_len, value_len, large: bits & 4 != 0, flags: bits & 2 != 0, wide: bits & 1 != 0 };
            assert_eq!(Layout::unpack(layout.pack()), layout);
        }
    }

    #[test]
    fn a_plain_item_costs_twenty_bytes() {
        let layout = Layout { key_len: 24, value_len: 100, large: false, flags: false, wide: false };
        assert_eq!(layout.total(), 20 + 24 + 100);
    }

    #[test]
    fn marks_and_sequence_do_not_touch_each_other() {
        let state = State::of(Kind::Item).with_sequence((1 << 48) - 1).with(STALE, true);
        assert_eq!(state.kind(), Kind::Item);
        assert_eq!(state.sequence(), (1 << 48) - 1);
        assert!(state.has(STALE) && !state.has(PINNED));
        assert!(!state.with(STALE, false).has(STALE));
    }
}
