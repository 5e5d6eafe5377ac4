//! What is stored and asked for: keys made from numbers, values that can be told from each other, and how popular each key is.
//!
//! Everything follows from the number of an item, so that every value that is read can be checked without remembering it.

/// Bytes that tell the items of one kind from those of another, at the start of each key.
pub const HEAD_LEN: usize = 8;
/// Bytes of the shortest keys: a head and sixteen hexadecimal digits.
pub const KEY_LEN_MIN: usize = 24;
/// Bytes of the longest keys: memcached's limit.
pub const KEY_LEN_MAX: usize = 250;
/// What fills longer keys.
const PADDING: [u8; KEY_LEN_MAX] = [b'.'; KEY_LEN_MAX];
/// From how many places of the noise a value may be cut.
const NOISE_PLACES: usize = 4096;

/// What items are like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What all their keys begin with.
    pub head: [u8; HEAD_LEN],
    /// How many there are; 1 at least.
    pub count: u64,
    /// Bytes of each key, from [`KEY_LEN_MIN`] to [`KEY_LEN_MAX`].
    pub key_len: usize,
    /// Bytes of a value: least and most.
    pub value_len: (usize, usize),
    /// The item of rank r is asked for with a weight of `1 / r^skew`.
    pub skew: f64,
}

/// A value: the start of its key, as far as there is room for it, so that it is told from every other; then noise.
pub struct Value<'a> {
    core: [u8; KEY_LEN_MIN],
    core_len: usize,
    /// What follows.
    pub noise: &'a [u8],
}

impl Value<'_> {
    /// What it begins with.
    #[must_use]
    pub fn core(&self) -> &[u8] {
        &self.core[..self.core_len]
    }
}

/// The items of a run.
pub struct Items {
    shape: Shape,
    noise: Vec<u8>,
    /// For each rank the weight of it and of all before it; empty when all are as popular.
    cumulative: Vec<f64>,
}

impl Items {
    /// Items of a shape.
    #[must_use]
    pub fn new(shape: Shape) -> Items {
        let mut random = Random(1);
        let noise = (0..shape.value_len.1 + NOISE_PLACES).map(|_| (random.bits() >> 56) as u8).collect();
        let mut sum = 0.0;
        let ranks = if shape.skew > 0.0 { shape.count } else { 0 };
        let weights = (1..=ranks).map(|rank| {
            sum += (rank as f64).powf(-shape.skew);
            sum
        });
        Items { shape, noise, cumulative: weights.collect() }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.shape.count
    }

    /// Bytes of each key.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.shape.key_len
    }

    /// Appends the key of an item. Numbers above the count name items that are never stored.
    pub fn push_key(&self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.core(number));
        out.extend_from_slice(&PADDING[..self.shape.key_len - KEY_LEN_MIN]);
    }

    /// Whether `key` is this item's.
    #[must_use]
    pub fn is_key(&self, number: u64, key: &[u8]) -> bool {
        let Some((core, rest)) = key.split_first_chunk() else { return false };
        *core == self.core(number) && *rest == PADDING[..self.shape.key_len - KEY_LEN_MIN]
    }

    /// What is different in each key.
    fn core(&self, number: u64) -> [u8; KEY_LEN_MIN] {
        let mut core = [0; KEY_LEN_MIN];
        let scrambled = mix(number);
        core[..HEAD_LEN].copy_from_slice(&self.shape.head);
        core[HEAD_LEN..16].copy_from_slice(&digits((scrambled >> 32) as u32));
        core[16..].copy_from_slice(&digits(scrambled as u32));
        core
    }

    /// Bytes of an item's value.
    #[must_use]
    pub fn value_len(&self, number: u64) -> usize {
        let (least, most) = self.shape.value_len;
        if least == most { least } else { least + (mix(number ^ 0x5bd1) % (most - least + 1) as u64) as usize }
    }

    /// Bytes of all values together.
    #[must_use]
    pub fn value_bytes(&self) -> u64 {
        (0..self.shape.count).map(|number| self.value_len(number) as u64).sum()
    }

    /// An item's value.
    #[must_use]
    pub fn value(&self, number: u64) -> Value<'_> {
        let length = self.value_len(number);
        let core_len = length.min(KEY_LEN_MIN);
        let place = (mix(number ^ 0x9e37) % NOISE_PLACES as u64) as usize;
        Value { core: self.core(number), core_len, noise: &self.noise[place..place + length - core_len] }
    }

    /// Whether `piece` is what stands at `at` in this item's value.
    #[must_use]
    pub fn is_value(&self, number: u64, at: usize, piece: &[u8]) -> bool {
        let value = self.value(number);
        let core = value.core();
        let (first, rest) = piece.split_at(core.len().saturating_sub(at).min(piece.len()));
        let noise_at = (at + first.len()).saturating_sub(core.len());
        core[at.min(core.len())..].starts_with(first)
            && value.noise.get(noise_at..).is_some_and(|noise| noise.starts_with(rest))
    }

    /// Draws the number of an item. The popular ones lie scattered.
    #[must_use]
    pub fn draw(&self, random: &mut Random) -> u64 {
        let count = self.shape.count;
        let Some(total) = self.cumulative.last() else { return random.below(count) };
        let mark = (random.bits() >> 11) as f64 / (1_u64 << 53) as f64 * total;
        let rank = self.cumulative.partition_point(|sum| *sum <= mark) as u64;
        // A prime above every count shares no factor with it, so this is a permutation.
        rank.min(count - 1) * 2_654_435_761 % count
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

    /// A number below `end`. The bias of the multiplication is below 1 in 2^32 for every `end` we use.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }
}

/// Scrambles a number; different numbers stay different.
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A number in hexadecimal, all digits at once: a key is spelled for each request and compared with for each reply.
const fn digits(number: u32) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut spread = number as u64;
    spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (spread + 6 * EACH) >> 4 & EACH;
    (spread + b'0' as u64 * EACH + letters * (b'a' - b'0' - 10) as u64).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: u64, value_len: (usize, usize), skew: f64) -> Items {
        Items::new(Shape { head: *b"memhold:", count, key_len: 30, value_len, skew })
    }

    fn whole(items: &Items, number: u64) -> Vec<u8> {
        let value = items.value(number);
        [value.core(), value.noise].concat()
    }

    #[test]
    fn a_value_is_told_from_every_other_in_whatever_pieces_it_comes() {
        let items = items(50, (0, 300), 0.0);
        for number in 0..50 {
            let mut value = whole(&items, number);
            assert!(value.len() == items.value_len(number) && items.is_value(number, 0, &value));
            for at in 0..value.len() {
                assert!(items.is_value(number, 0, &value[..at]) && items.is_value(number, at, &value[at..]));
                value[at] ^= 1;
                assert!(!items.is_value(number, 0, &value));
                assert!(!items.is_value(number, at, &value[at..]), "{at}");
                value[at] ^= 1;
            }
            value.push(0);
            assert!(!items.is_value(number, 0, &value));
        }
    }

    #[test]
    fn a_key_is_its_head_and_the_digits_of_a_number() {
        assert_eq!(&digits(0x0123_4567), b"01234567");
        assert_eq!(&digits(0x89ab_cdef), b"89abcdef");
        let items = items(10, (1, 1), 0.0);
        let mut key = Vec::new();
        items.push_key(7, &mut key);
        assert!(key.starts_with(b"memhold:") && key.ends_with(b"......") && key.len() == 30);
        assert!(items.is_key(7, &key) && !items.is_key(8, &key) && !items.is_key(7, &key[..29]));
    }

    #[test]
    fn a_skew_makes_few_items_popular_and_none_impossible() {
        let (even, skewed) = (items(1000, (1, 1), 0.0), items(1000, (1, 1), 0.99));
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
