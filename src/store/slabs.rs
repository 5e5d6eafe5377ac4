//! Chunks of one size: the pages of a class, which of their chunks are free, and taking and giving them.
//!
//! Each page keeps its own list of free chunks, threaded through the chunks themselves, and a count; so a page can be taken out of a
//! class as soon as all its chunks are free. Chunks are carved off a page one after the other, so memory that was never needed is never
//! touched. All of this is guarded by the class's lock; facts about pages live in one array so that they need no allocation.

use super::memory::arena::Geometry;
use super::memory::item::{Chunk, MAIN, TEMPORARY};
use super::memory::{Arena, Kind, State, Words32, intact};
use super::rank::Queue;
use crate::sync::Ordering;
use arrayvec::ArrayVec;

/// Words kept about each page.
const FACTS: usize = 8;
/// Class index plus one; [`LARGE_OWNER`] for the large store; 0 for nobody.
const OWNER: usize = 0;
/// Place in the owner's list of pages.
const SLOT: usize = 1;
/// First free chunk of the page plus one, 0 for none.
const FREE_HEAD: usize = 2;
/// Free chunks of the page, those never carved included.
const FREE: usize = 3;
/// 1 while the page stands in the class's list of open pages.
const OPEN: usize = 4;
/// 1 while the page is being emptied and no chunk is to be taken from it.
const DRAINING: usize = 5;

/// Chunks of a sample that are fetched at once, each from a line of its own.
const SAMPLED_AT_ONCE: usize = 32;

/// Owner number of pages that hold pieces of large items.
pub const LARGE_OWNER: u32 = u32::MAX;

/// What is known of each page beside the arena's table.
#[derive(Debug)]
pub struct PageFacts(Words32);

impl PageFacts {
    /// Facts for up to `pages_max` pages.
    ///
    /// # Errors
    /// When the address range cannot be had.
    pub fn new(pages_max: u32) -> Result<PageFacts, String> {
        let words =
            Words32::new(pages_max as usize * FACTS).map_err(|error| format!("cannot reserve page facts: {error}"))?;
        Ok(PageFacts(words))
    }

    fn get(&self, page: u32, fact: usize) -> u32 {
        self.0.at(page as usize * FACTS + fact).load(Ordering::Relaxed)
    }
    fn set(&self, page: u32, fact: usize, value: u32) {
        self.0.at(page as usize * FACTS + fact).store(value, Ordering::Relaxed);
    }

    /// Class index plus one, [`LARGE_OWNER`], or 0.
    pub fn owner(&self, page: u32) -> u32 {
        self.get(page, OWNER)
    }
    /// Makes the large store the owner, or nobody.
    pub fn set_large(&self, page: u32, slot: Option<u32>) {
        self.set(page, OWNER, if slot.is_some() { LARGE_OWNER } else { 0 });
        self.set(page, SLOT, slot.unwrap_or(0));
    }
    /// First free chunk of a page plus one, and how many there are: what [`Class::restore_page`] is told.
    pub fn free_list(&self, page: u32) -> (u32, u32) {
        (self.get(page, FREE_HEAD), self.get(page, FREE))
    }
    /// Whether the page is being emptied.
    pub fn is_draining(&self, page: u32) -> bool {
        self.get(page, DRAINING) == 1
    }
    /// Place in the owner's list of pages.
    pub fn slot(&self, page: u32) -> u32 {
        self.get(page, SLOT)
    }
}

/// Counters of a class, by memcached's names (section 11.3).
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Bytes of the items in the class's chunks.
    pub requested: u64,
    /// Drafts ever taken and not given back unlinked.
    pub total: u64,
    /// Live items evicted.
    pub evicted: u64,
    /// Of those, with an expiry.
    pub evicted_nonzero: u64,
    /// Seconds that the last evicted item had been idle.
    pub evicted_time: u32,
    /// Of those evicted, never fetched.
    pub evicted_unfetched: u64,
    /// Of those evicted, fetched in the last minute.
    pub evicted_active: u64,
    /// Stores refused for memory.
    pub outofmemory: u64,
    /// Expired or flushed items found when memory was needed.
    pub reclaimed: u64,
    /// Of all expired or flushed items found, never fetched.
    pub expired_unfetched: u64,
    /// Expired items found by the sweep.
    pub crawler_reclaimed: u64,
    /// Items looked at by the sweep.
    pub crawler_items_checked: u64,
    /// Items met that could not be evicted because somebody reads them.
    pub reflocked: u64,
    /// What a look at some of its items has shown.
    pub shares: Shares,
}

/// How many of some items are what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shares {
    /// Items looked at.
    pub looked: u64,
    /// Of those, temporary ones.
    pub temporary: u64,
    /// Of the others, those that proved themselves.
    pub main: u64,
}

impl Shares {
    /// Looks at one more item.
    pub fn look(&mut self, state: State) {
        self.looked += 1;
        self.temporary += u64::from(state.has(TEMPORARY));
        self.main += u64::from(state.has(MAIN) && !state.has(TEMPORARY));
    }

    /// A part of the looked at, of `number` items.
    #[must_use]
    pub fn of(self, part: u64, number: u64) -> u64 {
        (number * part).checked_div(self.looked).unwrap_or(0)
    }
}

impl Counts {
    /// Forgets events; keeps what tells a state.
    pub fn reset(&mut self) {
        *self = Counts { requested: self.requested, shares: self.shares, ..Counts::default() };
    }
}

/// One slab class. Behind its lock.
#[derive(Debug)]
pub struct Class {
    /// Index of the class; its number is one more.
    pub index: u32,
    /// Bytes of a chunk, a multiple of the granule.
    pub chunk_size: usize,
    per_page: u32,
    pages: Vec<u32>,
    open: Vec<u32>,
    free: u64,
    /// What the next sample begins with.
    random: u32,
    /// Whom to evict next, and how it does beside other classes.
    pub queue: Queue,
    /// Second in which its expiry words were last looked through.
    pub swept: u32,
    /// See [`Counts`].
    pub counts: Counts,
}

impl Class {
    /// A class without pages.
    #[must_use]
    pub fn new(index: u32, chunk_size: usize, page_size: usize) -> Class {
        let per_page = u32::try_from(page_size / chunk_size).unwrap_or(1);
        Class {
            index,
            chunk_size,
            per_page,
            pages: Vec::new(),
            open: Vec::new(),
            free: 0,
            random: index,
            queue: Queue::default(),
            swept: 0,
            counts: Counts::default(),
        }
    }

    /// Chunks of a page.
    #[must_use]
    pub fn per_page(&self) -> u32 {
        self.per_page
    }
    /// The pages of the class.
    #[must_use]
    pub fn pages(&self) -> &[u32] {
        &self.pages
    }
    /// Free chunks, those never carved included.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.free
    }
    /// Chunks in use, drafts included.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.pages.len() as u64 * u64::from(self.per_page) - self.free
    }

    /// Offset of a chunk of one of the class's pages.
    #[must_use]
    pub fn chunk_offset(&self, arena: &Arena, page: u32, chunk: u32) -> usize {
        arena.page_offset(page) + chunk as usize * self.chunk_size
    }

    /// Takes a page of the pool into the class.
    pub fn adopt(&mut self, arena: &Arena, facts: &PageFacts, page: u32) {
        #[expect(clippy::cast_possible_truncation, reason = "chunk sizes fit 32 bits")]
        arena.set_geometry(page, Geometry { chunk_size: self.chunk_size as u32, carved: 0 });
        self.restore_page(facts, page, 0, self.per_page);
    }

    /// Takes a page in as it is, in an arena that is taken over as the scan found it: with the head of its list of free chunks
    /// and their number.
    pub fn restore_page(&mut self, facts: &PageFacts, page: u32, free_head: u32, free: u32) {
        facts.set(page, SLOT, u32::try_from(self.pages.len()).unwrap_or(0));
        facts.set(page, OWNER, self.index + 1);
        facts.set(page, FREE_HEAD, free_head);
        facts.set(page, FREE, free);
        facts.set(page, DRAINING, 0);
        facts.set(page, OPEN, u32::from(free > 0));
        self.pages.push(page);
        if free > 0 {
            self.open.push(page);
        }
        self.free += u64::from(free);
    }

    /// Taking over an arena: pages without any item; they belong into the pool.
    pub fn release_empty(&mut self, facts: &PageFacts) -> Vec<u32> {
        let empty: Vec<u32> =
            self.pages.iter().copied().filter(|&page| facts.get(page, FREE) == self.per_page).collect();
        for &page in &empty {
            self.disown(facts, page);
        }
        empty
    }

    /// Takes a page whose chunks are all free out of the class.
    fn disown(&mut self, facts: &PageFacts, page: u32) {
        let slot = facts.slot(page) as usize;
        debug_assert_eq!(self.pages[slot], page, "a page knows its place");
        debug_assert_eq!(facts.get(page, FREE), self.per_page, "all chunks are free");
        self.pages.swap_remove(slot);
        if let Some(&moved) = self.pages.get(slot) {
            facts.set(moved, SLOT, u32::try_from(slot).unwrap_or(0));
        }
        if facts.get(page, OPEN) == 1 {
            self.open.retain(|&other| other != page);
        }
        facts.set(page, OWNER, 0);
        facts.set(page, OPEN, 0);
        self.free -= u64::from(self.per_page);
        // Chunks of other sizes may come to lie where they are.
        self.queue.forget();
    }

    /// Takes a free chunk; it is a draft from then on.
    pub fn take(&mut self, arena: &Arena, facts: &PageFacts) -> Option<usize> {
        while let Some(&page) = self.open.last() {
            if facts.get(page, FREE) == 0 || facts.get(page, DRAINING) == 1 {
                facts.set(page, OPEN, 0);
                self.open.pop();
                continue;
            }
            facts.set(page, FREE, facts.get(page, FREE) - 1);
            self.free -= 1;
            return Some(self.take_from(arena, facts, page));
        }
        None
    }

    fn take_from(&self, arena: &Arena, facts: &PageFacts, page: u32) -> usize {
        let head = facts.get(page, FREE_HEAD);
        if head != 0 {
            let offset = self.chunk_offset(arena, page, head - 1);
            let chunk = Chunk::at(arena, offset);
            facts.set(page, FREE_HEAD, chunk.time().load(Ordering::Relaxed));
            chunk.set_state(State::of(Kind::Draft));
            return offset;
        }
        let geometry = arena.geometry(page);
        debug_assert!(geometry.carved < self.per_page, "a free chunk is listed or was never carved");
        let offset = self.chunk_offset(arena, page, geometry.carved);
        // The state word first, then the count that makes a scan look at it.
        Chunk::at(arena, offset).set_state(State::of(Kind::Draft));
        arena.set_geometry(page, Geometry { carved: geometry.carved + 1, ..geometry });
        offset
    }

    /// Takes a draft's chunk back. Returns its page when that is entirely free now and has left the class: it
    /// belongs into the pool.
    pub fn give(&mut self, arena: &Arena, facts: &PageFacts, offset: usize) -> Option<u32> {
        let page = self.put(arena, facts, offset);
        if facts.get(page, FREE) == self.per_page {
            self.disown(facts, page);
            return Some(page);
        }
        None
    }

    /// Puts a draft's chunk on its page's free list; returns the page, which stays in the class.
    pub fn put(&mut self, arena: &Arena, facts: &PageFacts, offset: usize) -> u32 {
        let page = arena.page_of(arena.name(offset));
        debug_assert_eq!(facts.owner(page), self.index + 1, "the chunk is of this class");
        let index = (offset - arena.page_offset(page)) / self.chunk_size;
        let chunk = Chunk::at(arena, offset);
        debug_assert!(chunk.state().kind() == Kind::Draft || !intact(), "only a draft is given back");
        chunk.set_state(State::of(Kind::Free));
        chunk.time().store(facts.get(page, FREE_HEAD), Ordering::Relaxed);
        facts.set(page, FREE_HEAD, u32::try_from(index).unwrap_or(0) + 1);
        facts.set(page, FREE, facts.get(page, FREE) + 1);
        self.free += 1;
        if facts.get(page, OPEN) == 0 && facts.get(page, DRAINING) == 0 {
            facts.set(page, OPEN, 1);
            self.open.push(page);
        }
        page
    }

    /// Says that a page is being emptied, or no longer is.
    pub fn set_draining(&mut self, facts: &PageFacts, page: u32, draining: bool) {
        facts.set(page, DRAINING, u32::from(draining));
        if !draining && facts.owner(page) == self.index + 1 && facts.get(page, OPEN) == 0 && facts.get(page, FREE) > 0 {
            facts.set(page, OPEN, 1);
            self.open.push(page);
        }
    }

    /// Shows `visit` the items among `looks` chunks chosen at random, some maybe more than once; of a class that has no more
    /// chunks than that, all of them. Says whether it was all.
    pub fn sample(&mut self, arena: &Arena, looks: u32, mut visit: impl FnMut(Chunk<'_>, State)) -> bool {
        let (pages, mut random) = (&self.pages, self.random);
        let mut look = |offset| {
            let chunk = Chunk::at(arena, offset);
            let state = chunk.state();
            if state.kind() == Kind::Item {
                visit(chunk, state);
            }
        };
        let carved = |page| arena.geometry(page).carved;
        if pages.len() <= looks as usize && pages.iter().map(|&page| carved(page)).sum::<u32>() <= looks {
            for &page in pages {
                (0..carved(page)).for_each(|number| look(self.chunk_offset(arena, page, number)));
            }
            return true;
        }
        let mut below = |limit: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((u64::from(random) * u64::from(limit)) >> 32) as u32
        };
        let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let mut chosen = ArrayVec::<usize, SAMPLED_AT_ONCE>::new();
        for left in (0..looks).rev() {
            let page = pages[below(count) as usize];
            // What was never carved may look like an item of the page's last owner.
            if carved(page) > 0 {
                let offset = self.chunk_offset(arena, page, below(carved(page)));
                arena.prefetch_header(offset);
                chosen.push(offset);
            }
            if chosen.is_full() || left == 0 {
                chosen.drain(..).for_each(&mut look);
            }
        }
        self.random = random;
        false
    }

    /// Checks the books of the class: counts, lists and places agree.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self, arena: &Arena, facts: &PageFacts) -> Result<(), String> {
        let mut free = 0;
        for (slot, &page) in self.pages.iter().enumerate() {
            if facts.owner(page) != self.index + 1 || facts.slot(page) as usize != slot {
                return Err(format!("class {}: page {page} does not know its place", self.index + 1));
            }
            let carved = arena.geometry(page).carved;
            let mut listed = 0;
            let mut next = facts.get(page, FREE_HEAD);
            while next != 0 {
                let chunk = Chunk::at(arena, self.chunk_offset(arena, page, next - 1));
                if next > carved || chunk.state().kind() != Kind::Free || listed > carved {
                    return Err(format!("class {}: the free list of page {page} is broken", self.index + 1));
                }
                listed += 1;
                next = chunk.time().load(Ordering::Relaxed);
            }
            if facts.get(page, FREE) != listed + self.per_page - carved {
                return Err(format!("class {}: page {page} counts its free chunks wrongly", self.index + 1));
            }
            if facts.get(page, FREE) > 0 && facts.get(page, OPEN) == 0 && facts.get(page, DRAINING) == 0 {
                return Err(format!("class {}: page {page} has free chunks and is not open", self.index + 1));
            }
            free += u64::from(facts.get(page, FREE));
        }
        if free != self.free {
            return Err(format!("class {}: {} free chunks counted, {free} found", self.index + 1, self.free));
        }
        Ok(())
    }
}
