//! Large items: those above the largest chunk, made of pieces.
//!
//! A page of the large store is 64 blocks; a piece is 1, 2, 4 ... 64 blocks at a multiple of its own size, so one 64-bit word says which
//! blocks of a page are free. An item is a head piece (header, key, first bytes of the value) and a chain of body
//! pieces, each the largest that the rest fills, so rounding is below one block and a fifteenth. Pieces are taken as the value
//! arrives: a client that announces much and sends little holds little.
//!
//! One lock guards all of it. Items stand in a ring over which the eviction hand walks as it does over a class's chunks.

use super::memory::arena::{Geometry, LARGE_PAGE};
use super::memory::item::{BODY_HEADER, Chunk};
use super::memory::{Arena, Kind, Ref, State};
use super::rank::Queue;
use super::slabs::{Counts, PageFacts};
use crate::sync::Ordering;

/// log2 of the blocks of a page.
const BLOCKS_SHIFT: u32 = 6;
/// The order of a piece that is a whole page.
pub const ORDER_MAX: u32 = BLOCKS_SHIFT;

/// Blocks at which an aligned run of `1 << order` blocks may begin.
const ALIGNED: [u64; 7] = [
    u64::MAX,
    0x5555_5555_5555_5555,
    0x1111_1111_1111_1111,
    0x0101_0101_0101_0101,
    0x0001_0001_0001_0001,
    0x0000_0001_0000_0001,
    1,
];

/// See the module. Behind its lock.
#[derive(Debug, Default)]
pub struct Large {
    pages: Vec<LargePage>,
    /// For each order: no page before this place has a free run of it.
    first_maybe: [usize; 7],
    ring: Vec<Ref>,
    /// Where the next sample begins.
    next_look: usize,
    /// Whom to evict next, and how old large items are beside others.
    pub queue: Queue,
    /// See [`Counts`].
    pub counts: Counts,
    /// Blocks in use.
    pub blocks_used: u64,
}

#[derive(Clone, Copy, Debug)]
struct LargePage {
    page: u32,
    used: u64,
}

fn run_mask(order: u32) -> u64 {
    if order == ORDER_MAX { u64::MAX } else { (1 << (1 << order)) - 1 }
}

/// First block of a free run, if the page has one.
fn free_run(used: u64, order: u32) -> Option<u32> {
    let mut free = !used;
    for step in 0..order {
        free &= free >> (1 << step);
    }
    let starts = free & ALIGNED[order as usize];
    (starts != 0).then(|| starts.trailing_zeros())
}

/// Bytes of a block.
#[must_use]
pub fn block_size(arena: &Arena) -> usize {
    arena.page_size() >> BLOCKS_SHIFT
}

/// Bytes of a piece.
#[must_use]
pub fn piece_size(arena: &Arena, order: u32) -> usize {
    block_size(arena) << order
}

/// The order of the next piece when `bytes` (headers included) are still to be placed.
#[must_use]
pub fn order_for(arena: &Arena, bytes: usize) -> u32 {
    let blocks = bytes.div_ceil(block_size(arena)).max(1);
    if blocks >= 1 << ORDER_MAX {
        return ORDER_MAX;
    }
    let below = blocks.ilog2();
    // The power below, unless the one above is filled to 15/16 and more.
    if blocks == 1 << below || blocks * 16 < (2 << below) * 15 { below } else { below + 1 }
}

impl Large {
    /// How many pages there are.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages.len()
    }
    /// Number of linked items.
    #[must_use]
    pub fn items(&self) -> usize {
        self.ring.len()
    }
    /// Names of the linked items.
    #[must_use]
    pub fn ring(&self) -> &[Ref] {
        &self.ring
    }

    /// Shows `visit` the items at places of the ring that lie equally far apart, `looks` at most, other ones each time.
    pub fn sample(&mut self, arena: &Arena, looks: u32, mut visit: impl FnMut(Chunk<'_>, State)) {
        let stride = self.ring.len() / looks as usize + 1;
        self.next_look += 1;
        for &head in self.ring.iter().skip(self.next_look % stride).step_by(stride) {
            let chunk = Chunk::named(arena, head);
            let state = chunk.state();
            if state.kind() == Kind::Item {
                visit(chunk, state);
            }
        }
    }

    /// Bytes of an item on average.
    #[must_use]
    pub fn mean_size(&self) -> usize {
        usize::try_from(self.counts.requested).unwrap_or(usize::MAX) / self.items().max(1)
    }

    /// Takes a page of the pool in.
    pub fn adopt(&mut self, arena: &Arena, facts: &PageFacts, page: u32) {
        arena.clear_heads(page);
        arena.set_geometry(page, Geometry { chunk_size: LARGE_PAGE, carved: 0 });
        for first in &mut self.first_maybe {
            *first = (*first).min(self.pages.len());
        }
        self.restore_page(facts, page);
    }

    /// Takes a piece; its state word is set to `state`, with the order as its sequence number.
    pub fn take(&mut self, arena: &Arena, order: u32, kind: Kind) -> Option<usize> {
        for place in self.first_maybe[order as usize]..self.pages.len() {
            let page = &mut self.pages[place];
            if let Some(block) = free_run(page.used, order) {
                page.used |= run_mask(order) << block;
                self.first_maybe[order as usize] = place;
                self.blocks_used += 1 << order;
                let offset = arena.page_offset(page.page) + block as usize * block_size(arena);
                Chunk::at(arena, offset).set_state(State::of(kind).with_sequence(u64::from(order)));
                return Some(offset);
            }
        }
        self.first_maybe[order as usize] = self.pages.len();
        None
    }

    /// Gives a piece back. Returns its page when that is entirely free now and has left the large store.
    pub fn give(&mut self, arena: &Arena, facts: &PageFacts, offset: usize, order: u32) -> Option<u32> {
        let number = arena.page_of(arena.name(offset));
        let place = facts.slot(number) as usize;
        Chunk::at(arena, offset).set_state(State::of(Kind::Free));
        let block = (offset - arena.page_offset(number)) / block_size(arena);
        let mask = run_mask(order) << block;
        let page = &mut self.pages[place];
        debug_assert!(page.page == number && page.used & mask == mask, "the piece was in use");
        page.used &= !mask;
        self.blocks_used -= 1 << order;
        if page.used != 0 {
            for first in &mut self.first_maybe {
                *first = (*first).min(place);
            }
            return None;
        }
        self.pages.swap_remove(place);
        if let Some(moved) = self.pages.get(place) {
            facts.set_large(moved.page, Some(u32::try_from(place).unwrap_or(0)));
        }
        self.first_maybe = [0; 7];
        facts.set_large(number, None);
        Some(number)
    }

    /// Gives back a body chain that begins at `next`; pages that became free are added to `released`.
    pub fn give_chain(&mut self, arena: &Arena, facts: &PageFacts, mut next: Ref, released: &mut Vec<u32>) {
        while next != Ref(0) {
            let piece = Chunk::named(arena, next);
            let order = u32::try_from(piece.state().sequence()).unwrap_or(0);
            let (_, after) = piece.body();
            released.extend(self.give(arena, facts, piece.offset, order));
            next = after;
        }
    }

    /// Takes a page in as it is (from an arena that is taken over: with its items), all blocks free until items claim them.
    pub fn restore_page(&mut self, facts: &PageFacts, page: u32) {
        facts.set_large(page, Some(u32::try_from(self.pages.len()).unwrap_or(0)));
        self.pages.push(LargePage { page, used: 0 });
    }

    /// Taking over an arena: claims the blocks of a published item whose chain is whole and puts it into the ring. Does nothing and
    /// says false when another item has one of the blocks.
    pub fn restore_item(&mut self, arena: &Arena, facts: &PageFacts, head: Chunk<'_>) -> bool {
        let (_, layout) = head.shape();
        let mut pieces = vec![(head.offset, u32::try_from(layout.value_len).unwrap_or(0))];
        let mut next = head.large_next();
        while next != Ref(0) {
            let piece = Chunk::named(arena, next);
            pieces.push((piece.offset, u32::try_from(piece.state().sequence()).unwrap_or(0)));
            next = piece.body().1;
        }
        for (claimed, &(offset, order)) in pieces.iter().enumerate() {
            if !self.claim(arena, facts, offset, order) {
                pieces[..claimed].iter().for_each(|&(offset, order)| self.disclaim(arena, facts, offset, order));
                return false;
            }
        }
        self.link(arena, head.name());
        true
    }

    fn place_of(&mut self, arena: &Arena, facts: &PageFacts, offset: usize, order: u32) -> (&mut LargePage, u64) {
        let number = arena.page_of(arena.name(offset));
        let block = (offset - arena.page_offset(number)) / block_size(arena);
        (&mut self.pages[facts.slot(number) as usize], run_mask(order) << block)
    }

    fn claim(&mut self, arena: &Arena, facts: &PageFacts, offset: usize, order: u32) -> bool {
        let (page, mask) = self.place_of(arena, facts, offset, order);
        if page.used & mask != 0 {
            return false;
        }
        page.used |= mask;
        self.blocks_used += 1 << order;
        true
    }

    fn disclaim(&mut self, arena: &Arena, facts: &PageFacts, offset: usize, order: u32) {
        let (page, mask) = self.place_of(arena, facts, offset, order);
        page.used &= !mask;
        self.blocks_used -= 1 << order;
    }

    /// Taking over an arena: lets go of an item that lost against another one of its key. Pages stay.
    pub fn discard(&mut self, arena: &Arena, facts: &PageFacts, head: Chunk<'_>) {
        self.unlink(arena, head.name());
        self.disclaim(arena, facts, head.offset, u32::try_from(head.shape().1.value_len).unwrap_or(0));
        let mut next = head.large_next();
        while next != Ref(0) {
            let piece = Chunk::named(arena, next);
            self.disclaim(arena, facts, piece.offset, u32::try_from(piece.state().sequence()).unwrap_or(0));
            next = piece.body().1;
        }
    }

    /// Taking over an arena: pages without any piece; they belong into the pool.
    pub fn release_empty(&mut self, facts: &PageFacts) -> Vec<u32> {
        let empty: Vec<u32> = self.pages.iter().filter(|page| page.used == 0).map(|page| page.page).collect();
        self.pages.retain(|page| page.used != 0);
        for &page in &empty {
            facts.set_large(page, None);
        }
        for (place, page) in self.pages.iter().enumerate() {
            facts.set_large(page.page, Some(u32::try_from(place).unwrap_or(0)));
        }
        empty
    }

    /// Puts a linked item into the ring.
    pub fn link(&mut self, arena: &Arena, head: Ref) {
        Chunk::named(arena, head).large_slot().store(u32::try_from(self.ring.len()).unwrap_or(0), Ordering::Relaxed);
        self.ring.push(head);
    }

    /// Place in the ring of the item that has its head there; none, whatever lies there now, if it stands in no place.
    fn slot_of(&self, arena: &Arena, head: Ref) -> Option<usize> {
        let slot = Chunk::named(arena, head).large_slot().load(Ordering::Relaxed) as usize;
        (self.ring.get(slot) == Some(&head)).then_some(slot)
    }

    /// Whether the item stands in the ring.
    #[must_use]
    pub fn is_linked(&self, arena: &Arena, head: Ref) -> bool {
        self.slot_of(arena, head).is_some()
    }

    /// Takes an item out of the ring; nothing happens when it does not stand there.
    pub fn unlink(&mut self, arena: &Arena, head: Ref) {
        let Some(slot) = self.slot_of(arena, head) else { return };
        self.ring.swap_remove(slot);
        if let Some(&moved) = self.ring.get(slot) {
            Chunk::named(arena, moved).large_slot().store(u32::try_from(slot).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// The page with the fewest used blocks: the cheapest to empty.
    #[must_use]
    pub fn emptiest(&self) -> Option<u32> {
        self.pages.iter().min_by_key(|page| page.used.count_ones()).map(|page| page.page)
    }
}

/// Whether a large item read from an arena of which nothing is known yet has all its pieces, each where a piece may be and its own.
#[must_use]
pub fn chain_is_whole(arena: &Arena, head: Chunk<'_>) -> bool {
    let (_, layout) = head.shape();
    let Some(room) = piece_room(arena, head.name(), layout.value_len as u64, layout.value_at()) else { return false };
    if !layout.large || layout.key_len == 0 {
        return false;
    }
    let value_len = head.large_len() as usize;
    let (mut room, mut next) = (room, head.large_next());
    while next != Ref(0) {
        // The first piece beyond the value's end would be one too many, and a ring of pieces has no end.
        if room >= value_len || !arena.is_inside(next) || !is_block(arena, next) {
            return false;
        }
        let piece = Chunk::named(arena, next);
        let Some(more) = piece_room(arena, next, piece.state().sequence(), BODY_HEADER) else { return false };
        if piece.state().kind() != Kind::Body || piece.body().0 != head.name() {
            return false;
        }
        room += more;
        next = piece.body().1;
    }
    room >= value_len
}

/// Whether a chunk begins at a block of a page of pieces.
fn is_block(arena: &Arena, name: Ref) -> bool {
    let page = arena.page_of(name);
    arena.geometry(page).chunk_size == LARGE_PAGE
        && (arena.offset(name) - arena.page_offset(page)).is_multiple_of(block_size(arena))
}

/// Bytes of the value in a piece of an order, unless no such piece can begin there.
fn piece_room(arena: &Arena, name: Ref, order: u64, header: usize) -> Option<usize> {
    let order = u32::try_from(order).ok().filter(|&order| order <= ORDER_MAX)?;
    let within = arena.offset(name) - arena.page_offset(arena.page_of(name));
    let size = piece_size(arena, order);
    within.is_multiple_of(size).then(|| size.saturating_sub(header))
}

/// Sets or clears the head mark of a large item's first block in the page table, by which a scan finds it.
pub fn mark_head(arena: &Arena, head: Ref, set: bool) {
    let page = arena.page_of(head);
    let block = (arena.offset(head) - arena.page_offset(page)) / block_size(arena);
    arena.set_head(page, block, set);
}

/// Where a large value's bytes lie: calls `visit` with offset and length of each part of `value_len` bytes, in order, until it says stop.
pub fn parts(arena: &Arena, head: Chunk<'_>, value_len: usize, mut visit: impl FnMut(usize, usize) -> bool) {
    let (_, layout) = head.shape();
    let order = u32::try_from(layout.value_len).unwrap_or(0);
    let mut rest = value_len;
    let room = piece_size(arena, order) - layout.value_at();
    if !visit(head.offset + layout.value_at(), room.min(rest)) {
        return;
    }
    rest -= room.min(rest);
    let mut next = head.large_next();
    while rest > 0 && next != Ref(0) {
        let piece = Chunk::named(arena, next);
        let order = u32::try_from(piece.state().sequence()).unwrap_or(0);
        let room = piece_size(arena, order) - BODY_HEADER;
        if !visit(piece.offset + BODY_HEADER, room.min(rest)) {
            return;
        }
        rest -= room.min(rest);
        next = piece.body().1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_runs_are_aligned_and_free() {
        for order in 0..=ORDER_MAX {
            assert_eq!(free_run(0, order), Some(0));
            assert_eq!(free_run(u64::MAX, order), None);
        }
        assert_eq!(free_run(1, 0), Some(1));
        assert_eq!(free_run(1, 1), Some(2));
        assert_eq!(free_run(1, 5), Some(32));
        assert_eq!(free_run(1, 6), None);
        assert_eq!(free_run(0xffff_ffff_ffff_fffe, 0), Some(0));
    }

    #[test]
    fn pieces_of_any_length_are_few_and_waste_little() {
        let arena = Arena::reserve(1 << 24, 1 << 16).expect("address space");
        for bytes in (9_000..300_000).step_by(777) {
            let (mut rest, mut pieces, mut taken) = (bytes, 0, 0);
            while rest > 0 {
                let size = piece_size(&arena, order_for(&arena, rest + BODY_HEADER));
                rest -= (size - BODY_HEADER).min(rest);
                taken += size;
                pieces += 1;
            }
            assert!(taken <= bytes + bytes / 15 + 1100, "{bytes} bytes took {taken}");
            assert!(pieces <= bytes / (1 << 16) + 6, "{bytes} bytes took {pieces} pieces");
        }
    }
}
