//! Every call of the operating system that no well-kept crate offers safely, a file per subject, each wrapped so that callers need no
//! `unsafe`. Beside `store/memory` the only place with `unsafe`.
#![allow(unsafe_code, reason = "one of the two rooms for unsafe: system calls")]

pub mod files;
pub mod memory;
pub mod process;
pub mod resources;
pub mod seccomp;
pub mod signals;
pub mod socket;

use std::io;

/// The system's text for an error, as C's `strerror` gives it: without the number that Rust adds.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// Turns the return value of a call that says -1 for failure.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_systems_text_alone() {
        assert_eq!(reason(&io::Error::from_raw_os_error(libc::EADDRINUSE)), "Address already in use");
        assert_eq!(reason(&io::Error::other("own words")), "own words");
    }
}
