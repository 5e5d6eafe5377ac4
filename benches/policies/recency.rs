//! LRU, and memcached's segmented LRU (its `doc/new_lru.txt`), with segments counted in items.

use super::Policy;
use super::lists::{Lists, Queue};

pub struct Lru(Lists<1>);

impl Lru {
    pub fn new(keys: usize) -> Lru {
        Lru(Lists::new(keys))
    }
}

impl Policy for Lru {
    fn hit(&mut self, key: u32, _: usize) {
        self.0.promote(0, key);
    }
    fn insert(&mut self, key: u32, _: usize) {
        self.0.push(0, key);
    }
    fn evict(&mut self) -> u32 {
        self.0.pop(0).expect("somebody is there")
    }
    fn remove(&mut self, key: u32) {
        self.0.remove(key);
    }
}

const HOT: Queue = 0;
const WARM: Queue = 1;
const COLD: Queue = 2;

/// New ones are HOT. Who leaves HOT or WARM goes to COLD, unless it is active, which its second hit makes it; who is active in COLD
/// goes to WARM. The last of COLD is evicted.
pub struct Segmented {
    lists: Lists<3>,
    /// Hits since an item moved last, 2 at most.
    hits: Vec<u8>,
}

impl Segmented {
    pub fn new(keys: usize) -> Segmented {
        Segmented { lists: Lists::new(keys), hits: vec![0; keys] }
    }

    /// memcached's `hot_lru_pct` and `warm_lru_pct`.
    fn shrink(&mut self, queue: Queue, percent: usize) {
        let total = self.lists.len(HOT) + self.lists.len(WARM) + self.lists.len(COLD);
        while self.lists.len(queue) * 100 > total * percent {
            let Some(key) = self.lists.pop(queue) else { return };
            let active = std::mem::take(&mut self.hits[key as usize]) > 1;
            self.lists.push(if active { WARM } else { COLD }, key);
        }
    }
}

impl Policy for Segmented {
    fn hit(&mut self, key: u32, _: usize) {
        let hits = &mut self.hits[key as usize];
        *hits = (*hits + 1).min(2);
        if *hits == 2 && self.lists.queue_of(key) == COLD {
            *hits = 0;
            self.lists.promote(WARM, key);
        }
    }
    fn insert(&mut self, key: u32, _: usize) {
        self.hits[key as usize] = 0;
        self.lists.push(HOT, key);
        self.shrink(HOT, 20);
        self.shrink(WARM, 40);
    }
    fn evict(&mut self) -> u32 {
        [COLD, HOT, WARM].into_iter().find_map(|queue| self.lists.pop(queue)).expect("somebody is there")
    }
    fn remove(&mut self, key: u32) {
        self.lists.remove(key);
    }
}
