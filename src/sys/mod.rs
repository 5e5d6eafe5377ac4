//! Every call into libc, a file per subject, each wrapped so that callers need no `unsafe`.
#![allow(unsafe_code, reason = "one of the two rooms for unsafe: system calls")]

pub mod memory;
