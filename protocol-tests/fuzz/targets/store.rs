//! Operations read from the bytes, four for each, on the store and on a plain map. An item may be missing only when the
//! store says that it evicted, and every invariant is checked at the end.

use memhold::clock::Now;
use memhold::store::{Config, Decision, Lookup, Marks, Refused, Shape, SlabTable, Store};
use std::collections::HashMap;

/// What the map holds for a key: value and expiry.
type Model = HashMap<[u8; 2], (Vec<u8>, u32)>;

/// The first byte chooses memory and classes; then each four bytes are operation, key and size.
pub fn run(bytes: &[u8]) {
    let Some((&choice, operations)) = bytes.split_first() else { return };
    let store = Store::open(&config(choice)).expect("address space for a small store");
    let mut model = Model::new();
    let mut now = Now::at(1_000_000, 0);
    for operation in operations.chunks_exact(4) {
        let &[what, key, low, high] = operation else { continue };
        let number = u32::from(low) | u32::from(high) << 8;
        apply(&store, &mut model, &mut now, what, [b'k', key], number);
    }
    store.maintain(now);
    store.check(now).expect("every invariant holds");
}

fn apply(store: &Store, model: &mut Model, now: &mut Now, what: u8, key: [u8; 2], number: u32) {
    let live = model.get(&key).filter(|(_, exptime)| *exptime == 0 || *exptime > now.seconds).cloned();
    match what % 8 {
        0..=2 => {
            // Mostly small; some above the largest chunk, some above the limit.
            let len = if what & 0x80 == 0 { number as usize % 2000 } else { number as usize * 20 };
            let exptime = if what & 0x40 == 0 { 0 } else { now.seconds + 1 + number % 50 };
            let value: Vec<u8> = (0..len).map(|at| (at as u8).wrapping_mul(31) ^ key[1]).collect();
            match set(store, &key, &value, exptime, *now) {
                Ok(()) => {
                    model.insert(key, (value, exptime));
                }
                Err(Refused::TooLarge) => assert!(len > 900_000),
                Err(_) => {}
            }
        }
        3 | 4 => {
            let found = get(store, &key, *now);
            check_found(store, model, key, found, live);
        }
        5 => {
            let gone = lookup(store, &key, *now, |found| match found {
                Lookup::Found(entry) => {
                    entry.remove();
                    true
                }
                Lookup::Absent(_) => false,
            });
            assert!(!gone || live.is_some(), "only what is there can be deleted");
            model.remove(&key);
        }
        6 => {
            let exptime = now.seconds + number % 100;
            let touched = lookup(store, &key, *now, |found| match found {
                Lookup::Found(mut entry) => {
                    entry.touch(exptime);
                    true
                }
                Lookup::Absent(_) => false,
            });
            match (touched, live) {
                (true, Some((value, _))) => {
                    model.insert(key, (value, exptime));
                }
                (true, None) => panic!("only what is there can be touched"),
                (false, _) => {
                    model.remove(&key);
                }
            }
        }
        _ if number == 0 => {
            store.flush(*now);
            model.clear();
        }
        _ => {
            *now = Now::at(now.seconds + number % 10, 0);
            store.maintain(*now);
        }
    }
}

fn check_found(store: &Store, model: &mut Model, key: [u8; 2], found: Option<Vec<u8>>, live: Option<(Vec<u8>, u32)>) {
    match (found, live) {
        (Some(found), Some((value, _))) => assert!(found == value, "{key:?} has another value"),
        (Some(_), None) => panic!("{key:?} should not be there"),
        (None, Some(_)) => {
            assert!(store.totals().evictions > 0, "{key:?} is missing, and nothing was evicted");
            model.remove(&key);
        }
        (None, None) => {}
    }
}

fn lookup<R>(store: &Store, key: &[u8], now: Now, visit: impl FnOnce(Lookup<'_>) -> R) -> R {
    store.lookup(key, store.hash(key), now, visit)
}

fn get(store: &Store, key: &[u8], now: Now) -> Option<Vec<u8>> {
    lookup(store, key, now, |found| match found {
        Lookup::Found(mut entry) => {
            entry.bump(now);
            let mut value = Vec::new();
            entry.copy_value(&mut value);
            Some(value)
        }
        Lookup::Absent(_) => None,
    })
}

fn set(store: &Store, key: &[u8], value: &[u8], exptime: u32, now: Now) -> Result<(), Refused> {
    let shape = Shape { flags: 0, exptime, value_len: value.len(), base64_key: false, chosen_cas: None, renews: false };
    let mut draft = store.reserve(key, store.hash(key), &shape, now)?;
    draft.write(value, now)?;
    let linked = store.commit(draft, now, |_, _| Decision::<()>::Link(Marks::default()));
    assert!(linked.is_ok(), "nobody refused");
    Ok(())
}

fn config(choice: u8) -> Config {
    let exact = SlabTable::Factor { min: 48, factor: 1.25 };
    Config {
        slabs: if choice & 2 == 0 { SlabTable::Fine } else { exact },
        evict: choice & 4 == 0,
        cas: choice & 8 == 0,
        page_moves: choice & 16 == 0,
        ..Config::with_memory(if choice & 1 == 0 { 4 << 20 } else { 64 << 20 }, 7)
    }
}
