//! `-N`: clients whose bytes come by one receive queue of the network card go to one worker, so that the processor that takes
//! the interrupts also runs the requests.
//!
//! The first queues seen are given to the first workers. A client of a further queue, or of none (loopback), goes where any other
//! goes; both are counted, as memcached counts them.

/// Which queue belongs to which worker: worker 0 has the first.
#[derive(Debug)]
pub(super) struct Queues {
    ids: Vec<u32>,
    most: usize,
}

/// Where a client of a queue goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// To this worker.
    With(usize),
    /// Wherever there is room: it came by no queue.
    Anywhere,
    /// The same: its queue is one more than there should be.
    Unexpected,
}

impl Queues {
    /// At most `most` queues, which is no more than there are workers.
    pub(super) fn new(most: usize) -> Queues {
        Queues { ids: Vec::with_capacity(most), most }
    }

    /// The worker of a queue.
    pub(super) fn place(&mut self, id: Option<u32>) -> Placed {
        let Some(id) = id else { return Placed::Anywhere };
        if let Some(worker) = self.ids.iter().position(|&known| known == id) {
            return Placed::With(worker);
        }
        if self.ids.len() == self.most {
            return Placed::Unexpected;
        }
        self.ids.push(id);
        Placed::With(self.ids.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_keeps_its_worker_and_further_ones_are_unexpected() {
        let mut queues = Queues::new(2);
        assert_eq!(queues.place(Some(70)), Placed::With(0));
        assert_eq!(queues.place(Some(90)), Placed::With(1));
        assert_eq!(queues.place(Some(70)), Placed::With(0));
        assert_eq!(queues.place(None), Placed::Anywhere);
        assert_eq!(queues.place(Some(80)), Placed::Unexpected);
    }
}
