//! What signals mean (section 16.1). The main thread waits for them while the others serve.

use super::exit::{Exit, FAILURE};
use crate::sys::reason;
use crate::sys::signals::{self, Set};

/// Why the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT, SIGTERM, `shutdown`: at once.
    Now,
    /// SIGUSR1, `shutdown graceful`: in good order.
    Graceful,
}

impl Stop {
    /// Asks the waiting thread for it, from any other.
    pub fn ask(self) {
        signals::raise(match self {
            Stop::Now => signals::INT,
            Stop::Graceful => signals::USR1,
        });
    }

    /// What is printed at the end. memcached always tells of the graceful stop, of the other one only with `-v`.
    #[must_use]
    pub fn farewell(self, verbosity: u32) -> Option<&'static str> {
        match self {
            Stop::Graceful => Some("Gracefully stopping"),
            Stop::Now if verbosity > 0 => Some("Exiting normally"),
            Stop::Now => None,
        }
    }
}

/// The signals, held back for [`Signals::wait`].
pub struct Signals(Set);

impl Signals {
    /// Holds the signals back from now on, in this thread and all that it starts. Before the first thread.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn hold() -> Result<Signals, Exit> {
        signals::ignore(signals::PIPE);
        let set = Set::of(&[signals::INT, signals::TERM, signals::USR1, signals::HUP]);
        set.block().map_err(|error| Exit::new(FAILURE, format!("cannot hold signals: {}", reason(&error))))?;
        Ok(Signals(set))
    }

    /// Sleeps until the server is to stop, and calls `reload` for each SIGHUP meanwhile. Afterwards signals have their
    /// usual effect again, so that a second one ends a stop that takes too long.
    pub fn wait(self, reload: impl FnMut()) -> Stop {
        let stop = self.wait_for_stop(reload);
        self.0.release();
        stop
    }

    fn wait_for_stop(&self, mut reload: impl FnMut()) -> Stop {
        loop {
            match self.0.wait() {
                Ok(signals::HUP) => reload(),
                Ok(signals::USR1) => return Stop::Graceful,
                Ok(_) => return Stop::Now,
                // Waiting only fails for a set that is none.
                Err(error) => {
                    log::error!("cannot wait for signals: {}", reason(&error));
                    return Stop::Now;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farewell_is_memcacheds() {
        assert_eq!(Stop::Now.farewell(0), None);
        assert_eq!(Stop::Now.farewell(1), Some("Exiting normally"));
        assert_eq!(Stop::Graceful.farewell(0), Some("Gracefully stopping"));
    }
}
