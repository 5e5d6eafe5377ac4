//! Fuzzes a whole conversation: however the bytes are cut into pieces, the answer is the same.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::conn::run(bytes));
