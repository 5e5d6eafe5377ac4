//! The store's side of `stats`: sums over the classes, made when somebody asks.

use super::slabs::{Counts, Shares};
use super::{Store, large};
use crate::clock::TICKS_PER_SECOND;
use crate::sync::{Ordering, lock};

/// Chunks of a class that are looked at.
const SAMPLES: u32 = 1024;

/// The store's side of `stats` (section 11.1, by its names).
#[expect(missing_docs, reason = "memcached's counters, described in section 11.1")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub bytes: u64,
    pub curr_items: u64,
    pub total_items: u64,
    pub limit_maxbytes: u64,
    pub hash_power_level: u64,
    pub hash_bytes: u64,
    pub hash_is_expanding: u64,
    pub slab_global_page_pool: u64,
    pub expired_unfetched: u64,
    pub evicted_unfetched: u64,
    pub evicted_active: u64,
    pub evictions: u64,
    pub reclaimed: u64,
    pub crawler_reclaimed: u64,
    pub crawler_items_checked: u64,
    pub lrutail_reflocked: u64,
    pub moves_to_cold: u64,
    pub moves_to_warm: u64,
    pub moves_within_lru: u64,
    pub direct_reclaims: u64,
    pub slabs_moved: u64,
    pub slab_reassign_rescues: u64,
    pub slab_reassign_running: u64,
    pub slab_reassign_inline_reclaim: u64,
    pub slab_reassign_busy_items: u64,
    pub total_malloced: u64,
    pub page_size: u64,
}

/// One class, for `stats items` and `stats slabs` (sections 11.3, 11.4, by their names).
#[expect(missing_docs, reason = "memcached's counters, described in sections 11.3 and 11.4")]
#[derive(Clone, Copy, Debug, Default)]
pub struct ClassStats {
    pub class: u32,
    pub chunk_size: u64,
    pub chunks_per_page: u64,
    pub total_pages: u64,
    pub total_chunks: u64,
    pub used_chunks: u64,
    pub free_chunks: u64,
    pub number: u64,
    pub number_hot: u64,
    pub number_warm: u64,
    pub number_cold: u64,
    pub number_temp: u64,
    pub age_hot: u64,
    pub age_warm: u64,
    pub age: u64,
    pub mem_requested: u64,
    pub evicted: u64,
    pub evicted_nonzero: u64,
    pub evicted_time: u64,
    pub outofmemory: u64,
    pub reclaimed: u64,
    pub expired_unfetched: u64,
    pub evicted_unfetched: u64,
    pub evicted_active: u64,
    pub crawler_reclaimed: u64,
    pub crawler_items_checked: u64,
    pub lrutail_reflocked: u64,
    pub moves_to_cold: u64,
    pub moves_to_warm: u64,
    pub moves_within_lru: u64,
    pub direct_reclaims: u64,
}

impl ClassStats {
    /// Adds what a class, or the large store, has counted of its `number` items.
    fn take_counts(&mut self, counts: &Counts, number: u64, threshold: u32) {
        self.number += number;
        self.mem_requested += counts.requested;
        self.evicted += counts.evicted;
        self.evicted_nonzero += counts.evicted_nonzero;
        self.evicted_time = u64::from(counts.evicted_time);
        self.outofmemory += counts.outofmemory;
        self.reclaimed += counts.reclaimed;
        self.expired_unfetched += counts.expired_unfetched;
        self.evicted_unfetched += counts.evicted_unfetched;
        self.evicted_active += counts.evicted_active;
        self.crawler_reclaimed += counts.crawler_reclaimed;
        self.crawler_items_checked += counts.crawler_items_checked;
        self.lrutail_reflocked += counts.reflocked;
        self.age = u64::from(threshold / TICKS_PER_SECOND);
        let shares = counts.shares;
        self.number_warm += shares.of(shares.main, number);
        self.number_temp += shares.of(shares.temporary, number);
        self.number_cold = self.number - self.number_warm - self.number_temp;
    }
}

impl Store {
    /// Sums over the whole store.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let inner = self.inner();
        let mut totals = Totals {
            curr_items: inner.index.entry_count(),
            limit_maxbytes: inner.pool.limit_bytes(),
            hash_power_level: inner.index.power_level(),
            hash_bytes: inner.index.bytes(),
            slab_global_page_pool: u64::from(inner.pool.returned()),
            slabs_moved: inner.pages_moved.load(Ordering::Relaxed),
            slab_reassign_rescues: inner.rescues.load(Ordering::Relaxed),
            slab_reassign_running: u64::from(self.is_reassigning()),
            page_size: inner.arena.page_size() as u64,
            total_malloced: u64::from(inner.pool.in_use()) * inner.arena.page_size() as u64,
            ..Totals::default()
        };
        for class in &inner.slabs {
            add(&mut totals, &lock(class).counts);
        }
        add(&mut totals, &lock(&inner.large).counts);
        totals
    }

    /// One entry for each class that has a page, ascending; large items count in the class of their number.
    #[must_use]
    pub fn classes(&self) -> Vec<ClassStats> {
        let inner = self.inner();
        let mut all = Vec::new();
        for class in &inner.slabs {
            let class = lock(class);
            let mut stats = ClassStats {
                class: class.index + 1,
                chunk_size: class.chunk_size as u64,
                chunks_per_page: u64::from(class.per_page()),
                total_pages: class.pages().len() as u64,
                total_chunks: class.pages().len() as u64 * u64::from(class.per_page()),
                used_chunks: class.used(),
                free_chunks: class.free(),
                ..ClassStats::default()
            };
            stats.take_counts(&class.counts, class.used(), class.queue.threshold);
            all.push(stats);
        }
        self.add_large(&mut all);
        all.retain(|class| class.total_pages > 0 || class.evicted + class.outofmemory > 0);
        all
    }

    fn add_large(&self, all: &mut Vec<ClassStats>) {
        let inner = self.inner();
        let large = lock(&inner.large);
        let number = inner.classes.large;
        if all.last().is_none_or(|last| last.class != number) {
            all.push(ClassStats {
                class: number,
                chunk_size: large::block_size(&inner.arena) as u64,
                ..ClassStats::default()
            });
        }
        let Some(stats) = all.last_mut() else { return };
        let blocks_per_page = (inner.arena.page_size() / large::block_size(&inner.arena)) as u64;
        if stats.chunks_per_page == 0 {
            stats.chunks_per_page = blocks_per_page;
        }
        stats.total_pages += large.pages() as u64;
        stats.total_chunks += large.pages() as u64 * blocks_per_page;
        stats.used_chunks += large.blocks_used;
        stats.free_chunks += large.pages() as u64 * blocks_per_page - large.blocks_used;
        stats.take_counts(&large.counts, large.items() as u64, large.queue.threshold);
    }

    /// Looks at a sample of each class, or at all of a small one, to learn which of its items proved themselves or are temporary;
    /// [`Store::classes`] goes by it from then on.
    pub fn sample_shares(&self) {
        let inner = self.inner();
        for class in &inner.slabs {
            let mut class = lock(class);
            let mut shares = Shares::default();
            class.sample(&inner.arena, SAMPLES, |_, state| shares.look(state));
            class.counts.shares = shares;
        }
        let mut large = lock(&inner.large);
        let mut shares = Shares::default();
        large.sample(&inner.arena, SAMPLES, |_, state| shares.look(state));
        large.counts.shares = shares;
    }

    /// Forgets the events counted so far (while a kept arena was taken over); keeps what tells a state.
    pub(super) fn reset_counts(&self) {
        let inner = self.inner();
        for class in &inner.slabs {
            lock(class).counts.reset();
        }
        lock(&inner.large).counts.reset();
        inner.pages_moved.store(0, Ordering::Relaxed);
        inner.rescues.store(0, Ordering::Relaxed);
    }

    /// The chunk sizes of the classes, ascending: the slab table that `-vv` prints.
    #[must_use]
    pub fn class_sizes(&self) -> &[usize] {
        &self.inner().classes.sizes
    }

    /// Class numbers below this may be asked for: memcached's 64, or more where there are more classes.
    #[must_use]
    pub fn class_limit(&self) -> u32 {
        64.max(self.inner().classes.large + 1)
    }
}

fn add(totals: &mut Totals, counts: &Counts) {
    totals.bytes += counts.requested;
    totals.total_items += counts.total;
    totals.expired_unfetched += counts.expired_unfetched;
    totals.evicted_unfetched += counts.evicted_unfetched;
    totals.evicted_active += counts.evicted_active;
    totals.evictions += counts.evicted;
    totals.reclaimed += counts.reclaimed;
    totals.crawler_reclaimed += counts.crawler_reclaimed;
    totals.crawler_items_checked += counts.crawler_items_checked;
    totals.lrutail_reflocked += counts.reflocked;
}
