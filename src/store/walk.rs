//! Walking over all items in pieces: what the dumps, `stats cachedump` and `stats sizes` do. A place is a page and a chunk, so a walk
//! holds nothing between two pieces; an item moved meanwhile may be missed or met twice.

use super::large::block_size;
use super::memory::item::Chunk;
use super::memory::{Kind, Stable};
use super::slabs::LARGE_OWNER;
use super::{Entry, Store};
use crate::clock::Now;
use crate::sync::lock;

/// A place in a walk over all items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    page: u32,
    chunk: u32,
}

impl Store {
    /// Walks on from `cursor` (start with the default) over at most about `budget` chunks, calling `visit` for each live item; class 0 is
    /// every class. Returns where to go on, `None` at the end. Holds no lock between calls; `visit` must not ask for the value.
    pub fn walk(
        &self,
        mut cursor: Cursor,
        class: u32,
        budget: usize,
        now: Now,
        visit: &mut dyn FnMut(&Entry<'_>),
    ) -> Option<Cursor> {
        let inner = self.inner();
        let touched = inner.pool.touched();
        let mut left = u32::try_from(budget).unwrap_or(u32::MAX);
        while cursor.page < touched {
            if left == 0 {
                return Some(cursor);
            }
            let owner = inner.facts.owner(cursor.page);
            let next = match owner {
                0 => None,
                LARGE_OWNER if class == 0 || class == inner.classes.large => {
                    self.walk_large_page(cursor.page, now, visit);
                    left = left.saturating_sub(64);
                    None
                }
                _ if owner == LARGE_OWNER || class != 0 && class != owner => None,
                _ => self.walk_page(cursor, owner, &mut left, now, visit),
            };
            cursor = next.map_or(Cursor { page: cursor.page + 1, chunk: 0 }, |chunk| Cursor { chunk, ..cursor });
            left = left.saturating_sub(1);
        }
        None
    }

    /// Returns the chunk to go on with if the budget ended within the page.
    fn walk_page(
        &self,
        cursor: Cursor,
        owner: u32,
        left: &mut u32,
        now: Now,
        visit: &mut dyn FnMut(&Entry<'_>),
    ) -> Option<u32> {
        let inner = self.inner();
        let class = lock(&inner.slabs[owner as usize - 1]);
        if inner.facts.owner(cursor.page) != owner {
            return None;
        }
        let carved = inner.arena.geometry(cursor.page).carved;
        let end = carved.min(cursor.chunk.saturating_add(*left));
        let stable = Stable::from_guard(&class);
        for number in cursor.chunk..end {
            let chunk = Chunk::at(&inner.arena, class.chunk_offset(&inner.arena, cursor.page, number));
            self.show(chunk, stable, now, visit);
        }
        *left -= end - cursor.chunk.min(end);
        (end < carved).then_some(end)
    }

    fn walk_large_page(&self, page: u32, now: Now, visit: &mut dyn FnMut(&Entry<'_>)) {
        let inner = self.inner();
        let large = lock(&inner.large);
        if inner.facts.owner(page) != LARGE_OWNER {
            return;
        }
        let stable = Stable::from_guard(&large);
        let mut heads = inner.arena.heads(page);
        while heads != 0 {
            let block = heads.trailing_zeros() as usize;
            heads &= heads - 1;
            let chunk = Chunk::at(&inner.arena, inner.arena.page_offset(page) + block * block_size(&inner.arena));
            self.show(chunk, stable, now, visit);
        }
    }

    fn show(&self, chunk: Chunk<'_>, stable: Stable<'_>, now: Now, visit: &mut dyn FnMut(&Entry<'_>)) {
        let state = chunk.state();
        if state.kind() == Kind::Item && !self.inner().is_over(chunk, state, now) {
            visit(&Entry::walked(self, chunk.name(), stable));
        }
    }
}
