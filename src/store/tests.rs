//! The store beside a plain map, under random operations from a seed, with every invariant checked; the same cut off at random
//! instructions and rebuilt from its pages; and the behaviour of memory at its limit.

use super::memory::cut;
use super::*;
use std::collections::HashMap;

/// splitmix64: small, seeded, good enough.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

pub(super) fn config(megabytes: u64) -> Config {
    Config::with_memory(megabytes << 20, 42)
}

pub(super) fn shape(value_len: usize) -> Shape {
    Shape { flags: 0, exptime: 0, value_len, base64_key: false, chosen_cas: None, renews: false }
}

pub(super) fn set(store: &Store, key: &[u8], value: &[u8], exptime: Exptime, now: Now) -> Result<u64, Refused> {
    let shape = Shape { exptime, flags: u32::from(key[0]) % 3, ..shape(value.len()) };
    let mut draft = store.reserve(key, store.hash(key), &shape, now)?;
    draft.write(value, now)?;
    Ok(store.commit(draft, now, |_, _| Decision::<()>::Link(Marks::default())).expect("linked"))
}

pub(super) fn get(store: &Store, key: &[u8], now: Now) -> Option<Vec<u8>> {
    let value = store.lookup(key, store.hash(key), now, |lookup| match lookup {
        Lookup::Found(mut entry) => {
            entry.bump(now);
            assert_eq!(entry.key(), key);
            assert_eq!(entry.flags(), u32::from(key[0]) % 3);
            Some(entry.value_len()).zip(Some(match entry.value() {
                Value::Inline(bytes) => (bytes.to_vec(), None),
                Value::Pinned(pinned) => (Vec::new(), Some(pinned)),
            }))
        }
        Lookup::Absent(_) => None,
    });
    let (len, (mut bytes, pinned)) = value?;
    if let Some(pinned) = pinned {
        while bytes.len() < pinned.len() {
            bytes.extend_from_slice(pinned.slice_at(bytes.len()));
        }
        assert!(pinned.slice_at(bytes.len()).is_empty());
    }
    assert_eq!(bytes.len(), len);
    Some(bytes)
}

pub(super) fn delete(store: &Store, key: &[u8], now: Now) -> bool {
    store.lookup(key, store.hash(key), now, |lookup| match lookup {
        Lookup::Found(entry) => {
            entry.remove();
            true
        }
        Lookup::Absent(_) => false,
    })
}

pub(super) fn touch(store: &Store, key: &[u8], exptime: Exptime, now: Now) -> bool {
    store.lookup(key, store.hash(key), now, |lookup| match lookup {
        Lookup::Found(mut entry) => {
            entry.touch(exptime);
            true
        }
        Lookup::Absent(_) => false,
    })
}

/// Puts bytes in the place of others of a value, where that can be done in place; whether it was.
fn overwrite(store: &Store, key: &[u8], at: usize, bytes: &[u8], now: Now) -> bool {
    store.lookup(key, store.hash(key), now, |lookup| match lookup {
        Lookup::Found(mut entry) => {
            let before = entry.version();
            let done = entry.overwrite(at, bytes, now);
            assert_eq!(done, entry.version() != before, "a new CAS for a new value");
            done
        }
        Lookup::Absent(_) => false,
    })
}

/// What the model holds for a key: value and expiry.
pub(super) type Model = HashMap<Vec<u8>, (Vec<u8>, Exptime)>;

fn value_of(random: &mut Random, large: bool) -> Vec<u8> {
    let len = match random.below(if large { 12 } else { 9 }) {
        0..4 => random.below(100),
        4..8 => random.below(900),
        8 => random.below(8000),
        _ => random.below(300_000),
    };
    let byte = random.next();
    (0..len).map(|place| (byte.wrapping_add(place * 7)) as u8).collect()
}

/// One random operation on both; what the store has lost by evicting is taken out of the model when it is noticed.
pub(super) fn step(store: &Store, model: &mut Model, random: &mut Random, now: Now, keys: u64) {
    let key = format!("key:{}", random.below(keys)).into_bytes();
    let live = model.get(&key).filter(|(_, exptime)| *exptime == 0 || *exptime > now.seconds).cloned();
    match random.below(11) {
        10 => {
            let (at, byte) = (random.below(40) as usize, random.next() as u8);
            let bytes: Vec<u8> = (0..1 + random.below(8) as u8).map(|place| byte.wrapping_mul(place + 1)).collect();
            if overwrite(store, &key, at, &bytes, now) {
                let (value, _) = model.get_mut(&key).expect("known");
                value[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
        0..4 => {
            let value = value_of(random, true);
            let exptime = if random.below(3) == 0 { now.seconds + random.below(60) as u32 } else { 0 };
            set(store, &key, &value, exptime, now).expect("something can always be evicted");
            model.insert(key, (value, exptime));
        }
        4..8 => match (get(store, &key, now), live) {
            (Some(found), Some((value, _))) => assert_eq!(found, value),
            (None, None) => {}
            (None, Some(_)) => {
                assert!(store.totals().evictions > 0, "nothing was evicted, so nothing may be missing");
                model.remove(&key);
            }
            (Some(_), None) => panic!("{key:?} should not be there"),
        },
        8 => {
            let exptime = now.seconds + random.below(100) as u32;
            if touch(store, &key, exptime, now) {
                model.get_mut(&key).expect("known").1 = exptime;
            } else {
                model.remove(&key);
            }
        }
        _ => {
            let gone = delete(store, &key, now);
            assert!(!gone || live.is_some(), "only what is there can be deleted");
            model.remove(&key);
        }
    }
}

fn run(megabytes: u64, keys: u64, steps: u64, seed: u64, exact: bool) {
    let mut config = config(megabytes);
    if exact {
        config.slabs = SlabTable::Factor { min: 48, factor: 1.25 };
    }
    let store = Store::open(&config).expect("memory");
    let (mut model, mut random, mut now) = (Model::new(), Random(seed), Now::at(1_000_000, 0));
    for turn in 0..steps {
        step(&store, &mut model, &mut random, now, keys);
        if random.below(20) == 0 {
            now = Now::at(1_000_000 + (turn / 100) as u32, (turn % 32) as u32);
            store.maintain(now);
        }
        if turn % 64 == 0 || steps < 2000 {
            store.check(now).unwrap_or_else(|wrong| panic!("seed {seed}, step {turn}: {wrong}"));
        }
    }
    store.check(now).unwrap_or_else(|wrong| panic!("seed {seed}, end: {wrong}"));
}

#[test]
fn the_store_agrees_with_a_map_after_every_step() {
    for seed in 0..8 {
        run(64, 200, 1500, seed, false);
    }
}

#[test]
fn the_store_agrees_with_a_map_while_it_evicts() {
    for seed in 0..4 {
        run(8, 4000, 20_000, seed, false);
    }
}

#[test]
fn the_store_agrees_with_a_map_in_memcacheds_own_classes() {
    for seed in 0..3 {
        run(8, 3000, 10_000, seed, true);
    }
}

#[test]
fn the_index_grows_through_every_phase_and_loses_nothing() {
    let store = Store::open(&config(512)).expect("memory");
    let now = Now::at(1000, 0);
    let count = 400_000u32;
    for number in 0..count {
        set(&store, &number.to_be_bytes(), b"x", 0, now).expect("room");
    }
    store.check(now).expect("sound");
    assert_eq!(store.totals().curr_items, u64::from(count));
    for number in 0..count {
        assert!(get(&store, &number.to_be_bytes(), now).is_some(), "{number} is there");
    }
    let bytes_per_item = store.totals().hash_bytes as f64 / f64::from(count);
    assert!(bytes_per_item < 9.0, "the index takes {bytes_per_item} bytes an item");
    for number in 0..count {
        assert!(delete(&store, &number.to_be_bytes(), now));
    }
    store.check(now).expect("sound");
    assert_eq!(store.totals().curr_items, 0);
}

#[test]
fn nothing_is_refused_while_something_can_be_evicted() {
    for (megabytes, len) in [(2, 10), (2, 200_000), (8, 1_000_000), (8, 5_000), (8, 70_000)] {
        let store = Store::open(&config(megabytes)).expect("memory");
        let mut now = Now::at(1000, 0);
        for number in 0..20_000u32.min(2_000_000_000 / (len + 1)) {
            let key = number.to_be_bytes();
            set(&store, &key, &vec![7; len as usize], 0, now).expect("room can be made");
            now = Now::at(1000 + number / 100, number % 32);
        }
        store.check(now).expect("sound");
        let totals = store.totals();
        assert!(totals.total_malloced + totals.hash_bytes <= megabytes << 20, "the limit holds");
    }
}

#[test]
fn a_class_without_pages_refuses_when_no_page_can_be_had() {
    let now = Now::at(1000, 0);
    let store = Store::open(&Config { temporary_ttl: Some(60), ..config(2) }).expect("memory");
    // Nothing of this may be evicted, so no page can be taken from its class.
    let stored =
        (0..100_000).take_while(|n| set(&store, format!("t{n}").as_bytes(), &[1; 500], 1060, now).is_ok()).count();
    assert!(stored > 1000, "only {stored} were stored");
    // Classes that have no page yet: the first get those that were kept free in advance.
    let refused = (1..40)
        .filter(|n| set(&store, format!("other size {n}").as_bytes(), &vec![1; 200 * n], 1060, now).is_err())
        .count();
    assert!(refused > 20, "only {refused} were refused");
    store.check(now).expect("sound");
    assert!(set(&store, b"other size", &[1; 7777], 0, Now::at(1060, 0)).is_ok(), "once they have expired");
}

#[test]
fn when_the_oldest_class_can_give_nothing_the_next_one_does() {
    let store = Store::open(&Config { temporary_ttl: Some(90), ..config(8) }).expect("memory");
    let now = Now::at(1000, 0);
    for n in 0..6000 {
        // Nothing of this may be evicted.
        set(&store, format!("t{n}").as_bytes(), &[1; 500], 1080, now).expect("room");
    }
    let now = Now::at(1060, 0);
    for n in 0..20_000 {
        set(&store, format!("b{n}").as_bytes(), &[1; 1000], 0, now).expect("room");
        if n % 1000 == 0 {
            store.maintain(now);
        }
    }
    for n in 1..60 {
        set(&store, b"other size", &vec![1; 100 * n], 0, now).expect("room in the younger class");
    }
    assert!((0..6000).all(|n| get(&store, format!("t{n}").as_bytes(), now).is_some()), "what may not be evicted stays");
    store.check(now).expect("sound");
}

#[test]
fn sizes_may_change_completely() {
    let store = Store::open(&config(8)).expect("memory");
    let mut now = Now::at(1000, 0);
    let mut number = 0u32;
    for len in [10usize, 1000, 100_000, 64, 300_000, 500, 8, 7000] {
        for _ in 0..(20 << 20) / (len + 64) {
            number += 1;
            set(&store, &number.to_be_bytes(), &vec![1; len], 0, now).expect("room can be made");
            now = Now::at(1000 + number / 1000, number % 32);
            if number.is_multiple_of(5000) {
                store.maintain(now);
            }
        }
        store.check(now).expect("sound");
    }
}

#[test]
fn without_evictions_a_full_store_refuses() {
    let store = Store::open(&Config { evict: false, ..config(2) }).expect("memory");
    let now = Now::at(1000, 0);
    let refused = (0..100_000u32).find(|number| set(&store, &number.to_be_bytes(), &[0; 100], 0, now).is_err());
    let stored = refused.expect("two megabytes are not endless");
    assert!(stored > 10_000, "{stored} items fitted");
    assert_eq!(store.totals().evictions, 0);
    assert!((0..stored).all(|number| get(&store, &number.to_be_bytes(), now).is_some()));
    store.check(now).expect("sound");
}

#[test]
fn expired_items_are_found_within_a_second_of_steps() {
    let store = Store::open(&config(64)).expect("memory");
    for number in 0..50_000u32 {
        let exptime = if number % 2 == 0 { 1010 + number % 10 } else { 0 };
        set(&store, &number.to_be_bytes(), &[0; 50], exptime, Now::at(1000, 0)).expect("room");
    }
    for number in (0..50_000u32).step_by(4) {
        assert!(touch(&store, &number.to_be_bytes(), 5000, Now::at(1000, 0)));
    }
    for tick in 0..12 {
        store.maintain(Now::at(1021, tick));
    }
    store.check(Now::at(1021, 0)).expect("sound");
    let totals = store.totals();
    assert_eq!(totals.curr_items, 37_500, "a quarter expired and is gone");
    assert_eq!(totals.crawler_reclaimed, 12_500);
    assert_eq!(totals.evictions, 0);
}

#[test]
fn a_touch_in_the_last_second_is_not_undone_by_the_sweep() {
    let store = Store::open(&config(8)).expect("memory");
    let (toucher, sweeper) = (Now::at(1000, 0), Now::at(1001, 0));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.maintain(sweeper);
            }
        });
        let lost = (0..100_000).find(|_| {
            set(&store, b"session", b"1", 1001, toucher).expect("memory");
            touch(&store, b"session", 1100, toucher) && get(&store, b"session", toucher).is_none()
        });
        done.store(true, Ordering::Relaxed);
        assert_eq!(lost, None, "rounds until an item that was touched was gone");
    });
    store.check(sweeper).expect("sound");
}

#[test]
fn pinned_items_that_are_the_oldest_do_not_stop_others_from_being_evicted() {
    // Large items, and a class with few chunks: of neither are there more than one look takes in.
    for len in [1_000_000, 12_000] {
        let store = Store::open(&config(64)).expect("memory");
        let key = |number: u32| number.to_be_bytes();
        let store_at = |number, seconds| set(&store, &key(number), &vec![1; len], 0, Now::at(seconds, 0));
        let held = 12;
        for number in 0..held {
            store_at(number, 1000).expect("there is room");
        }
        let now = Now::at(2000, 0);
        let pins: Vec<_> = (0..held)
            .map(|number| {
                store.lookup(&key(number), store.hash(&key(number)), now, |lookup| match lookup {
                    Lookup::Found(entry) => match entry.value() {
                        Value::Pinned(pinned) => pinned,
                        Value::Inline(_) => panic!("small"),
                    },
                    Lookup::Absent(_) => panic!("gone"),
                })
            })
            .collect();
        for number in held..10_000_000 / u32::try_from(len).unwrap() * 10 {
            assert!(store_at(number, 3000).is_ok(), "number {number} of {len} bytes is refused");
        }
        assert_eq!(pins.iter().filter(|pinned| pinned.slice_at(0).first() == Some(&1)).count(), pins.len());
        drop(pins);
        store.check(now).expect("sound");
    }
}

#[test]
fn a_few_young_items_where_many_were_old_stay_while_older_ones_can_go() {
    let store = Store::open(&config(8)).expect("memory");
    let key = |number: u32| number.to_be_bytes();
    for number in 0..2_000 {
        set(&store, &key(number), &[7; 20], 0, Now::at(1000, 0)).expect("there is room");
    }
    for number in 0..100u32 {
        set(&store, &key(5_000 + number), &[7; 100_000], 0, Now::at(1000, 0)).expect("something can go");
    }
    // Now that memory is short the class learns how old they are; and then it has hardly any.
    (0..20).for_each(|second| store.maintain(Now::at(1100 + second, 0)));
    let gone = (4..2_000).filter(|&number| delete(&store, &key(number), Now::at(1120, 0))).count();
    assert!(gone > 0, "some of them had not been evicted");
    for number in 0..1_000u32 {
        let now = Now::at(1120, number / 40);
        for young in 0..4 {
            set(&store, &key(young), &[7; 20], 0, now).expect("something can go");
        }
        set(&store, &key(10_000 + number), &[7; 100_000], 0, now).expect("something can go");
        for young in 0..4 {
            assert!(get(&store, &key(young), now).is_some(), "{young} went for large item {number}");
        }
    }
    store.check(Now::at(1121, 0)).expect("sound");
}

#[test]
fn a_pinned_value_outlives_its_item() {
    let store = Store::open(&config(16)).expect("memory");
    let now = Now::at(1000, 0);
    for len in [PIN_BYTES, 20_000, 500_000] {
        let value: Vec<u8> = (0..len).map(|place| place as u8).collect();
        set(&store, b"a", &value, 0, now).expect("room");
        let pin = |lookup: Lookup<'_>| match lookup {
            Lookup::Found(entry) => match entry.value() {
                Value::Pinned(pinned) => pinned,
                Value::Inline(_) => panic!("large values are pinned"),
            },
            Lookup::Absent(_) => panic!("it was stored"),
        };
        let first = store.lookup(b"a", store.hash(b"a"), now, pin);
        let second = store.lookup(b"a", store.hash(b"a"), now, pin);
        drop(first);
        assert!(delete(&store, b"a", now));
        for number in 0..200u32 {
            set(&store, &number.to_be_bytes(), &vec![9; 100_000], 0, now).expect("room can be made");
        }
        let mut read = Vec::new();
        while read.len() < second.len() {
            read.extend_from_slice(second.slice_at(read.len()));
        }
        assert!(read == value, "the bytes are those that were stored");
        drop(second);
        store.check(now).expect("the memory came back");
    }
}

#[test]
fn a_dropped_draft_gives_its_memory_back() {
    let store = Store::open(&config(16)).expect("memory");
    let now = Now::at(1000, 0);
    for len in [0, 100, 10_000, 400_000] {
        let mut draft = store.reserve(b"k", store.hash(b"k"), &shape(len), now).expect("room");
        draft.write(&vec![1; len / 2], now).expect("room");
        drop(draft);
    }
    store.check(now).expect("sound");
    assert_eq!(store.totals().total_malloced, 0);
}

#[test]
fn a_flush_hits_what_was_stored_before_it_only() {
    let store = Store::open(&config(16)).expect("memory");
    let now = Now::at(1000, 0);
    set(&store, b"before", b"1", 0, now).expect("room");
    store.flush(now);
    set(&store, b"after", b"2", 0, now).expect("room");
    assert_eq!(get(&store, b"before", now), None);
    assert_eq!(get(&store, b"after", now).as_deref(), Some(&b"2"[..]));
    store.flush_at(1010);
    set(&store, b"between", b"3", 0, now).expect("room");
    assert!(get(&store, b"between", Now::at(1009, 31)).is_some());
    assert!(get(&store, b"between", Now::at(1010, 0)).is_none());
    set(&store, b"later", b"4", 0, Now::at(1010, 0)).expect("room");
    assert!(get(&store, b"later", Now::at(1011, 0)).is_some());
    store.check(now).expect("sound");
}

#[test]
fn a_flush_takes_the_place_of_a_delayed_one() {
    let store = Store::open(&config(8)).expect("memory");
    let now = Now::at(1000, 0);
    store.flush_at(1010);
    store.flush(now);
    set(&store, b"after", b"1", 0, now).expect("memory");
    assert_eq!(get(&store, b"after", Now::at(1010, 0)), Some(b"1".to_vec()), "nothing is pending any more");
}

#[test]
fn walking_meets_every_live_item_once() {
    let store = Store::open(&config(32)).expect("memory");
    let now = Now::at(1000, 0);
    for number in 0..5000u32 {
        let len = if number % 100 == 0 { 20_000 } else { number as usize % 300 };
        set(&store, &number.to_be_bytes(), &vec![0; len], if number % 7 == 0 { 900 } else { 0 }, now).expect("room");
    }
    let mut met = Vec::new();
    let mut cursor = Some(Cursor::default());
    while let Some(place) = cursor {
        cursor = store.walk(place, 0, 100, now, &mut |entry| met.push(entry.key().to_vec()));
    }
    met.sort();
    let expected: Vec<Vec<u8>> =
        (0..5000u32).filter(|number| number % 7 != 0).map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(met, expected);
}

#[test]
fn items_that_are_read_outlive_those_that_are_not() {
    let store = Store::open(&config(8)).expect("memory");
    let mut now = Now::at(1000, 0);
    let hot = 5_000u32;
    for number in 0..hot {
        set(&store, &number.to_be_bytes(), &[1; 200], 0, now).expect("room");
    }
    for round in 0..200u32 {
        now = Now::at(1000 + round, 0);
        for number in 0..hot {
            let _ = get(&store, &number.to_be_bytes(), now);
        }
        for number in 0..2000 {
            set(&store, &(1_000_000 + round * 2000 + number).to_be_bytes(), &[1; 200], 0, now).expect("room");
        }
        store.maintain(now);
    }
    let alive = (0..hot).filter(|number| get(&store, &number.to_be_bytes(), now).is_some()).count();
    assert!(alive >= hot as usize * 99 / 100, "{alive} of {hot} items in use are alive after a flood of 400,000");
    store.check(now).expect("sound");
}

#[test]
fn items_that_were_read_are_told_apart_from_those_that_were_not() {
    let store = Store::open(&config(16)).expect("memory");
    let now = Now::at(1000, 0);
    for len in [500, 200_000] {
        for n in 0..20 {
            set(&store, format!("{len}:{n}").as_bytes(), &vec![1; len], 0, now).expect("memory");
        }
    }
    for n in 0..10 {
        assert!(get(&store, format!("500:{n}").as_bytes(), now).is_some());
        assert!(get(&store, format!("200000:{n}").as_bytes(), now).is_some());
    }
    store.sample_shares();
    let [small, large] = store.classes()[..] else { panic!("two classes") };
    assert!((4..=16).contains(&small.number_warm), "about half, by a sample: {}", small.number_warm);
    assert_eq!(small.number_warm + small.number_cold, 20);
    assert_eq!((large.number_warm, large.number_cold), (10, 10));
}

/// Runs operations, loses every store to the arena after a random one, rebuilds from the pages and compares: all that was
/// acknowledged before the cut is there whole, the operation that was cut is there before or after, never in between.
#[test]
fn cut_at_any_store_every_acknowledged_item_is_found_again() {
    for seed in 0..400u64 {
        // Half of the runs have room for everything, so that nothing may be missing; the others evict all the time.
        let roomy = seed % 2 == 0;
        let config = config(if roomy { 64 } else { 4 });
        let mut random = Random(seed);
        let store = Store::open(&config).expect("memory");
        let (mut model, now) = (Model::new(), Now::at(1_000_000, 0));
        let keys = if roomy { 30 } else { 3000 };
        let warm = random.below(if roomy { 200 } else { 6000 });
        for _ in 0..warm {
            step(&store, &mut model, &mut random, now, keys);
        }
        cut::after(random.below(60));
        let before = model.clone();
        let mut acknowledged = before;
        let mut attempted = model.clone();
        for _ in 0..40 {
            // The zombie may stumble over its own lost stores: that is not what is being tested.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                step(&store, &mut model, &mut random, now, keys);
            }));
            attempted = model.clone();
            if cut::came() || outcome.is_err() {
                break;
            }
            acknowledged = model.clone();
        }
        cut::after(u64::MAX);
        let rebuilt = store.rebuilt(&config).expect("sole owner");
        rebuilt.check(now).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        let allowed = |key: &Vec<u8>| [acknowledged.get(key), attempted.get(key)];
        for key in acknowledged.keys().chain(attempted.keys()) {
            match get(&rebuilt, key, now) {
                Some(found) => {
                    let known = allowed(key).into_iter().flatten().any(|(value, _)| *value == found);
                    assert!(known, "seed {seed}: {} has a value nobody stored", String::from_utf8_lossy(key));
                }
                None => {
                    let over = |entry: Option<&(Vec<u8>, Exptime)>| {
                        entry.is_none_or(|(_, exptime)| *exptime != 0 && *exptime <= now.seconds)
                    };
                    let may = allowed(key).into_iter().any(over) || !roomy;
                    assert!(may, "seed {seed}: {} was acknowledged and is gone", String::from_utf8_lossy(key));
                }
            }
        }
    }
}

#[test]
fn what_changes_in_place_is_never_seen_half_changed() {
    let store = Store::open(&config(8)).expect("memory");
    let key = |number: u64| format!("0{:03}", number % 200).into_bytes();
    // Without flags such a value begins at a multiple of 8.
    let fresh = move |store: &Store, number, now| set(store, &key(number), b"00000000", 0, now).expect("room");
    for number in 0..200 {
        fresh(&store, number, Now::at(1000, 0));
    }
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let store = store.for_thread();
            std::thread::spawn(move || {
                let (mut random, mut changed) = (Random(thread), 0);
                for turn in 0..40_000u32 {
                    let (now, number) = (Now::at(1000 + turn / 1000, turn % 32), random.below(200));
                    match random.below(8) {
                        0..4 => {
                            let digit = b'0' + random.below(10) as u8;
                            changed += u32::from(overwrite(&store, &key(number), 0, &[digit; 8], now));
                        }
                        4..7 => {
                            if let Some(value) = get(&store, &key(number), now) {
                                assert!(value.iter().all(|&digit| digit == value[0]), "{value:?} is half changed");
                            }
                        }
                        // Others of the same size and of larger ones, for which items are evicted and pages emptied.
                        _ if turn % 8 == 0 => {
                            fresh(&store, number, now);
                        }
                        _ => {
                            let other = vec![b'x'; [8, 2000][turn as usize % 2]];
                            set(&store, &random.next().to_le_bytes(), &other, 0, now).expect("room");
                        }
                    }
                }
                changed
            })
        })
        .collect();
    for thread in threads {
        assert!(thread.join().expect("no thread panicked") > 1000, "many were changed in place");
    }
    store.check(Now::at(1040, 0)).expect("sound");
}

#[test]
fn only_small_values_without_a_chosen_cas_change_in_place() {
    let store = Store::open(&config(64)).expect("memory");
    let now = Now::at(1000, 0);
    for (len, at, bytes, expected) in [
        (100, 0, &b"x"[..], true),
        (100, 99, b"x", true),
        (100, 100, b"x", false),
        (100, 99, b"xy", false),
        (100, 0, b"", false),
        (100, 0, b"123456789", false),
        (PIN_BYTES, 0, b"x", false),
        (700_000, 0, b"x", false),
    ] {
        set(&store, b"key", &vec![b'.'; len], 0, now).expect("room");
        assert_eq!(overwrite(&store, b"key", at, bytes, now), expected, "{len} {at} {bytes:?}");
    }
    let chosen = Shape { chosen_cas: Some(7), flags: u32::from(b'k') % 3, ..shape(1) };
    let mut draft = store.reserve(b"key", store.hash(b"key"), &chosen, now).expect("room");
    draft.write(b".", now).expect("room");
    store.commit(draft, now, |_, _| Decision::<()>::Link(Marks::default())).expect("linked");
    assert!(
        !overwrite(&store, b"key", 0, b"x", now),
        "the CAS could not change at once with the mark that it was chosen"
    );
    assert_eq!(get(&store, b"key", now).as_deref(), Some(&b"."[..]));
}

#[test]
fn threads_may_do_anything_at_once() {
    let store = Store::open(&config(8)).expect("memory");
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let store = store.for_thread();
            std::thread::spawn(move || {
                let mut random = Random(thread);
                for turn in 0..30_000u32 {
                    let now = Now::at(1000 + turn / 1000, turn % 32);
                    let key = format!("key:{}", random.below(3000)).into_bytes();
                    match random.below(8) {
                        0..3 => {
                            let mut value = key.clone();
                            value.resize(key.len() + (random.below(12).pow(4)) as usize, key[key.len() - 1]);
                            let exptime = if random.below(2) == 0 { now.seconds + 3 } else { 0 };
                            set(&store, &key, &value, exptime, now).expect("room can be made");
                        }
                        3..6 => {
                            if let Some(value) = get(&store, &key, now) {
                                assert!(value.starts_with(&key), "a value is its own key's");
                                assert!(value[key.len()..].iter().all(|byte| *byte == key[key.len() - 1]), "and whole");
                            }
                        }
                        6 => {
                            delete(&store, &key, now);
                        }
                        _ => store.maintain(now),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panicked");
    }
    store.check(Now::at(1030, 0)).expect("sound");
}
