//! The only place that asks the time. Everything else is told: a [`Now`] travels with each call, so that a test
//! can be a day long and take a microsecond.
//!
//! The server's time is unix time that never jumps: the wall clock is read once at start, and from then on a
//! monotonic clock counts on from there (memcached does the same; section 1.2 of the reference). The debug
//! commands of section 16.6 move or stop it for tests.

use crate::sync::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Ticks in a second: the grain in which an item remembers its last access.
pub const TICKS_PER_SECOND: u32 = 32;

/// One moment, as everything below `net` sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Unix time in seconds, until the year 2106.
    pub seconds: u32,
    /// The same moment in ticks of 1/32 s, wrapping every 4.25 years; compare by wrapping subtraction only.
    pub ticks: u32,
}

impl Now {
    /// A moment `seconds` and `thirty_seconds` thirty-seconds after the epoch.
    #[must_use]
    pub const fn at(seconds: u32, thirty_seconds: u32) -> Now {
        Now { seconds, ticks: seconds.wrapping_mul(TICKS_PER_SECOND).wrapping_add(thirty_seconds) }
    }

    /// Ticks since `earlier`, at most half the range of the counter back.
    #[must_use]
    pub const fn ticks_since(self, earlier: u32) -> u32 {
        let passed = self.ticks.wrapping_sub(earlier);
        if passed > u32::MAX / 2 { 0 } else { passed }
    }
}

/// The running clock: unix time at the start and a monotonic count since then.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// Milliseconds since the epoch at the start.
    started_millis: u64,
    /// Seconds added by `debugtime`.
    shift: AtomicU64,
    frozen: AtomicBool,
    /// Milliseconds since the epoch at which `debugtime p` stopped the clock.
    frozen_at: AtomicU64,
}

impl Clock {
    /// Reads the wall clock once and counts from there.
    #[must_use]
    pub fn start() -> Clock {
        Clock {
            started: Instant::now(),
            started_millis: millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            shift: AtomicU64::new(0),
            frozen: AtomicBool::new(false),
            frozen_at: AtomicU64::new(0),
        }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let millis =
            if self.frozen.load(Ordering::Relaxed) { self.frozen_at.load(Ordering::Relaxed) } else { self.millis() };
        let millis = millis.wrapping_add(self.shift.load(Ordering::Relaxed).wrapping_mul(1000));
        #[expect(clippy::cast_possible_truncation, reason = "u32 seconds last until 2106; ticks wrap by design")]
        Now { seconds: (millis / 1000) as u32, ticks: (millis * u64::from(TICKS_PER_SECOND) / 1000) as u32 }
    }

    /// `debugtime <n>`: moves the clock by `seconds`, which may be negative.
    pub fn shift(&self, seconds: i64) {
        self.shift.fetch_add(seconds.cast_unsigned(), Ordering::Relaxed);
    }

    /// `debugtime p`: stops the clock at the present moment.
    pub fn freeze(&self) {
        self.frozen_at.store(self.millis(), Ordering::Relaxed);
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// `debugtime r`: lets it run again.
    pub fn resume(&self) {
        self.frozen.store(false, Ordering::Relaxed);
    }

    /// Microseconds since the start, by the monotonic clock alone: for measuring how long something took.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "microseconds since the start fit 64 bits for ages")]
    pub fn running_micros(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// The same in nanoseconds.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "nanoseconds since the start fit 64 bits for centuries")]
    pub fn running_nanos(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn millis(&self) -> u64 {
        self.started_millis + millis(self.started.elapsed())
    }
}

/// The wall clock, as it stands: for the lines of a log, which others compare with their own.
#[must_use]
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// In 64 bits throughout: this runs once for each burst of requests.
fn millis(duration: Duration) -> u64 {
    duration.as_secs() * 1000 + u64::from(duration.subsec_millis())
}
