//! An arena over the memory of a file: made, looked at, mapped, as long as the memory limit says.
//!
//! The file is its own description (`superblock.rs`). It has all its blocks before anybody touches its memory: whoever touched a hole when
//! the file system is full would be killed.

use super::Arena;
use super::arena::{Plan, TABLE_ENTRY, TABLE_OFFSET, range_for};
use super::superblock::{BootId, Condition, Found, Superblock, damaged};
use crate::sys::files;
use crate::sys::memory::Mapping;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

/// log2 of the sizes that pages may have.
const PAGE_SHIFTS: std::ops::RangeInclusive<u32> = 16..=20;
/// Largest range that a file may ask for: 16 TiB.
const RANGE_MAX: u64 = 1 << 44;

/// Why a file cannot be the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// What is in it cannot be believed, or is somebody else's: the reason, as "it ...".
    Unfit(String),
    /// It is sound, but laid out so that it does not fit what is asked for now: what differs. Its items can be moved.
    Differs(String),
    /// There is not enough room for it: bytes that it needs in all, and the system's reason.
    NoRoom(u64, String),
    /// The system refused something else.
    System(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::System(crate::sys::reason(&error))
    }
}

impl Arena {
    /// What the file holds.
    ///
    /// # Errors
    /// [`Trouble::Unfit`] when that cannot be believed.
    pub fn look(file: &File, boot_id: &BootId) -> Result<Option<Superblock>, Trouble> {
        match Superblock::read(file, boot_id)? {
            Found::Nothing => Ok(None),
            Found::Unfit(reason) => Err(Trouble::Unfit(reason)),
            Found::Arena(superblock) => {
                let range = usize::try_from(superblock.range).ok().filter(|_| superblock.range <= RANGE_MAX);
                let plan = range.filter(|_| PAGE_SHIFTS.contains(&superblock.page_shift));
                let plan = plan.and_then(|range| Plan::of(range, superblock.page_shift).ok());
                let agrees = plan.is_some_and(|plan| {
                    (plan.granule_shift, plan.first_page as u64) == (superblock.granule_shift, superblock.first_page)
                        && superblock.pages > 0
                        && superblock.pages <= plan.pages_max
                });
                if agrees { Ok(Some(superblock)) } else { Err(Trouble::Unfit(damaged())) }
            }
        }
    }

    /// Makes an empty file (or one that was being made) an arena for `memory_bytes` of pages, which it has from then on. It counts as being
    /// made until it is marked open.
    ///
    /// # Errors
    /// [`Trouble::NoRoom`], or another refusal of the system.
    pub fn make(file: File, memory_bytes: u64, page_size: usize, boot: (BootId, u64)) -> Result<Arena, Trouble> {
        let range = range_for(memory_bytes);
        let page_shift = page_size.trailing_zeros();
        let plan = usize::try_from(range).map_err(|_| "the address range does not fit this machine".to_owned());
        let plan = plan.and_then(|range| Plan::of(range, page_shift)).map_err(Trouble::System)?;
        let superblock = Superblock {
            range,
            page_shift,
            granule_shift: plan.granule_shift,
            first_page: plan.first_page as u64,
            boot_id: boot.0,
            birth: boot.1,
            pages: pages_for(memory_bytes, page_shift),
            condition: Condition::BeingMade,
            summary: None,
        };
        file.set_len(0)?;
        superblock.begin(&file)?;
        let made = Arena::map(file.try_clone()?, &superblock, superblock.pages);
        if made.is_err() {
            // What it got of the room is of no use to anybody.
            file.set_len(0)?;
        }
        made
    }

    /// Maps a file that holds an arena ([`Arena::look`]), as long as it is, or longer for more memory. Nothing in it is changed but the
    /// number of its pages; what stands behind them is cut off if that changes.
    ///
    /// # Errors
    /// [`Trouble::Differs`] when the memory is more than its references reach; [`Trouble::NoRoom`].
    pub fn open(file: File, superblock: &Superblock, memory_bytes: u64) -> Result<Arena, Trouble> {
        Arena::more_needed(superblock, memory_bytes)?;
        let wanted = pages_for(memory_bytes, superblock.page_shift);
        if wanted != superblock.pages && file.metadata()?.len() > superblock.file_len() {
            file.set_len(superblock.file_len())?;
        }
        Arena::map(file, superblock, wanted)
    }

    /// Bytes that the file lacks for `memory_bytes` of pages.
    ///
    /// # Errors
    /// [`Trouble::Differs`] when that is more than its references reach.
    pub fn more_needed(superblock: &Superblock, memory_bytes: u64) -> Result<u64, Trouble> {
        let wanted = pages_for(memory_bytes, superblock.page_shift);
        let reach =
            usize::try_from(superblock.range).ok().and_then(|range| Plan::of(range, superblock.page_shift).ok());
        if reach.is_none_or(|plan| wanted > plan.pages_max) {
            return Err(Trouble::Differs(format!("references of {} bytes", 1 << superblock.granule_shift)));
        }
        Ok(u64::from(wanted.saturating_sub(superblock.pages)) << superblock.page_shift)
    }

    /// The chunk sizes that the page table of the file names; 0 left out. Somebody may be at work there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn chunk_sizes(file: &File, superblock: &Superblock) -> io::Result<Vec<u32>> {
        let mut table = vec![0; superblock.pages as usize * TABLE_ENTRY];
        file.read_exact_at(&mut table, TABLE_OFFSET as u64)?;
        // The upper half of the first word of each entry (`geometry`).
        let size = |entry: &[u8]| entry.get(4..8)?.try_into().ok().map(u32::from_ne_bytes);
        let mut sizes: Vec<u32> = table.chunks_exact(TABLE_ENTRY).filter_map(size).filter(|&size| size != 0).collect();
        sizes.sort_unstable();
        sizes.dedup();
        Ok(sizes)
    }

    fn map(file: File, superblock: &Superblock, wanted: u32) -> Result<Arena, Trouble> {
        let range = usize::try_from(superblock.range).unwrap_or(usize::MAX);
        let mut plan = Plan::of(range, superblock.page_shift).map_err(Trouble::System)?;
        let len = |pages: u32| plan.first_page + ((pages as usize) << superblock.page_shift);
        let table = TABLE_OFFSET + wanted as usize * TABLE_ENTRY;
        let needed = table.next_multiple_of(4096) as u64 + (u64::from(wanted) << superblock.page_shift);
        // Asking for what is there already takes a tenth of a second for each gigabyte.
        let facts = file.metadata()?;
        let behind = facts.len().saturating_sub(len(superblock.pages) as u64).next_multiple_of(4096);
        if facts.len() < len(wanted) as u64 || facts.blocks() * 512 != needed + behind {
            let room = |error: io::Error| Trouble::NoRoom(needed, crate::sys::reason(&error));
            files::allocate(&file, 0, table as u64).map_err(room)?;
            files::allocate(&file, plan.first_page as u64, u64::from(wanted) << superblock.page_shift).map_err(room)?;
        }
        // The file does not grow while it is mapped: no need for all the addresses that its references reach.
        plan.pages_max = wanted.max(superblock.pages);
        let mut mapping = Mapping::reserve(len(plan.pages_max))?;
        mapping.map_file(&file, len(plan.pages_max))?;
        let mut arena = Arena::over(mapping, superblock.page_shift, &plan);
        // With less memory than before: pages in use at the end stay until they are emptied.
        let pages = wanted.max(arena.pages_used());
        // Left by a process that had more memory than the last one.
        (superblock.pages..pages).for_each(|page| arena.note_checksum(page, 0));
        arena.note_pages(pages);
        if pages < superblock.pages {
            file.set_len(len(pages) as u64)?;
        }
        arena.pages_present = pages;
        arena.pages_backed = wanted;
        arena.file = Some(file);
        Ok(arena)
    }
}

/// Whole pages of so much memory, at least one.
fn pages_for(memory_bytes: u64, page_shift: u32) -> u32 {
    u32::try_from(memory_bytes >> page_shift).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::arena::Geometry;
    use super::super::superblock::STATE_AT;
    use super::*;
    use crate::sync::Ordering;

    const BOOT: BootId = [3; 16];

    fn reopened(file: &File, memory_bytes: u64) -> Result<Arena, Trouble> {
        let superblock = Arena::look(file, &BOOT)?.expect("an arena");
        Arena::open(file.try_clone().unwrap(), &superblock, memory_bytes)
    }

    #[test]
    fn a_file_grows_and_shrinks_with_the_memory_but_keeps_pages_in_use() {
        let file = files::nameless(c"arena").unwrap();
        let arena = Arena::make(file.try_clone().unwrap(), 8 << 20, 1 << 16, (BOOT, 1)).unwrap();
        assert_eq!(Arena::look(&file, &BOOT), Ok(None), "it is being made");
        arena.note_open();
        arena.set_geometry(100, Geometry { chunk_size: 64, carved: 1 });
        arena.word64(arena.page_offset(100)).store(77, Ordering::Relaxed);
        assert_eq!(arena.pages_present(), 128);
        drop(arena);
        for (megabytes, pages) in [(16, 256), (4, 101), (8, 128)] {
            let arena = reopened(&file, megabytes << 20).unwrap();
            assert_eq!(arena.pages_present(), pages);
            assert_eq!(u64::from(arena.pages_backed()), megabytes * 16);
            assert_eq!(arena.geometry(100).chunk_size, 64);
            assert_eq!(arena.word64(arena.page_offset(100)).load(Ordering::Relaxed), 77);
            assert_eq!(file.metadata().unwrap().len(), arena.page_offset(pages) as u64);
        }
    }

    #[test]
    fn a_superblock_that_somebody_has_made_up_is_refused() {
        let real = files::nameless(c"arena").unwrap();
        Arena::make(real.try_clone().unwrap(), 8 << 20, 1 << 16, (BOOT, 1)).unwrap().note_open();
        let real = Arena::look(&real, &BOOT).unwrap().expect("an arena");
        for made_up in [
            Superblock { page_shift: 255, ..real },
            Superblock { page_shift: 64, ..real },
            Superblock { page_shift: 4, ..real },
            Superblock { range: 0, ..real },
            Superblock { range: 1 << 16, ..real },
            Superblock { range: u64::MAX, ..real },
            Superblock { granule_shift: 255, ..real },
            Superblock { first_page: u64::MAX, ..real },
            Superblock { first_page: 0, ..real },
            Superblock { pages: 0, ..real },
            Superblock { pages: u32::MAX, ..real },
        ] {
            // With a checksum that is right.
            let file = files::nameless(c"arena").unwrap();
            made_up.begin(&file).unwrap();
            file.write_all_at(&Condition::Open.word().to_ne_bytes(), STATE_AT as u64).unwrap();
            file.set_len(1 << 40).unwrap();
            assert!(matches!(Arena::look(&file, &BOOT), Err(Trouble::Unfit(_))), "{made_up:?}");
        }
    }

    #[test]
    fn more_memory_than_references_reach_needs_another_layout() {
        let file = files::nameless(c"arena").unwrap();
        Arena::make(file.try_clone().unwrap(), 8 << 20, 1 << 16, (BOOT, 1)).unwrap().note_open();
        assert!(matches!(reopened(&file, 1 << 36), Err(Trouble::Differs(_))));
    }

    #[test]
    fn a_lack_of_room_is_told_with_what_is_needed() {
        let file = files::nameless(c"arena").unwrap();
        let limit = 1 << 60;
        let refused = Arena::make(file, limit, 1 << 20, (BOOT, 1)).map(|_| ());
        assert!(matches!(refused, Err(Trouble::NoRoom(..) | Trouble::System(_))), "{refused:?}");
    }
}
