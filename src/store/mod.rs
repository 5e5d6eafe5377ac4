//! The store: from key to item, in a bounded amount of memory.
//!
//! [`Store`] is the face; everything else in this folder is behind it. Callers hash a key once ([`Store::hash`]), may
//! prefetch, and then either look at an item under its lock ([`Store::lookup`]) or fill a private [`Draft`] and link it
//! ([`Store::reserve`], [`Store::commit`]). An item that is being filled and an item that everybody sees are different types.
//!
//! Times come in as [`Now`]; the store asks no clock and starts no thread: background work is
//! [`Store::maintain`], called by whoever owns the threads.

use crate::clock::Now;

/// Expiry as the store keeps it: unix seconds, 0 for never, [`EXPIRED`] for "already over".
pub type Exptime = u32;

/// An exptime that is in the past for every clock.
pub const EXPIRED: Exptime = 1;

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

/// Which chunk sizes there are.
#[derive(Clone, Debug)]
pub enum SlabTable {
    /// memhold's own: 8 to 16 sizes per doubling.
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

/// A key's keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(pub u64);

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

/// A published item, locked: readable, and changeable in what is one word of it.
pub struct Entry<'s> {
    store: &'s Store,
}

/// A value as it can be read under the lock.
pub enum Value<'s> {
    /// Below [`PIN_BYTES`]: copy it.
    Inline(&'s [u8]),
    /// Larger: it was pinned, and can be read after the lock is gone.
    Pinned(Pinned),
}

/// Values of at least this many bytes are pinned and sent from item memory rather than copied under the lock.
pub const PIN_BYTES: usize = 8 * 1024;

#[expect(
    unused_variables,
    clippy::unused_self,
    clippy::todo,
    reason = "being written"
)]
impl<'s> Entry<'s> {
    /// Length of the value in bytes.
    pub fn value_len(&self) -> usize {
        todo!()
    }
    /// The value: borrowed when small, pinned when large.
    pub fn value(&self) -> Value<'s> {
        todo!()
    }
    /// Copies the whole value to the end of `out`, whatever its size (append, arithmetic).
    pub fn copy_value(&self, out: &mut Vec<u8>) {
        todo!()
    }
    /// The key.
    pub fn key(&self) -> &'s [u8] {
        todo!()
    }
    /// Client flags.
    pub fn flags(&self) -> u32 {
        todo!()
    }
    /// CAS as clients see it (0 with `-C`).
    pub fn cas(&self) -> u64 {
        todo!()
    }
    /// Expiry.
    pub fn exptime(&self) -> Exptime {
        todo!()
    }
    /// Seconds since the last recorded access.
    pub fn idle_seconds(&self, now: Now) -> u32 {
        todo!()
    }
    /// Fetched at least once since stored.
    pub fn fetched(&self) -> bool {
        todo!()
    }
    /// Marked stale by `md I` or `ms I`.
    pub fn stale(&self) -> bool {
        todo!()
    }
    /// A winning token has been sent since it was stored.
    pub fn token_sent(&self) -> bool {
        todo!()
    }
    /// Stored with a base64 key.
    pub fn base64_key(&self) -> bool {
        todo!()
    }
    /// Slab class number, 1..=63.
    pub fn class(&self) -> u32 {
        todo!()
    }
    /// Item size by memcached's account (section 1.1), for `me`, dumps and `stats sizes`.
    pub fn account_size(&self) -> usize {
        todo!()
    }
    /// Whether the value lies in several chunks, which arithmetic refuses.
    pub fn chunked(&self) -> bool {
        todo!()
    }

    /// Records an access: marks the item fetched and recently used.
    pub fn bump(&mut self, now: Now) {
        todo!()
    }
    /// Sets a new expiry in place.
    pub fn touch(&mut self, exptime: Exptime) {
        todo!()
    }
    /// Remembers that a winning token was sent (`W`).
    pub fn mark_token_sent(&mut self) {
        todo!()
    }
    /// `md I` without `E`: marks stale, clears the token mark, draws a new CAS. In place.
    pub fn mark_stale(&mut self) {
        todo!()
    }
    /// Removes the item.
    pub fn remove(self) {
        todo!()
    }
}

/// Bytes of a large value that stay readable until this is dropped, even when the item is deleted meanwhile.
pub struct Pinned {
    _store: Store,
}

#[expect(clippy::unused_self, clippy::todo, reason = "being written")]
impl Pinned {
    /// Length of the value in bytes.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        todo!()
    }
    /// The value's bytes from `offset` on, up to the end of the chunk they lie in; empty at the end of the value.
    pub fn slice_at(&self, offset: usize) -> &[u8] {
        todo!()
    }
}

/// An item being filled: nobody else can see it. Dropped without a commit, its memory goes back.
pub struct Draft {
    _store: Store,
}

#[expect(
    unused_variables,
    clippy::unused_self,
    clippy::todo,
    reason = "being written"
)]
impl Draft {
    /// Bytes of the value still to be written.
    pub fn remaining(&self) -> usize {
        todo!()
    }
    /// The next bytes to fill, never empty while [`Draft::remaining`] is not 0; large values get their memory here, piece by piece.
    ///
    /// # Errors
    /// When no memory can be had for the next piece.
    pub fn spare(&mut self, now: Now) -> Result<&mut [u8], Refused> {
        todo!()
    }
    /// Says that the first `n` bytes of [`Draft::spare`] have been written.
    pub fn advance(&mut self, n: usize) {
        todo!()
    }
    /// Copies as much of `bytes` as still fits.
    ///
    /// # Errors
    /// When no memory can be had for the next piece.
    pub fn write(&mut self, bytes: &[u8], now: Now) -> Result<(), Refused> {
        todo!()
    }
    /// Copies the value out (append of an uploaded value).
    pub fn copy_value(&self, out: &mut Vec<u8>) {
        todo!()
    }
    /// Length of the whole value.
    pub fn value_len(&self) -> usize {
        todo!()
    }
    /// Slab class number.
    pub fn class(&self) -> u32 {
        todo!()
    }
}

/// Why no draft could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Larger than the item size limit.
    TooLarge,
    /// Nothing could be freed for it.
    NoMemory,
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

#[derive(Clone)]
/// The store. Cheap to clone; all clones are the same store.
pub struct Store {
    _inner: crate::sync::Arc<()>,
}

#[expect(
    unused_variables,
    clippy::unused_self,
    clippy::todo,
    reason = "being written"
)]
impl Store {
    /// Makes an empty store.
    ///
    /// # Errors
    /// When the address space or the memory cannot be had; the text says what to do.
    pub fn open(config: Config) -> Result<Store, String> {
        todo!()
    }
    /// The key's hash, under the store's own secret.
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        todo!()
    }
    /// Starts loading the index bucket of a key.
    pub fn prefetch_bucket(&self, hash: KeyHash) {
        todo!()
    }
    /// Starts loading the item that the bucket (loaded by now) names.
    pub fn prefetch_item(&self, hash: KeyHash) {
        todo!()
    }

    /// Looks `key` up and calls `visit` once, under the key's lock. Expired and flushed items are removed first.
    /// `visit` must not call the store.
    pub fn lookup<R>(
        &self,
        key: &[u8],
        hash: KeyHash,
        now: Now,
        visit: impl FnOnce(Lookup<'_>) -> R,
    ) -> R {
        todo!()
    }

    /// Takes memory for an item, evicting what must go.
    ///
    /// # Errors
    /// [`Refused::TooLarge`] or [`Refused::NoMemory`].
    pub fn reserve(
        &self,
        key: &[u8],
        hash: KeyHash,
        shape: &Shape,
        now: Now,
    ) -> Result<Draft, Refused> {
        todo!()
    }

    /// Shows `decide` what is there under the key's lock, and links the (fully written) draft in its place if it says so. Returns the new
    /// item's CAS. `decide` may still write to the draft (append: the old value is only known under the lock).
    ///
    /// # Errors
    /// What `decide` refused with.
    pub fn commit<R>(
        &self,
        draft: Draft,
        now: Now,
        decide: impl FnOnce(Lookup<'_>, &mut Draft) -> Decision<R>,
    ) -> Result<u64, R> {
        todo!()
    }

    /// `flush_all`: everything stored so far is invisible from now on.
    pub fn flush(&self) {
        todo!()
    }
    /// `flush_all <later>`: the same at `when` (unix seconds); replaces a pending one.
    pub fn flush_at(&self, when: Exptime) {
        todo!()
    }
    /// Bounded background work: expiry sweep, page moves, shrinking, index growth. Called about 10 times a second.
    pub fn maintain(&self, now: Now) {
        todo!()
    }
    /// `cache_memlimit`: a new bound, in bytes.
    ///
    /// # Errors
    /// When memory is preallocated or the bound does not fit the address range.
    pub fn set_memory_limit(&self, bytes: u64) -> Result<(), ()> {
        todo!()
    }
    /// `lru temp_ttl`.
    pub fn set_temporary_ttl(&self, ttl: Option<u32>) {
        todo!()
    }
    /// Sums over the whole store.
    pub fn totals(&self) -> Totals {
        todo!()
    }
    /// One entry for each class that has a page or an item, ascending.
    pub fn classes(&self, now: Now) -> Vec<ClassStats> {
        todo!()
    }
    /// Walks on from `cursor` (start with the default) over at most `budget` chunks, calling `visit` for each live item; class 0 is every class.
    /// Returns where to go on, `None` at the end. Holds no lock between calls.
    pub fn walk(
        &self,
        cursor: Cursor,
        class: u32,
        budget: usize,
        now: Now,
        visit: &mut dyn FnMut(&Entry<'_>),
    ) -> Option<Cursor> {
        todo!()
    }
    /// Checks every invariant; for tests.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, now: Now) -> Result<(), String> {
        todo!()
    }
}

/// A place in a walk over all items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    page: u32,
    chunk: u32,
}

/// The store's side of `stats` (section 11.1, by its names).
#[expect(
    missing_docs,
    reason = "memcached's counters, described in section 11.1"
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub bytes: u64,
    pub curr_items: u64,
    pub total_items: u64,
    pub limit_maxbytes: u64,
    pub hash_power_level: u64,
    pub hash_bytes: u64,
    pub hash_is_expanding: u64,
    pub slab_global_page_pool: u64,
    pub expired_unfetched: u64,
    pub evicted_unfetched: u64,
    pub evicted_active: u64,
    pub evictions: u64,
    pub reclaimed: u64,
    pub crawler_reclaimed: u64,
    pub crawler_items_checked: u64,
    pub lrutail_reflocked: u64,
    pub moves_to_cold: u64,
    pub moves_to_warm: u64,
    pub moves_within_lru: u64,
    pub direct_reclaims: u64,
    pub slabs_moved: u64,
    pub slab_reassign_rescues: u64,
    pub slab_reassign_inline_reclaim: u64,
    pub slab_reassign_busy_items: u64,
    pub total_malloced: u64,
    pub page_size: u64,
    /// Seconds: the flush mark as `stats settings` shows it (`oldest`).
    pub flushed_at: u64,
}

/// One class, for `stats items` and `stats slabs` (sections 11.3, 11.4, by their names).
#[expect(
    missing_docs,
    reason = "memcached's counters, described in sections 11.3 and 11.4"
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ClassStats {
    pub class: u32,
    pub chunk_size: u64,
    pub chunks_per_page: u64,
    pub total_pages: u64,
    pub total_chunks: u64,
    pub used_chunks: u64,
    pub free_chunks: u64,
    pub number: u64,
    pub number_hot: u64,
    pub number_warm: u64,
    pub number_cold: u64,
    pub number_temp: u64,
    pub age_hot: u64,
    pub age_warm: u64,
    pub age: u64,
    pub mem_requested: u64,
    pub evicted: u64,
    pub evicted_nonzero: u64,
    pub evicted_time: u64,
    pub outofmemory: u64,
    pub reclaimed: u64,
    pub expired_unfetched: u64,
    pub evicted_unfetched: u64,
    pub evicted_active: u64,
    pub crawler_reclaimed: u64,
    pub crawler_items_checked: u64,
    pub lrutail_reflocked: u64,
    pub moves_to_cold: u64,
    pub moves_to_warm: u64,
    pub moves_within_lru: u64,
    pub direct_reclaims: u64,
}
