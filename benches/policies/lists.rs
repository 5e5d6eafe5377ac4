//! Several queues of keys, each key in one of them at most; all acts take constant time.

const NOBODY: u32 = u32::MAX;

/// A queue by its number.
pub type Queue = usize;

pub struct Lists<const N: usize> {
    /// Of each key: who stands before and behind it, and in which queue; `N` for none.
    links: Vec<(u32, u32, u8)>,
    first: [u32; N],
    last: [u32; N],
    len: [usize; N],
}

impl<const N: usize> Lists<N> {
    pub fn new(keys: usize) -> Lists<N> {
        let links = vec![(NOBODY, NOBODY, N as u8); keys];
        Lists { links, first: [NOBODY; N], last: [NOBODY; N], len: [0; N] }
    }

    pub fn len(&self, queue: Queue) -> usize {
        self.len[queue]
    }

    /// The queue a key stands in; `N` for none.
    pub fn queue_of(&self, key: u32) -> Queue {
        usize::from(self.links[key as usize].2)
    }

    pub fn last(&self, queue: Queue) -> Option<u32> {
        Some(self.last[queue]).filter(|&key| key != NOBODY)
    }

    /// Who came next after this one.
    pub fn newer(&self, key: u32) -> Option<u32> {
        Some(self.links[key as usize].0).filter(|&key| key != NOBODY)
    }

    /// Puts a key that stands nowhere first.
    pub fn push(&mut self, queue: Queue, key: u32) {
        let second = self.first[queue];
        self.links[key as usize] = (NOBODY, second, queue as u8);
        match self.links.get_mut(second as usize) {
            Some(link) => link.0 = key,
            None => self.last[queue] = key,
        }
        self.first[queue] = key;
        self.len[queue] += 1;
    }

    /// Takes a key out of where it stands, if anywhere.
    pub fn remove(&mut self, key: u32) {
        let (newer, older, queue) = std::mem::replace(&mut self.links[key as usize], (NOBODY, NOBODY, N as u8));
        let queue = usize::from(queue);
        if queue == N {
            return;
        }
        match self.links.get_mut(newer as usize) {
            Some(link) => link.1 = older,
            None => self.first[queue] = older,
        }
        match self.links.get_mut(older as usize) {
            Some(link) => link.0 = newer,
            None => self.last[queue] = newer,
        }
        self.len[queue] -= 1;
    }

    /// Moves a key to the front of a queue.
    pub fn promote(&mut self, queue: Queue, key: u32) {
        self.remove(key);
        self.push(queue, key);
    }

    /// Takes the last one out.
    pub fn pop(&mut self, queue: Queue) -> Option<u32> {
        let key = self.last(queue)?;
        self.remove(key);
        Some(key)
    }
}
