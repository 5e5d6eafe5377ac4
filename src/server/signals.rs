//! What signals mean (section 16.1). The main thread waits for them while the others serve.

use super::exit::{Exit, FAILURE};
use crate::sys::reason;
use crate::sys::signals::{self, Set};

/// Why the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT, `shutdown`: at once.
    Now,
    /// SIGTERM: at once, and what the service manager keeps goes on in the next process.
    Term,
    /// SIGUSR1, `shutdown graceful`: in good order.
    Graceful,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGHUP: read files again.
    Reload,
    /// SIGUSR2: give way to a new version in the same process.
    Upgrade,
    /// An end.
    Stop(Stop),
}

impl Stop {
    /// Asks the waiting thread for it, from any other.
    pub fn ask(self) {
        signals::raise(match self {
            Stop::Now => signals::INT,
            Stop::Term => signals::TERM,
            Stop::Graceful => signals::USR1,
        });
    }

    /// What is printed at the end. memcached always tells of the graceful stop, of the other one only with `-v`.
    #[must_use]
    pub fn farewell(self, verbosity: u32) -> Option<&'static str> {
        match self {
            Stop::Graceful => Some("Gracefully stopping"),
            Stop::Now | Stop::Term if verbosity > 0 => Some("Exiting normally"),
            Stop::Now | Stop::Term => None,
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
        // Where it is ignored, the system forgets how a child has ended, and no upgrade gets its answer.
        signals::restore(signals::CHLD);
        let set = Set::of(&[signals::INT, signals::TERM, signals::USR1, signals::USR2, signals::HUP]);
        set.block().map_err(|error| Exit::new(FAILURE, format!("cannot hold signals: {}", reason(&error))))?;
        Ok(Signals(set))
    }

    /// Sleeps until something is asked for.
    #[must_use]
    pub fn wait(&self) -> Asked {
        match self.0.wait() {
            Ok(signals::HUP) => Asked::Reload,
            Ok(signals::USR1) => Asked::Stop(Stop::Graceful),
            Ok(signals::USR2) => Asked::Upgrade,
            Ok(signals::TERM) => Asked::Stop(Stop::Term),
            Ok(_) => Asked::Stop(Stop::Now),
            // Waiting only fails for a set that is none.
            Err(error) => {
                log::error!("cannot wait for signals: {}", reason(&error));
                Asked::Stop(Stop::Now)
            }
        }
    }

    /// Whether somebody waits for the end already.
    #[must_use]
    pub fn stop_is_asked() -> bool {
        Set::of(&[signals::INT, signals::TERM, signals::USR1]).is_pending()
    }

    /// Gives signals their usual effect again, so that a second one ends a stop that takes too long. Those that ask for something else
    /// than an end lose theirs: one that came together with the first, or comes now, must not turn a good end into a death.
    pub fn release(self) {
        signals::ignore(signals::HUP);
        signals::ignore(signals::USR2);
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farewell_is_memcacheds() {
        assert_eq!(Stop::Now.farewell(0), None);
        assert_eq!(Stop::Now.farewell(1), Some("Exiting normally"));
        assert_eq!(Stop::Term.farewell(1), Stop::Now.farewell(1));
        assert_eq!(Stop::Graceful.farewell(0), Some("Gracefully stopping"));
    }
}
