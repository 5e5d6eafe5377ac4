//! A day of work in seconds: four threads store, read, touch and delete over one store that is far too small for
//! them, while it evicts, expires,
//! moves pages between classes and grows its index. Every value that is read tells by itself whether it is whole and belongs to its key.
//!
//! `MEMHOLD_ENDURANCE_SECONDS` says how long (10 by default). Time decides how much is done and nothing else: the clock of the
//! store is a number that the threads turn, some seconds for each few hundred operations, so that a minute here is about a day there.

#[path = "support/random.rs"]
#[allow(dead_code, reason = "a test uses a part of it")]
mod random;
#[path = "support/setting.rs"]
mod setting;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memhold::clock::Now;
use memhold::store::{Config, Decision, Lookup, Marks, Refused, Shape, Store, Value};
use random::Random;

/// More items than fit, and enough for the index to grow several times.
const KEYS: u64 = 400_000;
const THREADS: u64 = 4;
const START: u32 = 1_700_000_000;
/// Operations of one thread between two looks at the stop flag, each of which moves the clock.
const BURST: usize = 500;
/// By this much, in ticks of 1/32 s.
const BURST_TICKS: u32 = 128;

/// What all threads did.
#[derive(Debug, Default)]
struct Done {
    linked: AtomicU64,
    replaced: AtomicU64,
    deleted: AtomicU64,
    /// Met in a lookup when it was over.
    found_over: AtomicU64,
    hits: AtomicU64,
    refused: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The shared clock, in ticks of 1/32 s since the start.
struct Time(AtomicU32);

impl Time {
    fn now(&self) -> Now {
        let ticks = self.0.load(Ordering::Relaxed);
        Now::at(START + ticks / 32, ticks % 32)
    }
}

/// A value that proves itself: a checksum, the key's number, a version, and bytes that follow from these.
fn value_of(key: u64, version: u64, len: usize, out: &mut Vec<u8>) {
    out.clear();
    out.resize(8, 0);
    out.extend_from_slice(&key.to_le_bytes());
    out.extend_from_slice(&version.to_le_bytes());
    let mut word = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version;
    while out.len() < len.max(24) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.truncate(len.max(24));
    let sum = checksum(&out[8..]);
    out[..8].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Panics unless `value` is whole and belongs to `key`.
fn prove(key: u64, value: &[u8]) {
    assert!(value.len() >= 24, "a value of {} bytes", value.len());
    let word = |at: usize| u64::from_le_bytes(value[at..at + 8].try_into().expect("eight bytes"));
    assert_eq!(word(8), key, "the value of another key");
    assert_eq!(word(0), checksum(&value[8..]), "a value of {} bytes is torn", value.len());
}

/// Mostly sessions, some pages, a few large ones; the mix changes with time, so that classes have to give pages to each other.
fn length(random: &mut Random, now: Now) -> usize {
    let small = [100, 300, 900, 2500][(now.seconds / 600 % 4) as usize];
    match random.below(1000) {
        0..900 => 24 + random.below(small),
        900..995 => 24 + random.below(20_000),
        _ => 24 + random.below(600_000),
    }
}

struct Worker<'a> {
    store: Store,
    time: &'a Time,
    done: &'a Done,
    random: Random,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Worker<'_> {
    fn spell(&mut self, number: u64) {
        self.key.clear();
        self.key.extend_from_slice(format!("session:{number}").as_bytes());
    }

    /// Some keys are asked for much more than others.
    fn pick(&mut self) -> u64 {
        let spread = if self.random.chance(70) { KEYS / 20 } else { KEYS };
        self.random.next() % spread
    }

    fn step(&mut self) {
        let number = self.pick();
        self.spell(number);
        match self.random.below(100) {
            0..55 => self.read(number),
            55..93 => self.write(number),
            93..97 => self.delete(),
            _ => self.touch(),
        }
    }

    fn read(&mut self, number: u64) {
        let (now, hash) = (self.time.now(), self.store.hash(&self.key));
        self.value.clear();
        let value = &mut self.value;
        let found = self.store.lookup(&self.key, hash, now, |found| match found {
            Lookup::Found(mut entry) => {
                entry.bump(now);
                Ok(match entry.value() {
                    Value::Inline(bytes) => {
                        value.extend_from_slice(bytes);
                        None
                    }
                    Value::Pinned(pinned) => Some(pinned),
                })
            }
            Lookup::Absent(absence) => Err(absence),
        });
        match found {
            Ok(pinned) => {
                if let Some(pinned) = pinned {
                    // Read without a lock, with everything else going on.
                    while self.value.len() < pinned.len() {
                        let piece = pinned.slice_at(self.value.len());
                        assert!(!piece.is_empty(), "a pinned value ends early");
                        self.value.extend_from_slice(piece);
                    }
                }
                prove(number, &self.value);
                add(&self.done.hits);
            }
            Err(memhold::store::Absence::NotFound) => {}
            Err(_) => add(&self.done.found_over),
        }
    }

    fn write(&mut self, number: u64) {
        let now = self.time.now();
        let len = length(&mut self.random, now);
        let version = self.random.next();
        value_of(number, version, len, &mut self.value);
        let exptime = match self.random.below(4) {
            0 => 0,
            1 => now.seconds + 1 + self.random.below(60) as u32,
            _ => now.seconds + 60 + self.random.below(24 * 3600) as u32,
        };
        let shape = Shape {
            flags: 0,
            exptime,
            value_len: self.value.len(),
            base64_key: false,
            chosen_cas: None,
            renews: false,
        };
        let hash = self.store.hash(&self.key);
        let arriving = self.random.chance(30);
        let draft = if arriving {
            self.store.reserve_arriving(&self.key, hash, &shape, now)
        } else {
            self.store.reserve(&self.key, hash, &shape, now)
        };
        let Ok(mut draft) = draft else { return add(&self.done.refused) };
        // In two parts, as from a socket; one in fifty never arrives whole.
        let (first, second) = self.value.split_at(self.random.below(self.value.len()));
        let written = draft
            .write(first, now)
            .and_then(|()| if self.random.chance(2) { Err(Refused::Later) } else { draft.write(second, now) });
        if written.is_err() {
            return add(&self.done.refused);
        }
        let mut replaced = false;
        let mut over = false;
        let linked = self.store.commit(draft, now, |found, _| {
            match found {
                Lookup::Found(_) => replaced = true,
                Lookup::Absent(memhold::store::Absence::NotFound) => {}
                Lookup::Absent(_) => over = true,
            }
            Decision::<()>::Link(Marks::default())
        });
        assert!(linked.is_ok(), "nobody refused");
        add(&self.done.linked);
        if replaced {
            add(&self.done.replaced);
        }
        if over {
            add(&self.done.found_over);
        }
    }

    fn delete(&mut self) {
        let (now, hash) = (self.time.now(), self.store.hash(&self.key));
        self.store.lookup(&self.key, hash, now, |found| match found {
            Lookup::Found(entry) => {
                entry.remove();
                add(&self.done.deleted);
            }
            Lookup::Absent(memhold::store::Absence::NotFound) => {}
            Lookup::Absent(_) => add(&self.done.found_over),
        });
    }

    fn touch(&mut self) {
        let (now, hash) = (self.time.now(), self.store.hash(&self.key));
        let exptime = now.seconds + self.random.below(7200) as u32;
        self.store.lookup(&self.key, hash, now, |found| match found {
            Lookup::Found(mut entry) => entry.touch(exptime),
            Lookup::Absent(memhold::store::Absence::NotFound) => {}
            Lookup::Absent(_) => add(&self.done.found_over),
        });
    }
}

#[test]
fn a_day_of_work_leaves_every_value_whole_and_every_counter_right() {
    let seconds = setting::number("MEMHOLD_ENDURANCE_SECONDS").unwrap_or(10);
    let store = Store::open(&Config::with_memory(64 << 20, 1)).expect("64 MiB of memory");
    let (time, done, stop) = (Time(AtomicU32::new(0)), Done::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let mut worker = Worker {
                store: store.for_thread(),
                time: &time,
                done: &done,
                random: Random::new(number + 1),
                key: Vec::new(),
                value: Vec::new(),
            };
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    (0..BURST).for_each(|_| worker.step());
                    worker.time.0.fetch_add(BURST_TICKS, Ordering::Relaxed);
                    // Time and background work go together, as in the server, but by operations.
                    worker.store.maintain(worker.time.now());
                }
            });
        }
        // A panic of a thread shows when the scope ends.
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let now = time.now();
    store.check(now).expect("a sound store");
    assert_eq!(store.held_bytes(), 0, "nobody holds anything any more");

    let totals = store.totals();
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!("{} simulated minutes, {done:?}, {totals:?}", (now.seconds - START) / 60);
    // Whatever was linked is still there or has gone in one of the ways that are counted.
    let gone = get(&done.replaced) + get(&done.deleted) + get(&done.found_over);
    let lost = totals.evictions + totals.reclaimed + totals.crawler_reclaimed;
    assert_eq!(get(&done.linked), totals.curr_items + gone + lost, "items linked, and what became of them");
    assert!(get(&done.hits) > 0 && get(&done.replaced) > 0 && get(&done.deleted) > 0);
    assert!(totals.evictions > 0, "something was evicted");
    assert!(totals.reclaimed + totals.crawler_reclaimed > 0, "something expired");
    assert!(totals.slabs_moved > 0, "a page changed hands");
    assert!(totals.total_malloced + totals.hash_bytes <= (64 << 20) + totals.page_size, "within the limit");
    for number in 0..KEYS / 20 {
        let key = format!("session:{number}");
        let mut value = Vec::new();
        let found = store.lookup(key.as_bytes(), store.hash(key.as_bytes()), now, |found| match found {
            Lookup::Found(entry) => {
                entry.copy_value(&mut value);
                true
            }
            Lookup::Absent(_) => false,
        });
        if found {
            prove(number, &value);
        }
    }
}
