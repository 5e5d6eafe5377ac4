//! Traces made from a seed: the same requests in every run and on every machine.
//!
//! All are made for a cache of 64 MiB, which holds a fraction of what is asked for. Where nothing expires, the first third only
//! fills the cache and is not counted.

use super::{Group, Op, Request, Trace};
use crate::tools::bench::items::Random;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A trace that can be made.
pub struct Row {
    /// What it is called.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    build: fn(&mut Maker),
}

/// All of them.
pub const ROWS: [Row; 8] = [
    Row {
        name: "zipf08",
        about: "a million keys, Zipf 0.8, values of 32 to 1024 bytes",
        build: |maker| maker.zipf(0.8, 1),
    },
    Row { name: "zipf10", about: "the same, Zipf 1.0", build: |maker| maker.zipf(1.0, 1) },
    Row { name: "zipf12", about: "the same, Zipf 1.2, values of 256 to 8192 bytes", build: |maker| maker.zipf(1.2, 8) },
    Row { name: "scans", about: "Zipf 1.0, and every so often something reads 50,000 keys once", build: Maker::scans },
    Row { name: "shift", about: "Zipf 0.9, a tenth of the keys becomes another one now and then", build: Maker::shift },
    Row {
        name: "sizes",
        about: "three phases with other keys and other sizes: 100, 1000, 300 bytes",
        build: Maker::sizes,
    },
    Row {
        name: "sessions",
        about: "web sessions of 30 s: robots that come once, visitors who return",
        build: Maker::sessions,
    },
    Row { name: "flood", about: "sessions in use, under a flood of values that live for 2 s", build: Maker::flood },
];

impl Row {
    /// Makes the trace, or of its first requests one in `part`, for a test.
    ///
    /// # Panics
    /// When `part` is 0.
    #[must_use]
    pub fn make(&self, part: u32) -> Trace {
        let requests = Vec::new();
        let trace = Trace { requests, groups: Vec::new(), timed: false, names: Vec::new() };
        let mut maker = Maker { trace, random: Random(SEED), limit: REQUESTS / part };
        (self.build)(&mut maker);
        maker.trace
    }
}

/// Requests of a trace in which nothing expires.
const REQUESTS: u32 = 3_000_000;
/// Seconds of a trace in which something does.
const SECONDS: u32 = 60;
/// Requests a second where nothing expires, for those who need a time.
const RATE: u32 = 100_000;
const SEED: u64 = 1;

struct Maker {
    trace: Trace,
    random: Random,
    /// Requests to make.
    limit: u32,
}

impl Maker {
    /// Evenly in `0..end`.
    fn below(&mut self, end: u32) -> u32 {
        self.random.below(u64::from(end)) as u32
    }

    /// Evenly in `0..1`.
    fn unit(&mut self) -> f64 {
        (self.random.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn groups(&mut self, groups: &[(&'static str, bool)]) {
        self.trace.groups = groups.iter().map(|&(name, counts)| Group { name, counts }).collect();
    }

    /// A read of something that never expires.
    fn get(&mut self, group: u8, key: u32, size: u32) {
        let millis = self.count() / (RATE / 1000);
        self.trace.requests.push(Request { millis, op: Op::Get, group, key, size, ttl: 0 });
    }

    fn count(&self) -> u32 {
        self.trace.requests.len() as u32
    }

    /// 0 while the cache fills, then 1.
    fn phase(&self) -> u8 {
        u8::from(self.count() >= self.limit / 3)
    }

    fn zipf(&mut self, skew: f64, times: u32) {
        self.groups(&[("filling", false), ("all", true)]);
        let zipf = Zipf::new(KEYS, skew);
        while self.count() < self.limit {
            let key = zipf.draw(self.unit());
            self.get(self.phase(), key, mixed_size(key) * times);
        }
    }

    fn scans(&mut self) {
        self.groups(&[("filling", false), ("all", true), ("scans", false)]);
        let zipf = Zipf::new(KEYS, 1.0);
        let mut next = KEYS;
        while self.count() < self.limit {
            let key = zipf.draw(self.unit());
            self.get(self.phase(), key, mixed_size(key));
            if self.count().is_multiple_of(SCAN_EVERY) {
                for _ in 0..SCAN_KEYS {
                    self.get(2, next, mixed_size(next));
                    next += 1;
                }
            }
        }
    }

    fn shift(&mut self) {
        self.groups(&[("filling", false), ("all", true)]);
        let zipf = Zipf::new(KEYS, 0.9);
        let mut key_of: Vec<u32> = (0..KEYS).collect();
        let mut next = KEYS;
        while self.count() < self.limit {
            if self.count().is_multiple_of(SHIFT_EVERY) && self.count() > 0 {
                for key in &mut key_of {
                    if self.below(10) == 0 {
                        *key = next;
                        next += 1;
                    }
                }
            }
            let key = key_of[zipf.draw(self.unit()) as usize];
            self.get(self.phase(), key, mixed_size(key));
        }
    }

    /// The keys of a phase are gone in the next, so all of the memory has to change hands.
    fn sizes(&mut self) {
        self.groups(&[("100 bytes", true), ("1000 bytes", true), ("300 bytes", true)]);
        let phases = [(100, 2_000_000), (1000, 200_000), (300, 600_000)];
        let mut first = 0;
        for ((middle, keys), group) in phases.into_iter().zip(0..) {
            let zipf = Zipf::new(keys, 0.9);
            while self.count() < self.limit / 3 * (u32::from(group) + 1) {
                let key = first + zipf.draw(self.unit());
                self.get(group, key, middle / 2 + mix(key) % (middle + 1));
            }
            first += keys;
        }
    }

    /// Each visitor comes at a random moment. Most are robots and never come again; the others look at some pages, and half of them
    /// return after a while, each time before their session is over.
    fn sessions(&mut self) {
        self.groups(&[("first", false), ("pages", true), ("returning", true)]);
        self.trace.timed = true;
        let mut coming: BinaryHeap<Reverse<Visit>> = BinaryHeap::new();
        let (mut key, mut arrival) = (0, 0.0);
        let end = f64::from(SECONDS) * 1000.0 * f64::from(self.limit) / f64::from(REQUESTS);
        loop {
            if coming.peek().is_none_or(|next| f64::from(next.0.millis) > arrival) {
                let pages = if self.unit() < ROBOTS { 0 } else { 2 + self.below(9) };
                coming.push(Reverse(Visit { millis: arrival as u32, key, pages, group: 0 }));
                key += 1;
                arrival -= self.unit().ln() * 1000.0 / VISITORS_PER_SECOND;
            }
            let Some(Reverse(visit)) = coming.pop() else { break };
            if f64::from(visit.millis) >= end {
                break;
            }
            self.view(visit);
            coming.extend(self.next_view(visit).map(Reverse));
        }
    }

    /// A page: most applications write the session only when it changes.
    fn view(&mut self, visit: Visit) {
        let Visit { millis, key, group, .. } = visit;
        let request = |op, size| Request { millis, op, group, key, size, ttl: SESSION_TTL };
        let size = |page: u32| 300 + mix(key) % 800 + mix(key ^ page << 8) % 100;
        let rewrites = self.below(10) < 3;
        self.trace.requests.push(request(if rewrites { Op::Get } else { Op::GetAndTouch }, size(visit.pages)));
        if rewrites {
            self.trace.requests.push(request(Op::Set, size(visit.pages)));
        }
    }

    fn next_view(&mut self, visit: Visit) -> Option<Visit> {
        let soon = (-self.unit().ln() * 1000.0).min(5000.0);
        let late = 4000.0 * 6.25_f64.powf(self.unit());
        if visit.pages > 1 {
            return Some(Visit { millis: visit.millis + soon as u32, pages: visit.pages - 1, group: 1, ..visit });
        }
        let returns = visit.pages == 1 && self.unit() < 0.5;
        let pages = 2 + self.below(9);
        returns.then(|| Visit { millis: visit.millis + late as u32, pages, group: 2, ..visit })
    }

    fn flood(&mut self) {
        self.groups(&[("first", false), ("live", true), ("flood", false)]);
        self.trace.timed = true;
        // Each of the live ones is read every 2, 4 or 8 s.
        let mut turns = vec![Vec::new(); LIVE_MILLIS as usize];
        for key in 0..LIVE {
            let period = LIVE_MILLIS >> (mix(key) % 3);
            let turn = mix(key) / 3 % period;
            (turn..LIVE_MILLIS).step_by(period as usize).for_each(|turn| turns[turn as usize].push(key));
        }
        let mut next = LIVE;
        let steps = u64::from(SECONDS) * 1000 * u64::from(self.limit) / u64::from(REQUESTS);
        for millis in 0..steps as u32 {
            for _ in 0..FLOOD_PER_MILLI {
                let size = 300 + mix(next) % 300;
                self.trace.requests.push(Request { millis, op: Op::Set, group: 2, key: next, size, ttl: 2 });
                next += 1;
            }
            for &key in &turns[(millis % LIVE_MILLIS) as usize] {
                let group = u8::from(millis >= LIVE_MILLIS);
                let size = 400 + mix(key) % 200;
                self.trace.requests.push(Request { millis, op: Op::Get, group, key, size, ttl: 3600 });
            }
        }
    }
}

/// What a visitor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Visit {
    millis: u32,
    key: u32,
    /// Pages still to be seen in this visit; 0 for a robot.
    pages: u32,
    group: u8,
}

/// Keys of the traces after Zipf.
const KEYS: u32 = 1_000_000;
/// Requests between two scans, and what a scan reads.
const SCAN_EVERY: u32 = 150_000;
const SCAN_KEYS: u32 = 50_000;
/// Requests after which a tenth of the keys becomes another one.
const SHIFT_EVERY: u32 = 250_000;
/// Visitors who come once.
const ROBOTS: f64 = 0.6;
const VISITORS_PER_SECOND: f64 = 6500.0;
const SESSION_TTL: u32 = 30;
/// Sessions in use during the flood, and the time in which each is read once at least.
const LIVE: u32 = 25_000;
const LIVE_MILLIS: u32 = 8_000;
const FLOOD_PER_MILLI: u32 = 25;

/// Scrambles a number.
fn mix(number: u32) -> u32 {
    (Random(u64::from(number)).bits() >> 32) as u32
}

/// From 32 to 1024 bytes, each doubling as often.
fn mixed_size(key: u32) -> u32 {
    let doublings = f64::from(mix(key)) / f64::from(u32::MAX) * 5.0;
    (32.0 * doublings.exp2()) as u32
}

/// Draws numbers of which a few are very popular: rank r with a weight of `1 / r^skew`.
struct Zipf {
    /// For each rank the weight of it and of all before it.
    cumulative: Vec<f64>,
}

impl Zipf {
    fn new(count: u32, skew: f64) -> Zipf {
        let mut sum = 0.0;
        let weights = (1..=count).map(|rank| {
            sum += f64::from(rank).powf(-skew);
            sum
        });
        Zipf { cumulative: weights.collect() }
    }

    /// The rank at `unit`, evenly drawn from `0..1`.
    fn draw(&self, unit: f64) -> u32 {
        let mark = unit * self.cumulative.last().copied().unwrap_or(0.0);
        self.cumulative.partition_point(|sum| *sum <= mark).min(self.cumulative.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trace_is_the_same_each_time_and_in_order() {
        for row in ROWS {
            let (trace, again) = (row.make(300), row.make(300));
            assert!(trace.requests == again.requests && trace.requests.len() > 1000, "{}", row.name);
            assert!(trace.requests.is_sorted_by_key(|request| request.millis), "{}", row.name);
            let groups = trace.groups.len();
            assert!(trace.requests.iter().all(|request| usize::from(request.group) < groups), "{}", row.name);
            assert_eq!(trace.timed, trace.requests.iter().any(|request| request.ttl > 0), "{}", row.name);
        }
    }

    #[test]
    fn nobody_returns_after_the_session_is_over() {
        let trace = ROWS.iter().find(|row| row.name == "sessions").unwrap().make(4);
        let mut seen = std::collections::HashMap::new();
        let mut returned = 0;
        for request in &trace.requests {
            let before = seen.insert(request.key, request.millis);
            assert_eq!(before.is_none(), request.group == 0 && request.op.reads());
            assert!(before.is_none_or(|before| request.millis - before < SESSION_TTL * 1000));
            returned += u32::from(request.group == 2 && request.op.reads());
        }
        assert!(returned > 1000, "{returned}");
    }
}
