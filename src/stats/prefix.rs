//! `stats detail`: reads and writes for each key prefix (section 11.7 of the reference).
//!
//! A key's prefix is what stands before the first delimiter; keys without a delimiter are not counted, an empty prefix is.
//! At most [`PREFIXES_MAX`] are kept, so that keys chosen by a client cannot fill memory. Off by default, and then one load
//! a command; on, every command takes one lock, which is what memcached does too.

use std::collections::HashMap;

use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// How many prefixes are kept; later ones are not counted.
pub const PREFIXES_MAX: usize = 65536;

/// What is counted for a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A read, and whether it hit.
    Get {
        /// Whether the item was there.
        hit: bool,
    },
    /// A storage command.
    Set,
    /// A delete, whether or not the item was there.
    Delete,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    gets: u64,
    hits: u64,
    sets: u64,
    deletes: u64,
}

/// The prefixes seen so far.
#[derive(Debug)]
pub struct Prefixes {
    delimiter: u8,
    on: AtomicBool,
    counts: Mutex<HashMap<Box<[u8]>, Counts>>,
}

impl Prefixes {
    /// `delimiter` is `-D`, normally a colon; `on` whether counting starts at once.
    #[must_use]
    pub fn new(delimiter: u8, on: bool) -> Prefixes {
        Prefixes { delimiter, on: AtomicBool::new(on), counts: Mutex::new(HashMap::new()) }
    }

    /// Whether events are counted now.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// `stats detail on|off`; what was counted stays.
    pub fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// Counts one event, if counting is on and the key has a prefix.
    #[inline]
    pub fn count(&self, key: &[u8], event: Event) {
        if self.is_on() {
            self.count_now(key, event);
        }
    }

    #[cold]
    fn count_now(&self, key: &[u8], event: Event) {
        let Some(end) = memchr::memchr(self.delimiter, key) else { return };
        let prefix = &key[..end];
        let mut all = lock(&self.counts);
        if !all.contains_key(prefix) {
            if all.len() >= PREFIXES_MAX {
                return;
            }
            all.insert(prefix.into(), Counts::default());
        }
        let Some(counts) = all.get_mut(prefix) else { return };
        match event {
            Event::Get { hit } => {
                counts.gets += 1;
                counts.hits += u64::from(hit);
            }
            Event::Set => counts.sets += 1,
            Event::Delete => counts.deletes += 1,
        }
    }

    /// `stats detail dump`: the lines, without `END`, sorted by prefix.
    pub fn dump(&self, out: &mut Vec<u8>) {
        let all = lock(&self.counts);
        let mut rows: Vec<_> = all.iter().collect();
        rows.sort_unstable_by_key(|(prefix, _)| *prefix);
        for (prefix, Counts { gets, hits, sets, deletes }) in rows {
            out.extend_from_slice(b"PREFIX ");
            out.extend_from_slice(prefix);
            out.extend_from_slice(format!(" get {gets} hit {hits} set {sets} del {deletes}\r\n").as_bytes());
        }
    }

    /// `stats reset`: forgets everything counted.
    pub fn clear(&self) {
        lock(&self.counts).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumped(prefixes: &Prefixes) -> String {
        let mut out = Vec::new();
        prefixes.dump(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn only_keys_with_a_delimiter_are_counted() {
        let prefixes = Prefixes::new(b':', true);
        prefixes.count(b"foo:1", Event::Set);
        prefixes.count(b"foo:1:2", Event::Get { hit: true });
        prefixes.count(b"foo:3", Event::Get { hit: false });
        prefixes.count(b"foo", Event::Get { hit: true });
        prefixes.count(b":x", Event::Delete);
        assert_eq!(dumped(&prefixes), "PREFIX  get 0 hit 0 set 0 del 1\r\nPREFIX foo get 2 hit 1 set 1 del 0\r\n");
        prefixes.clear();
        assert_eq!(dumped(&prefixes), "");
    }

    #[test]
    fn what_was_counted_stays_when_switched_off() {
        let prefixes = Prefixes::new(b':', false);
        prefixes.count(b"a:1", Event::Set);
        prefixes.switch(true);
        prefixes.count(b"a:1", Event::Set);
        prefixes.switch(false);
        prefixes.count(b"a:1", Event::Set);
        assert_eq!(dumped(&prefixes), "PREFIX a get 0 hit 0 set 1 del 0\r\n");
    }

    #[test]
    fn the_number_of_prefixes_is_bounded() {
        let prefixes = Prefixes::new(b':', true);
        for n in 0..=PREFIXES_MAX {
            prefixes.count(format!("{n}:").as_bytes(), Event::Set);
        }
        assert_eq!(lock(&prefixes.counts).len(), PREFIXES_MAX);
    }
}
