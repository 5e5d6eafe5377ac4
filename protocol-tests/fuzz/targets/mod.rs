//! What is fuzzed, as plain functions of bytes: shared by the libFuzzer binaries beside this folder and by the test
//! `fuzz_smoke`, which needs no fuzzer. Each panics when a promise is broken.

#![allow(dead_code, reason = "each fuzz binary uses its own target")]

pub mod conn;
pub mod frame;
pub mod parse;
pub mod store;
