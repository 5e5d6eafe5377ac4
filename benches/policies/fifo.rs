//! SIEVE (NSDI '24) and S3-FIFO (SOSP '23), with queues counted in items.

use std::collections::VecDeque;

use super::Policy;
use super::lists::{Lists, Queue};

/// One queue; a hand goes from the oldest to the newest and takes who was not asked for since it came by.
pub struct Sieve {
    list: Lists<1>,
    visited: Vec<bool>,
    hand: Option<u32>,
}

impl Sieve {
    pub fn new(keys: usize) -> Sieve {
        Sieve { list: Lists::new(keys), visited: vec![false; keys], hand: None }
    }
}

impl Policy for Sieve {
    fn hit(&mut self, key: u32, _: usize) {
        self.visited[key as usize] = true;
    }
    fn insert(&mut self, key: u32, _: usize) {
        self.visited[key as usize] = false;
        self.list.push(0, key);
    }
    fn evict(&mut self) -> u32 {
        loop {
            let key = self.hand.or(self.list.last(0)).expect("somebody is there");
            self.hand = self.list.newer(key);
            if !std::mem::take(&mut self.visited[key as usize]) {
                self.list.remove(key);
                return key;
            }
        }
    }
    fn remove(&mut self, key: u32) {
        if self.hand == Some(key) {
            self.hand = self.list.newer(key);
        }
        self.list.remove(key);
    }
}

const SMALL: Queue = 0;
const MAIN: Queue = 1;

/// New ones go through a small queue of a tenth; who is asked for twice there, or again soon after it left, comes into the main one, where
/// each three hits give another round.
pub struct S3Fifo {
    lists: Lists<2>,
    hits: Vec<u8>,
    /// Who left the small queue lately, with the number of that leaving; that of each key's last one.
    ghosts: VecDeque<(u32, u32)>,
    left: Vec<u32>,
    leaves: u32,
}

impl S3Fifo {
    pub fn new(keys: usize) -> S3Fifo {
        S3Fifo { lists: Lists::new(keys), hits: vec![0; keys], ghosts: VecDeque::new(), left: vec![0; keys], leaves: 0 }
    }

    fn evict_small(&mut self) -> Option<u32> {
        let key = self.lists.pop(SMALL)?;
        if std::mem::take(&mut self.hits[key as usize]) > 1 {
            self.lists.push(MAIN, key);
            return None;
        }
        self.leaves += 1;
        self.left[key as usize] = self.leaves;
        self.ghosts.push_back((key, self.leaves));
        while self.ghosts.len() > self.lists.len(MAIN) {
            let Some((key, leave)) = self.ghosts.pop_front() else { break };
            if self.left[key as usize] == leave {
                self.left[key as usize] = 0;
            }
        }
        Some(key)
    }

    fn evict_main(&mut self) -> Option<u32> {
        let key = self.lists.pop(MAIN)?;
        if self.hits[key as usize] == 0 {
            return Some(key);
        }
        self.hits[key as usize] -= 1;
        self.lists.push(MAIN, key);
        None
    }
}

impl Policy for S3Fifo {
    fn hit(&mut self, key: u32, _: usize) {
        let hits = &mut self.hits[key as usize];
        *hits = (*hits + 1).min(3);
    }
    fn insert(&mut self, key: u32, _: usize) {
        self.hits[key as usize] = 0;
        let known = std::mem::take(&mut self.left[key as usize]) > 0;
        self.lists.push(if known { MAIN } else { SMALL }, key);
    }
    fn evict(&mut self) -> u32 {
        loop {
            let small = self.lists.len(SMALL) * 9 >= self.lists.len(MAIN);
            if let Some(key) = if small { self.evict_small() } else { self.evict_main() } {
                return key;
            }
        }
    }
    fn remove(&mut self, key: u32) {
        self.lists.remove(key);
    }
}
