//! The store: from key to item, in a bounded amount of memory.
//!
//! [`Store`] is the face; everything else in this folder is behind it. Callers hash a key once ([`Store::hash`]), may
//! prefetch, and then either look at an item under its lock ([`Store::lookup`]) or fill a private [`Draft`] and link it
//! ([`Store::reserve`], [`Store::commit`]). An item that is being filled and an item that everybody sees are different types.
//!
//! - [`memory`]: the arena and what an item looks like in it; the only `unsafe` of the store.
//! - [`index`]: from hash to item; `hash.rs`: the keyed hash.
//! - `classes.rs`, `slabs.rs`, `large.rs`, `pool.rs`: chunk sizes, chunks of one size, pieces of large items, pages of nobody.
//! - `entry.rs`, `draft.rs`, `pins.rs`: an item seen under its lock, one being filled, one read without a lock.
//! - `rank.rs`, `evict.rs`: who leaves first, making room; `expiry.rs`, `maintain.rs`: finding what is over, background steps;
//!   `reassign.rs`: a page moved on demand; `huge.rs`: what is full becomes huge pages.
//! - `restart.rs`, `scan.rs`: memory that outlives the process, and rebuilding all this from its pages.
//! - `walk.rs`, `check.rs`, `tally.rs`: dumps, invariants, statistics.
//! - `inner.rs`: what they share, and the order of locks.
//!
//! Times come in as [`Now`]; the store asks no clock and starts no thread: background work is
//! [`Store::maintain`], called by whoever owns the threads.

mod check;
mod classes;
mod draft;
mod entry;
mod evict;
mod expiry;
mod hash;
mod huge;
pub mod index;
mod inner;
mod large;
mod maintain;
pub mod memory;
mod pins;
mod pool;
mod rank;
mod reassign;
mod restart;
mod scan;
mod slabs;
mod tally;
#[cfg(test)]
mod tests;
mod walk;

pub use draft::Draft;
pub use entry::{Entry, Pinned, Value};
pub use index::{KeyHash, Spot};
pub use memory::Trouble;
pub use memory::superblock::{BootId, Summary, is_arena};
pub use reassign::Reassign;
pub use restart::{Kept, Recovery};
pub use tally::{ClassStats, Totals};
pub use walk::Cursor;

use crate::clock::Now;
use crate::logger::Logger;
use crate::sync::{Arc, Ordering};
use entry::Fate;
use index::Locked;
use inner::Inner;
use memory::item::{BASE64_KEY, Chunk, FETCHED, MAIN, STALE, TEMPORARY, TOKEN_SENT};
use memory::{Kind, Stable, State};
use std::cell::Cell;

/// Expiry as the store keeps it: unix seconds, 0 for never, [`EXPIRED`] for "already over".
pub type Exptime = u32;

/// An exptime that is in the past for every clock.
pub const EXPIRED: Exptime = 1;

/// Values of at least this many bytes are pinned and sent from item memory rather than copied under the lock.
pub const PIN_BYTES: usize = 8 * 1024;

/// What the operator decides about memory (sections 9, 10 and 14 of the reference).
#[derive(Clone, Debug)]
pub struct Config {
    /// `-m` in bytes: bound of item pages and index together.
    pub memory_bytes: u64,
    /// `-I` in bytes, 1 KiB to 1 GiB, by memcached's account of an item's size.
    pub item_size_max: usize,
    /// Slab classes.
    pub slabs: SlabTable,
    /// `slab_chunk_max` in bytes, used with memcached's own table only.
    pub slab_chunk_max: usize,
    /// `-M` not given.
    pub evict: bool,
    /// `-C` not given. Only changes what clients are shown and the size account.
    pub cas: bool,
    /// `temporary_ttl` in seconds, if items of at most that TTL are never evicted.
    pub temporary_ttl: Option<u32>,
    /// `slab_reassign`: whether pages may move between classes.
    pub page_moves: bool,
    /// `-L`: take all memory at start.
    pub preallocate: bool,
    /// Key of the hash; random in production, fixed in tests.
    pub seed: u64,
}

impl Config {
    /// What it is without any option but `-m`, in bytes; `seed` is the key of the hash.
    #[must_use]
    pub const fn with_memory(memory_bytes: u64, seed: u64) -> Config {
        Config {
            memory_bytes,
            item_size_max: 1 << 20,
            slabs: SlabTable::Fine,
            slab_chunk_max: 512 << 10,
            evict: true,
            cas: true,
            temporary_ttl: None,
            page_moves: true,
            preallocate: false,
            seed,
        }
    }
}

/// Which chunk sizes there are.
#[derive(Clone, Debug)]
pub enum SlabTable {
    /// memhold's own: 16 and more sizes per doubling.
    Fine,
    /// memcached's: from `48 + min` by `factor` (`-n`, `-f`).
    Factor {
        /// `-n`, bytes.
        min: usize,
        /// `-f`, above 1.
        factor: f64,
    },
    /// `slab_sizes`: exactly these, ascending.
    Sizes(Vec<usize>),
}

/// Why a lookup found nothing (the watcher's and `get_expired`'s distinction).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// No such key.
    NotFound,
    /// It was there and had expired; it is gone now.
    Expired,
    /// It was there and had been flushed; it is gone now.
    Flushed,
}

/// What [`Store::lookup`] shows its visitor.
pub enum Lookup<'s> {
    /// The item, locked for the length of the visit.
    Found(Entry<'s>),
    /// Nothing, and why.
    Absent(Absence),
}

/// Why no draft could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Larger than the item size limit.
    TooLarge,
    /// Nothing could be freed for it.
    NoMemory,
    /// Clients hold as much of item memory as they may: when others have let go.
    Later,
}

/// What a new item is to be.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Client flags.
    pub flags: u32,
    /// Expiry.
    pub exptime: Exptime,
    /// Bytes of the value.
    pub value_len: usize,
    /// The key came as base64 (`ms b`).
    pub base64_key: bool,
    /// The client chooses the CAS (`E`).
    pub chosen_cas: Option<u64>,
    /// Takes the place of an item whose bytes memcached changes where they are (arithmetic, marking stale), and so is not
    /// counted as stored.
    pub renews: bool,
}

/// What the visitor of [`Store::commit`] decides when it has seen what is there.
pub enum Decision<R> {
    /// Link the draft, replacing what is there.
    Link(Marks),
    /// Do not; the draft is dropped.
    Refuse(R),
}

/// Marks of a freshly linked item.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    /// Linked stale (`ms I`, `md I x`).
    pub stale: bool,
    /// Keep the token mark.
    pub token_sent: bool,
    /// Linked as already fetched (`mg N`, arithmetic).
    pub fetched: bool,
}

/// The store. Cheap to clone; all clones are the same store.
///
/// A clone counts references in memory that it shares with its original, so that a worker that clones its own handle
/// all day (drafts, pinned values) does not pull a cache line back and forth between processors: give each thread its own by
/// [`Store::for_thread`].
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

struct Handle(Arc<Inner>);

impl Store {
    /// Makes an empty store.
    ///
    /// # Errors
    /// When the address space or the memory cannot be had; the text says what to do.
    pub fn open(config: &Config) -> Result<Store, String> {
        let inner = Inner::new(config)?;
        inner.classes.tell();
        Ok(Store { handle: Arc::new(Handle(Arc::new(inner))) })
    }

    /// A handle on the same store for another thread.
    #[must_use]
    pub fn for_thread(&self) -> Store {
        Store { handle: Arc::new(Handle(self.handle.0.clone())) }
    }

    #[inline]
    fn inner(&self) -> &Inner {
        &self.handle.0
    }

    /// The key's hash, under the store's own secret.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        self.inner().hasher.hash(key)
    }

    /// Where a key with this hash is to be looked for.
    #[must_use]
    pub fn spot(&self, hash: KeyHash) -> Spot {
        self.inner().index.spot(hash)
    }

    /// Where a key with this hash is to be looked for; starts loading its index bucket.
    #[inline]
    #[must_use]
    pub fn prefetch_bucket(&self, hash: KeyHash) -> Spot {
        let spot = self.inner().index.spot(hash);
        self.inner().index.prefetch(&spot);
        spot
    }

    /// Starts loading the item that the bucket (loaded by now) names. False when it names none and [`Store::prefetch_item_away`] may know
    /// of one: its bucket has begun to load.
    #[inline]
    #[must_use]
    pub fn prefetch_item(&self, spot: &Spot) -> bool {
        let inner = self.inner();
        let Some(name) = inner.index.peek(spot) else { return !inner.index.prefetch_alternate(spot) };
        inner.arena.prefetch(name);
        true
    }

    /// Starts loading the item that the alternate bucket (loaded by now) names.
    #[inline]
    pub fn prefetch_item_away(&self, spot: &Spot) {
        let inner = self.inner();
        if let Some(name) = inner.index.peek_away(spot) {
            inner.arena.prefetch(name);
        }
    }

    /// Looks `key` up and calls `visit` once, under the key's lock. Expired and flushed items are removed first.
    /// `visit` must not call the store.
    #[inline]
    pub fn lookup<R>(&self, key: &[u8], hash: KeyHash, now: Now, visit: impl FnOnce(Lookup<'_>) -> R) -> R {
        let inner = self.inner();
        inner.fire_flush(now);
        let locked = inner.index.lock(hash);
        let fate = Cell::new(Fate::Stays);
        let result = visit(match self.alive(&locked, key, now, &fate) {
            Ok(entry) => Lookup::Found(entry),
            Err(absence) => Lookup::Absent(absence),
        });
        drop(locked);
        self.finish(fate.get());
        result
    }

    /// The same for a key whose spot is known, and a visitor who is not called when nothing is there: the item is never moved, which
    /// shows in the time of a read.
    ///
    /// # Errors
    /// Why nothing is there.
    #[inline(always)]
    pub fn read_at<R>(
        &self,
        key: &[u8],
        spot: &Spot,
        now: Now,
        visit: impl FnOnce(&mut Entry<'_>) -> R,
    ) -> Result<R, Absence> {
        let inner = self.inner();
        inner.fire_flush(now);
        let locked = inner.index.lock_at(spot);
        let fate = Cell::new(Fate::Stays);
        let result = self.alive(&locked, key, now, &fate).map(|mut entry| visit(&mut entry));
        drop(locked);
        self.finish(fate.get());
        result
    }

    /// The item of a key in its locked stripe; one whose time is over is removed.
    #[inline(always)]
    fn alive<'s>(
        &'s self,
        locked: &'s Locked<'s>,
        key: &[u8],
        now: Now,
        fate: &'s Cell<Fate>,
    ) -> Result<Entry<'s>, Absence> {
        let Some((slot, name)) = self.inner().find(locked, key) else { return Err(Absence::NotFound) };
        let entry = Entry::locked(self, locked, slot, name, locked.stable(), fate);
        let Some(absence) = entry.absence(now) else { return Ok(entry) };
        entry.remove();
        Err(absence)
    }

    /// Takes memory for an item, evicting what must go.
    ///
    /// # Errors
    /// [`Refused::TooLarge`] or [`Refused::NoMemory`].
    pub fn reserve(&self, key: &[u8], hash: KeyHash, shape: &Shape, now: Now) -> Result<Draft, Refused> {
        Draft::new(self, key, hash, shape, false, now)
    }

    /// The same for a value that a client has announced and not yet sent: memory is taken as it arrives, and counts as held by
    /// clients. Ask [`Store::may_begin`] before.
    ///
    /// # Errors
    /// [`Refused::TooLarge`] or [`Refused::NoMemory`].
    pub fn reserve_arriving(&self, key: &[u8], hash: KeyHash, shape: &Shape, now: Now) -> Result<Draft, Refused> {
        Draft::new(self, key, hash, shape, true, now)
    }

    /// Whether clients may hold `bytes` more of item memory, in values being sent or received, which cannot be evicted
    /// meanwhile. All together may hold half of the limit.
    #[must_use]
    pub fn may_hold(&self, bytes: usize) -> bool {
        self.inner().may_hold(bytes)
    }

    /// Whether an item is within the item size limit.
    #[must_use]
    pub fn fits(&self, key_len: usize, value_len: usize, flags: u32) -> bool {
        let inner = self.inner();
        classes::account_size(key_len, value_len, flags != 0, inner.cas) <= inner.item_size_max
    }

    /// Whether a value that arrives in pieces may be begun, which takes up to `bytes` at first.
    #[must_use]
    pub fn may_begin(&self, bytes: usize) -> bool {
        self.inner().may_begin(bytes)
    }

    /// Bytes of item memory that clients hold.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.inner().holdings.bytes()
    }

    /// Shows `decide` what is there under the key's lock, and links the draft in its place if it says so. Returns the new item's CAS
    /// as clients see it. The draft must be fully written before; `decide` may still set its
    /// expiry, and never writes to its value, since finding memory for that takes the lock of a class. `decide` must not call the store.
    ///
    /// # Errors
    /// What `decide` refused with.
    pub fn commit<R>(
        &self,
        mut draft: Draft,
        now: Now,
        decide: impl FnOnce(Lookup<'_>, &mut Draft) -> Decision<R>,
    ) -> Result<u64, R> {
        let inner = self.inner();
        inner.fire_flush(now);
        let hash = draft.hash;
        let locked = inner.index.lock(hash);
        let fate = Cell::new(Fate::Stays);
        let found = inner.find(&locked, draft.key());
        let (mut proven, mut over) = (false, false);
        let decision = match found {
            None => decide(Lookup::Absent(Absence::NotFound), &mut draft),
            Some((slot, name)) => {
                let entry = Entry::locked(self, &locked, slot, name, locked.stable(), &fate);
                proven = entry.proven();
                match entry.absence(now) {
                    Some(absence) => {
                        over = true;
                        decide(Lookup::Absent(absence), &mut draft)
                    }
                    None => decide(Lookup::Found(entry), &mut draft),
                }
            }
        };
        let old = found.filter(|_| matches!(fate.get(), Fate::Stays));
        let (result, grow) = match decision {
            Decision::Link(marks) => {
                let sequence = self.publish(&draft, marks, proven, now);
                let grow = match old {
                    Some((slot, name)) => {
                        locked.replace(slot, name, draft.name());
                        fate.set(Fate::Gone(inner.unpublish(name)));
                        false
                    }
                    None => locked.insert(draft.name()),
                };
                let cas = if inner.cas { draft.shape.chosen_cas.unwrap_or(sequence) } else { 0 };
                draft.published();
                (Ok(cas), grow)
            }
            Decision::Refuse(why) => {
                if let Some((slot, name)) = old.filter(|_| over) {
                    locked.remove(slot, name);
                    fate.set(Fate::Gone(inner.unpublish(name)));
                }
                drop(locked);
                self.finish(fate.get());
                drop(draft);
                return Err(why);
            }
        };
        drop(locked);
        self.finish(fate.get());
        if grow {
            inner.index.grow(inner);
            inner.pool.set_taken_elsewhere(inner.index.bytes());
        }
        result
    }

    /// Makes a fully written draft visible to a scan of the pages (and, once the index names it, to everybody).
    fn publish(&self, draft: &Draft, marks: Marks, proven: bool, now: Now) -> u64 {
        let inner = self.inner();
        assert!(draft.remaining() == 0, "only a draft that was written to its end is linked");
        let chunk = Chunk::named(&inner.arena, draft.name());
        let sequence = inner.draw();
        let ttl_limit = inner.temporary_ttl.load(Ordering::Relaxed);
        let exptime = draft.shape.exptime;
        let temporary = ttl_limit != 0 && exptime != 0 && exptime.saturating_sub(now.seconds) < ttl_limit;
        let state = State::of(Kind::Item)
            .with_sequence(sequence)
            .with(STALE, marks.stale)
            .with(TOKEN_SENT, marks.token_sent)
            .with(FETCHED, marks.fetched)
            .with(BASE64_KEY, draft.shape.base64_key)
            .with(TEMPORARY, temporary)
            .with(MAIN, proven);
        chunk.time().store(now.ticks, Ordering::Relaxed);
        if draft.is_large() {
            large::mark_head(&inner.arena, draft.name(), true);
        }
        chunk.set_state(state);
        sequence
    }

    #[inline]
    fn finish(&self, fate: Fate) {
        if let Fate::Gone(Some(name)) = fate {
            self.inner().free(name);
        }
    }

    /// `flush_all`: everything stored so far is invisible from now on. Replaces a pending one, as a later one always does.
    pub fn flush(&self, now: Now) {
        self.inner().flush(now);
    }

    /// Second of the last flush, 0 for none.
    #[must_use]
    pub fn flushed_at(&self) -> u32 {
        self.inner().flushed_at.load(Ordering::Relaxed)
    }

    /// `flush_all <later>`: the same at `when` (unix seconds); replaces a pending one.
    pub fn flush_at(&self, when: Exptime) {
        self.inner().flush_later(when);
    }

    /// Bounded background work: expiry sweep, page moves, shrinking. Called about 10 times a second.
    pub fn maintain(&self, now: Now) {
        self.inner().maintain(now);
    }

    /// `cache_memlimit`: a new bound, in bytes. False when memory is preallocated or in a file, or the bound does not fit the
    /// address range.
    #[must_use]
    pub fn set_memory_limit(&self, bytes: u64) -> bool {
        let inner = self.inner();
        let room = u64::from(inner.arena.pages_max()) * inner.arena.page_size() as u64;
        if inner.preallocated || inner.arena.file().is_some() || bytes > room {
            return false;
        }
        inner.pool.set_limit_bytes(bytes);
        true
    }

    /// Evictions and page moves are told here from now on. Only the first call counts.
    pub fn tell(&self, logger: Arc<Logger>) {
        let _ = self.inner().logger.set(logger);
    }

    /// `lru temp_ttl`.
    pub fn set_temporary_ttl(&self, ttl: Option<u32>) {
        self.inner().temporary_ttl.store(ttl.map_or(0, |ttl| ttl.saturating_add(1)), Ordering::Relaxed);
    }

    /// Sequence number (and CAS) drawn last.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.inner().arena.sequence().load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("items", &self.inner().index.entry_count()).finish_non_exhaustive()
    }
}

const _: fn() = || {
    // Workers share the store.
    fn shared<T: Send + Sync>() {}
    shared::<Store>();
    let _ = Stable::from_guard::<()>;
};
