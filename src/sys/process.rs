//! Who the process is and where it runs: users, detaching, other processes.

use super::check;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd as _;

/// A user of the system, as far as becoming one needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Id of its first group.
    pub gid: u32,
}

/// What could not be done on the way to another user.
#[derive(Debug)]
pub enum BecomeError {
    /// Leaving the supplementary groups.
    Groups,
    /// Taking the group's or the user's id.
    Identity,
}

/// Whether the process has root's rights, as its real or its effective user.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: these calls only read numbers and cannot fail.
    unsafe { libc::getuid() == 0 || libc::geteuid() == 0 }
}

/// Looks a user up by name.
#[must_use]
pub fn find_user(name: &str) -> Option<User> {
    let name = CString::new(name).ok()?;
    let mut size = 1024;
    loop {
        match look_up(&name, size) {
            // An entry with a very long member is a reason to ask again with more room.
            Err(libc::ERANGE) if size < 1024 * 1024 => size *= 4,
            Ok(user) => return user,
            Err(_) => return None,
        }
    }
}

fn look_up(name: &CStr, size: usize) -> Result<Option<User>, i32> {
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut text = vec![0; size];
    let mut found = std::ptr::null_mut();
    // SAFETY: `name` ends in a NUL, `text` has the length told, and all of them outlive the call.
    let code =
        unsafe { libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), text.as_mut_ptr(), text.len(), &raw mut found) };
    if code != 0 {
        return Err(code);
    }
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: a result that is not null says that the entry was filled in.
    let entry = unsafe { entry.assume_init() };
    Ok(Some(User { uid: entry.pw_uid, gid: entry.pw_gid }))
}

/// Becomes `user` for good, without any supplementary group.
///
/// # Errors
/// The first step that was refused.
pub fn become_user(user: User) -> Result<(), BecomeError> {
    // SAFETY: an empty list needs no memory behind the pointer.
    check(unsafe { libc::setgroups(0, std::ptr::null()) }).map_err(|_| BecomeError::Groups)?;
    // The group first: the user's rights are needed to change it.
    // SAFETY: plain numbers.
    check(unsafe { libc::setgid(user.gid) }).map_err(|_| BecomeError::Identity)?;
    // SAFETY: plain numbers.
    check(unsafe { libc::setuid(user.uid) }).map_err(|_| BecomeError::Identity)
}

/// Goes on in a child that leads a session of its own, while this process ends with code 0. Only while there is one
/// thread.
///
/// # Errors
/// The system's, in whichever process is left.
pub fn detach() -> io::Result<()> {
    // SAFETY: the caller has started no thread, so the child is a whole copy and may call anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: no arguments.
            check(unsafe { libc::setsid() })
        }
        // SAFETY: ends the parent at once; what it has buffered is the child's to write.
        _ => unsafe { libc::_exit(0) },
    }
}

/// Becomes another program, in the same process and with the same signals held back. Returns only when that failed.
///
/// # Errors
/// The system's.
pub fn replace(program: &CStr, words: &[CString], environment: &[CString]) -> io::Result<Infallible> {
    let list = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (words, environment) = (list(words), list(environment));
    // SAFETY: all are C strings, and both lists end in a null; they live until the call returns, if it does.
    unsafe { libc::execve(program.as_ptr(), words.as_ptr(), environment.as_ptr()) };
    Err(io::Error::last_os_error())
}

/// Makes standard input, output and error lead nowhere.
///
/// # Errors
/// The system's.
pub fn silence_standard_streams() -> io::Result<()> {
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for stream in 0..=2 {
        // SAFETY: `nowhere` is open; replacing the standard streams is what the caller asked for.
        check(unsafe { libc::dup2(nowhere.as_raw_fd(), stream) })?;
    }
    Ok(())
}

/// Whether a process `pid` exists that we may send signals to.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 sends nothing.
    pid > 0 && unsafe { libc::kill(pid, 0) } == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_and_nobody_else_is_made_up() {
        assert_eq!(find_user("root"), Some(User { uid: 0, gid: 0 }));
        assert_eq!(find_user("no such user"), None);
        assert_eq!(find_user("a\0b"), None);
    }

    #[test]
    fn a_program_that_is_not_there_takes_no_place() {
        let error = replace(c"/no/such/program", &[c"x".to_owned()], &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn this_process_runs_and_pid_zero_does_not() {
        assert!(is_running(std::process::id()));
        assert!(!is_running(0));
        assert!(!is_running(u32::MAX));
    }
}
