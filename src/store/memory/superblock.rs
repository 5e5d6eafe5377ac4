//! The first 4 KiB of an arena: what the next process must know before it may believe the rest.
//!
//! ```text
//!    0 magic                   64 birth, unix seconds        1024 sequence number drawn last
//!    8 byte order, version     72 state (below)              1088 flush: sequence 48, generation 16
//!   16 range of addresses      80 checksum of 0..72          1096 flush to come: second 32, generation 16
//!   24 page and granule, log2  88 pages of the file, twice   1104 second of the last flush
//!   32 offset of page 0        96 items, when closed
//!   40 boot id (16)           104 seal, when closed; 112 summary: bytes, checksum
//! ```
//!
//! Words from 1024 on change while the server runs, each at once, so that they are right whatever instruction the process dies at:
//! a flush and the going of the one that was to come are one store. The rest changes when the arena is opened and closed.
//!
//! The state is one of three constants with many bits between them. *Closed*: the seal is the checksum of this page, and the page table
//! has one for each page; so is the summary sealed that may stand behind the pages. *Open*: a process works with it, or died. *Being made*:
//! nothing in it yet.

use super::Arena;
use crate::sync::{AtomicU64, Ordering};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of the superblock.
pub const SUPERBLOCK: usize = 4096;
/// Changes with every change of what is stored where.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"memhold\n";
/// Read back differently by a machine of the other byte order.
const BYTE_ORDER: u32 = 0x0a0b_0c0d;

const ORDER_AT: usize = 8;
const VERSION_AT: usize = 12;
const RANGE_AT: usize = 16;
const SHIFTS_AT: usize = 24;
const FIRST_PAGE_AT: usize = 32;
const BOOT_ID_AT: usize = 40;
const BIRTH_AT: usize = 64;
pub(super) const STATE_AT: usize = 72;
const CHECKSUM_AT: usize = 80;
const PAGES_AT: usize = 88;
const ITEMS_AT: usize = 96;
const SEAL_AT: usize = 104;
const SUMMARY_LEN_AT: usize = 112;
const SUMMARY_CHECKSUM_AT: usize = 120;
const SEQUENCE_AT: usize = 1024;
const FLUSH_AT: usize = 1088;
const PENDING_AT: usize = 1096;
const FLUSHED_AT: usize = 1104;

/// What the server that used the arena last has done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It was being made, and holds nothing.
    BeingMade,
    /// Open: its process died.
    Open,
    /// Closed in order, with checksums.
    Closed,
}

impl Condition {
    pub(super) const fn word(self) -> u64 {
        match self {
            Condition::BeingMade => 0x6d61_6b69_6e67_2e2e,
            Condition::Open => 0xa55a_0ff0_3cc3_9669,
            Condition::Closed => 0x1de4_7b28_c1f5_d832,
        }
    }
}

/// Identity of the running kernel: memory of before a reboot is not memory any more.
pub type BootId = [u8; 16];

/// What stands behind the last page of an arena: its bytes, and their checksum (see `restart/summary.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Bytes.
    pub len: u64,
    /// Of all of them.
    pub checksum: u64,
}

/// What the superblock says that does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Bytes of address space that references reach.
    pub range: u64,
    /// log2 of the bytes of a page.
    pub page_shift: u32,
    /// log2 of the unit of references.
    pub granule_shift: u32,
    /// Offset of page 0.
    pub first_page: u64,
    /// Kernel under which it was made.
    pub boot_id: BootId,
    /// Unix second in which it was made.
    pub birth: u64,
    /// Pages that the file has.
    pub pages: u32,
    /// See there.
    pub condition: Condition,
    /// Of an arena that was closed, if there is one.
    pub summary: Option<Summary>,
}

/// What stands at the beginning of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet: an empty file, or one that was being made.
    Nothing,
    /// An arena.
    Arena(Superblock),
    /// Something else, or something that cannot be believed: the reason.
    Unfit(String),
}

/// Whether a file is an arena, in whatever condition, or still empty: nobody else's.
#[must_use]
pub fn is_arena(file: &File) -> bool {
    let mut start = [0; 8];
    match file.read_exact_at(&mut start, 0) {
        Ok(()) => start == MAGIC,
        Err(_) => file.metadata().is_ok_and(|facts| facts.len() == 0),
    }
}

impl Superblock {
    /// Reads the beginning of a file and checks all that can be checked there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(file: &File, boot_id: &BootId) -> io::Result<Found> {
        let len = file.metadata()?.len();
        if len == 0 {
            return Ok(Found::Nothing);
        }
        if len < SUPERBLOCK as u64 {
            return Ok(Found::Unfit(if is_arena(file) { truncated(len, SUPERBLOCK as u64) } else { foreign() }));
        }
        let mut bytes = [0; SUPERBLOCK];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Superblock::parse(&bytes, len, boot_id))
    }

    fn parse(bytes: &[u8; SUPERBLOCK], len: u64, boot_id: &BootId) -> Found {
        if bytes[..8] != MAGIC {
            return Found::Unfit(foreign());
        }
        match word32(bytes, ORDER_AT) {
            BYTE_ORDER => {}
            order if order.swap_bytes() == BYTE_ORDER => {
                return Found::Unfit("it was written by a machine of the other byte order".to_owned());
            }
            _ => return Found::Unfit(damaged()),
        }
        let version = word32(bytes, VERSION_AT);
        if version != VERSION {
            return Found::Unfit(format!("its layout is version {version}, this memhold knows version {VERSION}"));
        }
        if word64(bytes, CHECKSUM_AT) != xxh3_64(&bytes[..STATE_AT]) {
            return Found::Unfit(damaged());
        }
        let state = word64(bytes, STATE_AT);
        let conditions = [Condition::BeingMade, Condition::Open, Condition::Closed];
        let Some(&condition) = conditions.iter().find(|condition| condition.word() == state) else {
            return Found::Unfit(damaged());
        };
        if condition == Condition::BeingMade {
            return Found::Nothing;
        }
        if condition == Condition::Closed && word64(bytes, SEAL_AT) != seal(bytes) {
            return Found::Unfit(damaged());
        }
        let Some(pages) = twice(word64(bytes, PAGES_AT)) else { return Found::Unfit(damaged()) };
        if bytes[BOOT_ID_AT..BOOT_ID_AT + 16] != *boot_id {
            return Found::Unfit("it was made before this machine was started, or on another one".to_owned());
        }
        let summary = Summary { len: word64(bytes, SUMMARY_LEN_AT), checksum: word64(bytes, SUMMARY_CHECKSUM_AT) };
        let superblock = Superblock {
            range: word64(bytes, RANGE_AT),
            page_shift: word32(bytes, SHIFTS_AT),
            granule_shift: word32(bytes, SHIFTS_AT + 4),
            first_page: word64(bytes, FIRST_PAGE_AT),
            boot_id: *boot_id,
            birth: word64(bytes, BIRTH_AT),
            pages,
            condition,
            // Whoever has had the arena open since has not kept the words up.
            summary: (condition == Condition::Closed && summary.len > 0).then_some(summary),
        };
        let needed = superblock.file_len();
        if len < needed {
            return Found::Unfit(truncated(len, needed));
        }
        Found::Arena(superblock)
    }

    /// Bytes of the file, up to the end of its pages.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        // Nobody has looked yet whether pages can be of that size.
        let pages = u64::from(self.pages).checked_shl(self.page_shift).unwrap_or(u64::MAX);
        self.first_page.saturating_add(pages)
    }

    /// Writes it to the beginning of a new file, as one that is being made.
    ///
    /// # Errors
    /// The system's.
    pub fn begin(&self, file: &File) -> io::Result<()> {
        let mut bytes = [0; SUPERBLOCK];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[ORDER_AT..][..4].copy_from_slice(&BYTE_ORDER.to_ne_bytes());
        bytes[VERSION_AT..][..4].copy_from_slice(&VERSION.to_ne_bytes());
        bytes[RANGE_AT..][..8].copy_from_slice(&self.range.to_ne_bytes());
        bytes[SHIFTS_AT..][..4].copy_from_slice(&self.page_shift.to_ne_bytes());
        bytes[SHIFTS_AT + 4..][..4].copy_from_slice(&self.granule_shift.to_ne_bytes());
        bytes[FIRST_PAGE_AT..][..8].copy_from_slice(&self.first_page.to_ne_bytes());
        bytes[BOOT_ID_AT..][..16].copy_from_slice(&self.boot_id);
        bytes[BIRTH_AT..][..8].copy_from_slice(&self.birth.to_ne_bytes());
        let checksum = xxh3_64(&bytes[..STATE_AT]);
        bytes[CHECKSUM_AT..][..8].copy_from_slice(&checksum.to_ne_bytes());
        bytes[STATE_AT..][..8].copy_from_slice(&Condition::BeingMade.word().to_ne_bytes());
        bytes[PAGES_AT..][..8].copy_from_slice(&doubled(self.pages).to_ne_bytes());
        file.write_all_at(&bytes, 0)
    }
}

fn word32(bytes: &[u8; SUPERBLOCK], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(word)
}

fn word64(bytes: &[u8; SUPERBLOCK], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}

/// A number that changes in place, with its complement: one store, and half a change would show.
const fn doubled(number: u32) -> u64 {
    (!number as u64) << 32 | number as u64
}

fn twice(word: u64) -> Option<u32> {
    #[expect(clippy::cast_possible_truncation, reason = "two halves of a word")]
    let number = word as u32;
    (doubled(number) == word).then_some(number)
}

/// Checksum of a closed superblock, the seal itself left out, and the number of pages, which can change while it is closed.
fn seal(bytes: &[u8; SUPERBLOCK]) -> u64 {
    let mut bytes = *bytes;
    bytes[PAGES_AT..][..8].fill(0);
    bytes[SEAL_AT..][..8].fill(0);
    xxh3_64(&bytes)
}

fn foreign() -> String {
    "it is not an arena of memhold".to_owned()
}
pub(super) fn damaged() -> String {
    "its superblock is damaged".to_owned()
}
fn truncated(len: u64, needed: u64) -> String {
    format!("it is truncated: {len} bytes of {needed}")
}

/// Flushes, as the superblock keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushes {
    /// Items with a sequence number up to this are flushed.
    pub sequence: u64,
    /// Second of the last flush; 0 for none.
    pub at: u32,
    /// Second of the flush to come; 0 for none.
    pub pending: u32,
}

/// The words that change while the server runs.
impl Arena {
    /// Sequence number drawn last. Alone in its cache line: every store draws one.
    #[inline]
    #[must_use]
    pub fn sequence(&self) -> &AtomicU64 {
        self.word64(SEQUENCE_AT)
    }

    /// What was flushed, and what is to be.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "parts of words")]
    pub fn flushes(&self) -> Flushes {
        let flush = self.word64(FLUSH_AT).load(Ordering::Acquire);
        let pending = self.word64(PENDING_AT).load(Ordering::Acquire);
        let valid = pending >> 32 == flush & 0xffff;
        Flushes {
            sequence: flush >> 16,
            at: self.word64(FLUSHED_AT).load(Ordering::Acquire) as u32,
            pending: if valid { pending as u32 } else { 0 },
        }
    }

    /// Notes a flush of everything up to `sequence`. One that was to come is thereby gone. One at a time.
    pub fn note_flush(&self, sequence: u64, second: u32) {
        let word = self.word64(FLUSH_AT);
        let before = word.load(Ordering::Relaxed);
        let generation = (before + 1) & 0xffff;
        if super::alive() {
            word.store(sequence.max(before >> 16) << 16 | generation, Ordering::Release);
            self.word64(FLUSHED_AT).store(u64::from(second), Ordering::Release);
        }
    }

    /// Notes a flush to come. One at a time.
    pub fn note_pending_flush(&self, second: u32) {
        let generation = self.word64(FLUSH_AT).load(Ordering::Relaxed) & 0xffff;
        if super::alive() {
            self.word64(PENDING_AT).store(generation << 32 | u64::from(second), Ordering::Release);
        }
    }

    /// Says how many pages the file has.
    pub(super) fn note_pages(&self, pages: u32) {
        self.word64(PAGES_AT).store(doubled(pages), Ordering::Release);
    }

    /// Says that a process works with it from now on.
    pub(in crate::store) fn note_open(&self) {
        self.word64(STATE_AT).store(Condition::Open.word(), Ordering::Release);
    }

    /// How many items a closed arena holds.
    pub(in crate::store) fn items_when_closed(&self) -> u64 {
        self.word64(ITEMS_AT).load(Ordering::Relaxed)
    }

    /// Seals it. Nobody else is at work, and each page has its checksum.
    pub(in crate::store) fn note_closed(&self, items: u64, summary: Option<Summary>) {
        let summary = summary.unwrap_or(Summary { len: 0, checksum: 0 });
        self.word64(ITEMS_AT).store(items, Ordering::Relaxed);
        self.word64(SUMMARY_LEN_AT).store(summary.len, Ordering::Relaxed);
        self.word64(SUMMARY_CHECKSUM_AT).store(summary.checksum, Ordering::Relaxed);
        let mut bytes = [0; SUPERBLOCK];
        for at in (0..SUPERBLOCK).step_by(8) {
            bytes[at..at + 8].copy_from_slice(&self.word64(at).load(Ordering::Relaxed).to_ne_bytes());
        }
        bytes[STATE_AT..][..8].copy_from_slice(&Condition::Closed.word().to_ne_bytes());
        self.word64(SEAL_AT).store(seal(&bytes), Ordering::Release);
        self.word64(STATE_AT).store(Condition::Closed.word(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files;

    const BOOT: BootId = [7; 16];

    fn made() -> (File, Superblock) {
        let file = files::nameless(c"superblock").unwrap();
        let superblock = Superblock {
            range: 1 << 35,
            page_shift: 16,
            granule_shift: 3,
            first_page: 1 << 24,
            boot_id: BOOT,
            birth: 1_800_000_000,
            pages: 5,
            condition: Condition::Open,
            summary: None,
        };
        superblock.begin(&file).unwrap();
        assert_eq!(Superblock::read(&file, &BOOT).unwrap(), Found::Nothing, "one that was being made holds nothing");
        file.write_all_at(&Condition::Open.word().to_ne_bytes(), STATE_AT as u64).unwrap();
        file.set_len(superblock.file_len()).unwrap();
        (file, superblock)
    }

    fn reason(file: &File, boot_id: &BootId) -> String {
        match Superblock::read(file, boot_id).unwrap() {
            Found::Unfit(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let (file, superblock) = made();
        assert_eq!(Superblock::read(&file, &BOOT).unwrap(), Found::Arena(superblock));
    }

    #[test]
    fn each_kind_of_unfit_file_has_its_reason() {
        let (file, _) = made();
        assert!(reason(&file, &[8; 16]).contains("before this machine was started"));
        file.set_len(70_000).unwrap();
        assert_eq!(reason(&file, &BOOT), "it is truncated: 70000 bytes of 17104896");
        file.set_len(100).unwrap();
        assert_eq!(reason(&file, &BOOT), "it is truncated: 100 bytes of 4096");
        let (file, _) = made();
        file.write_all_at(&BYTE_ORDER.swap_bytes().to_ne_bytes(), ORDER_AT as u64).unwrap();
        assert!(reason(&file, &BOOT).contains("byte order"));
        let (file, _) = made();
        file.write_all_at(&9u32.to_ne_bytes(), VERSION_AT as u64).unwrap();
        assert_eq!(reason(&file, &BOOT), "its layout is version 9, this memhold knows version 1");
        file.write_all_at(b"somebody", 0).unwrap();
        assert_eq!(reason(&file, &BOOT), "it is not an arena of memhold");
        file.set_len(0).unwrap();
        assert_eq!(Superblock::read(&file, &BOOT).unwrap(), Found::Nothing);
    }

    #[test]
    fn no_bit_before_the_state_can_change_unnoticed() {
        let (file, superblock) = made();
        for bit in (0..CHECKSUM_AT * 8 + 64).chain(PAGES_AT * 8..PAGES_AT * 8 + 64) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, bit as u64 / 8).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << (bit % 8)], bit as u64 / 8).unwrap();
            assert_ne!(Superblock::read(&file, &BOOT).unwrap(), Found::Arena(superblock), "bit {bit}");
            file.write_all_at(&byte, bit as u64 / 8).unwrap();
        }
        assert_eq!(Superblock::read(&file, &BOOT).unwrap(), Found::Arena(superblock));
    }
}
