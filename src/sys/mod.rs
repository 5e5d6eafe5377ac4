//! Calls of the operating system that no well-kept crate offers safely, one subject a file. Beside `store/memory` the only
//! place with `unsafe`.
#![allow(unsafe_code, reason = "system calls")]

pub mod socket;
