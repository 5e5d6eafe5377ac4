//! Limits of the process: open files, core files, locked memory; and how much memory the machine has.

use super::check;
use super::memory::Mapping;
use std::io;
use std::time::Duration;

type Resource = libc::__rlimit_resource_t;

fn limit(resource: Resource) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live value of its type.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    Ok(limit)
}

fn set_limit(resource: Resource, now: libc::rlim_t, most: libc::rlim_t) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: now, rlim_max: most };
    // SAFETY: the pointer is to a live value of its type.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

/// The most open files that this user may have.
///
/// # Errors
/// The system's.
pub fn open_files_most() -> io::Result<u64> {
    Ok(limit(libc::RLIMIT_NOFILE)?.rlim_max)
}

/// Lets as many files be open as this user may have.
///
/// # Errors
/// The system's.
pub fn open_files_at_most() -> io::Result<()> {
    set_open_files(open_files_most()?)
}

/// Sets the limit of open files, up or down. Down, it can be raised again: a next version may be told to serve more.
///
/// # Errors
/// When it would have to rise above what this user may have.
pub fn set_open_files(most: u64) -> io::Result<()> {
    set_limit(libc::RLIMIT_NOFILE, most, most.max(open_files_most()?))
}

/// Lets core files be as large as this user may have them.
///
/// # Errors
/// When there would be none at all.
pub fn allow_core_files() -> io::Result<()> {
    let before = limit(libc::RLIMIT_CORE)?;
    if set_limit(libc::RLIMIT_CORE, libc::RLIM_INFINITY, libc::RLIM_INFINITY).is_err() {
        // Not allowed to raise the hard limit: up to it, then.
        set_limit(libc::RLIMIT_CORE, before.rlim_max, before.rlim_max)?;
    }
    match limit(libc::RLIMIT_CORE)?.rlim_cur {
        0 => Err(io::Error::other("core files are limited to nothing")),
        _ => Ok(()),
    }
}

/// Keeps all memory of the process, now and later, from being swapped out.
///
/// Pages are locked as they are first used: the arena reserves far more address space than `-m`, and locking it
/// all at once would ask for that much memory. The limit counts whole ranges all the same, and beyond it no memory at all could
/// be had later, so it is tried whether a range of `needed` bytes can be.
///
/// # Errors
/// The system's; then nothing is locked.
pub fn lock_memory(needed: usize) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) })?;
    if Mapping::reserve(needed).is_err() {
        // SAFETY: no arguments.
        check(unsafe { libc::munlockall() })?;
        return Err(io::Error::other("the limit of locked memory is too low"));
    }
    Ok(())
}

/// Bytes of memory of this machine; 0 when the system does not say.
#[must_use]
pub fn physical_memory_bytes() -> u64 {
    // SAFETY: plain numbers; both questions may be answered with -1.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(size).unwrap_or(0))
}

/// CPU time of the process so far, in user code and in the kernel.
#[must_use]
pub fn cpu_time() -> (Duration, Duration) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a live value of its type; all zeros is a valid one, should the call fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let duration = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    (duration(usage.ru_utime), duration(usage.ru_stime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_never_goes_back() {
        let (user, system) = cpu_time();
        let later = cpu_time();
        assert!(later.0 >= user && later.1 >= system);
    }

    #[test]
    fn the_machine_has_memory_and_open_files() {
        assert!(physical_memory_bytes() > 1024 * 1024);
        assert!(open_files_most().unwrap() > 3);
    }
}
