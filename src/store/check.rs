//! Every invariant of the store, walked through from both ends: for tests, with nobody else at work.

use super::large::{ORDER_MAX, block_size};
use super::memory::item::Chunk;
use super::memory::{Kind, Ref, Stable};
use super::{Store, large};
use crate::clock::Now;
use crate::sync::lock;
use std::collections::HashSet;

impl Store {
    /// Checks every invariant; for tests, with nobody else at work and no draft or pin outside.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, _now: Now) -> Result<(), String> {
        let inner = self.inner();
        let mut named = HashSet::new();
        let mut wrong = Ok(());
        inner.index.for_each(|name| {
            if !named.insert(name) {
                wrong = Err(format!("the index names {name:?} twice"));
            }
        });
        wrong?;
        if named.len() as u64 != inner.index.entry_count() {
            return Err(format!("the index counts {} entries and has {}", inner.index.entry_count(), named.len()));
        }
        for &name in &named {
            self.check_entry(name)?;
        }
        let small = self.check_classes(&named)?;
        let large = self.check_large(&named)?;
        if small + large != named.len() {
            return Err(format!("{} items in the index, {small} in chunks, {large} large", named.len()));
        }
        if inner.pins.len() > 0 {
            return Err(format!("{} items are pinned", inner.pins.len()));
        }
        self.check_pool()
    }

    /// What the index names is a published item whose key leads to it.
    fn check_entry(&self, name: Ref) -> Result<(), String> {
        let inner = self.inner();
        let chunk = Chunk::named(&inner.arena, name);
        let state = chunk.state();
        if state.kind() != Kind::Item {
            return Err(format!("the index names {name:?}, a {:?}", state.kind()));
        }
        let key = inner.key_of(name, Stable::from_guard(self)).to_vec();
        let hash = inner.hasher.hash(&key);
        let locked = inner.index.lock(hash);
        match inner.find(&locked, &key) {
            Some((_, found)) if found == name => Ok(()),
            other => Err(format!("key {:?} of {name:?} leads to {other:?}", String::from_utf8_lossy(&key))),
        }
    }

    /// Published chunks are in the index; the books of each class add up. Returns the number of items.
    fn check_classes(&self, named: &HashSet<Ref>) -> Result<usize, String> {
        let inner = self.inner();
        let mut items = 0;
        for class in &inner.slabs {
            let class = lock(class);
            class.check(&inner.arena, &inner.facts)?;
            let mut bytes = 0;
            for &page in class.pages() {
                for number in 0..inner.arena.geometry(page).carved {
                    let chunk = Chunk::at(&inner.arena, class.chunk_offset(&inner.arena, page, number));
                    if chunk.state().kind() == Kind::Item {
                        let total = chunk.shape().1.total();
                        if !named.contains(&chunk.name()) || total > class.chunk_size {
                            return Err(format!(
                                "{:?} is published, {total} bytes, but not in the index",
                                chunk.name()
                            ));
                        }
                        items += 1;
                        bytes += total as u64;
                    }
                }
            }
            if class.counts.requested != bytes {
                let counted = class.counts.requested;
                return Err(format!("class {}: {counted} bytes counted, {bytes} found", class.index + 1));
            }
        }
        Ok(items)
    }

    /// Large items' pieces are in use, no other blocks are, and the head marks are right. Returns the number of items.
    fn check_large(&self, named: &HashSet<Ref>) -> Result<usize, String> {
        let inner = self.inner();
        let large = lock(&inner.large);
        let mut blocks = 0;
        let mut bytes = 0;
        for &head in large.ring() {
            let chunk = Chunk::named(&inner.arena, head);
            if chunk.state().kind() != Kind::Item || !named.contains(&head) {
                return Err(format!("large {head:?} stands in the ring and is not published"));
            }
            let page = inner.arena.page_of(head);
            let block = (chunk.offset - inner.arena.page_offset(page)) / block_size(&inner.arena);
            if inner.arena.heads(page) >> block & 1 == 0 {
                return Err(format!("large {head:?} has no head mark"));
            }
            let (_, layout) = chunk.shape();
            let value_len = chunk.large_len() as usize;
            let mut reached = 0;
            large::parts(&inner.arena, chunk, value_len, |_, len| {
                reached += len;
                true
            });
            if reached != value_len {
                return Err(format!("large {head:?} has {reached} bytes of {value_len}"));
            }
            bytes += (layout.value_at() + value_len) as u64;
            blocks += 1 << layout.value_len;
            let mut next = chunk.large_next();
            while next != Ref(0) {
                let piece = Chunk::named(&inner.arena, next);
                let order = piece.state().sequence();
                if piece.state().kind() != Kind::Body || piece.body().0 != head || order > u64::from(ORDER_MAX) {
                    return Err(format!("large {head:?} has a piece {next:?} that is not its own"));
                }
                blocks += 1 << order;
                next = piece.body().1;
            }
        }
        if blocks != large.blocks_used || bytes != large.counts.requested {
            let counted = (large.blocks_used, large.counts.requested);
            return Err(format!("large: {counted:?} blocks and bytes counted, {:?} found", (blocks, bytes)));
        }
        Ok(large.ring().len())
    }

    fn check_pool(&self) -> Result<(), String> {
        let inner = self.inner();
        let small: usize = inner.slabs.iter().map(|class| lock(class).pages().len()).sum();
        let large = lock(&inner.large).pages();
        if small + large != inner.pool.in_use() as usize {
            return Err(format!("{} pages counted in use, {small} + {large} found", inner.pool.in_use()));
        }
        Ok(())
    }
}
