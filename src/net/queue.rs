//! Who has the next turn of a worker.
//!
//! Turns are given in rounds. First come the clients of whom the kernel has told something: most of them ask for a little and are done.
//! Then come a few of those who go on, because their last turn was used up or because much is on its way to or from them. The more clients
//! have come, the more of those: so neither kind can starve the other, and who asks for a little waits for a turn or two of those who ask
//! for much, however many they are.

use std::collections::VecDeque;

use mio::event::Event;

/// Turns of clients that have come for which one more of those that go on has its turn in the same round.
const COME_PER_GOING_ON: usize = 64;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Queue {
    come: VecDeque<Ready>,
    going_on: VecDeque<Ready>,
    /// Turns left in this round, of each kind.
    left: (usize, usize),
}

/// A place in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) key: usize,
    pub(super) readable: bool,
    pub(super) read_closed: bool,
    /// Not an event: the client asked to go on.
    pub(super) again: bool,
}

impl Ready {
    fn event(event: &Event) -> Ready {
        let closed = event.is_read_closed() || event.is_error();
        Ready { key: event.token().0, readable: event.is_readable() || closed, read_closed: closed, again: false }
    }

    fn again(key: usize) -> Ready {
        Ready { key, readable: false, read_closed: false, again: true }
    }
}

impl Queue {
    /// Notes what the kernel has told.
    #[inline]
    pub(super) fn come<'e>(&mut self, events: impl IntoIterator<Item = &'e Event>) {
        self.come.extend(events.into_iter().map(Ready::event));
    }

    /// Notes one that goes on.
    #[inline]
    pub(super) fn go_on(&mut self, key: usize) {
        self.going_on.push_back(Ready::again(key));
    }

    /// How many wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.come.len() + self.going_on.len()
    }

    /// Whether nobody waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins a round with all who have come.
    #[inline]
    pub(super) fn begin_round(&mut self) {
        let come = self.come.len();
        self.left = (come, 1 + come / COME_PER_GOING_ON);
    }

    /// Who is next in this round.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Ready> {
        let (come, going_on) = &mut self.left;
        let (left, queue) = if *come > 0 { (come, &mut self.come) } else { (going_on, &mut self.going_on) };
        *left = left.checked_sub(1)?;
        queue.pop_front()
    }

    /// Who is next when there are no more rounds.
    pub(super) fn next_of_last(&mut self) -> Option<Ready> {
        self.come.pop_front().or_else(|| self.going_on.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of a round.
    fn round(queue: &mut Queue) -> Vec<usize> {
        queue.begin_round();
        std::iter::from_fn(|| queue.next()).map(|ready| ready.key).collect()
    }

    fn come(queue: &mut Queue, keys: std::ops::Range<usize>) {
        queue.come.extend(keys.map(|key| Ready { again: false, ..Ready::again(key) }));
    }

    #[test]
    fn who_has_come_is_served_before_those_who_go_on() {
        let mut queue = Queue::default();
        (100..500).for_each(|key| queue.go_on(key));
        come(&mut queue, 0..1);
        assert_eq!(round(&mut queue), [0, 100], "one of 400 is waited for");
        assert_eq!(round(&mut queue), [101], "and they go on while nobody comes");
        come(&mut queue, 1..3);
        assert_eq!(round(&mut queue), [1, 2, 102]);
    }

    #[test]
    fn those_who_go_on_have_their_share_however_many_come() {
        let mut queue = Queue::default();
        (1000..1100).for_each(|key| queue.go_on(key));
        come(&mut queue, 0..640);
        let served = round(&mut queue);
        assert_eq!(served.len(), 640 + 11);
        assert_eq!(served[640..], (1000..1011).collect::<Vec<_>>());
        assert_eq!(queue.len(), 89);
    }

    #[test]
    fn who_goes_on_twice_waits_for_the_others_in_between() {
        let mut queue = Queue::default();
        (1..4).for_each(|key| queue.go_on(key));
        let mut order = Vec::new();
        for _ in 0..6 {
            let served = round(&mut queue);
            served.iter().for_each(|&key| queue.go_on(key));
            order.extend(served);
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 3]);
    }
}
