//! Every call of the operating system that no well-kept crate offers safely, a file per subject, each wrapped so that callers need no
//! `unsafe`. Beside `store/memory` the only place with `unsafe`.
#![allow(unsafe_code, reason = "one of the two rooms for unsafe: system calls")]

pub mod memory;
pub mod process;
pub mod resources;
pub mod signals;
pub mod socket;

use std::io;

/// Turns the return value of a call that says -1 for failure.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
