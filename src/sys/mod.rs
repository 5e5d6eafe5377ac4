//! The only system calls that std, mio and socket2 do not have, behind safe functions. With `store/memory`, the only
//! place where `unsafe` may stand; each block does one call.

#![allow(unsafe_code)]

pub mod process;
pub mod resources;
pub mod signals;

use std::io;

/// Turns the return value of a call that says -1 for failure.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
