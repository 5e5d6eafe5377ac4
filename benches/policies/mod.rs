//! What a cache of so many bytes would find of a trace under a policy, without a server: byte by byte, with a fixed overhead for
//! each item, no rounding, and expired items gone at once.
//!
//! - here: the cache; what a policy is.
//! - `lists`: queues of keys, of which the policies are made; `recency`: LRU and memcached's segmented LRU; `fifo`: SIEVE and
//!   S3-FIFO; `tinylfu`: W-TinyLFU; `belady`: what only who knows the future can do; `store`: our own, by
//!   itself.

mod belady;
mod fifo;
mod lists;
mod recency;
pub mod store;
mod tinylfu;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use memhold::tools::trace::{Found, Op, Request, Trace};

/// Decides who leaves. Keys are small numbers without gaps; `at` is the place of the request in the trace.
pub trait Policy {
    /// A key that is in the cache was asked for, or stored again.
    fn hit(&mut self, key: u32, at: usize);
    /// A key comes in.
    fn insert(&mut self, key: u32, at: usize);
    /// Takes out who is to leave. There is one at least.
    fn evict(&mut self) -> u32;
    /// A key has left.
    fn remove(&mut self, key: u32);
}

/// A policy by its name, for a trace of which it may look at the future.
pub type Row = (&'static str, fn(&Trace) -> Box<dyn Policy>);

pub const POLICIES: [Row; 6] = [
    ("LRU", |trace| Box::new(recency::Lru::new(trace.keys()))),
    ("memcached's LRU", |trace| Box::new(recency::Segmented::new(trace.keys()))),
    ("SIEVE", |trace| Box::new(fifo::Sieve::new(trace.keys()))),
    ("S3-FIFO", |trace| Box::new(fifo::S3Fifo::new(trace.keys()))),
    ("W-TinyLFU", |trace| Box::new(tinylfu::TinyLfu::new(trace.keys()))),
    ("Belady", |trace| Box::new(belady::Belady::new(trace))),
];

/// What is found of each group of the trace in a cache of `capacity` bytes.
pub fn simulate(trace: &Trace, capacity: u64, policy: Box<dyn Policy>) -> Vec<Found> {
    let mut cache = Cache {
        trace,
        policy,
        capacity,
        used: 0,
        items: vec![Item::default(); trace.keys()],
        expiring: BinaryHeap::new(),
    };
    let mut found = vec![Found::default(); trace.groups.len()];
    for (at, request) in trace.requests.iter().enumerate() {
        cache.expire(request.millis);
        let hit = cache.play(request, at);
        if request.op.reads() {
            found[usize::from(request.group)].count(hit);
        }
    }
    found
}

/// Bytes that an item takes beyond its key and value.
pub const OVERHEAD: u64 = 24;

struct Cache<'a> {
    trace: &'a Trace,
    policy: Box<dyn Policy>,
    capacity: u64,
    used: u64,
    items: Vec<Item>,
    /// When a key may expire; entries of keys that were touched meanwhile are out of date.
    expiring: BinaryHeap<Reverse<(u64, u32)>>,
}

/// Of a key: bytes taken, 0 while it is not there; when it expires, 0 for never.
#[derive(Clone, Copy, Default)]
struct Item {
    bytes: u64,
    expires: u64,
}

impl Cache<'_> {
    fn play(&mut self, request: &Request, at: usize) -> bool {
        let there = self.items[request.key as usize].bytes > 0;
        match request.op {
            Op::Get if there => self.policy.hit(request.key, at),
            Op::GetAndTouch if there => {
                self.policy.hit(request.key, at);
                self.set_expiry(request);
            }
            Op::Delete if there => self.take_out(request.key, true),
            Op::Delete => {}
            _ => self.store(request, at, there),
        }
        there
    }

    fn store(&mut self, request: &Request, at: usize, there: bool) {
        let bytes = u64::from(request.size) + self.trace.key_len(request.key) as u64 + OVERHEAD;
        let item = &mut self.items[request.key as usize];
        self.used = self.used - item.bytes + bytes;
        item.bytes = bytes;
        self.set_expiry(request);
        if there {
            self.policy.hit(request.key, at)
        } else {
            self.policy.insert(request.key, at)
        }
        while self.used > self.capacity {
            let key = self.policy.evict();
            self.take_out(key, false);
        }
    }

    fn set_expiry(&mut self, request: &Request) {
        let expires = if request.ttl == 0 { 0 } else { u64::from(request.millis) + u64::from(request.ttl) * 1000 };
        self.items[request.key as usize].expires = expires;
        if expires > 0 {
            self.expiring.push(Reverse((expires, request.key)));
        }
    }

    fn expire(&mut self, millis: u32) {
        while let Some(&Reverse((due, key))) = self.expiring.peek()
            && due <= u64::from(millis)
        {
            self.expiring.pop();
            let item = self.items[key as usize];
            if item.bytes > 0 && item.expires == due {
                self.take_out(key, true);
            }
        }
    }

    fn take_out(&mut self, key: u32, tell: bool) {
        self.used -= std::mem::take(&mut self.items[key as usize].bytes);
        if tell {
            self.policy.remove(key);
        }
    }
}
