//! The arena: one reserved range of address space that holds the page table and the pages, addressed by offset.
//!
//! ```text
//! offset 0        4 KiB                    first page
//! ┌──────────────┬────────────────────────┬────────┬────────┬─────
//! │ superblock   │ page table, 24 B/page  │ page 0 │ page 1 │ ...
//! └──────────────┴────────────────────────┴────────┴────────┴─────
//! ```
//!
//! A page's entry says what is in it, in one word that changes atomically: chunk size and how many chunks
//! were ever carved. With it a scan finds every chunk of the page, whatever instruction the process died at. Nothing in
//! the arena is a pointer. The second word marks the beginnings of large items, the third is the page's checksum while the arena is
//! closed.
//!
//! The range is private memory ([`Arena::reserve`]), or its beginning is the memory of a file ([`Arena::open`]), offset by offset: then
//! the next process finds what this one left, and the file has its blocks before the first item comes.

use super::Stable;
use super::huge::HugePages;
use super::patch::Patch;
use super::superblock::SUPERBLOCK;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::memory::{HUGE_PAGE, Mapping};
use std::fs::File;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Names a chunk: its offset in the arena in granules. 0 is nobody (the superblock lies there).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ref(pub u32);

/// What the page table says of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a chunk; 0 while the page is in nobody's hands; [`LARGE_PAGE`] for a page of pieces.
    pub chunk_size: u32,
    /// Chunks from the start of the page that have ever been handed out; those behind hold garbage.
    pub carved: u32,
}

impl Geometry {
    /// What is said of a page in nobody's hands.
    pub const NOBODY: Geometry = Geometry { chunk_size: 0, carved: 0 };
}

/// `chunk_size` of a page that holds pieces of large items.
pub const LARGE_PAGE: u32 = u32::MAX;

/// See the module.
#[derive(Debug)]
pub struct Arena {
    mapping: Mapping,
    granule_shift: u32,
    page_shift: u32,
    first_page: usize,
    pages_max: u32,
    /// Pages that the file has, or all.
    pub(super) pages_present: u32,
    /// Pages from the first on that there is memory for: those that the limit allows, or all. Fewer than are present when an earlier
    /// process had more memory: of the pages beyond, only those in use have any.
    pub(super) pages_backed: u32,
    pub(super) file: Option<File>,
    /// See [`Arena::huge_pages`].
    huge: Option<HugePages>,
}

pub(super) const TABLE_OFFSET: usize = SUPERBLOCK;
pub(super) const TABLE_ENTRY: usize = 24;
/// 32-bit references times the smallest granule: 32 GiB.
const RANGE_MIN: u64 = 1 << 35;

/// Where things lie in a range.
pub(super) struct Plan {
    pub granule_shift: u32,
    pub first_page: usize,
    pub pages_max: u32,
}

impl Plan {
    pub fn of(range: usize, page_shift: u32) -> Result<Plan, String> {
        let page_size = 1 << page_shift;
        let first_page = (TABLE_OFFSET + (range >> page_shift) * TABLE_ENTRY).next_multiple_of(page_size);
        let pages = range.checked_sub(first_page).ok_or("no room for the page table")?;
        Ok(Plan {
            granule_shift: (range >> 32).max(8).next_power_of_two().trailing_zeros(),
            first_page,
            pages_max: u32::try_from(pages >> page_shift).map_err(|_| "too many pages for one arena")?,
        })
    }
}

/// Bytes of address space for so much memory.
pub(super) fn range_for(memory_bytes: u64) -> u64 {
    memory_bytes.saturating_mul(2).checked_next_power_of_two().unwrap_or(1 << 63).max(RANGE_MIN)
}

impl Arena {
    /// Reserves a range in which `memory_bytes` of pages of `page_size` bytes (a power of two) fit twice, so
    /// that the limit can be raised.
    ///
    /// # Errors
    /// When the kernel does not give the address range.
    pub fn reserve(memory_bytes: u64, page_size: usize) -> Result<Arena, String> {
        let mut range = range_for(memory_bytes);
        let mapping = loop {
            let len = usize::try_from(range).map_err(|_| "the address range does not fit this machine")?;
            match Mapping::reserve(len) {
                Ok(mapping) => break mapping,
                // Under strict overcommit or RLIMIT_AS less may still be had; the limit can then be raised less.
                Err(_) if range / 2 >= memory_bytes.saturating_add(memory_bytes / 4) && range > 1 << 26 => range /= 2,
                Err(error) => return Err(format!("cannot reserve {len} bytes of address space: {error}")),
            }
        };
        let plan = Plan::of(mapping.len(), page_size.trailing_zeros())?;
        let mut arena = Arena::over(mapping, page_size.trailing_zeros(), &plan);
        if arena.mapping.can_collapse() {
            arena.mapping.advise_huge(0, arena.mapping.len(), false);
            let huge = HugePages::new(plan.first_page, page_size, plan.pages_max);
            arena.huge = Some(huge.map_err(|error| format!("cannot reserve facts about huge pages: {error}"))?);
        }
        Ok(arena)
    }

    pub(super) fn over(mapping: Mapping, page_shift: u32, plan: &Plan) -> Arena {
        // The table is touched here and there.
        mapping.advise_huge(0, plan.first_page, false);
        let arena = Arena {
            granule_shift: plan.granule_shift,
            page_shift,
            first_page: plan.first_page,
            pages_max: plan.pages_max,
            pages_present: plan.pages_max,
            pages_backed: plan.pages_max,
            mapping,
            file: None,
            huge: None,
        };
        arena.ask_for_huge_pages();
        arena
    }

    /// All pages are to be in huge pages from their first touch.
    fn ask_for_huge_pages(&self) {
        let (start, end) = (self.first_page.next_multiple_of(HUGE_PAGE), self.mapping.len() & !(HUGE_PAGE - 1));
        self.mapping.advise_huge(start, end.saturating_sub(start), true);
    }

    /// The parts of it that are to become huge pages when they are full; none where all are from the start.
    #[must_use]
    pub fn huge_pages(&self) -> Option<&HugePages> {
        self.huge.as_ref()
    }

    /// Makes a huge page of the pages from this one on.
    pub(super) fn make_huge(&self, page: u32) {
        let start = self.page_offset(page);
        self.mapping.advise_huge(start, HUGE_PAGE, true);
        self.mapping.collapse(start, HUGE_PAGE);
    }

    /// The file whose memory this is.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// How many pages to look at for what an earlier process left.
    #[must_use]
    pub fn pages_present(&self) -> u32 {
        self.pages_present
    }

    /// Pages up to the last one in somebody's hands.
    #[must_use]
    pub fn pages_used(&self) -> u32 {
        let last = (0..self.pages_present).rev().find(|&page| self.geometry(page).chunk_size != 0);
        last.map_or(0, |page| page + 1)
    }

    /// Says how many pages were ever used, so that nobody looks for more.
    pub(in crate::store) fn set_pages_present(&mut self, pages: u32) {
        self.pages_present = pages;
    }

    /// How many pages, from the first on, there is memory for.
    #[must_use]
    pub fn pages_backed(&self) -> u32 {
        self.pages_backed
    }

    /// Bytes of a page, a power of two.
    #[must_use]
    pub fn page_size(&self) -> usize {
        1 << self.page_shift
    }

    /// How many pages the range holds at most.
    #[must_use]
    pub fn pages_max(&self) -> u32 {
        self.pages_max
    }

    /// Bytes that chunk sizes and offsets are multiples of.
    #[must_use]
    pub fn granule(&self) -> usize {
        1 << self.granule_shift
    }

    /// Offset of a page's first byte.
    #[must_use]
    pub fn page_offset(&self, page: u32) -> usize {
        self.first_page + ((page as usize) << self.page_shift)
    }

    /// Where the pages of the file end.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.page_offset(self.pages_present) as u64
    }

    /// Offset of the chunk that `name` names.
    #[inline]
    #[must_use]
    pub fn offset(&self, name: Ref) -> usize {
        (name.0 as usize) << self.granule_shift
    }

    /// Name of the chunk at `offset`, a multiple of the granule.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the range is at most 2^32 granules")]
    pub fn name(&self, offset: usize) -> Ref {
        debug_assert!(offset.is_multiple_of(self.granule()) && offset < self.mapping.len(), "a chunk's offset");
        Ref((offset >> self.granule_shift) as u32)
    }

    /// The page in which a chunk lies.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "pages_max is a u32")]
    pub fn page_of(&self, name: Ref) -> u32 {
        ((self.offset(name) - self.first_page) >> self.page_shift) as u32
    }

    /// The page table's word on a page.
    #[must_use]
    pub fn geometry(&self, page: u32) -> Geometry {
        let word = self.geometry_word(page).load(Ordering::Acquire);
        #[expect(clippy::cast_possible_truncation, reason = "two halves of a word")]
        Geometry { chunk_size: (word >> 32) as u32, carved: word as u32 }
    }

    /// Changes the page table's word on a page, at once. Chunks below `carved` must have a state word by then.
    pub fn set_geometry(&self, page: u32, geometry: Geometry) {
        let word = u64::from(geometry.chunk_size) << 32 | u64::from(geometry.carved);
        if super::alive() {
            self.geometry_word(page).store(word, Ordering::Release);
        }
    }

    /// For a page of pieces: bit b is set while a published large item begins at block b (1/64 of the page).
    #[must_use]
    pub fn heads(&self, page: u32) -> u64 {
        self.heads_word(page).load(Ordering::Acquire)
    }

    /// Forgets all heads of a page.
    pub fn clear_heads(&self, page: u32) {
        if super::alive() {
            self.heads_word(page).store(0, Ordering::Release);
        }
    }

    /// Sets or clears the bit of one block.
    pub fn set_head(&self, page: u32, block: usize, set: bool) {
        if !super::alive() {
            return;
        }
        if set {
            self.heads_word(page).fetch_or(1 << block, Ordering::Release);
        } else {
            self.heads_word(page).fetch_and(!(1 << block), Ordering::Release);
        }
    }

    /// Checksum of what a page holds and of what the table says of it. Nobody else is at work.
    #[must_use]
    pub(in crate::store) fn checksum(&self, page: u32) -> u64 {
        let Geometry { chunk_size, carved } = self.geometry(page);
        let len =
            if chunk_size == LARGE_PAGE { self.page_size() as u64 } else { u64::from(chunk_size) * u64::from(carved) };
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.page_size());
        let seed =
            (u64::from(chunk_size) << 32 | u64::from(carved)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.heads(page);
        // SAFETY: inside the mapping, since page and length are; the caller says that nobody writes meanwhile.
        let bytes =
            unsafe { std::slice::from_raw_parts(self.mapping.base().as_ptr().add(self.page_offset(page)), len) };
        xxh3_64_with_seed(bytes, seed)
    }

    /// Notes a page's checksum in the table.
    pub(in crate::store) fn note_checksum(&self, page: u32, checksum: u64) {
        self.checksum_word(page).store(checksum, Ordering::Relaxed);
    }

    /// The checksum that the table has.
    #[must_use]
    pub(in crate::store) fn noted_checksum(&self, page: u32) -> u64 {
        self.checksum_word(page).load(Ordering::Relaxed)
    }

    fn checksum_word(&self, page: u32) -> &AtomicU64 {
        assert!(page < self.pages_max, "a page of the arena");
        self.word64(TABLE_OFFSET + page as usize * TABLE_ENTRY + 16)
    }

    fn heads_word(&self, page: u32) -> &AtomicU64 {
        assert!(page < self.pages_max, "a page of the arena");
        self.word64(TABLE_OFFSET + page as usize * TABLE_ENTRY + 8)
    }

    fn geometry_word(&self, page: u32) -> &AtomicU64 {
        assert!(page < self.pages_max, "a page of the arena");
        self.word64(TABLE_OFFSET + page as usize * TABLE_ENTRY)
    }

    /// The 64-bit word at an 8-aligned offset.
    #[inline]
    #[must_use]
    pub fn word64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.mapping.len(), "inside the arena");
        // SAFETY: in range and aligned (asserted), zeroed or written memory is a valid integer, and it lives as long as `self`.
        // Words used as atomics (headers, page table) are never part of the bytes given out below.
        unsafe { &*self.mapping.base().as_ptr().add(offset).cast::<AtomicU64>() }
    }

    /// The two 64-bit words at the beginning of a chunk.
    #[inline]
    #[must_use]
    pub fn header(&self, offset: usize) -> &[AtomicU64; 2] {
        assert!(offset.is_multiple_of(8) && offset + 16 <= self.mapping.len(), "inside the arena");
        // SAFETY: as for `word64`, for two words.
        unsafe { &*self.mapping.base().as_ptr().add(offset).cast::<[AtomicU64; 2]>() }
    }

    /// The 32-bit word at a 4-aligned offset.
    #[inline]
    #[must_use]
    pub fn word32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.mapping.len(), "inside the arena");
        // SAFETY: as for `word64`; a word is always used in one width.
        unsafe { &*self.mapping.base().as_ptr().add(offset).cast::<AtomicU32>() }
    }

    /// Bytes of a published item (not its header words), stable while the witness lives.
    #[inline]
    #[must_use]
    pub fn bytes<'g>(&'g self, offset: usize, len: usize, _stable: Stable<'g>) -> &'g [u8] {
        self.check_bytes(offset, len);
        // SAFETY: in range (checked). The item is published and its witness keeps it from being freed, and nothing writes bytes
        // of a published item behind its header but `put`, which borrows the one who sees the value alone.
        unsafe { std::slice::from_raw_parts(self.mapping.base().as_ptr().add(offset), len) }
    }

    /// Bytes of a draft (not its header words). Only the draft's owner calls this, for its own chunk.
    #[inline]
    #[must_use]
    pub(in crate::store) fn bytes_mut<'d>(&self, offset: usize, len: usize, _owner: &'d mut Owner) -> &'d mut [u8] {
        self.check_bytes(offset, len);
        #[cfg(test)]
        if !super::intact() {
            return Vec::leak(vec![0; len]);
        }
        // SAFETY: in range (checked). The chunk belongs to one draft and `_owner` is that draft, borrowed for as long as the slice:
        // nobody else can see its bytes, since its state is not published. The owner keeps the store, and so the mapping, alive.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.base().as_ptr().add(offset), len) }
    }

    /// Puts `bytes` in the place of others of a published item's value. In one store, so they are there whole or not at all whenever this
    /// process ends. The caller holds the item's stripe and borrows the entry through which alone the value is seen: no walk asks for
    /// values, and this one is not so large that it could be pinned.
    #[inline]
    pub(in crate::store) fn put(&self, patch: Patch, bytes: &[u8]) {
        self.check_bytes(patch.word, patch.width);
        if !super::alive() {
            return;
        }
        // SAFETY: in range (checked); the caller sees to it that nobody else reads or writes the value now.
        unsafe { patch.put(self.mapping.base().as_ptr(), bytes) }
    }

    fn check_bytes(&self, offset: usize, len: usize) {
        assert!(
            offset >= self.first_page && offset <= self.mapping.len() && len <= self.mapping.len() - offset,
            "inside the pages"
        );
    }

    /// Copies `len` bytes behind the header of a published item into a chunk that nobody else can see (a rescue).
    pub(in crate::store) fn copy_to_private(&self, source: usize, target: usize, len: usize, _stable: Stable<'_>) {
        self.check_bytes(source, len);
        self.check_bytes(target, len);
        if !super::intact() {
            return;
        }
        // SAFETY: both in range; the source is stable by its witness; the target chunk was just taken from the free list by the
        // caller, who has not published it, so nobody reads it; two chunks never overlap.
        unsafe {
            let base = self.mapping.base().as_ptr();
            std::ptr::copy_nonoverlapping(base.add(source), base.add(target), len);
        }
    }

    /// Starts loading the first lines of a chunk: header, key and the beginning of the value.
    #[inline]
    pub fn prefetch(&self, name: Ref) {
        let line = self.mapping.base().as_ptr().wrapping_add(self.offset(name));
        prefetch_line(line);
        prefetch_line(line.wrapping_add(64));
        prefetch_line(line.wrapping_add(128));
        prefetch_line(line.wrapping_add(192));
    }

    /// Starts loading the header at an offset, which may lie beyond the end, and the key behind it.
    pub(in crate::store) fn prefetch_header(&self, offset: usize) {
        let line = self.mapping.base().as_ptr().wrapping_add(offset);
        prefetch_line(line);
        prefetch_line(line.wrapping_add(48));
    }

    /// Whether a chunk of the pages may begin at `offset`: something read from an arena of which nothing is known yet.
    #[must_use]
    pub fn is_inside(&self, name: Ref) -> bool {
        let (offset, end) = (self.offset(name), self.page_offset(self.pages_present));
        offset >= self.first_page && offset < end
    }

    /// Gives the memory of a page that is in nobody's hands back to the kernel. In a file it leaves a hole, and whoever touched it
    /// when there is no room would be killed: the page must not be used again.
    pub(in crate::store) fn give_back_page(&self, page: u32) {
        debug_assert_eq!(self.geometry(page).chunk_size, 0, "a page of nobody");
        if self.file.is_some() {
            self.mapping.give_back_file(self.page_offset(page), self.page_size());
        } else {
            self.mapping.give_back(self.page_offset(page), self.page_size());
        }
    }

    /// Takes all memory of the first `pages` pages now.
    pub fn populate(&mut self, pages: u32) {
        self.huge = None;
        self.ask_for_huge_pages();
        self.mapping.populate(self.first_page, (pages as usize) << self.page_shift);
    }

    /// A page is about to be used for the first time. All of a file's memory is in use from the start, so huge pages cost nothing; the
    /// kernel must be asked, and makes them whatever the mount's options are.
    pub(in crate::store) fn prepare(&self, page: u32) {
        let start = self.page_offset(page).next_multiple_of(HUGE_PAGE);
        let end = self.page_offset(page) + self.page_size();
        if self.file.is_some() && start < end && start + HUGE_PAGE <= self.page_offset(self.pages_backed) {
            self.mapping.collapse(start, HUGE_PAGE);
        }
    }
}

/// The right to write to the bytes of one draft. Whoever takes a chunk makes one and keeps it with the chunk's name.
#[derive(Debug)]
pub(in crate::store) struct Owner(pub(in crate::store) Ref);

/// Starts loading the cache line at an address. Any address will do: nothing is read architecturally.
#[inline]
pub fn prefetch_line(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults and reads nothing that the program can see.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
