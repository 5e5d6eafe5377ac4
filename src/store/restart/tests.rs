//! Arenas that are closed, left, damaged and taken over again, by stores with the same and with other options.

use super::super::memory::cut;
use super::super::tests::{Model, Random, config, delete, get, set, step, touch};
use super::super::{SlabTable, Store};
use super::*;
use crate::sys::files;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

const BOOT: BootId = [9; 16];
const NOW: Now = Now::at(1_000_000, 0);

fn kept(file: &File) -> Kept {
    Kept {
        file: file.try_clone().expect("a descriptor"),
        boot_id: BOOT,
        second: NOW.seconds,
        threads: 2,
        summary: None,
    }
}

fn open(config: &Config, file: &File) -> (Store, Recovery) {
    Store::open_kept(config, kept(file)).expect("an arena")
}

fn new_file() -> File {
    files::nameless(c"arena").expect("memory")
}

/// Small and large values, some that expire.
fn fill(store: &Store, count: u32) {
    for number in 0..count {
        let exptime = if number % 5 == 0 { NOW.seconds + 100 } else { 0 };
        set(store, &number.to_be_bytes(), &value_of(number), exptime, NOW).expect("room");
    }
}

fn value_of(number: u32) -> Vec<u8> {
    let len = if number % 50 == 7 { 20_000 + number as usize % 70_000 } else { number as usize % 700 };
    (0..len).map(|place| (number as usize * 31 + place * 7) as u8).collect()
}

fn has_all(store: &Store, count: u32) {
    for number in 0..count {
        assert_eq!(get(store, &number.to_be_bytes(), NOW), Some(value_of(number)), "{number}");
    }
    store.check(NOW).expect("sound");
}

#[test]
fn what_was_there_is_there_after_closing_and_after_a_death() {
    let (file, config) = (new_file(), config(64));
    let (store, made) = open(&config, &file);
    assert!(made.made && made.items == 0);
    fill(&store, 4000);
    let cas = store.last_sequence();
    assert_eq!(store.close(), Ok(Some(4000)));
    let (store, after) = open(&config, &file);
    assert_eq!((after.made, after.closed, after.items, after.lost_items), (false, true, 4000, 0));
    assert_eq!(store.last_sequence(), cas);
    has_all(&store, 4000);
    assert!(delete(&store, &3u32.to_be_bytes(), NOW) && touch(&store, &5u32.to_be_bytes(), 5, NOW));
    let cas = set(&store, b"last", b"x", 0, NOW).expect("room");
    assert!(delete(&store, b"last", NOW));
    // Dropped without closing: as if it had been killed.
    drop(store);
    let (store, after) = open(&config, &file);
    assert_eq!((after.made, after.closed, after.items, after.birth), (false, false, 3999, NOW.seconds));
    assert_eq!(get(&store, &3u32.to_be_bytes(), NOW), None);
    assert_eq!(get(&store, &5u32.to_be_bytes(), NOW), None, "touched into the past");
    assert!(set(&store, b"last", b"x", 0, NOW).expect("room") > cas, "no CAS is given twice");
    store.check(NOW).expect("sound");
}

#[test]
fn a_store_that_others_use_is_not_closed() {
    let (store, _) = open(&config(8), &new_file());
    let other = store.for_thread();
    assert!(store.close().is_err());
    assert_eq!(other.close(), Ok(Some(0)));
    assert_eq!(Store::open(&config(8)).expect("memory").close(), Ok(None));
}

#[test]
fn flushes_outlive_the_process() {
    let (file, config) = (new_file(), config(8));
    let (store, _) = open(&config, &file);
    set(&store, b"before", b"1", 0, NOW).expect("room");
    store.flush(NOW);
    set(&store, b"after", b"2", 0, NOW).expect("room");
    store.flush_at(NOW.seconds + 10);
    drop(store);
    let (store, _) = open(&config, &file);
    assert_eq!(store.flushed_at(), NOW.seconds);
    assert_eq!(get(&store, b"before", NOW), None);
    assert_eq!(get(&store, b"after", NOW).as_deref(), Some(&b"2"[..]));
    let then = Now::at(NOW.seconds + 10, 0);
    assert_eq!(get(&store, b"after", then), None, "the flush to come came");
    set(&store, b"later", b"3", 0, then).expect("room");
    drop(store);
    let (store, _) = open(&config, &file);
    assert_eq!(get(&store, b"later", then).as_deref(), Some(&b"3"[..]), "and does not come twice");
    assert_eq!(get(&store, b"after", then), None);
    store.close().expect("closed");
    let (store, _) = open(&config, &file);
    assert_eq!(get(&store, b"later", then).as_deref(), Some(&b"3"[..]));
}

#[test]
fn a_random_life_with_many_ends_agrees_with_a_map() {
    for seed in 0..12 {
        let (file, config) = (new_file(), config(if seed % 2 == 0 { 64 } else { 6 }));
        let (mut model, mut random) = (Model::new(), Random(seed));
        let (mut evicted, mut known, mut summary) = (false, false, None);
        for _ in 0..9 {
            let (store, after) = Store::open_kept(&config, Kept { summary, ..kept(&file) }).expect("an arena");
            assert_eq!(after.believed, known, "seed {seed}");
            store.check(NOW).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            assert_eq!((after.lost_items, after.damaged_pages), (0, 0));
            for _ in 0..800 {
                if evicted {
                    // `step` wants to know of evictions of this store only.
                    model.retain(|key, _| get(&store, key, NOW).is_some());
                    evicted = false;
                }
                step(&store, &mut model, &mut random, NOW, 600);
            }
            evicted = store.totals().evictions > 0;
            (known, summary) = (false, None);
            match random.below(3) {
                0 => known = store.close().expect("alone").is_some(),
                1 => {
                    summary = store.summarise();
                    known = summary.is_some();
                    assert!(known, "alone");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn an_index_of_any_size_goes_on_in_the_next_process() {
    let (file, config) = (new_file(), config(64));
    let (mut store, _) = open(&config, &file);
    let key = |number: u32| format!("key {number}").into_bytes();
    let (mut count, mut closes) = (0, false);
    for more in [0, 1, 3_000, 25_000, 7_000, 9_000, 20_000, 30_000, 31_000, 33_000] {
        (count..count + more).for_each(|number| assert!(set(&store, &key(number), b"small", number % 3, NOW).is_ok()));
        count += more;
        let counts = |store: &Store| (store.totals().bytes, store.totals().hash_bytes, store.totals().total_malloced);
        let before = counts(&store);
        let (summary, after);
        (summary, closes) = (ended(store, closes), !closes);
        (store, after) = Store::open_kept(&config, Kept { summary, ..kept(&file) }).expect("an arena");
        assert_eq!((after.believed, after.items, counts(&store)), (true, u64::from(count), before));
        store.check(NOW).unwrap_or_else(|wrong| panic!("{count} items: {wrong}"));
    }
    // With more memory, and with less.
    for memory in [96, 8, 64] {
        assert_eq!(store.close(), Ok(Some(u64::from(count))));
        let (opened, after) = open(&super::super::tests::config(memory), &file);
        assert_eq!((after.believed, after.items), (false, u64::from(count)), "{memory} MB");
        opened.check(NOW).expect("sound");
        store = opened;
    }
}

/// An end in order: of the process, or only of this version. What it says of a summary.
fn ended(store: Store, closes: bool) -> Option<Summary> {
    if closes {
        assert!(store.close().is_ok_and(|items| items.is_some()));
        return None;
    }
    let summary = store.summarise();
    assert!(summary.is_some(), "alone");
    summary
}

#[test]
fn a_summary_that_is_damaged_cut_off_or_of_another_arena_is_not_believed() {
    let (file, config) = (new_file(), config(64));
    let (mut store, _) = open(&config, &file);
    fill(&store, 3000);
    assert!(store.for_thread().summarise().is_none(), "somebody else has it");
    // The same items, stored in another order.
    let (other, _) = open(&config, &new_file());
    for number in (0..3000u32).rev() {
        set(&other, &number.to_be_bytes(), &value_of(number), 0, NOW).expect("room");
    }
    let of_other = other.summarise().expect("alone");
    let len = |file: &File| file.metadata().expect("facts").len();
    let (others, begin) = (other.kept_file().expect("kept"), store.inner().arena.file_len());
    assert_eq!(len(others), begin + of_other.len);
    let mut random = Random(5);
    for round in 0..80 {
        let mut summary = ended(store, round % 2 == 1);
        let whole = len(&file) - begin;
        match round {
            0 => {
                let mut bytes = vec![0; usize::try_from(of_other.len).expect("small")];
                others.read_exact_at(&mut bytes, begin).expect("readable");
                file.set_len(begin).and_then(|()| file.write_all_at(&bytes, begin)).expect("room");
                summary = Some(of_other);
            }
            2 => summary = summary.map(|summary| Summary { checksum: summary.checksum ^ 1, ..summary }),
            4 => summary = summary.map(|summary| Summary { len: summary.len - 8, ..summary }),
            1..20 => file.set_len(begin + random.below(whole)).expect("shorter"),
            20..22 => file.set_len(begin + whole + 8).expect("longer"),
            _ => {
                let (at, mut byte) = (begin + random.below(whole), [0]);
                file.read_exact_at(&mut byte, at).expect("inside");
                byte[0] ^= 1 << random.below(8);
                file.write_all_at(&byte, at).expect("inside");
            }
        }
        let after;
        (store, after) = Store::open_kept(&config, Kept { summary, ..kept(&file) }).expect("an arena");
        assert_eq!((after.believed, after.items, after.lost_items), (false, 3000, 0), "round {round}");
        assert_eq!(len(&file), begin, "it is cut off");
        has_all(&store, 3000);
    }
}

#[test]
fn a_summary_is_used_once() {
    let (file, config) = (new_file(), config(8));
    let (store, _) = open(&config, &file);
    fill(&store, 300);
    let begin = store.inner().arena.file_len();
    store.close().expect("alone");
    let mut bytes = vec![0; usize::try_from(file.metadata().expect("facts").len() - begin).expect("small")];
    file.read_exact_at(&mut bytes, begin).expect("readable");
    let (store, after) = open(&config, &file);
    assert!(after.believed && after.closed);
    assert!(delete(&store, &3u32.to_be_bytes(), NOW));
    // It dies, and what it had cut off is there again.
    drop(store);
    file.write_all_at(&bytes, begin).expect("room");
    let (store, after) = open(&config, &file);
    assert_eq!((after.believed, after.closed, after.items), (false, false, 299));
    assert_eq!(file.metadata().expect("facts").len(), begin);
    store.check(NOW).expect("sound");
    // An upgrade that came to nothing: this version goes on.
    assert!(store.summarise().is_some());
    store.drop_summary();
    assert_eq!(file.metadata().expect("facts").len(), begin);
    assert!(delete(&store, &4u32.to_be_bytes(), NOW));
    drop(store);
    let (store, after) = open(&config, &file);
    assert_eq!((after.believed, after.items), (false, 298));
    store.check(NOW).expect("sound");
}

/// The process dies at a random store while it takes an arena over, and the next one at another, before one gets through.
#[test]
fn a_death_while_taking_over_loses_nothing() {
    for seed in 0..60 {
        let (file, config) = (new_file(), config(64));
        let (store, _) = open(&config, &file);
        fill(&store, 600);
        if seed % 2 == 0 {
            store.close().expect("alone");
        } else {
            drop(store);
        }
        let mut random = Random(seed);
        for _ in 0..3 {
            cut::after(random.below(400));
            let outcome = std::panic::catch_unwind(|| Store::open_kept(&config, Kept { threads: 1, ..kept(&file) }));
            drop(outcome);
            cut::after(u64::MAX);
        }
        let (store, _) = open(&config, &file);
        has_all(&store, 600);
    }
}

#[test]
fn more_and_less_memory_keep_what_fits() {
    let (file, mut config) = (new_file(), config(16));
    let (store, _) = open(&config, &file);
    fill(&store, 3000);
    let count = store.totals().curr_items;
    assert_eq!(store.totals().evictions, 0);
    store.close().expect("alone");
    config.memory_bytes = 48 << 20;
    let (store, after) = open(&config, &file);
    assert_eq!(after.items, count);
    has_all(&store, 3000);
    for number in 10_000..13_000u32 {
        set(&store, &number.to_be_bytes(), &value_of(number), 0, NOW).expect("room");
    }
    assert_eq!(store.totals().evictions, 0, "the new memory is used");
    drop(store);
    config.memory_bytes = 4 << 20;
    let (store, after) = open(&config, &file);
    assert_eq!(after.items, count + 3000, "nothing goes at once");
    for tick in 0..200 {
        store.maintain(Now::at(NOW.seconds + 1, tick % 32));
    }
    let totals = store.totals();
    assert!(totals.total_malloced <= 4 << 20, "{} bytes are in use", totals.total_malloced);
    assert!(totals.curr_items > 500 && totals.evictions > 0);
    for number in 0..500u32 {
        set(&store, &number.to_be_bytes(), &value_of(number), 0, NOW).expect("room can be made");
    }
    store.check(NOW).expect("sound");
    store.close().expect("alone");
    let (store, _) = open(&config, &file);
    store.check(NOW).expect("sound");
    assert!(!store.set_memory_limit(64 << 20), "the file has no more");
}

/// Checksums of pages that a smaller file has not are left in the table.
#[test]
fn a_file_that_grows_again_has_no_damaged_pages() {
    let (file, mut config) = (new_file(), config(16));
    for (megabytes, closes) in [(16, true), (3, false), (3, true), (16, true), (3, true), (16, false)] {
        config.memory_bytes = megabytes << 20;
        let (store, after) = open(&config, &file);
        assert_eq!((after.damaged_pages, after.lost_items), (0, 0), "with {megabytes} megabytes");
        fill(&store, 3000);
        for tick in 0..200 {
            store.maintain(Now::at(NOW.seconds + 1, tick % 32));
        }
        store.check(NOW).expect("sound");
        if closes {
            store.close().expect("alone");
        }
    }
}

#[test]
fn another_slab_table_moves_the_items_into_a_new_file() {
    for closed in [true, false] {
        let (file, mut config) = (new_file(), config(64));
        let (store, _) = open(&config, &file);
        fill(&store, 3000);
        set(&store, b"dead", b"x", NOW.seconds - 1, NOW).expect("room");
        set(&store, b"flushed", b"x", 0, NOW).expect("room");
        let cas = store.last_sequence();
        if closed {
            store.close().expect("alone");
        }
        config.slabs = SlabTable::Factor { min: 48, factor: 1.25 };
        assert!(matches!(Store::open_kept(&config, kept(&file)), Err(Trouble::Differs(_))));
        let target = new_file();
        let (store, after) = Store::open_moved(&config, kept(&file), kept(&target), NOW).expect("moved");
        assert_eq!((after.items, after.lost_items, after.closed), (3001, 0, closed), "one was dead");
        assert_eq!(store.last_sequence(), cas);
        has_all(&store, 3000);
        drop(store);
        let (store, _) = open(&config, &target);
        has_all(&store, 3000);
        // And back, into less memory than the items take.
        drop(store);
        config.slabs = SlabTable::Fine;
        config.memory_bytes = 2 << 20;
        let small = new_file();
        let (store, after) = Store::open_moved(&config, kept(&target), kept(&small), NOW).expect("moved");
        assert!(after.items > 500 && after.items + after.lost_items == 3001, "{after:?}");
        store.check(NOW).expect("sound");
    }
}

#[test]
fn a_file_that_nothing_can_be_made_of_is_refused() {
    let (file, config) = (new_file(), config(8));
    let (store, _) = open(&config, &file);
    store.close().expect("alone");
    let elsewhere = Kept { boot_id: [1; 16], ..kept(&file) };
    assert!(matches!(Store::open_kept(&config, elsewhere), Err(Trouble::Unfit(_))));
    let garbage = new_file();
    garbage.write_all_at(&[0; 100_000], 0).expect("room");
    assert!(matches!(Store::open_kept(&config, kept(&garbage)), Err(Trouble::Unfit(_))));
}

/// Flips one bit of a closed arena at a time. Whatever the store makes of it, no value is another one.
#[test]
fn no_flipped_bit_of_a_closed_arena_changes_a_value() {
    let (file, config) = (new_file(), config(2));
    let (store, _) = open(&config, &file);
    let count = 1500;
    fill(&store, count);
    let present: Vec<bool> = (0..count).map(|number| get(&store, &number.to_be_bytes(), NOW).is_some()).collect();
    let first_page = store.inner().arena.page_offset(0);
    store.close().expect("alone");
    // The summary behind the pages included.
    let len = usize::try_from(file.metadata().expect("facts").len()).expect("small");
    let flips = std::env::var("MEMHOLD_FLIPS").ok().and_then(|flips| flips.parse().ok()).unwrap_or(150);
    let mut random = Random(2026);
    let (mut refused, mut damaged, mut harmless, mut believed) = (0, 0, 0, 0);
    let mut image = vec![0; len];
    file.read_exact_at(&mut image, 0).expect("readable");
    for flip in 0..flips {
        // A third of them in superblock and table, which are small.
        let byte = match flip % 6 {
            0 => random.below(4096) as usize,
            1 => 4096 + random.below(32 * 24) as usize,
            _ => first_page + random.below((len - first_page) as u64) as usize,
        };
        let copy = new_file();
        // Only what is not zero, since the table is long and mostly empty.
        copy.write_all_at(&image[..4096 + 64 * 24], 0).expect("room");
        copy.write_all_at(&image[first_page..], first_page as u64).expect("room");
        copy.write_all_at(&[image[byte] ^ 1 << random.below(8)], byte as u64).expect("room");
        match Store::open_kept(&config, kept(&copy)) {
            Ok((store, after)) => {
                store.check(NOW).unwrap_or_else(|wrong| panic!("byte {byte}: {wrong}"));
                let mut missing = 0;
                for number in 0..count {
                    match get(&store, &number.to_be_bytes(), NOW) {
                        Some(value) => {
                            assert!(value == value_of(number), "byte {byte}: {number} has a value nobody stored")
                        }
                        None => missing += u64::from(present[number as usize]),
                    }
                }
                assert_eq!(missing, after.lost_items, "byte {byte}: what is missing is told");
                assert!(missing == 0 || after.damaged_pages > 0);
                believed += u64::from(after.believed);
                if after.damaged_pages > 0 { damaged += 1 } else { harmless += 1 }
            }
            Err(Trouble::Unfit(_) | Trouble::Differs(_)) => refused += 1,
            Err(other) => panic!("byte {byte}: {other:?}"),
        }
    }
    println!("{flips} flips: {refused} refused, {damaged} with a damaged page left out, {harmless} outside of items,");
    println!("{believed} of these without a look at every item");
    assert!(refused > 0 && damaged > 0 && believed < harmless && believed > 0);
}

#[test]
fn no_truncated_arena_is_read() {
    let (file, config) = (new_file(), config(2));
    let (store, _) = open(&config, &file);
    fill(&store, 500);
    let (items, end) = (store.totals().curr_items, store.inner().arena.file_len());
    store.close().expect("alone");
    let len = file.metadata().expect("facts").len();
    let mut random = Random(7);
    let mut image = vec![0; usize::try_from(len).expect("small")];
    file.read_exact_at(&mut image, 0).expect("readable");
    let cuts = std::env::var("MEMHOLD_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(60);
    for turn in 0..cuts {
        let at = if turn % 3 == 0 { 1 + random.below(8192) } else { 1 + random.below(len - 1) };
        let copy = new_file();
        copy.write_all_at(&image[..usize::try_from(at).expect("small")], 0).expect("room");
        let outcome = Store::open_kept(&config, kept(&copy));
        if at >= end {
            // Nothing but the summary is cut.
            let after = outcome.expect("an arena").1;
            assert_eq!((after.believed, after.items, after.damaged_pages), (false, items, 0), "cut at {at}");
            continue;
        }
        assert!(matches!(outcome, Err(Trouble::Unfit(_))), "cut at {at} of {len}: {outcome:?}");
    }
}

/// Whoever writes a file can also sum it up.
#[test]
fn a_page_that_cannot_be_is_left_out_though_its_checksum_is_right() {
    let (file, mut config) = (new_file(), config(2));
    let (store, _) = open(&config, &file);
    fill(&store, 1000);
    let arena = &store.inner().arena;
    let (page, geometry) = (0..arena.pages_present())
        .map(|page| (page, arena.geometry(page)))
        .find(|(_, geometry)| geometry.carved > 0)
        .expect("a page in use");
    arena.set_geometry(page, Geometry { carved: u32::MAX, ..geometry });
    store.close().expect("alone");
    let copy = new_file();
    std::io::copy(&mut File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("open"), &mut &copy)
        .expect("room");
    let (store, after) = open(&config, &file);
    assert_eq!((after.closed, after.damaged_pages), (true, 1));
    store.check(NOW).expect("sound");
    config.slabs = SlabTable::Factor { min: 48, factor: 1.25 };
    let moved = Store::open_moved(&config, kept(&copy), kept(&new_file()), NOW).expect("moved");
    assert_eq!(moved.1.damaged_pages, 1);
    moved.0.check(NOW).expect("sound");
}

/// An arena that was left open has no checksums. Damage may go unseen there, but must not break anything.
#[test]
fn damage_to_an_arena_that_was_left_open_breaks_nothing() {
    let (file, config) = (new_file(), config(2));
    let (store, _) = open(&config, &file);
    fill(&store, 1500);
    drop(store);
    let len = usize::try_from(file.metadata().expect("facts").len()).expect("small");
    let first_page = len - (2 << 20);
    let mut image = vec![0; len];
    file.read_exact_at(&mut image, 0).expect("readable");
    let mut random = Random(99);
    let turns = std::env::var("MEMHOLD_FLIPS").ok().and_then(|flips| flips.parse().ok()).unwrap_or(150);
    for turn in 0..turns {
        let copy = new_file();
        copy.write_all_at(&image[..4096 + 64 * 24], 0).expect("room");
        copy.write_all_at(&image[first_page..], first_page as u64).expect("room");
        for _ in 0..1 + random.below(30) {
            // Superblock words that change, the page table, headers and whatever else is in the pages.
            let byte = match random.below(8) {
                0 => 1024 + random.below(96) as usize,
                1..4 => 4096 + random.below(32 * 24) as usize,
                _ => first_page + random.below((len - first_page) as u64) as usize,
            };
            let garbage = random.next().to_le_bytes();
            let some = 1 + random.below(8) as usize;
            copy.write_all_at(&garbage[..some.min(len - byte)], byte as u64).expect("room");
        }
        match Store::open_kept(&config, kept(&copy)) {
            Ok((store, _)) => {
                store.check(NOW).unwrap_or_else(|wrong| panic!("turn {turn}: {wrong}"));
                for number in 0..1500u32 {
                    let _ = get_any(&store, &number.to_be_bytes());
                }
                store.flush(NOW);
                for _ in 0..300 {
                    let number = random.below(1 << 40).to_string();
                    // Refused where damage has made items that are never evicted.
                    let _ = set(&store, number.as_bytes(), &value_of(random.next() as u32), 0, NOW);
                }
                store.maintain(NOW);
                store.check(NOW).unwrap_or_else(|wrong| panic!("turn {turn}, later: {wrong}"));
            }
            Err(Trouble::Differs(_)) => {
                let moved = Store::open_moved(&config, kept(&copy), kept(&new_file()), NOW);
                moved.expect("moved").0.check(NOW).unwrap_or_else(|wrong| panic!("turn {turn}, moved: {wrong}"));
            }
            Err(other) => panic!("turn {turn}: {other:?}"),
        }
    }
}

/// Whether there is a value, whatever it is.
fn get_any(store: &Store, key: &[u8]) -> bool {
    store.lookup(key, store.hash(key), NOW, |lookup| match lookup {
        super::super::Lookup::Found(entry) => {
            let mut value = Vec::new();
            entry.copy_value(&mut value);
            value.len() == entry.value_len()
        }
        super::super::Lookup::Absent(_) => false,
    })
}
