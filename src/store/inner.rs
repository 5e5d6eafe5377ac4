//! What all parts of the store share, and the few acts that several of them need: taking an item out of the index, giving its memory
//! back, telling whether it is over.
//!
//! # Locks
//!
//! In this order, never the other way, and never two of one kind: a *class* (or the large store) → a *stripe* of the index → leaves
//! (pins, pool, stash, flushing). Memory is given back after the stripe was released. So whoever holds a class may read the key of any
//! item in its chunks: it may be unpublished meanwhile, but its chunk cannot be used again.

use super::classes::Classes;
use super::expiry::Expiry;
use super::hash::KeyHasher;
use super::index::{Index, Items, KeyHash, Locked, Slot};
use super::large::{Large, mark_head};
use super::memory::item::{Chunk, PINNED};
use super::memory::{Arena, Kind, Ref, Stable, State, intact};
use super::pins::{HELD_PART, Holdings, Pins};
use super::pool::Pool;
use super::rank::Queue;
use super::reassign::Move;
use super::slabs::{Class, LARGE_OWNER, PageFacts};
use super::{Config, Exptime};
use crate::clock::Now;
use crate::logger::{Event, Logger, Streams};
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, lock};
use std::sync::OnceLock;

/// What one class looks like to the others, without its lock. Ages are weighted; without pages they are 0.
#[derive(Debug, Default)]
pub struct Standing {
    age_with_less: AtomicU64,
    age_with_more: AtomicU64,
    pages: AtomicU32,
}

impl Standing {
    fn show(&self, pages: usize, queue: &Queue) {
        let (age, count) = (queue.age(), pages as u64);
        // Whoever has one page loses all in it.
        let less = if count == 1 { queue.youngest_age() } else { age / (count + 1) * count };
        self.pages.store(u32::try_from(pages).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.age_with_less.store(less, Ordering::Relaxed);
        self.age_with_more.store(age.checked_div(count).map_or(0, |part| age + part), Ordering::Relaxed);
    }

    /// Pages it has.
    pub fn pages(&self) -> u32 {
        self.pages.load(Ordering::Relaxed)
    }

    /// About how old the class would be with a page less.
    pub fn age_with_less(&self) -> u64 {
        self.age_with_less.load(Ordering::Relaxed)
    }

    /// About how old it would be with a page more.
    pub fn age_with_more(&self) -> u64 {
        self.age_with_more.load(Ordering::Relaxed)
    }
}

/// See the module.
pub struct Inner {
    pub arena: Arena,
    pub facts: PageFacts,
    pub pool: Pool,
    pub index: Index,
    pub hasher: KeyHasher,
    pub classes: Classes,
    /// One per size of `classes`.
    pub slabs: Box<[Mutex<Class>]>,
    pub large: Mutex<Large>,
    /// One per class, and the last for the large store.
    pub standings: Box<[Standing]>,
    pub expiry: Expiry,
    pub pins: Pins,
    /// What clients hold of item memory.
    pub holdings: Holdings,
    /// Items with a sequence number up to this are flushed. This and the two below are noted in the superblock as they change.
    pub flushed: AtomicU64,
    /// Second of the last flush; 0 for none.
    pub flushed_at: AtomicU32,
    /// Second at which everything stored by then is to be flushed; 0 for none.
    pub flush_at: AtomicU32,
    /// Held by who changes these. A leaf.
    flushing: Mutex<()>,
    /// `-M` not given.
    pub evict: bool,
    /// `-C` not given.
    pub cas: bool,
    /// `-I`.
    pub item_size_max: usize,
    /// `temporary_ttl` plus one; 0 for off.
    pub temporary_ttl: AtomicU32,
    /// `slab_reassign`.
    pub page_moves: AtomicBool,
    /// `-L`.
    pub preallocated: bool,
    /// Somebody found no page in the pool since the reserve was last filled up.
    pub wants_pages: AtomicBool,
    /// Where the sweep goes on, a page number.
    pub sweep_cursor: AtomicU32,
    /// Where the sweep of large items goes on.
    pub sweep_large: AtomicU32,
    /// Where the search for what may become a huge page goes on.
    pub huge_cursor: AtomicU32,
    /// Pages moved between classes.
    pub pages_moved: AtomicU64,
    /// Items copied to another page of their class rather than dropped.
    pub rescues: AtomicU64,
    /// A page that somebody asked to be moved. A leaf among the locks.
    pub wanted_move: Mutex<Option<Move>>,
    /// Who is told of evictions and page moves.
    pub logger: OnceLock<Arc<Logger>>,
}

/// Sequence numbers are 48 bits wide.
const SEQUENCE_MASK: u64 = (1 << 48) - 1;

impl Inner {
    /// An empty store.
    pub fn new(config: &Config) -> Result<Inner, String> {
        let classes = Classes::new(config);
        let arena = Arena::reserve(config.memory_bytes, classes.page_size)?;
        Inner::with_arena(config, classes, arena)
    }

    /// A store over an arena, of which only the superblock is looked at.
    pub fn with_arena(config: &Config, mut classes: Classes, arena: Arena) -> Result<Inner, String> {
        for size in &mut classes.sizes {
            *size = size.next_multiple_of(arena.granule());
        }
        let bytes = arena.page_offset(arena.pages_max() - 1) + arena.page_size();
        let smallest = classes.sizes[0] as u64;
        let slabs =
            classes.sizes.iter().zip(0..).map(|(&size, index)| Mutex::new(Class::new(index, size, classes.page_size)));
        let standings = (0..=classes.sizes.len()).map(|_| Standing::default()).collect();
        let seed = [
            config.seed,
            config.seed.rotate_left(32) ^ 0x5bd1_e995,
            !config.seed,
            config.seed.wrapping_mul(0x2545_f491_4f6c_dd1d),
        ];
        let flushes = arena.flushes();
        let mut inner = Inner {
            facts: PageFacts::new(arena.pages_max())?,
            pool: Pool::new(config.memory_bytes),
            index: Index::new(bytes as u64 / smallest)?,
            hasher: KeyHasher::new(seed),
            slabs: slabs.collect(),
            large: Mutex::new(Large::default()),
            standings,
            expiry: Expiry::new(bytes)?,
            pins: Pins::default(),
            holdings: Holdings::default(),
            flushed: AtomicU64::new(flushes.sequence),
            flushed_at: AtomicU32::new(flushes.at),
            flush_at: AtomicU32::new(flushes.pending),
            flushing: Mutex::new(()),
            evict: config.evict,
            cas: config.cas,
            item_size_max: config.item_size_max,
            temporary_ttl: AtomicU32::new(config.temporary_ttl.map_or(0, |ttl| ttl.saturating_add(1))),
            page_moves: AtomicBool::new(config.page_moves),
            preallocated: config.preallocate,
            wants_pages: AtomicBool::new(false),
            sweep_cursor: AtomicU32::new(0),
            sweep_large: AtomicU32::new(0),
            huge_cursor: AtomicU32::new(0),
            pages_moved: AtomicU64::new(0),
            rescues: AtomicU64::new(0),
            wanted_move: Mutex::new(None),
            logger: OnceLock::new(),
            classes,
            arena,
        };
        inner.pool.set_taken_elsewhere(inner.index.bytes());
        if config.preallocate {
            let pages = inner.pool.limit_pages(&inner.arena);
            inner.arena.populate(pages);
        }
        Ok(inner)
    }

    /// The next sequence number.
    pub fn draw(&self) -> u64 {
        self.arena.sequence().fetch_add(1, Ordering::Relaxed).wrapping_add(1) & SEQUENCE_MASK
    }

    /// Whether clients may hold `bytes` more of item memory.
    pub fn may_hold(&self, bytes: usize) -> bool {
        self.holdings.has_room(bytes, self.pool.limit_bytes() / HELD_PART)
    }

    /// The same for the beginning of a value that arrives: of half of that, so that there is room to finish what was begun.
    pub fn may_begin(&self, bytes: usize) -> bool {
        self.holdings.has_room(bytes, self.pool.limit_bytes() / HELD_PART / 2)
    }

    /// Whether an item's time is over.
    #[inline]
    pub fn expired(exptime: Exptime, now: Now) -> bool {
        exptime != 0 && exptime <= now.seconds
    }

    /// Whether an item was stored before the last flush.
    #[inline]
    pub fn is_flushed(&self, state: State) -> bool {
        state.sequence() <= self.flushed.load(Ordering::Relaxed)
    }

    /// Fires a delayed `flush_all` whose time has come.
    #[inline]
    pub fn fire_flush(&self, now: Now) {
        let at = self.flush_at.load(Ordering::Relaxed);
        if at != 0 && at <= now.seconds {
            self.fire_due_flush(now);
        }
    }

    #[cold]
    fn fire_due_flush(&self, now: Now) {
        let _one_at_a_time = lock(&self.flushing);
        let at = self.flush_at.load(Ordering::Relaxed);
        if at != 0 && at <= now.seconds {
            self.flush_locked(now);
        }
    }

    /// Everything stored so far is over, and no flush is to come any more.
    pub fn flush(&self, now: Now) {
        let _one_at_a_time = lock(&self.flushing);
        self.flush_locked(now);
    }

    /// Everything stored so far will be over at `when`; replaces an earlier such wish.
    pub fn flush_later(&self, when: Exptime) {
        let _one_at_a_time = lock(&self.flushing);
        self.arena.note_pending_flush(when);
        self.flush_at.store(when, Ordering::Relaxed);
    }

    fn flush_locked(&self, now: Now) {
        let sequence = self.arena.sequence().load(Ordering::Relaxed);
        self.arena.note_flush(sequence, now.seconds);
        self.flush_at.store(0, Ordering::Relaxed);
        self.flushed_at.store(now.seconds, Ordering::Relaxed);
        self.flushed.fetch_max(sequence, Ordering::Relaxed);
    }

    /// The key of an item whose stripe or class is locked.
    #[inline]
    pub fn key_of<'a>(&'a self, name: Ref, stable: Stable<'a>) -> &'a [u8] {
        let chunk = Chunk::named(&self.arena, name);
        let (_, layout) = chunk.shape();
        self.arena.bytes(chunk.offset + layout.key_at(), layout.key_len, stable)
    }

    /// Finds a key in its locked stripe.
    #[inline]
    pub fn find(&self, locked: &Locked<'_>, key: &[u8]) -> Option<(Slot, Ref)> {
        locked.find(|name, stable| {
            let chunk = Chunk::named(&self.arena, name);
            let (_, layout) = chunk.shape();
            layout.key_len == key.len()
                && self.arena.bytes(chunk.offset + layout.key_at(), layout.key_len, stable) == key
        })
    }

    /// Makes an item that was taken out of the index a draft. The stripe is locked. Returns its name if its memory is to be given back
    /// (after the stripe was released); `None` when a reader still holds it and will do that.
    pub fn unpublish(&self, name: Ref) -> Option<Ref> {
        let chunk = Chunk::named(&self.arena, name);
        let state = chunk.state();
        debug_assert!(state.kind() == Kind::Item || !intact(), "only an item is unpublished");
        chunk.set_state(State::of(Kind::Draft).with_sequence(state.sequence()));
        if chunk.shape().1.large {
            mark_head(&self.arena, name, false);
        }
        let read = state.has(PINNED) && self.pins.delete(name);
        (!read).then_some(name)
    }

    /// Who is told, if anybody watches one of these streams.
    pub fn told(&self, streams: Streams) -> Option<&Logger> {
        self.logger.get().map(Arc::as_ref).filter(|logger| logger.watched(streams))
    }

    /// Tells that a page went from one class to another, by their numbers.
    pub fn tell_move(&self, src: u32, dst: u32, done: bool) {
        if let Some(logger) = self.told(Streams::SYSEVENTS) {
            logger.log(&Event::SlabMove { src, dst, done });
        }
    }

    /// Whether somebody reads the item without a lock.
    pub fn is_pinned(&self, name: Ref, state: State) -> bool {
        state.has(PINNED) && self.pins.is_pinned(name)
    }

    /// Takes the item in a chunk out of the index, if it still is one, nobody has it pinned, and it is `wanted`: what was read of it
    /// before may have changed until its stripe is locked. Its class (or the large store) is locked by the caller, who owns the chunk
    /// afterwards.
    pub fn take_item(&self, name: Ref, stable: Stable<'_>, wanted: impl FnOnce(Chunk<'_>, State) -> bool) -> bool {
        let hash = self.hasher.hash(self.key_of(name, stable));
        let locked = self.index.lock(hash);
        let chunk = Chunk::named(&self.arena, name);
        let Some((slot, _)) = locked.find(|other, _| other == name) else { return false };
        let state = chunk.state();
        if self.is_pinned(name, state) || !wanted(chunk, state) {
            return false;
        }
        locked.remove(slot, name);
        self.unpublish(name).is_some()
    }

    /// Gives the memory of a draft back. No lock is held.
    pub fn free(&self, name: Ref) {
        let page = self.arena.page_of(name);
        let owner = self.facts.owner(page);
        if owner == LARGE_OWNER {
            let mut large = lock(&self.large);
            self.free_large(&mut large, name);
        } else {
            let mut class = lock(&self.slabs[owner as usize - 1]);
            self.free_small(&mut class, name);
        }
    }

    /// Gives a small draft's chunk back to its locked class.
    pub fn free_small(&self, class: &mut Class, name: Ref) {
        let chunk = Chunk::named(&self.arena, name);
        class.counts.requested -= chunk.shape().1.total() as u64;
        if let Some(page) = class.give(&self.arena, &self.facts, chunk.offset) {
            self.pool.give(&self.arena, page);
            self.show_standing(class);
        }
    }

    /// Gives all pieces of a large draft back.
    pub fn free_large(&self, large: &mut Large, name: Ref) {
        let head = Chunk::named(&self.arena, name);
        let (_, layout) = head.shape();
        let total = layout.value_at() + head.large_len() as usize;
        large.counts.requested -= total as u64;
        large.unlink(&self.arena, name);
        let mut released = Vec::new();
        let body = head.large_next();
        large.give_chain(&self.arena, &self.facts, body, &mut released);
        let order = u32::try_from(layout.value_len).unwrap_or(0);
        released.extend(large.give(&self.arena, &self.facts, head.offset, order));
        for page in released {
            self.pool.give(&self.arena, page);
        }
        self.show_large_standing(large);
    }

    /// Lets the other classes see a class's age and pages.
    pub fn show_standing(&self, class: &Class) {
        self.standings[class.index as usize].show(class.pages().len(), &class.queue);
    }

    /// The same for the large store.
    pub fn show_large_standing(&self, large: &Large) {
        self.standings[self.slabs.len()].show(large.pages(), &large.queue);
    }
}

impl Items for Inner {
    fn hash_of(&self, name: Ref, stable: Stable<'_>) -> KeyHash {
        self.hasher.hash(self.key_of(name, stable))
    }

    fn prefetch(&self, name: Ref) {
        self.arena.prefetch(name);
    }
}
