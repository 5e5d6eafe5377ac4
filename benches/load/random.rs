//! Random numbers that are the same in every run, and Zipf's distribution.
//!
//! Both servers of a comparison must see the same requests, so nothing here is ever seeded by time.

/// SplitMix64: one multiplication-rich step for each number, any seed is good.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Evenly in `0..end`. The bias of the multiplication is below 1 in 2^32 for every `end` we use.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Evenly in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Scrambles a number; different numbers stay different.
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Draws numbers of which a few are very popular: rank r with a weight of `1 / r^exponent`.
pub struct Zipf {
    /// `cumulative[rank]`: the weight of this rank and all before it.
    cumulative: Vec<f64>,
}

impl Zipf {
    pub fn new(count: u64, exponent: f64) -> Zipf {
        let mut sum = 0.0;
        let weight = |rank| (rank as f64).powf(-exponent);
        let add = |rank| {
            sum += weight(rank);
            sum
        };
        Zipf { cumulative: (1..=count).map(add).collect() }
    }

    /// A number below `count`. The popular ones lie scattered, since in no cache are they stored side by side.
    pub fn draw(&self, random: &mut Random) -> u64 {
        let count = self.cumulative.len() as u64;
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let mark = random.unit() * total;
        let rank = self.cumulative.partition_point(|&sum| sum <= mark) as u64;
        // A prime above every count shares no factor with it, so this is a permutation.
        rank.min(count - 1) * 2_654_435_761 % count
    }
}
