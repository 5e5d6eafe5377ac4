//! Reaching a thread that waits in its poll: to stop it, or to see that it still comes round.
//!
//! Whoever watches over the threads asks each of them to answer, and looks later whether it has. A thread answers when it
//! meets the waker's event in its loop, so one that hangs in a request does not. An answer costs nothing until it is asked for.

use std::io;

use mio::{Registry, Token, Waker};

use crate::sync::{Arc, AtomicU32, Ordering};

/// The door of one thread.
#[derive(Debug)]
pub(super) struct Knock {
    waker: Waker,
    asked: AtomicU32,
    answered: AtomicU32,
}

impl Knock {
    /// `token` is what the thread's poll will tell.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Knock> {
        let waker = Waker::new(registry, token)?;
        Ok(Knock { waker, asked: AtomicU32::new(0), answered: AtomicU32::new(0) })
    }

    /// Makes the thread's poll return.
    pub(super) fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }

    /// The thread has met the waker's event.
    pub(super) fn answer(&self) {
        self.answered.store(self.asked.load(Ordering::Acquire), Ordering::Release);
    }

    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = self.wake() {
            log::error!("a thread cannot be woken: {error}");
        }
    }

    fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire) == self.asked.load(Ordering::Acquire)
    }
}

/// All threads of the net, for whoever watches over them.
#[derive(Clone, Debug)]
pub struct Watch(Vec<Arc<Knock>>);

impl Watch {
    pub(super) fn over(knocks: impl IntoIterator<Item = Arc<Knock>>) -> Watch {
        Watch(knocks.into_iter().collect())
    }

    /// Asks each thread to answer.
    pub fn ask(&self) {
        self.0.iter().for_each(|knock| knock.ask());
    }

    /// Whether all have answered what was asked last; true before the first question.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        self.0.iter().all(|knock| knock.has_answered())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::Poll;

    #[test]
    fn a_thread_has_answered_only_once_it_met_the_question() {
        let poll = Poll::new().unwrap();
        let knock = Arc::new(Knock::new(poll.registry(), Token(0)).unwrap());
        let watch = Watch::over([Arc::clone(&knock)]);
        assert!(watch.all_answered());
        watch.ask();
        watch.ask();
        assert!(!watch.all_answered());
        knock.answer();
        assert!(watch.all_answered());
    }
}
