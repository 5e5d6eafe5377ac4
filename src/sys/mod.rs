//! Every call of the operating system that no well-kept crate offers safely, a file per subject, each wrapped so that callers need no
//! `unsafe`. Beside `store/memory` the only place with `unsafe`.
#![allow(unsafe_code, reason = "one of the two rooms for unsafe: system calls")]

pub mod memory;
pub mod socket;
