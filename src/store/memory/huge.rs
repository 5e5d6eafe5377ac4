//! Huge pages, made of memory only when all of it is in use.
//!
//! Huge pages make 10 to 17 % of a pipelined get (misses of the TLB). But the kernel gives one whole at the first touch, 2 MiB, of which a
//! class with a few items needs a few KiB: some sessions of every size would take as much memory as a hundred thousand of them. So
//! the arena begins with small pages, and a stretch of it becomes a huge page when what lies there is full, once: from then on the
//! kernel gives huge pages there by itself, should its memory be given back meanwhile. A kernel that cannot do that (before Linux 6.1) is
//! asked for huge pages from the start.

use std::ops::Range;

use super::Words32;
use super::arena::Arena;
use crate::sync::Ordering;
use crate::sys::memory::HUGE_PAGE;

/// The stretches of an arena that may become huge pages, and which have.
#[derive(Debug)]
pub struct HugePages {
    /// 1 for one that has.
    made: Words32,
    /// First page of the first one.
    first: u32,
    /// Pages of each.
    each: u32,
}

impl HugePages {
    /// None yet, of an arena whose pages are no longer than a huge one.
    ///
    /// # Errors
    /// When the address range for the marks cannot be had.
    pub(super) fn new(first_page: usize, page_size: usize, pages: u32) -> std::io::Result<HugePages> {
        let each = HUGE_PAGE / page_size;
        let before = first_page.next_multiple_of(HUGE_PAGE) - first_page;
        Ok(HugePages {
            made: Words32::new(pages as usize / each + 1)?,
            first: u32::try_from(before / page_size).unwrap_or(0),
            each: u32::try_from(each).unwrap_or(1),
        })
    }

    /// How many lie within the first `pages` pages.
    #[must_use]
    pub fn count(&self, pages: u32) -> u32 {
        pages.saturating_sub(self.first) / self.each
    }

    /// The pages of one.
    #[must_use]
    pub fn pages(&self, number: u32) -> Range<u32> {
        let start = self.first + number * self.each;
        start..start + self.each
    }

    /// Whether it has been made.
    #[must_use]
    pub fn is_made(&self, number: u32) -> bool {
        self.made.at(number as usize).load(Ordering::Relaxed) == 1
    }

    /// Makes it: takes some tenths of a millisecond, for which whoever touches these pages waits.
    pub fn make(&self, arena: &Arena, number: u32) {
        self.made.at(number as usize).store(1, Ordering::Relaxed);
        arena.make_huge(self.pages(number).start);
    }
}
