//! memhold's own store, without a server: real chunks and pages, and time as the trace has it.

use memhold::clock::Now;
use memhold::store::{Config, Decision, Lookup, Marks, Shape, Store};
use memhold::tools::trace::{Found, Op, Request, Trace};

/// Milliseconds between two steps of background work, as in the server.
const STEP_MILLIS: u32 = 100;
const START_SECONDS: u32 = 1_000_000;

/// What is found of each group of the trace with `-m` of so many bytes.
///
/// # Panics
///
/// When there is no memory.
pub fn run(trace: &Trace, memory_bytes: u64) -> Vec<Found> {
    let store = Store::open(&Config::with_memory(memory_bytes, 1)).expect("memory");
    let mut found = vec![Found::default(); trace.groups.len()];
    let mut maintained = 0;
    for request in &trace.requests {
        let now = at(request.millis);
        while maintained + STEP_MILLIS <= request.millis {
            maintained += STEP_MILLIS;
            store.maintain(at(maintained));
        }
        let hit = play(&store, trace, request, now);
        if request.op.reads() {
            found[usize::from(request.group)].count(hit);
        }
    }
    found
}

fn at(millis: u32) -> Now {
    Now::at(START_SECONDS + millis / 1000, millis % 1000 * 32 / 1000)
}

fn play(store: &Store, trace: &Trace, request: &Request, now: Now) -> bool {
    let mut key = Vec::new();
    trace.push_key(request.key, &mut key);
    let hash = store.hash(&key);
    let expires = if request.ttl == 0 { 0 } else { now.seconds + request.ttl };
    let hit = request.op != Op::Set
        && store.lookup(&key, hash, now, |found| {
            let Lookup::Found(mut entry) = found else { return false };
            match request.op {
                Op::Delete => entry.remove(),
                Op::GetAndTouch => {
                    entry.touch(expires);
                    entry.bump(now);
                }
                _ => entry.bump(now),
            }
            true
        });
    if hit || request.op == Op::Delete {
        return hit;
    }
    let value_len = request.size as usize;
    let shape = Shape { flags: 0, exptime: expires, value_len, base64_key: false, chosen_cas: None, renews: false };
    if let Ok(mut draft) = store.reserve(&key, hash, &shape, now)
        && draft.write(&vec![0; value_len], now).is_ok()
    {
        let _: Result<u64, ()> = store.commit(draft, now, |_, _| Decision::Link(Marks::default()));
    }
    false
}
