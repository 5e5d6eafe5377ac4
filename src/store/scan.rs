//! Rebuilding everything from the pages: what is done with an arena whose process died.
//!
//! The arena alone says which items there are: the page table gives each page's chunk size and how many chunks were carved, each
//! chunk's state word says whether it is a published item. Index, free lists, counts, expiry words are made anew. Of two
//! published items of one key, left by a death between publishing the new and unpublishing the old, the one with the higher
//! sequence number is kept (a chunk and its copy, left by a death during a move, have the same: either will do).

use super::inner::Inner;
use super::large::{block_size, piece_size};
use super::memory::arena::LARGE_PAGE;
use super::memory::item::{BODY_HEADER, Chunk, PINNED};
use super::memory::{Kind, Ref, Stable, State};
use super::slabs::Class;
use super::{Config, Handle, Store, large};
use crate::sync::{Arc, Ordering, lock};

impl Store {
    /// A store over the arena of another one that is in nobody's hands any more, with nothing else taken over.
    ///
    /// # Errors
    /// When other handles exist, or the configuration has other sizes than the arena was made with.
    pub fn rebuilt(self, config: &Config) -> Result<Store, String> {
        let handle = Arc::try_unwrap(self.handle).map_err(|_| "somebody still uses the store")?;
        let inner = Arc::try_unwrap(handle.0).map_err(|_| "somebody still uses the store")?;
        if config.seed == 0 {
            return Err("a rebuilt store needs the seed it was made with".to_string());
        }
        let rebuilt = Inner::with_arena(config, inner.arena)?;
        rebuilt.scan()?;
        Ok(Store { handle: Arc::new(Handle(Arc::new(rebuilt))) })
    }
}

impl Inner {
    /// Reads the page table and every carved chunk.
    fn scan(&self) -> Result<(), String> {
        let pages = (0..self.arena.pages_max()).rev().find(|&page| self.arena.geometry(page).chunk_size != 0);
        let touched = pages.map_or(0, |page| page + 1);
        self.pool.restore(touched);
        let mut large_pages = Vec::new();
        for page in 0..touched {
            match self.arena.geometry(page).chunk_size {
                0 => self.pool.restore_free(page),
                LARGE_PAGE => large_pages.push(page),
                size => self.scan_page(page, size)?,
            }
        }
        self.scan_large(&large_pages);
        for class in &self.slabs {
            let mut class = lock(class);
            for page in class.release_empty(&self.facts) {
                self.pool.give(&self.arena, page);
            }
            self.show_standing(&class);
        }
        self.pool.set_taken_elsewhere(self.index.bytes());
        Ok(())
    }

    fn scan_page(&self, page: u32, size: u32) -> Result<(), String> {
        let index = self.classes.sizes.iter().position(|&other| other == size as usize);
        let index = index.ok_or(format!("the arena has chunks of {size} bytes, the slab classes do not"))?;
        let mut class = lock(&self.slabs[index]);
        let carved = self.arena.geometry(page).carved;
        class.adopt_carved(&self.arena, &self.facts, page, carved);
        for number in 0..carved {
            let offset = class.chunk_offset(&self.arena, page, number);
            let chunk = Chunk::at(&self.arena, offset);
            let (_, layout) = chunk.shape();
            let sound = chunk.state().kind() == Kind::Item && !layout.large && layout.total() <= class.chunk_size;
            if sound && layout.key_len > 0 {
                class.counts.requested += layout.total() as u64;
                if let Some(loser) = self.take_in(chunk, &class) {
                    self.discard(&mut class, loser);
                }
            } else {
                class.restore_free(&self.arena, &self.facts, offset);
            }
        }
        Ok(())
    }

    /// The loser of two items of one key; its page may be of another class than the one that is being scanned.
    fn discard(&self, class: &mut Class, loser: Ref) {
        let owner = self.facts.owner(self.arena.page_of(loser));
        let chunk = Chunk::named(&self.arena, loser);
        let bytes = chunk.shape().1.total() as u64;
        if owner == class.index + 1 {
            class.counts.requested -= bytes;
            class.restore_free(&self.arena, &self.facts, chunk.offset);
        } else {
            let mut other = lock(&self.slabs[owner as usize - 1]);
            other.counts.requested -= bytes;
            other.restore_free(&self.arena, &self.facts, chunk.offset);
        }
    }

    /// Puts a published item into the index; returns the one of its key that lost to it or won over it, if there was one.
    fn take_in<T>(&self, chunk: Chunk<'_>, guard: &T) -> Option<Ref> {
        let name = chunk.name();
        let state = chunk.state().with(PINNED, false);
        chunk.set_state(state);
        self.sequence.fetch_max(state.sequence(), Ordering::Relaxed);
        self.expiry.note(chunk.offset, chunk.shape().0);
        let key = self.key_of(name, Stable::from_guard(guard));
        let locked = self.index.lock(self.hasher.hash(key));
        let Some((slot, other)) = self.find(&locked, key) else {
            let grow = locked.insert(name);
            drop(locked);
            if grow {
                self.index.grow(self);
            }
            return None;
        };
        if Chunk::named(&self.arena, other).state().sequence() >= state.sequence() {
            return Some(name);
        }
        locked.replace(slot, other, name);
        Some(other)
    }

    /// Large pages: their head marks say where to look for items; what no item holds is free.
    fn scan_large(&self, pages: &[u32]) {
        let mut large = lock(&self.large);
        let mut heads = Vec::new();
        for &page in pages {
            let marks = self.arena.heads(page);
            large.restore_page(&self.facts, page);
            let blocks = (0..64).filter(|block| marks >> block & 1 == 1);
            heads.extend(blocks.map(|block| self.arena.page_offset(page) + block * block_size(&self.arena)));
        }
        let mut losers = Vec::new();
        for offset in heads {
            let chunk = Chunk::at(&self.arena, offset);
            if chunk.state().kind() != Kind::Item || !self.chain_is_whole(chunk) {
                large::mark_head(&self.arena, chunk.name(), false);
                continue;
            }
            let (_, layout) = chunk.shape();
            let value_len = chunk.large_len().load(Ordering::Relaxed) as usize;
            large.counts.requested += (layout.value_at() + value_len) as u64;
            large.restore_item(&self.arena, &self.facts, chunk);
            losers.extend(self.take_in(chunk, &*large));
        }
        let (losers_large, losers_small): (Vec<Ref>, Vec<Ref>) =
            losers.into_iter().partition(|&loser| Chunk::named(&self.arena, loser).shape().1.large);
        for loser in losers_large {
            large::mark_head(&self.arena, loser, false);
            Chunk::named(&self.arena, loser).set_state(State::of(Kind::Draft));
            self.free_large(&mut large, loser);
        }
        for page in large.release_empty(&self.facts) {
            self.pool.give(&self.arena, page);
        }
        self.show_large_standing(&large);
        drop(large);
        for loser in losers_small {
            Chunk::named(&self.arena, loser).set_state(State::of(Kind::Draft));
            self.free(loser);
        }
    }

    /// Whether a large item's pieces add up to its value.
    fn chain_is_whole(&self, head: Chunk<'_>) -> bool {
        let (_, layout) = head.shape();
        if !layout.large || layout.value_len > large::ORDER_MAX as usize {
            return false;
        }
        let value_len = head.large_len().load(Ordering::Relaxed) as usize;
        let order = u32::try_from(layout.value_len).unwrap_or(0);
        let mut room = piece_size(&self.arena, order).saturating_sub(layout.value_at());
        let mut next = head.large_next();
        while next != Ref(0) && room < value_len {
            let piece = Chunk::named(&self.arena, next);
            let order = piece.state().sequence();
            if piece.state().kind() != Kind::Body
                || piece.body().0 != head.name()
                || order > u64::from(large::ORDER_MAX)
            {
                return false;
            }
            room += piece_size(&self.arena, u32::try_from(order).unwrap_or(0)) - BODY_HEADER;
            next = piece.body().1;
        }
        room >= value_len
    }
}
