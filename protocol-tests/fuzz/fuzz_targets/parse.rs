//! Fuzzes the parsers of the text and meta protocols: any line has an outcome that keeps its promises.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::parse::run(bytes));
