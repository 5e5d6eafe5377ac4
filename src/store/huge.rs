//! Background work: which parts of the arena are full, so that they are better huge pages.

use super::inner::Inner;
use super::slabs::LARGE_OWNER;
use crate::sync::Ordering;

/// All are looked at in so many steps: at ten steps a second, one second.
const STEPS_PER_ROUND: u32 = 10;
/// Huge pages made in a step at most: some milliseconds.
const MADE_PER_STEP: u32 = 16;

impl Inner {
    /// Makes some huge pages of what is full.
    pub fn make_huge_pages(&self) {
        let Some(huge) = self.arena.huge_pages() else { return };
        let count = huge.count(self.pool.touched());
        let start = self.huge_cursor.load(Ordering::Relaxed).min(count);
        let end = (start + count / STEPS_PER_ROUND + 1).min(count);
        let mut left = MADE_PER_STEP;
        let mut next = start;
        while next < end && left > 0 {
            if !huge.is_made(next) && huge.pages(next).all(|page| self.is_full(page)) {
                huge.make(&self.arena, next);
                left -= 1;
            }
            next += 1;
        }
        self.huge_cursor.store(if next == count { 0 } else { next }, Ordering::Relaxed);
    }

    /// Whether all chunks of a page have been used, as far as can be told without its owner's lock. Large items leave little of theirs.
    fn is_full(&self, page: u32) -> bool {
        match self.facts.owner(page) {
            0 => false,
            LARGE_OWNER => true,
            _ => {
                let geometry = self.arena.geometry(page);
                let used = u64::from(geometry.chunk_size) * (u64::from(geometry.carved) + 1);
                used > self.arena.page_size() as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::tests::{config, set};
    use crate::clock::Now;

    #[test]
    fn what_is_full_becomes_huge_pages_and_nothing_else_does() {
        let store = Store::open(&config(64)).expect("memory");
        let now = Now::at(1000, 0);
        let huge = store.inner().arena.huge_pages().expect("Linux 6.1 or later");
        let made = || (0..20).map(|number| huge.is_made(number)).collect::<Vec<_>>();
        let rounds = || (0..40).for_each(|_| store.maintain(now));
        // A page each, in two stretches or three.
        for size in 0..60_u32 {
            set(&store, &size.to_be_bytes(), &vec![7; size as usize * 16], 0, now).expect("there is room");
        }
        rounds();
        assert!(!made().contains(&true), "none is full");
        for number in 100..100_000_u32 {
            set(&store, &number.to_be_bytes(), &[7; 100], 0, now).expect("there is room");
        }
        rounds();
        let made = made();
        let pages = store.inner().pool.touched();
        let full = huge.count(pages);
        assert!(full > 6 && made.iter().filter(|&&made| made).count() as u32 == full - 2, "{made:?} of {full}");
        assert!(!made[0], "classes with one item lie there");
    }
}
