//! A published item as its visitor sees it: locked, readable, and changeable in what is one word of it.

use super::classes::account_size;
use super::index::{Locked, Slot};
use super::inner::Inner;
use super::large;
use super::memory::item::{BASE64_KEY, Chunk, FETCHED, Layout, MAIN, PINNED, STALE, TOKEN_SENT};
use super::memory::patch::Patch;
use super::memory::{Ref, Stable, State};
use super::{Absence, Exptime, PIN_BYTES, Store};
use crate::clock::{Now, TICKS_PER_SECOND};
use crate::sync::Ordering;
use std::cell::Cell;

/// A published item, locked: readable, and changeable in what is one word of it.
pub struct Entry<'s> {
    store: &'s Store,
    /// The locked stripe, and the item's slot in it; `None` in a walk, where the class is locked instead.
    locked: Option<(&'s Locked<'s>, Slot)>,
    chunk: Chunk<'s>,
    stable: Stable<'s>,
    exptime: Exptime,
    layout: Layout,
    state: Cell<State>,
    /// What becomes of the item; its memory is given back when the stripe has been released.
    doomed: Option<&'s Cell<Fate>>,
}

/// A value as it can be read under the lock.
pub enum Value<'s> {
    /// Below [`PIN_BYTES`]: copy it.
    Inline(&'s [u8]),
    /// Larger: it was pinned, and can be read after the lock is gone.
    Pinned(Pinned),
}

impl<'s> Entry<'s> {
    /// The item in a found slot of a locked stripe.
    #[inline(always)]
    pub(super) fn locked(
        store: &'s Store,
        locked: &'s Locked<'s>,
        slot: Slot,
        name: Ref,
        stable: Stable<'s>,
        doomed: &'s Cell<Fate>,
    ) -> Entry<'s> {
        let chunk = Chunk::named(&store.inner().arena, name);
        let (exptime, layout) = chunk.shape();
        let state = Cell::new(chunk.state());
        Entry { store, locked: Some((locked, slot)), chunk, stable, exptime, layout, state, doomed: Some(doomed) }
    }

    /// An item met in a walk; its class (or the large store) is locked.
    pub(super) fn walked(store: &'s Store, name: Ref, stable: Stable<'s>) -> Entry<'s> {
        let chunk = Chunk::named(&store.inner().arena, name);
        let (exptime, layout) = chunk.shape();
        Entry { store, locked: None, chunk, stable, exptime, layout, state: Cell::new(chunk.state()), doomed: None }
    }

    #[inline]
    fn inner(&self) -> &'s Inner {
        self.store.inner()
    }

    /// Why the item must not be seen any more, if so.
    #[inline]
    pub(super) fn absence(&self, now: Now) -> Option<Absence> {
        if Inner::expired(self.exptime, now) {
            Some(Absence::Expired)
        } else if self.inner().is_flushed(self.state.get()) {
            Some(Absence::Flushed)
        } else {
            None
        }
    }

    /// Length of the value in bytes.
    #[inline]
    #[must_use]
    pub fn value_len(&self) -> usize {
        value_len(self.chunk, self.layout)
    }

    /// The value: borrowed when small, pinned when large.
    #[inline(always)]
    pub fn value(&self) -> Value<'_> {
        debug_assert!(self.locked.is_some(), "no walk asks for values");
        let len = self.layout.value_len;
        if len < PIN_BYTES && !self.layout.large {
            let bytes = self.inner().arena.bytes(self.chunk.offset + self.layout.value_at(), len, self.stable);
            return Value::Inline(bytes);
        }
        self.state.set(self.state.get().with(PINNED, true));
        Value::Pinned(pin(self.store, self.chunk, self.layout, self.state.get()))
    }

    /// The first bytes of the value: all of it unless it lies in several chunks.
    #[must_use]
    pub fn value_start(&self) -> &[u8] {
        debug_assert!(self.locked.is_some(), "no walk asks for values");
        let len = if self.layout.large { 0 } else { self.layout.value_len };
        self.inner().arena.bytes(self.chunk.offset + self.layout.value_at(), len, self.stable)
    }

    /// Whether the value may be read now. A large one has to wait while clients hold as much of item memory as they may; so ask this
    /// before the item is changed in any way.
    #[inline]
    #[must_use]
    pub fn may_be_read(&self) -> bool {
        let small = self.layout.value_len < PIN_BYTES && !self.layout.large;
        small || may_be_pinned(self.inner(), self.chunk, self.layout, self.state.get())
    }

    /// Copies the whole value to the end of `out`, whatever its size (append, arithmetic).
    pub fn copy_value(&self, out: &mut Vec<u8>) {
        let arena = &self.inner().arena;
        let mut copy = |offset, len| {
            out.extend_from_slice(arena.bytes(offset, len, self.stable));
            true
        };
        if self.layout.large {
            large::parts(arena, self.chunk, self.value_len(), copy);
        } else {
            copy(self.chunk.offset + self.layout.value_at(), self.layout.value_len);
        }
    }

    /// The key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &'s [u8] {
        self.inner().arena.bytes(self.chunk.offset + self.layout.key_at(), self.layout.key_len, self.stable)
    }

    /// Client flags.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u32 {
        if !self.layout.flags {
            return 0;
        }
        let bytes = self.inner().arena.bytes(self.chunk.offset + self.layout.flags_at(), 4, self.stable);
        bytes.try_into().map_or(0, u32::from_le_bytes)
    }

    /// CAS as clients see it (0 with `-C`).
    #[inline]
    #[must_use]
    pub fn cas(&self) -> u64 {
        if !self.inner().cas {
            return 0;
        }
        if !self.layout.wide {
            return self.state.get().sequence();
        }
        let bytes = self.inner().arena.bytes(self.chunk.offset + self.layout.wide_at(), 8, self.stable);
        bytes.try_into().map_or(0, u64::from_le_bytes)
    }

    /// Changes whenever the item is replaced or changed (touching apart): equal means still the same value. Unlike
    /// [`Entry::cas`] never chosen by a client and never hidden by `-C`.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.state.get().sequence()
    }

    /// Expiry.
    #[inline]
    #[must_use]
    pub fn exptime(&self) -> Exptime {
        self.exptime
    }

    /// Seconds since the last recorded access.
    #[inline]
    #[must_use]
    pub fn idle_seconds(&self, now: Now) -> u32 {
        now.ticks_since(self.chunk.time().load(Ordering::Relaxed)) / TICKS_PER_SECOND
    }

    /// Fetched at least once since stored.
    #[inline]
    #[must_use]
    pub fn fetched(&self) -> bool {
        self.state.get().has(FETCHED)
    }

    /// Marked stale by `md I` or `ms I`.
    #[inline]
    #[must_use]
    pub fn stale(&self) -> bool {
        self.state.get().has(STALE)
    }

    /// A winning token has been sent since it was stored.
    #[inline]
    #[must_use]
    pub fn token_sent(&self) -> bool {
        self.state.get().has(TOKEN_SENT)
    }

    /// Stored with a base64 key.
    #[inline]
    #[must_use]
    pub fn base64_key(&self) -> bool {
        self.state.get().has(BASE64_KEY)
    }

    /// Whether it has proved itself (memcached's WARM).
    #[must_use]
    pub fn proven(&self) -> bool {
        self.state.get().has(MAIN)
    }

    /// Slab class number, from 1.
    #[must_use]
    pub fn class(&self) -> u32 {
        let owner = self.inner().facts.owner(self.inner().arena.page_of(self.chunk.name()));
        if self.layout.large { self.inner().classes.large } else { owner }
    }

    /// Item size by memcached's account (section 1.1), for `me`, dumps and `stats sizes`.
    #[must_use]
    pub fn account_size(&self) -> usize {
        account_size(self.layout.key_len, self.value_len(), self.layout.flags, self.inner().cas)
    }

    #[inline]
    fn set_state(&self, state: State) {
        if state != self.state.get() {
            self.state.set(state);
            self.chunk.set_state(state);
        }
    }

    /// Records an access: marks the item fetched and recently used.
    #[inline]
    pub fn bump(&mut self, now: Now) {
        let proven = self.state.get().with(FETCHED, true).with(MAIN, true);
        let time = self.chunk.time();
        // So the line of a hot item is written once a tick, and not at every hit.
        if proven != self.state.get() || time.load(Ordering::Relaxed) != now.ticks {
            self.set_state(proven);
            time.store(now.ticks, Ordering::Relaxed);
        }
    }

    /// Counts as recently used without having been fetched (`add` on an existing item).
    pub fn refresh(&mut self, now: Now) {
        self.set_state(self.state.get().with(MAIN, true));
        self.chunk.time().store(now.ticks, Ordering::Relaxed);
    }

    /// Sets a new expiry in place.
    pub fn touch(&mut self, exptime: Exptime) {
        if exptime != self.exptime {
            let earlier = exptime != 0 && (self.exptime == 0 || exptime < self.exptime);
            self.exptime = exptime;
            self.chunk.set_shape(exptime, &self.layout);
            if earlier {
                self.inner().expiry.note_touch(self.chunk.offset, exptime);
            }
        }
    }

    /// Remembers that a winning token was sent (`W`).
    pub fn mark_token_sent(&mut self) {
        self.set_state(self.state.get().with(TOKEN_SENT, true));
    }

    /// `md I` without `E`: marks stale, clears the token mark, draws a new CAS; in place. `false` when the item carries a CAS that a
    /// client chose: then it must be stored anew.
    #[must_use]
    pub fn mark_stale(&mut self) -> bool {
        if self.layout.wide {
            return false;
        }
        let state = self.state.get().with(STALE, true).with(TOKEN_SENT, false);
        self.set_state(state.with_sequence(self.inner().draw()));
        true
    }

    /// Puts `bytes` in the place of those at `at` in the value and draws a new CAS, in place. `false`, and nothing has changed, when that
    /// cannot be done so that a death at any moment leaves the item whole: then it must be stored anew.
    #[inline(always)]
    #[must_use]
    pub fn overwrite(&mut self, at: usize, bytes: &[u8], now: Now) -> bool {
        let Layout { value_len, large, wide, .. } = self.layout;
        // A large value may be read by others, a CAS that the client chose would have to change in the same store.
        if self.locked.is_none() || large || wide || value_len >= PIN_BYTES || at + bytes.len() > value_len {
            return false;
        }
        let value_at = self.chunk.offset + self.layout.value_at();
        let Some(patch) = Patch::around(value_at + at, bytes.len(), value_at) else { return false };
        // The new CAS first: between the two stores it stands for the old value, which nobody has seen under it.
        self.set_state(self.state.get().with_sequence(self.inner().draw()));
        self.inner().arena.put(patch, bytes);
        self.chunk.time().store(now.ticks, Ordering::Relaxed);
        true
    }

    /// Removes the item.
    #[inline]
    pub fn remove(self) {
        let Some((locked, slot)) = self.locked else { return };
        let name = self.chunk.name();
        locked.remove(slot, name);
        if let Some(doomed) = self.doomed {
            doomed.set(Fate::Gone(self.store.inner().unpublish(name)));
        }
    }
}

// What is rare in a read stands outside of [`Entry`], so that the compiler can keep all of one in registers.

#[inline]
fn value_len(chunk: Chunk<'_>, layout: Layout) -> usize {
    if layout.large { chunk.large_len() as usize } else { layout.value_len }
}

/// Pins a value, whose mark is in `state` already.
#[cold]
fn pin(store: &Store, chunk: Chunk<'_>, layout: Layout, state: State) -> Pinned {
    let inner = store.inner();
    let len = value_len(chunk, layout);
    inner.pins.pin(chunk.name(), len, &inner.holdings);
    chunk.set_state(state);
    Pinned { store: store.clone(), name: chunk.name(), layout, len }
}

#[cold]
fn may_be_pinned(inner: &Inner, chunk: Chunk<'_>, layout: Layout, state: State) -> bool {
    inner.is_pinned(chunk.name(), state) || inner.may_hold(value_len(chunk, layout))
}

/// What a visit did to the item.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Fate {
    /// It is still there.
    #[default]
    Stays,
    /// It was removed; the name is to be given back, unless a reader holds it.
    Gone(Option<Ref>),
}

/// Bytes of a large value that stay readable until this is dropped, even when the item is deleted meanwhile.
pub struct Pinned {
    store: Store,
    name: Ref,
    layout: Layout,
    len: usize,
}

impl Pinned {
    /// Length of the value in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value's bytes from `offset` on, up to the end of the chunk they lie in; empty at the end of the value.
    #[must_use]
    pub fn slice_at(&self, offset: usize) -> &[u8] {
        let arena = &self.store.inner().arena;
        let stable = Stable::from_guard(self);
        let chunk = Chunk::named(arena, self.name);
        if !self.layout.large {
            let start = offset.min(self.len);
            return arena.bytes(chunk.offset + self.layout.value_at() + start, self.len - start, stable);
        }
        let (mut skip, mut found): (usize, &[u8]) = (offset, &[]);
        large::parts(arena, chunk, self.len, |at, len| {
            if skip < len {
                found = arena.bytes(at + skip, len - skip, stable);
                return false;
            }
            skip -= len;
            true
        });
        found
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let inner = self.store.inner();
        if inner.pins.unpin(self.name, &inner.holdings) {
            inner.free(self.name);
        }
    }
}

impl std::fmt::Debug for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned").field("name", &self.name).field("len", &self.len).finish_non_exhaustive()
    }
}
