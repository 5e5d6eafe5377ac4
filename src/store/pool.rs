//! Pages in nobody's hands: never used, or given back by a class. The pool keeps the memory limit.

use super::memory::Arena;
use super::memory::arena::Geometry;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock};

/// See the module.
#[derive(Debug)]
pub struct Pool {
    /// `-m` in bytes.
    limit_bytes: AtomicU64,
    /// Bytes of the limit that other things (the index) have taken.
    taken_elsewhere: AtomicU64,
    /// Pages in somebody's hands.
    in_use: AtomicU32,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    returned: Vec<u32>,
    /// How many of these, from the first, have no memory behind them. None in a file, where such pages are out of use.
    bare: usize,
    /// Pages of the arena that were ever given out.
    fresh: u32,
}

/// Pages whose memory is given back in one step.
const TRIMMED_AT_ONCE: usize = 64;

impl Pool {
    /// A pool that gives out pages up to `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Pool {
        Pool {
            limit_bytes: AtomicU64::new(limit_bytes),
            taken_elsewhere: AtomicU64::new(0),
            in_use: AtomicU32::new(0),
            pages: Mutex::new(Pages::default()),
        }
    }

    /// The limit in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Sets the limit in bytes.
    pub fn set_limit_bytes(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Says how many bytes of the limit the index has taken.
    pub fn set_taken_elsewhere(&self, bytes: u64) {
        self.taken_elsewhere.store(bytes, Ordering::Relaxed);
    }

    /// How many pages the limit allows; never none.
    pub fn limit_pages(&self, arena: &Arena) -> u32 {
        let bytes = self.limit_bytes().saturating_sub(self.taken_elsewhere.load(Ordering::Relaxed));
        let pages = bytes / arena.page_size() as u64;
        u32::try_from(pages).unwrap_or(u32::MAX).clamp(1, arena.pages_backed())
    }

    /// Pages in somebody's hands.
    pub fn in_use(&self) -> u32 {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Pages that could be taken now.
    pub fn available(&self, arena: &Arena) -> u32 {
        self.limit_pages(arena).saturating_sub(self.in_use())
    }

    /// Pages that were given back and wait.
    pub fn returned(&self) -> u32 {
        u32::try_from(lock(&self.pages).returned.len()).unwrap_or(u32::MAX)
    }

    /// How many pages were ever in use: scans need to look no further.
    pub fn touched(&self) -> u32 {
        lock(&self.pages).fresh
    }

    /// Takes a page unless fewer than `leave` others would be left within the limit.
    pub fn take(&self, arena: &Arena, leave: u32) -> Option<u32> {
        let (page, fresh) = self.take_any(arena, leave)?;
        if fresh {
            arena.prepare(page);
        }
        Some(page)
    }

    fn take_any(&self, arena: &Arena, leave: u32) -> Option<(u32, bool)> {
        let mut pages = lock(&self.pages);
        if self.available(arena) <= leave {
            return None;
        }
        let page = match pages.returned.pop() {
            Some(page) => {
                pages.bare = pages.bare.min(pages.returned.len());
                (page, false)
            }
            None if pages.fresh < arena.pages_backed() => {
                pages.fresh += 1;
                // Here, where memory grows, so that giving a page back never allocates.
                let room = (pages.fresh as usize).saturating_sub(pages.returned.len());
                pages.returned.reserve(room);
                (pages.fresh - 1, true)
            }
            None => return None,
        };
        self.in_use.fetch_add(1, Ordering::Relaxed);
        Some(page)
    }

    /// Takes a page back.
    pub fn give(&self, arena: &Arena, page: u32) {
        arena.set_geometry(page, Geometry::NOBODY);
        let mut pages = lock(&self.pages);
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        pages.returned.push(page);
    }

    /// Gives the memory of some waiting pages beyond the limit back to the kernel: the limit has fallen, or the index grown. In a file they
    /// are out of use then, and not missed: there are as many others as the limit allows, and it does not rise. True when that was all.
    pub fn trim(&self, arena: &Arena) -> bool {
        let mut pages = lock(&self.pages);
        let limit = self.limit_pages(arena).saturating_sub(self.in_use()) as usize;
        let beyond = pages.returned.len().saturating_sub(limit);
        let end = beyond.min(pages.bare + TRIMMED_AT_ONCE);
        for &page in pages.returned.get(pages.bare..end).unwrap_or_default() {
            arena.give_back_page(page);
        }
        if arena.file().is_some() {
            pages.returned.drain(..end);
        } else {
            pages.bare = pages.bare.max(end);
        }
        end == beyond
    }

    /// Taking over an arena: `in_use` pages are in somebody's hands, `free` ones among the first `touched` are not.
    pub fn restore(&self, touched: u32, in_use: u32, free: Vec<u32>) {
        let mut pages = lock(&self.pages);
        pages.fresh = touched;
        pages.returned = free;
        pages.returned.reserve(touched as usize);
        self.in_use.store(in_use, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_wait_beyond_a_lower_limit_lose_their_memory_and_come_back_empty() {
        let arena = Arena::reserve(64 << 20, 1 << 20).expect("address space");
        let pool = Pool::new(64 << 20);
        let taken: Vec<u32> = (0..40).filter_map(|_| pool.take(&arena, 0)).collect();
        for &page in &taken {
            pool.give(&arena, page);
        }
        assert!(pool.trim(&arena), "nothing is beyond the limit");
        assert_eq!(lock(&pool.pages).bare, 0);
        pool.set_limit_bytes(10 << 20);
        assert!(pool.trim(&arena));
        assert_eq!(lock(&pool.pages).bare, 30);
        pool.set_limit_bytes(64 << 20);
        let again = (0..40).filter_map(|_| pool.take(&arena, 0)).count();
        assert_eq!((again, lock(&pool.pages).bare), (40, 0));
    }
}
