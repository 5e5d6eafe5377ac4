//! What is stored and asked for: keys made from numbers, values that can be told from each other, and how popular each key is.
//!
//! Everything follows from the number of an item, so that every value that is read can be checked without remembering it.

/// Bytes of each key: a word and sixteen hexadecimal digits.
pub const KEY_LEN: usize = 24;
const KEY_HEAD: &[u8; 8] = b"memhold:";
/// From how many places of the noise a value may be cut.
const NOISE_PLACES: usize = 4096;

/// The items of a run.
pub struct Items {
    /// How many there are.
    pub count: u64,
    value_len_min: usize,
    value_len_max: usize,
    noise: Vec<u8>,
    /// For each rank the weight of it and of all before it; empty when all are as popular.
    cumulative: Vec<f64>,
}

impl Items {
    /// `count` items, at least one, with values from `value_len_min` to `value_len_max` bytes. The item of rank r is asked for with a
    /// weight of `1 / r^skew`.
    pub fn new(count: u64, value_len_min: usize, value_len_max: usize, skew: f64) -> Items {
        let mut random = Random(1);
        let noise = (0..value_len_max + NOISE_PLACES).map(|_| (random.bits() >> 56) as u8).collect();
        let mut sum = 0.0;
        let ranks = if skew > 0.0 { count } else { 0 };
        let weights = (1..=ranks).map(|rank| {
            sum += (rank as f64).powf(-skew);
            sum
        });
        Items { count: count.max(1), value_len_min, value_len_max, noise, cumulative: weights.collect() }
    }

    /// The key of an item.
    pub fn key(number: u64) -> [u8; KEY_LEN] {
        let mut key = [0; KEY_LEN];
        key[..8].copy_from_slice(KEY_HEAD);
        let scrambled = mix(number);
        for (place, byte) in key[8..].iter_mut().enumerate() {
            *byte = b"0123456789abcdef"[(scrambled >> (4 * place) & 15) as usize];
        }
        key
    }

    /// Bytes of an item's value.
    pub fn value_len(&self, number: u64) -> usize {
        let choices = (self.value_len_max - self.value_len_min + 1) as u64;
        self.value_len_min + (mix(number ^ 0x5bd1) % choices) as usize
    }

    /// Appends an item's value: its key, as far as there is room, then noise.
    pub fn push_value(&self, number: u64, out: &mut Vec<u8>) {
        let (key, noise) = self.value(number);
        out.extend_from_slice(&Items::key(number)[..key]);
        out.extend_from_slice(noise);
    }

    /// Whether `value` is this item's, to the last byte.
    pub fn is_value(&self, number: u64, value: &[u8]) -> bool {
        let (key, noise) = self.value(number);
        value.len() == key + noise.len() && value[..key] == Items::key(number)[..key] && value[key..] == *noise
    }

    /// How many bytes of the key a value begins with, and what follows.
    fn value(&self, number: u64) -> (usize, &[u8]) {
        let length = self.value_len(number);
        let key = length.min(KEY_LEN);
        let place = (mix(number ^ 0x9e37) % NOISE_PLACES as u64) as usize;
        (key, &self.noise[place..place + length - key])
    }

    /// Draws the number of an item. The popular ones lie scattered.
    pub fn draw(&self, random: &mut Random) -> u64 {
        let Some(total) = self.cumulative.last() else { return random.bits() % self.count };
        let mark = (random.bits() >> 11) as f64 / (1_u64 << 53) as f64 * total;
        let rank = self.cumulative.partition_point(|sum| *sum <= mark) as u64;
        // A prime above every count shares no factor with it, so this is a permutation.
        rank.min(self.count - 1) * 2_654_435_761 % self.count
    }
}

/// Random numbers (SplitMix64) that are the same for the same seed.
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// Scrambles a number; different numbers stay different.
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_from_every_other() {
        let items = Items::new(50, 0, 300, 0.0);
        for number in 0..50 {
            let mut value = Vec::new();
            items.push_value(number, &mut value);
            assert!(value.len() == items.value_len(number) && items.is_value(number, &value));
            for at in 0..value.len() {
                value[at] ^= 1;
                assert!(!items.is_value(number, &value));
                value[at] ^= 1;
            }
            value.push(0);
            assert!(!items.is_value(number, &value));
        }
    }

    #[test]
    fn a_skew_makes_few_items_popular_and_none_impossible() {
        let (even, skewed) = (Items::new(1000, 1, 1, 0.0), Items::new(1000, 1, 1, 0.99));
        let count = |items: &Items| {
            let mut random = Random(7);
            let mut seen = vec![0_u32; 1000];
            (0..100_000).for_each(|_| seen[items.draw(&mut random) as usize] += 1);
            seen.sort_unstable();
            (seen[0], seen[999])
        };
        let ((even_min, even_max), (skewed_min, skewed_max)) = (count(&even), count(&skewed));
        assert!(even_min > 50 && even_max < 160, "{even_min} {even_max}");
        assert!(skewed_min < 40 && skewed_max > 10_000, "{skewed_min} {skewed_max}");
    }
}
