//! Every interleaving of small stories about stripes and growth, for the model checker.

use super::*;
use crate::sync::Arc;
use loom::thread;

/// A hash in group `group` with tag `tag`; the segment bits are `low`.
fn hash(low: u64, group: u64, tag: u64) -> KeyHash {
    KeyHash(low | group << 40 | tag << 49)
}

/// The item of these stories.
struct OneItem;

impl Items for OneItem {
    fn hash_of(&self, _name: Ref, _stable: Stable<'_>) -> KeyHash {
        hash(1, 3, 9)
    }

    fn prefetch(&self, _name: Ref) {}
}

#[test]
fn loom_a_stripe_is_held_by_one_thread() {
    loom::model(|| {
        let index = Arc::new(Index::new(1).expect("memory"));
        let other = Arc::clone(&index);
        let thread = thread::spawn(move || {
            let locked = other.lock(hash(0, 1, 7));
            if locked.find(|_, _| true).is_none() {
                locked.insert(Ref(1));
            }
        });
        let locked = index.lock(hash(0, 1, 7));
        if locked.find(|_, _| true).is_none() {
            locked.insert(Ref(2));
        }
        drop(locked);
        thread.join().expect("no panic");
        assert_eq!(index.entry_count(), 1, "only one of them found the key missing");
    });
}

#[test]
fn loom_growth_never_hides_an_entry() {
    loom::model(|| {
        let index = Arc::new(Index::new(1).expect("memory"));
        index.lock(hash(1, 3, 9)).insert(Ref(5));
        let other = Arc::clone(&index);
        let thread = thread::spawn(move || {
            // One more plane, then the split.
            other.grow(&OneItem);
            other.grow(&OneItem);
        });
        let found = index.lock(hash(1, 3, 9)).find(|name, _| name == Ref(5)).is_some();
        assert!(found, "an entry is found before, during and after a step");
        thread.join().expect("no panic");
        assert!(index.lock(hash(1, 3, 9)).find(|name, _| name == Ref(5)).is_some());
    });
}

#[test]
fn loom_an_insert_meets_growth() {
    loom::model(|| {
        let index = Arc::new(Index::new(1).expect("memory"));
        let other = Arc::clone(&index);
        let thread = thread::spawn(move || other.grow(&OneItem));
        index.lock(hash(1, 3, 9)).insert(Ref(5));
        thread.join().expect("no panic");
        assert!(index.lock(hash(1, 3, 9)).find(|name, _| name == Ref(5)).is_some(), "wherever it was put");
        assert_eq!(index.entry_count(), 1);
    });
}
