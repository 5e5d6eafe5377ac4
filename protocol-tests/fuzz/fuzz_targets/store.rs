//! Fuzzes the store: operations read from the bytes, beside a plain map.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::store::run(bytes));
