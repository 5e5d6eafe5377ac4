//! Signals as values: blocked in every thread, then waited for by one. No handler ever runs, so what a signal causes is
//! ordinary code.

use std::io;

/// Ask for a stop (`kill`, systemd, a container's end).
pub const TERM: i32 = libc::SIGTERM;
/// Ctrl-C.
pub const INT: i32 = libc::SIGINT;
/// Reload what is read from files.
pub const HUP: i32 = libc::SIGHUP;
/// memcached's stop in good order.
pub const USR1: i32 = libc::SIGUSR1;
/// Give way to a new version.
pub const USR2: i32 = libc::SIGUSR2;
/// A child has ended.
pub const CHLD: i32 = libc::SIGCHLD;
/// Writing where nobody reads.
pub const PIPE: i32 = libc::SIGPIPE;

/// Some signals.
#[derive(Clone, Copy)]
pub struct Set {
    signals: &'static [i32],
    mask: libc::sigset_t,
}

impl Set {
    /// The set of `signals`.
    #[must_use]
    pub fn of(signals: &'static [i32]) -> Set {
        let mut mask = std::mem::MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set it is given; it cannot fail for a valid pointer.
        let mut mask = unsafe {
            libc::sigemptyset(mask.as_mut_ptr());
            mask.assume_init()
        };
        for &signal in signals {
            // SAFETY: `mask` is initialised; a signal that does not exist is refused and changes nothing.
            unsafe { libc::sigaddset(&raw mut mask, signal) };
        }
        Set { signals, mask }
    }

    /// Holds these signals back from this thread and those it starts from now on, so that [`Set::wait`] gets them, also
    /// those that whoever started us had chosen to ignore (`nohup`, a shell's `&`): the system throws those away.
    ///
    /// # Errors
    /// The system's.
    pub fn block(&self) -> io::Result<()> {
        self.signals.iter().for_each(|&signal| restore(signal));
        // SAFETY: the mask is initialised, and the old mask is not asked for.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const self.mask, std::ptr::null_mut()) } {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// Lets them through again, with their usual effect: the end of the process.
    pub fn release(&self) {
        // SAFETY: the mask is initialised, and the old one is not asked for; unblocking does not fail.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const self.mask, std::ptr::null_mut()) };
    }

    /// Whether one of the (blocked) signals waits to be waited for.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        let mut pending = std::mem::MaybeUninit::uninit();
        // SAFETY: the pointer is to a live value of its type.
        if unsafe { libc::sigpending(pending.as_mut_ptr()) } != 0 {
            return false;
        }
        // SAFETY: the call has succeeded, so the set was filled in.
        let pending = unsafe { pending.assume_init() };
        // SAFETY: the set is initialised; a signal that does not exist is in none.
        self.signals.iter().any(|&signal| unsafe { libc::sigismember(&raw const pending, signal) } == 1)
    }

    /// Sleeps until one of the (blocked) signals comes, and says which.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&self) -> io::Result<i32> {
        let mut signal = 0;
        // SAFETY: both pointers are to live values of their types.
        match unsafe { libc::sigwait(&raw const self.mask, &raw mut signal) } {
            0 => Ok(signal),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// Gives `signal` its usual effect, whatever whoever started us has chosen.
pub fn restore(signal: i32) {
    // SAFETY: SIG_DFL is a valid disposition and runs no code of ours; a bad signal number is refused.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Lets `signal` pass without any effect.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is a valid disposition and runs no code of ours; a bad signal number is refused.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Sends `signal` to this process.
pub fn raise(signal: i32) {
    // SAFETY: plain numbers; the process is our own.
    unsafe { libc::kill(libc::getpid(), signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_waited_for() {
        // Directed at this thread, since the test's process has others that do not block it.
        let set = Set::of(&[libc::SIGURG]);
        set.block().unwrap();
        // SAFETY: the thread is the calling one.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGURG) };
        assert!(set.is_pending());
        assert_eq!(set.wait().unwrap(), libc::SIGURG);
        assert!(!set.is_pending());
    }
}
