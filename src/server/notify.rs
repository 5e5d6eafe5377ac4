//! Talking with the service manager that started us (`Type=notify`): ready, stopping, alive; taking the listeners that it made
//! (socket activation), and giving it a descriptor to keep for the next process. Without one all of this does nothing.
//!
//! Alive is told only while every thread of the net answers: a server that hangs is killed by the manager's watchdog and
//! started anew, which its clients notice less than a server that accepts them and says nothing.

use crate::net::Watch;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::sys::socket;
use sd_notify::NotifyState;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
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

/// The name by which the service manager knows what it keeps for us.
const KEPT: &str = "memhold-connections";

/// Whether it may keep something. Before version 254 systemd does not tell; what it does not want it closes.
#[must_use]
pub fn may_keep() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some() && std::env::var_os("FDSTORE").is_none_or(|most| most != "0")
}

/// Gives it a descriptor to keep until the next process of the service.
///
/// # Errors
/// When it cannot be reached.
pub fn keep(fd: BorrowedFd<'_>) -> io::Result<()> {
    // FDPOLL=0: the other end is closed, which would be a reason to forget it.
    let states = [NotifyState::FdStore, NotifyState::FdName(KEPT), NotifyState::Custom("FDPOLL=0")];
    sd_notify::notify_with_fds(&states, &[fd])
}

/// Tells that what it kept has been taken.
pub fn forget() {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(KEPT)]);
}

/// What the service manager handed to this process.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The listening sockets that it made, in its order.
    pub sockets: Vec<OwnedFd>,
    /// What it kept for us.
    pub kept: Option<OwnedFd>,
}

/// Takes what the service manager handed to this process.
///
/// # Errors
/// When what it says about that makes no sense.
pub fn inherited() -> io::Result<Inherited> {
    let mut inherited = Inherited::default();
    for (fd, name) in sd_notify::listen_fds_with_names()? {
        let fd = socket::adopt(fd)?;
        if name == KEPT { inherited.kept = Some(fd) } else { inherited.sockets.push(fd) }
    }
    Ok(inherited)
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
        let inherited = inherited().unwrap();
        assert!(inherited.sockets.is_empty() && inherited.kept.is_none());
    }
}
