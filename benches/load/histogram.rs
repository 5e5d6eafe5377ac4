//! Counts of durations in buckets that are never wider than 1 % of what they hold.
//!
//! Below 128 ns a bucket is one nanosecond; above, every doubling is cut into 128.

use std::time::Duration;

const STEPS_LOG2: u32 = 7;
const STEPS: usize = 1 << STEPS_LOG2;

/// How often each duration was seen.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; bucket(u64::MAX) + 1], total: 0 }
    }

    pub fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// The duration in nanoseconds that `share` (0 to 1) of all stay at or below; 0 when nothing was recorded.
    pub fn quantile(&self, share: f64) -> u64 {
        let mut left = (self.total as f64 * share).ceil() as u64;
        for (bucket, &count) in self.counts.iter().enumerate() {
            if left <= count && count > 0 {
                return middle(bucket);
            }
            left -= left.min(count);
        }
        0
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

/// The bucket of a value: the number of its doubling and the next seven bits.
fn bucket(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let doubling = value.ilog2() - STEPS_LOG2;
    // The top bit is still in here and counts as one more row of steps.
    (doubling as usize) * STEPS + (value >> doubling) as usize
}

/// The value in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    if bucket < 2 * STEPS {
        return bucket as u64;
    }
    let doubling = (bucket / STEPS - 1) as u32;
    let lowest = ((bucket % STEPS + STEPS) as u64) << doubling;
    lowest + (1 << doubling) / 2
}
