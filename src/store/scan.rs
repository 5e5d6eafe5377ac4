//! Rebuilding everything from the pages: what is done with an arena that another process left, whether it died or closed it.
//!
//! The arena alone says which items there are: the page table gives each page's chunk size and how many chunks were carved, each
//! chunk's state word says whether it is a published item. Index, free lists, counts, expiry words are made anew. Of two
//! published items of one key, left by a death between publishing the new and unpublishing the old, the one with the higher
//! sequence number is kept (a chunk and its copy, left by a death during a move, have the same: either will do).
//!
//! Pages are scanned by several threads, each page by one. Until all are done nothing is freed and nothing expires: an expired item
//! may be what hides an older one of its key.
//!
//! What is read is believed only as far as it can do no harm: sizes, references and pages are checked before they are followed.
//! Stores to the arena leave it as good as it was at any moment, so a scan may die, too.

use super::inner::Inner;
use super::large::{block_size, chain_is_whole};
use super::memory::arena::{Geometry, LARGE_PAGE};
use super::memory::item::{Chunk, Layout, PINNED};
use super::memory::{Arena, Kind, Ref, Stable, State};
use super::{KeyHash, Spot, large};
use crate::sync::{AtomicU32, Mutex, Ordering, lock};
use arrayvec::ArrayVec;
use std::thread;

/// Items whose places in the index are on their way from memory at a time.
const BATCH: usize = 32;
/// Chunks whose headers are on their way.
const AHEAD: usize = 16;
/// Pages that a thread takes at a time.
const PAGES_AT_A_TIME: u32 = 4;
/// Threads beyond which memory is the limit.
const THREADS_MAX: usize = 16;

/// What a scan came upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Items that are there now.
    pub items: u64,
    /// Items and pages that were left out because something about them cannot be.
    pub unsound: u64,
    /// Pages left out because they do not have their checksum.
    pub damaged_pages: u64,
}

/// What one thread found.
#[derive(Default)]
struct Found {
    pages: Vec<ScannedPage>,
    /// Chunks of these pages without an item, page by page.
    free: Vec<u32>,
    pinned: Vec<Ref>,
    losers: Vec<Ref>,
    sequence: u64,
    damaged_pages: u64,
    unknown_size: Option<u32>,
}

#[derive(Clone, Copy)]
struct ScannedPage {
    page: u32,
    class: usize,
    /// Bytes of the items.
    requested: u64,
    /// How many of the free chunks are its.
    free: u32,
    free_head: u32,
    never_carved: u32,
}

/// How many threads to use when nothing else is said.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

/// Calls `work` in so many threads, this one among them (fewer when the system gives none), and collects the results.
pub fn in_parallel<T: Send>(threads: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().name("restart".to_owned()).spawn_scoped(scope, &work).ok();
        let others: Vec<_> = (1..threads).filter_map(spawn).collect();
        let mut results = vec![work()];
        results.extend(others.into_iter().filter_map(|thread| thread.join().ok()));
        results
    })
}

/// Calls both, at the same time if the system gives a thread for it.
pub fn beside<A, B: Send>(here: impl FnOnce() -> A, there: impl Fn() -> B + Sync) -> (A, B) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("restart".to_owned()).spawn_scoped(scope, &there);
        let here = here();
        let there = thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(&there);
        (here, there)
    })
}

/// Hands numbers below an end out to threads, some at a time.
struct Shares {
    next: AtomicU32,
    end: u32,
}

impl Shares {
    fn next(&self) -> Option<std::ops::Range<u32>> {
        let start = self.next.fetch_add(PAGES_AT_A_TIME, Ordering::Relaxed);
        (start < self.end).then(|| start..(start + PAGES_AT_A_TIME).min(self.end))
    }
}

/// Calls `visit` for each page up to `end`, in several threads, each with a value of its own; collects those.
pub fn each_page<T: Default + Send>(threads: usize, end: u32, visit: impl Fn(u32, &mut T) + Sync) -> Vec<T> {
    let shares = Shares { next: AtomicU32::new(0), end };
    in_parallel(if end > PAGES_AT_A_TIME { threads } else { 1 }, || {
        let mut found = T::default();
        while let Some(share) = shares.next() {
            share.for_each(|page| visit(page, &mut found));
        }
        found
    })
}

/// Whether a page has room for as many chunks as were carved, as the table says.
fn is_possible(arena: &Arena, page: u32) -> bool {
    let Geometry { chunk_size, carved } = arena.geometry(page);
    chunk_size == LARGE_PAGE || u64::from(chunk_size) * u64::from(carved) <= arena.page_size() as u64
}

/// Whether a page has the checksum that it was given when the arena was closed, which is 0 for a page of nobody. One that has not, or
/// that cannot be whatever was summed up, is taken out of the table.
pub fn has_checksum(arena: &Arena, page: u32) -> bool {
    let nobodys = arena.geometry(page).chunk_size == 0;
    if is_possible(arena, page) && arena.noted_checksum(page) == if nobodys { 0 } else { arena.checksum(page) } {
        return true;
    }
    arena.set_geometry(page, Geometry::NOBODY);
    false
}

/// The layout of the item in a chunk of `size` bytes that is not large, if it is a published one that makes sense.
pub fn sound(chunk: Chunk<'_>, size: usize) -> Option<Layout> {
    let layout = chunk.shape().1;
    let sound = chunk.state().kind() == Kind::Item && !layout.large && layout.key_len > 0 && layout.total() <= size;
    sound.then_some(layout)
}

/// Calls `visit` for each large item that begins in a page and whose pieces are all there, and `broken` for those that claim to be one.
pub fn each_large<'a>(
    arena: &'a Arena,
    page: u32,
    mut visit: impl FnMut(Chunk<'a>),
    mut broken: impl FnMut(Chunk<'a>),
) {
    let marks = arena.heads(page);
    for block in (0..64).filter(|block| marks >> block & 1 == 1) {
        let chunk = Chunk::at(arena, arena.page_offset(page) + block * block_size(arena));
        if chunk.state().kind() == Kind::Item && chain_is_whole(arena, chunk) { visit(chunk) } else { broken(chunk) }
    }
}

impl Inner {
    /// Takes everything in that the pages hold; with `verify` only from pages that have their checksum. Nobody else is at work. The
    /// arena is marked open when all has been looked at, before it is changed (but for pages taken out of the table).
    ///
    /// # Errors
    /// A chunk size that is no class's. The store is of no use then, and the arena unchanged.
    pub fn scan(&self, threads: usize, verify: bool) -> Result<Scanned, u32> {
        let touched = self.arena.pages_used();
        let unsound = if verify { 0 } else { self.drop_impossible_pages(touched) };
        self.index.presize((0..touched).map(|page| u64::from(self.carved(page))).sum());
        // A damaged table may call a page nobody's, the last one too.
        let end = if verify { self.arena.pages_present() } else { touched };
        let mut found = each_page(threads, end, |page, found: &mut Found| {
            if verify && !has_checksum(&self.arena, page) {
                found.damaged_pages += 1;
                return;
            }
            let geometry = self.arena.geometry(page);
            if geometry.chunk_size != 0 && geometry.chunk_size != LARGE_PAGE {
                self.scan_page(page, geometry, found);
            }
        });
        if let Some(size) = found.iter().find_map(|found| found.unknown_size) {
            return Err(size);
        }
        let mut scanned = Scanned { unsound, ..Scanned::default() };
        self.arena.note_open();
        self.list_free(&mut found);
        let mut losers = Vec::new();
        for mut found in found {
            self.adopt_scanned(&found.pages);
            losers.append(&mut found.losers);
            found.pinned.iter().for_each(|&name| self.forget_readers(Chunk::named(&self.arena, name)));
            self.arena.sequence().fetch_max(found.sequence, Ordering::Relaxed);
            scanned.damaged_pages += found.damaged_pages;
        }
        scanned.unsound += self.scan_large(touched, &mut losers);
        losers.into_iter().for_each(|loser| self.discard(loser));
        self.settle(touched);
        scanned.items = self.index.entry_count();
        Ok(scanned)
    }

    /// The last step: what every page is now is known.
    pub fn settle(&self, touched: u32) {
        self.release_empty();
        self.count_pages(touched);
        self.pool.set_taken_elsewhere(self.index.bytes());
    }

    /// Chunks of a page that may hold items, as far as the table can be believed.
    fn carved(&self, page: u32) -> u32 {
        let Geometry { chunk_size, carved } = self.arena.geometry(page);
        if chunk_size == 0 || chunk_size == LARGE_PAGE {
            return 0;
        }
        carved.min(u32::try_from(self.arena.page_size() / chunk_size as usize).unwrap_or(0))
    }

    /// More chunks carved than a page has: nothing in it can be believed.
    fn drop_impossible_pages(&self, touched: u32) -> u64 {
        let mut dropped = 0;
        for page in 0..touched {
            if !is_possible(&self.arena, page) {
                self.arena.set_geometry(page, Geometry::NOBODY);
                dropped += 1;
            }
        }
        dropped
    }

    fn scan_page(&self, page: u32, geometry: Geometry, found: &mut Found) {
        let size = geometry.chunk_size as usize;
        let Some(class) = self.classes.sizes.iter().position(|&other| other == size) else {
            found.unknown_size = Some(geometry.chunk_size);
            return;
        };
        let per_page = u32::try_from(self.arena.page_size() / size).unwrap_or(0);
        let never_carved = per_page.saturating_sub(geometry.carved);
        let mut scanned = ScannedPage { page, class, requested: 0, free: 0, free_head: 0, never_carved };
        let mut batch: ArrayVec<(Ref, Spot), BATCH> = ArrayVec::new();
        for number in 0..geometry.carved {
            let offset = self.arena.page_offset(page) + number as usize * size;
            self.arena.prefetch_header(offset + AHEAD * size);
            let chunk = Chunk::at(&self.arena, offset);
            let Some(layout) = sound(chunk, size) else {
                found.free.push(number);
                scanned.free += 1;
                continue;
            };
            scanned.requested += layout.total() as u64;
            if chunk.state().has(PINNED) {
                found.pinned.push(chunk.name());
            }
            let hash = self.take_note(chunk, &mut found.sequence);
            let spot = self.index.spot(hash);
            self.index.prefetch(&spot);
            batch.push((chunk.name(), spot));
            if batch.is_full() {
                found.losers.extend(batch.drain(..).filter_map(|(name, spot)| self.take_in(name, &spot)));
            }
        }
        found.losers.extend(batch.drain(..).filter_map(|(name, spot)| self.take_in(name, &spot)));
        found.pages.push(scanned);
    }

    /// Makes the lists of free chunks of the pages that were scanned, in as many threads as scanned them.
    fn list_free(&self, found: &mut [Found]) {
        let threads = found.len();
        let queue = Mutex::new(found.iter_mut());
        in_parallel(threads, || {
            // Not in the condition of a loop, which would hold the lock through its body.
            let next = || lock(&queue).next();
            while let Some(found) = next() {
                let mut free = found.free.iter();
                for scanned in &mut found.pages {
                    let (start, size) = (self.arena.page_offset(scanned.page), self.classes.sizes[scanned.class]);
                    for &number in free.by_ref().take(scanned.free as usize) {
                        let chunk = Chunk::at(&self.arena, start + number as usize * size);
                        chunk.set_state(State::of(Kind::Free));
                        chunk.time().store(scanned.free_head, Ordering::Relaxed);
                        scanned.free_head = number + 1;
                    }
                }
            }
        });
    }

    /// Notes what the item says beside its key, whose hash is returned.
    fn take_note(&self, chunk: Chunk<'_>, sequence: &mut u64) -> KeyHash {
        *sequence = (*sequence).max(chunk.state().sequence());
        self.expiry.note(chunk.offset, chunk.shape().0);
        // Nothing is freed during a scan.
        self.hasher.hash(self.key_of(chunk.name(), Stable::from_guard(self)))
    }

    /// Nobody reads the value any more.
    fn forget_readers(&self, chunk: Chunk<'_>) {
        chunk.set_state(chunk.state().with(PINNED, false));
    }

    /// Puts a published item into the index; returns the one of its key that lost to it or won over it, if there was one.
    fn take_in(&self, name: Ref, spot: &Spot) -> Option<Ref> {
        let key = self.key_of(name, Stable::from_guard(self));
        let locked = self.index.lock_at(spot);
        let Some((slot, other)) = self.find(&locked, key) else {
            let grow = locked.insert(name);
            drop(locked);
            if grow {
                self.index.grow(self);
            }
            return None;
        };
        let sequence = |name| Chunk::named(&self.arena, name).state().sequence();
        if sequence(other) >= sequence(name) {
            return Some(name);
        }
        locked.replace(slot, other, name);
        Some(other)
    }

    fn adopt_scanned(&self, pages: &[ScannedPage]) {
        for scanned in pages {
            let mut class = lock(&self.slabs[scanned.class]);
            class.counts.requested += scanned.requested;
            let free = scanned.free + scanned.never_carved;
            class.restore_page(&self.facts, scanned.page, scanned.free_head, free);
        }
    }

    /// Takes large items in; returns how many were left out.
    fn scan_large(&self, touched: u32, losers: &mut Vec<Ref>) -> u64 {
        let (heads, unsound) = self.restore_large(touched);
        let mut sequence = 0;
        for head in heads {
            lock(&self.large).counts.requested += head.large_total() as u64;
            self.forget_readers(head);
            let hash = self.take_note(head, &mut sequence);
            losers.extend(self.take_in(head.name(), &self.index.spot(hash)));
        }
        self.arena.sequence().fetch_max(sequence, Ordering::Relaxed);
        unsound
    }

    /// Large pages: their head marks say where to look for items; what no item holds is free. Returns the items, and how many were
    /// left out.
    pub fn restore_large(&self, touched: u32) -> (Vec<Chunk<'_>>, u64) {
        let mut large = lock(&self.large);
        let pages: Vec<u32> = (0..touched).filter(|&page| self.arena.geometry(page).chunk_size == LARGE_PAGE).collect();
        pages.iter().for_each(|&page| large.restore_page(&self.facts, page));
        let (mut heads, mut wrong) = (Vec::new(), Vec::new());
        for &page in &pages {
            each_large(&self.arena, page, |head| heads.push(head), |chunk| wrong.push(chunk));
        }
        heads.retain(|&head| {
            let claimed = large.restore_item(&self.arena, &self.facts, head);
            if !claimed {
                wrong.push(head);
            }
            claimed
        });
        // A mark without an item is what dying between the two leaves.
        let unsound = wrong.iter().filter(|chunk| chunk.state().kind() == Kind::Item).count();
        wrong.iter().for_each(|chunk| large::mark_head(&self.arena, chunk.name(), false));
        (heads, unsound as u64)
    }

    /// Gives back the loser of two items of one key.
    fn discard(&self, loser: Ref) {
        let chunk = Chunk::named(&self.arena, loser);
        let layout = chunk.shape().1;
        chunk.set_state(State::of(Kind::Draft));
        if layout.large {
            large::mark_head(&self.arena, loser, false);
            let mut large = lock(&self.large);
            large.counts.requested -= chunk.large_total() as u64;
            large.discard(&self.arena, &self.facts, chunk);
            return;
        }
        let owner = self.facts.owner(self.arena.page_of(loser));
        let mut class = lock(&self.slabs[owner as usize - 1]);
        class.counts.requested -= layout.total() as u64;
        class.put(&self.arena, &self.facts, chunk.offset);
    }

    /// Pages without any item become pages of nobody.
    fn release_empty(&self) {
        for class in &self.slabs {
            let mut class = lock(class);
            let empty = class.release_empty(&self.facts);
            empty.into_iter().for_each(|page| self.arena.set_geometry(page, Geometry::NOBODY));
            self.show_standing(&class);
        }
        let mut large = lock(&self.large);
        let empty = large.release_empty(&self.facts);
        empty.into_iter().for_each(|page| self.arena.set_geometry(page, Geometry::NOBODY));
        self.show_large_standing(&large);
    }

    /// Tells the pool which pages are in use. Of the others it gets those that there is memory for.
    fn count_pages(&self, touched: u32) {
        let backed = self.arena.pages_backed();
        let (used, free): (Vec<u32>, Vec<u32>) =
            (0..touched).partition(|&page| self.arena.geometry(page).chunk_size != 0);
        let (free, beyond): (Vec<u32>, Vec<u32>) = free.into_iter().partition(|&page| page < backed);
        beyond.into_iter().for_each(|page| self.arena.give_back_page(page));
        self.pool.restore(touched, u32::try_from(used.len()).unwrap_or(u32::MAX), free);
    }
}
