//! Talking with the service manager that started us (`Type=notify`): ready, stopping, alive; and taking the listeners that
//! it made (socket activation). Without one all of this does nothing.
//!
//! Alive is told only while every thread of the net answers: a server that hangs is killed by the manager's watchdog and
//! started anew, which its clients notice less than a server that accepts them and says nothing.

use crate::net::Watch;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::sys::socket;
use sd_notify::NotifyState;
use std::io;
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Tells that everybody is served from now on, and in a few words how.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells that the end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}

/// The listening sockets that the service manager handed to this process, in its order.
///
/// # Errors
/// When what it says about them makes no sense.
pub fn inherited_sockets() -> io::Result<Vec<OwnedFd>> {
    sd_notify::listen_fds()?.map(socket::adopt).collect()
}

/// The thread that tells the service manager's watchdog that all is well.
pub struct Watchdog {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    /// Starts it, if the service manager wants to hear from us.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(watch: Watch) -> io::Result<Option<Watchdog>> {
        let Some(most) = sd_notify::watchdog_enabled().filter(|most| !most.is_zero()) else { return Ok(None) };
        let stopping = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopping);
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            let mut silent = false;
            watch.ask();
            while !flag.load(Ordering::Acquire) {
                thread::park_timeout(pause(most));
                if watch.all_answered() {
                    tell(&[NotifyState::Watchdog]);
                    watch.ask();
                    silent = false;
                } else if !std::mem::replace(&mut silent, true) {
                    log::error!("a thread does not answer; the watchdog is not told that all is well");
                }
            }
        })?;
        Ok(Some(Watchdog { stopping, thread }))
    }

    /// Ends the thread.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // A panic of the thread has ended the process already.
        let _ = self.thread.join();
    }
}

/// How often to tell: several times in the span after which the watchdog acts, so that a late thread has time to answer.
fn pause(most: Duration) -> Duration {
    most / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_told_well_before_it_acts() {
        assert_eq!(pause(Duration::from_secs(30)), Duration::from_millis(7500));
    }

    #[test]
    fn without_a_service_manager_there_is_nothing_to_inherit() {
        assert!(inherited_sockets().unwrap().is_empty());
    }
}
