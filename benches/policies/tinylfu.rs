//! W-TinyLFU (Einziger, Friedman, Manes 2017): a window of 1 %, and a main part in two segments that lets in only who was asked for
//! more often than whom it would push out, by a sketch of counts that are halved now and then.

use super::Policy;
use super::lists::{Lists, Queue};

const WINDOW: Queue = 0;
const PROBATION: Queue = 1;
const PROTECTED: Queue = 2;

pub struct TinyLfu {
    lists: Lists<3>,
    sketch: Sketch,
    /// Somebody had to leave: before, whoever leaves the window just goes on.
    full: bool,
}

impl TinyLfu {
    pub fn new(keys: usize) -> TinyLfu {
        TinyLfu { lists: Lists::new(keys), sketch: Sketch::new(keys), full: false }
    }

    fn window_is_full(&self) -> bool {
        self.lists.len(WINDOW) * 100 > self.len()
    }

    fn len(&self) -> usize {
        (0..3).map(|queue| self.lists.len(queue)).sum()
    }
}

impl Policy for TinyLfu {
    fn hit(&mut self, key: u32, _: usize) {
        self.sketch.count(key, self.len());
        match self.lists.queue_of(key) {
            WINDOW => self.lists.promote(WINDOW, key),
            _ => self.lists.promote(PROTECTED, key),
        }
        // Four fifths of the main part are protected.
        let main = self.lists.len(PROBATION) + self.lists.len(PROTECTED);
        if self.lists.len(PROTECTED) * 5 > main * 4
            && let Some(key) = self.lists.pop(PROTECTED)
        {
            self.lists.push(PROBATION, key);
        }
    }
    fn insert(&mut self, key: u32, _: usize) {
        self.sketch.count(key, self.len());
        self.lists.push(WINDOW, key);
        if !self.full
            && self.window_is_full()
            && let Some(key) = self.lists.pop(WINDOW)
        {
            self.lists.push(PROBATION, key);
        }
    }
    fn evict(&mut self) -> u32 {
        self.full = true;
        if self.window_is_full()
            && let Some(victim) = self.lists.last(PROBATION).or(self.lists.last(PROTECTED))
            && let Some(candidate) = self.lists.pop(WINDOW)
        {
            if self.sketch.estimate(candidate) <= self.sketch.estimate(victim) {
                return candidate;
            }
            self.lists.remove(victim);
            self.lists.push(PROBATION, candidate);
            return victim;
        }
        [PROBATION, PROTECTED, WINDOW].into_iter().find_map(|queue| self.lists.pop(queue)).expect("somebody is there")
    }
    fn remove(&mut self, key: u32) {
        self.lists.remove(key);
    }
}

/// A count-min sketch of four rows with counts up to 15.
struct Sketch {
    rows: [Vec<u8>; 4],
    counted: usize,
}

impl Sketch {
    fn new(keys: usize) -> Sketch {
        Sketch { rows: std::array::from_fn(|_| vec![0; keys.next_power_of_two()]), counted: 0 }
    }

    fn place(row: usize, key: u32, len: usize) -> usize {
        const ODD: [u64; 4] =
            [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x27d4_eb2f_1656_67c5];
        ((u64::from(key) + 1).wrapping_mul(ODD[row]) >> 32) as usize % len
    }

    /// Counts a request; all counts are halved after ten for each item of the cache.
    fn count(&mut self, key: u32, items: usize) {
        for (number, row) in self.rows.iter_mut().enumerate() {
            let len = row.len();
            let count = &mut row[Sketch::place(number, key, len)];
            *count = (*count + 1).min(15);
        }
        self.counted += 1;
        if self.counted > 10 * items.max(1000) {
            self.counted /= 2;
            self.rows.iter_mut().flatten().for_each(|count| *count /= 2);
        }
    }

    fn estimate(&self, key: u32) -> u8 {
        let count = |(number, row): (usize, &Vec<u8>)| row[Sketch::place(number, key, row.len())];
        self.rows.iter().enumerate().map(count).min().unwrap_or(0)
    }
}
