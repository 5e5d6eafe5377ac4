//! Background work, in bounded steps: the sweep for expired items, pages kept free in advance, shrinking to a lower limit, and
//! looking how old the classes are that evict nothing.

use super::expiry::STRETCH;
use super::inner::Inner;
use super::memory::Kind;
use super::memory::item::{Chunk, FETCHED};
use super::slabs::{Class, LARGE_OWNER};
use crate::clock::Now;
use crate::sync::{Ordering, lock};

/// A sweep over all pages takes this many steps: at ten steps a second, one second.
const STEPS_PER_SWEEP: u32 = 10;
/// Large items looked at in a step.
const LARGE_PER_STEP: usize = 4096;
/// Pages emptied in a step at most.
const PAGES_PER_STEP: u32 = 16;

impl Inner {
    /// One step of everything.
    pub fn maintain(&self, now: Now) {
        self.fire_flush(now);
        self.pool.set_taken_elsewhere(self.index.bytes());
        self.sweep_some(now);
        self.shrink(now);
        self.pool.trim(&self.arena);
        self.fill_reserve(now);
        self.move_wanted(now);
        self.make_huge_pages();
        if self.pool.available(&self.arena) <= 2 * self.reserve_pages() {
            self.sample_ages(now);
        }
    }

    /// Looks through a tenth of the pages for what has expired.
    fn sweep_some(&self, now: Now) {
        let touched = self.pool.touched();
        let count = touched / STEPS_PER_SWEEP + 1;
        let start = self.sweep_cursor.load(Ordering::Relaxed);
        for page in start..(start + count).min(touched) {
            let owner = self.facts.owner(page);
            if owner == 0 || owner == LARGE_OWNER {
                continue;
            }
            let mut class = lock(&self.slabs[owner as usize - 1]);
            if self.facts.owner(page) == owner {
                self.sweep_page(&mut class, page, now);
            }
        }
        let next = if start + count >= touched { 0 } else { start + count };
        self.sweep_cursor.store(next, Ordering::Relaxed);
        self.sweep_large(now);
    }

    /// Takes out the expired items of a page of a locked class.
    pub fn sweep_page(&self, class: &mut Class, page: u32, now: Now) {
        let start = self.arena.page_offset(page);
        for stretch in (start..start + self.arena.page_size()).step_by(STRETCH) {
            if self.expiry.due(stretch, now.seconds) && self.visit_stretch(class, page, stretch - start, now) {
                return;
            }
        }
    }

    /// Visits the items that begin in a stretch; true when the page has left the class.
    fn visit_stretch(&self, class: &mut Class, page: u32, from: usize, now: Now) -> bool {
        let start = self.arena.page_offset(page);
        self.expiry.begin_visit(start + from);
        let carved = self.arena.geometry(page).carved as usize;
        let first = from.div_ceil(class.chunk_size);
        let last = (from + STRETCH).div_ceil(class.chunk_size).min(carved);
        for number in first..last {
            let offset = start + number * class.chunk_size;
            let chunk = Chunk::at(&self.arena, offset);
            let state = chunk.state();
            if state.kind() == Kind::Free {
                continue;
            }
            class.counts.crawler_items_checked += 1;
            let exptime = chunk.shape().0;
            let over = state.kind() == Kind::Item && Inner::expired(exptime, now);
            if !over || !self.take_over(class, offset, now) {
                // A draft, whose owner may not have written its expiry yet, and what is over but pinned, or has just been
                // touched, is looked at again a second later.
                let later = if state.kind() == Kind::Draft || over { now.seconds + 1 } else { exptime };
                self.expiry.note(offset, later);
                continue;
            }
            class.counts.crawler_reclaimed += 1;
            class.counts.expired_unfetched += u64::from(!state.has(FETCHED));
            if let Some(page) = class.give(&self.arena, &self.facts, offset) {
                self.pool.give(&self.arena, page);
                self.show_standing(class);
                return true;
            }
        }
        false
    }

    fn sweep_large(&self, now: Now) {
        let mut large = lock(&self.large);
        let mut place = self.sweep_large.load(Ordering::Relaxed) as usize;
        for _ in 0..LARGE_PER_STEP {
            let Some(&head) = large.ring().get(place) else {
                place = 0;
                break;
            };
            let chunk = Chunk::named(&self.arena, head);
            if Inner::expired(chunk.shape().0, now) && self.drop_expired_large(&mut large, head, now) {
                continue;
            }
            place += 1;
        }
        self.sweep_large.store(u32::try_from(place).unwrap_or(0), Ordering::Relaxed);
    }

    /// Gives pages back while more are in use than the limit allows (`cache_memlimit`, a grown index).
    fn shrink(&self, now: Now) {
        for _ in 0..PAGES_PER_STEP {
            if self.pool.in_use() <= self.pool.limit_pages(&self.arena) || !self.empty_oldest(now) {
                return;
            }
        }
    }

    /// Keeps the reserve of free pages filled while somebody wants pages.
    fn fill_reserve(&self, now: Now) {
        if !self.evict || !self.page_moves.load(Ordering::Relaxed) || !self.wants_pages.swap(false, Ordering::Relaxed) {
            return;
        }
        for _ in 0..PAGES_PER_STEP {
            if self.pool.available(&self.arena) >= self.reserve_pages() || !self.empty_oldest(now) {
                return;
            }
        }
    }

    fn empty_oldest(&self, now: Now) -> bool {
        let Some((_, Some(page))) = self.empty_page_of_oldest(None, 0, now) else { return false };
        self.pool.give(&self.arena, page);
        true
    }

    /// A class that evicts nothing does not learn its age by evicting: look at it here. And what its age counts depends on the others.
    fn sample_ages(&self, now: Now) {
        let bytes = u64::from(self.pool.in_use()) * self.arena.page_size() as u64;
        let mean = bytes / self.index.entry_count().max(1);
        for class in &self.slabs {
            let mut class = lock(class);
            if !std::mem::take(&mut class.queue.evicting) && !class.pages().is_empty() {
                self.seek_victims(&mut class, now);
            }
            let size = class.chunk_size;
            class.queue.weigh(size, mean);
            self.show_standing(&class);
        }
        let mut large = lock(&self.large);
        if !std::mem::take(&mut large.queue.evicting) {
            self.seek_large_victims(&mut large, now);
        }
        let size = large.mean_size();
        large.queue.weigh(size, mean);
        self.show_large_standing(&large);
    }
}
