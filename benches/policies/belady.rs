//! Belady's rule: who is asked for last, or never again, leaves first. With items of different sizes it is not quite the best that
//! could be done, but nothing that does not know the future comes near.

use std::collections::BTreeSet;

use memhold::tools::trace::Trace;

use super::Policy;

pub struct Belady {
    /// For each request of the trace when its key is asked for next.
    next_use: Vec<u32>,
    /// Keys in the cache by their next use, and that of each key.
    waiting: BTreeSet<(u32, u32)>,
    due: Vec<u32>,
}

const NEVER: u32 = u32::MAX;

impl Belady {
    pub fn new(trace: &Trace) -> Belady {
        let mut due = vec![NEVER; trace.keys()];
        let mut next_use = vec![NEVER; trace.requests.len()];
        for (at, request) in trace.requests.iter().enumerate().rev() {
            let at_next = at as u32;
            // What is stored anew is not asked for.
            next_use[at] =
                std::mem::replace(&mut due[request.key as usize], if request.op.reads() { at_next } else { NEVER });
        }
        due.fill(NEVER);
        Belady { next_use, waiting: BTreeSet::new(), due }
    }
}

impl Policy for Belady {
    fn hit(&mut self, key: u32, at: usize) {
        self.remove(key);
        self.insert(key, at);
    }
    fn insert(&mut self, key: u32, at: usize) {
        self.due[key as usize] = self.next_use[at];
        self.waiting.insert((self.next_use[at], key));
    }
    fn evict(&mut self) -> u32 {
        self.waiting.pop_last().expect("somebody is there").1
    }
    fn remove(&mut self, key: u32) {
        self.waiting.remove(&(self.due[key as usize], key));
    }
}
