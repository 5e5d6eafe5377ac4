//! An item being filled: memory that nobody else can see. Becoming visible ([`super::Store::commit`]) takes the draft.

use super::inner::Inner;
use super::large::{self, order_for, piece_size};
use super::memory::arena::Owner;
use super::memory::item::{BODY_HEADER, Chunk, Layout};
use super::memory::{Kind, Ref, Stable};
use super::{Exptime, KeyHash, Refused, Shape, Store, classes};
use crate::clock::Now;
use crate::sync::lock;

/// So much of a value that arrives is taken piece by piece; what is longer waits until there is room for all of the rest, so that clients
/// which each hold a part of theirs do not wait for each other.
const BEGINNING_BYTES: usize = 64 << 10;

/// An item being filled: nobody else can see it. Dropped without a commit, its memory goes back.
pub struct Draft {
    store: Store,
    owner: Owner,
    pub(super) hash: KeyHash,
    layout: Layout,
    value_len: usize,
    written: usize,
    /// Its value is on its way from a client: memory is taken as it arrives, and all of it counts as held by that client.
    arriving: bool,
    /// Bytes counted so.
    held: usize,
    /// All of it is counted already, also what has not been taken yet.
    admitted: bool,
    /// Of a large draft: the piece being filled, where in it the next byte goes, and where it ends.
    piece: Ref,
    piece_at: usize,
    piece_end: usize,
    pub(super) shape: Shape,
}

impl Draft {
    /// Takes memory for an item and writes all but its value.
    /// `arriving`: the value is on its way from a client.
    pub(super) fn new(
        store: &Store,
        key: &[u8],
        hash: KeyHash,
        shape: &Shape,
        arriving: bool,
        now: Now,
    ) -> Result<Draft, Refused> {
        let inner = store.inner();
        let account = classes::account_size(key.len(), shape.value_len, shape.flags != 0, inner.cas);
        if account > inner.item_size_max {
            return Err(Refused::TooLarge);
        }
        let mut layout = Layout {
            key_len: key.len(),
            value_len: shape.value_len,
            large: false,
            flags: shape.flags != 0,
            wide: shape.chosen_cas.is_some(),
        };
        let offset = match inner.classes.class_for(layout.total(), account) {
            Some(class) => inner.take_chunk(class, layout.total(), !shape.renews, now),
            None => Draft::take_large(inner, &mut layout, shape, arriving, now),
        }
        .ok_or(Refused::NoMemory)?;
        let chunk = Chunk::at(&inner.arena, offset);
        chunk.set_shape(shape.exptime, &layout);
        inner.expiry.note(offset, shape.exptime);
        let end = if layout.large { piece_size(&inner.arena, order_of(&layout)) } else { layout.total() };
        let mut draft = Draft {
            store: store.clone(),
            owner: Owner(chunk.name()),
            hash,
            layout,
            value_len: shape.value_len,
            written: 0,
            arriving,
            held: 0,
            admitted: false,
            piece: chunk.name(),
            piece_at: offset + layout.value_at(),
            piece_end: offset + end,
            shape: *shape,
        };
        draft.write_parts(offset, key);
        draft.hold(end);
        Ok(draft)
    }

    fn take_large(inner: &Inner, layout: &mut Layout, shape: &Shape, arriving: bool, now: Now) -> Option<usize> {
        layout.large = true;
        let total = layout.value_at() + shape.value_len;
        let order = if arriving { 0 } else { order_for(&inner.arena, total) };
        let offset = inner.take_piece(order, Kind::Draft, now)?;
        layout.value_len = order as usize;
        let chunk = Chunk::at(&inner.arena, offset);
        chunk.set_large_len(u32::try_from(shape.value_len).ok()?);
        chunk.set_large_next(Ref(0));
        let mut large = lock(&inner.large);
        large.counts.requested += total as u64;
        large.counts.total += u64::from(!shape.renews);
        // In the ring from now on, since it cannot be put there under the stripe; the hand passes drafts by.
        large.link(&inner.arena, chunk.name());
        Some(offset)
    }

    /// Counts memory as held by the client whose value this is.
    fn hold(&mut self, bytes: usize) {
        if self.arriving && !self.admitted {
            self.held += bytes;
            self.store.inner().holdings.add(bytes);
        }
    }

    /// Whether the next piece belongs to the beginning of the value, of which many clients may each hold one.
    fn is_beginning(&self) -> bool {
        self.written + self.piece_wanted() <= BEGINNING_BYTES
    }

    /// Bytes of the next piece, headers included: what is left; or, while it is on its way, at most as much as has come. So a client
    /// that announces much and sends little holds little.
    fn piece_wanted(&self) -> usize {
        let rest = self.remaining() + BODY_HEADER;
        if self.arriving { rest.min(self.written.max(1)) } else { rest }
    }

    /// Whether the rest of the value fits what was taken already.
    #[must_use]
    pub fn in_last_piece(&self) -> bool {
        self.remaining() <= self.piece_end - self.piece_at
    }

    /// Whether the next byte needs memory that clients may not have now, because they hold so much already.
    #[must_use]
    pub fn must_wait(&self) -> bool {
        let needs_piece = self.piece_at == self.piece_end && self.remaining() > 0;
        if !self.arriving || self.admitted || !needs_piece {
            return false;
        }
        let inner = self.store.inner();
        if self.is_beginning() { !inner.may_begin(self.piece_wanted()) } else { !inner.may_hold(self.remaining()) }
    }

    /// Flags, wide CAS and key.
    fn write_parts(&mut self, offset: usize, key: &[u8]) {
        let (layout, shape) = (self.layout, self.shape);
        let arena = &self.store.inner().arena;
        let from = layout.flags_at();
        let parts = arena.bytes_mut(offset + from, layout.value_at() - from, &mut self.owner);
        if layout.flags {
            parts[..4].copy_from_slice(&shape.flags.to_le_bytes());
        }
        if let Some(cas) = shape.chosen_cas {
            parts[layout.wide_at() - from..][..8].copy_from_slice(&cas.to_le_bytes());
        }
        parts[layout.key_at() - from..].copy_from_slice(key);
    }

    /// Name of the (head) chunk.
    pub(super) fn name(&self) -> Ref {
        self.owner.0
    }
    /// Whether the item is a large one.
    pub(super) fn is_large(&self) -> bool {
        self.layout.large
    }
    /// The item's key.
    pub(super) fn key(&self) -> &[u8] {
        let arena = &self.store.inner().arena;
        let offset = arena.offset(self.name());
        arena.bytes(offset + self.layout.key_at(), self.layout.key_len, Stable::from_guard(self))
    }

    /// Bytes of the value still to be written.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.value_len - self.written
    }

    /// Appends what was written of the value to `copy`.
    pub fn copy_written(&self, copy: &mut Vec<u8>) {
        let arena = &self.store.inner().arena;
        let stable = Stable::from_guard(self);
        if self.is_large() {
            large::parts(arena, Chunk::named(arena, self.name()), self.written, |offset, len| {
                copy.extend_from_slice(arena.bytes(offset, len, stable));
                true
            });
        } else {
            let offset = arena.offset(self.name()) + self.layout.value_at();
            copy.extend_from_slice(arena.bytes(offset, self.written, stable));
        }
    }

    /// The next bytes to fill, never empty while [`Draft::remaining`] is not 0; large values get their memory here, piece by piece.
    ///
    /// # Errors
    /// When no memory can be had for the next piece: none at all, or none for clients now.
    pub fn spare(&mut self, now: Now) -> Result<&mut [u8], Refused> {
        if self.piece_at == self.piece_end && self.remaining() > 0 {
            self.next_piece(now)?;
        }
        let len = self.remaining().min(self.piece_end - self.piece_at);
        Ok(self.store.inner().arena.bytes_mut(self.piece_at, len, &mut self.owner))
    }

    fn next_piece(&mut self, now: Now) -> Result<(), Refused> {
        if self.must_wait() {
            return Err(Refused::Later);
        }
        if !self.is_beginning() {
            // From here on it is sure to get done, if only the client sends the rest.
            self.hold(self.remaining());
            self.admitted = true;
        }
        let inner = self.store.inner();
        let order = order_for(&inner.arena, self.piece_wanted());
        let offset = inner.take_piece(order, Kind::Body, now).ok_or(Refused::NoMemory)?;
        let piece = Chunk::at(&inner.arena, offset);
        piece.set_body(self.name(), Ref(0));
        let before = Chunk::named(&inner.arena, self.piece);
        if self.piece == self.name() {
            before.set_large_next(piece.name());
        } else {
            before.set_body(self.name(), piece.name());
        }
        self.piece = piece.name();
        self.piece_at = offset + BODY_HEADER;
        let size = piece_size(&inner.arena, order);
        self.piece_end = offset + size;
        self.hold(size);
        Ok(())
    }

    /// Says that the first `n` bytes of [`Draft::spare`] have been written.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.remaining() && n <= self.piece_end - self.piece_at, "no more than was spare");
        self.written += n;
        self.piece_at += n;
    }

    /// Copies as much of `bytes` as still fits.
    ///
    /// # Errors
    /// When no memory can be had for the next piece.
    pub fn write(&mut self, mut bytes: &[u8], now: Now) -> Result<(), Refused> {
        while !bytes.is_empty() && self.remaining() > 0 {
            let spare = self.spare(now)?;
            let n = spare.len().min(bytes.len());
            spare[..n].copy_from_slice(&bytes[..n]);
            self.advance(n);
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Writes all of this draft's value behind what `other` holds (append of an uploaded value).
    ///
    /// # Errors
    /// When no memory can be had for it.
    pub fn copy_to(&self, other: &mut Draft, now: Now) -> Result<(), Refused> {
        let arena = &self.store.inner().arena;
        let chunk = Chunk::named(arena, self.name());
        let stable = Stable::from_guard(self);
        if !self.layout.large {
            return other.write(arena.bytes(chunk.offset + self.layout.value_at(), self.written, stable), now);
        }
        let mut copied = Ok(());
        large::parts(arena, chunk, self.written, |offset, len| {
            copied = other.write(arena.bytes(offset, len, stable), now);
            copied.is_ok()
        });
        copied
    }

    /// Length of the whole value.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.value_len
    }

    /// Expiry.
    #[must_use]
    pub const fn exptime(&self) -> Exptime {
        self.shape.exptime
    }

    /// Sets another expiry than the one it was reserved with (`ms I` keeps the old item's).
    pub fn set_exptime(&mut self, exptime: Exptime) {
        let inner = self.store.inner();
        self.shape.exptime = exptime;
        let chunk = Chunk::named(&inner.arena, self.name());
        chunk.set_shape(exptime, &self.layout);
        inner.expiry.note(chunk.offset, exptime);
    }

    /// Slab class number.
    #[must_use]
    pub fn class(&self) -> u32 {
        let inner = self.store.inner();
        if self.layout.large { inner.classes.large } else { inner.facts.owner(inner.arena.page_of(self.name())) }
    }

    /// The chunk is a published item now: the draft must not give it back.
    pub(super) fn published(mut self) {
        self.owner.0 = Ref(0);
    }
}

fn order_of(layout: &Layout) -> u32 {
    u32::try_from(layout.value_len).unwrap_or(0)
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.held > 0 {
            self.store.inner().holdings.sub(self.held);
        }
        if self.name() == Ref(0) {
            return;
        }
        let inner = self.store.inner();
        if self.layout.large {
            let mut large = lock(&inner.large);
            large.counts.total -= u64::from(!self.shape.renews);
            inner.free_large(&mut large, self.name());
        } else {
            let class = self.class() as usize - 1;
            let mut class = lock(&inner.slabs[class]);
            class.counts.total -= u64::from(!self.shape.renews);
            inner.free_small(&mut class, self.name());
        }
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("name", &self.name()).field("written", &self.written).finish_non_exhaustive()
    }
}
