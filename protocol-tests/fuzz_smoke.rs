//! A short run of the fuzz targets without a fuzzer: seeded noise, and the transcripts' conversations with some bytes
//! changed. It finds what is shallow at every `cargo test`; `protocol-tests/fuzz` finds the rest.
//!
//! `MEMHOLD_FUZZ_ROUNDS=50 cargo test --test fuzz_smoke` runs fifty times as long. `MEMHOLD_FUZZ_CORPUS=1` also writes
//! the conversations where cargo-fuzz looks for its first corpus.

#[path = "fuzz/targets/mod.rs"]
mod targets;

mod support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use support::random::Random;
use support::setting;
use support::transcript::{self, Piece, Step};

/// The folder of this file.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests")
}

/// How often each thing is done, times what the environment asks for.
fn rounds(usual: usize) -> usize {
    usual * setting::number("MEMHOLD_FUZZ_ROUNDS").unwrap_or(1) as usize
}

/// What clients say in the transcripts, a conversation each.
fn conversations() -> Vec<Vec<u8>> {
    let transcripts = transcript::read_all(&folder().join("transcripts"));
    let conversations = transcripts.iter().flat_map(|transcript| &transcript.conversations);
    let sent = conversations.map(|conversation| {
        let pieces = conversation.steps.iter().filter_map(|step| match step {
            Step::Exchange(exchange) => Some(&exchange.send),
            Step::Advance(_) => None,
        });
        let bytes = pieces.flatten().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.as_slice(),
            Piece::Cas(_) => &[0; 8],
            _ => b"1".as_slice(),
        });
        bytes.collect::<Vec<_>>().concat()
    });
    sent.filter(|bytes| !bytes.is_empty() && bytes.len() < 100_000).collect()
}

/// Changes a few places: a byte, a piece cut out, a piece doubled, a piece of another conversation.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len() + 1);
        let len = random.below(20).min(bytes.len() - at);
        match random.below(5) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 => drop(bytes.drain(at..at + len)),
            2 => {
                let piece = bytes[at..at + len].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => {
                let from = random.below(other.len());
                let piece = &other[from..other.len().min(from + 60)];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => bytes.insert(at, b" \r\n\0-9k"[random.below(7)]),
        }
    }
}

/// Runs a target on an input; when it fails, the input is in the message.
fn feed(target: fn(&[u8]), bytes: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(bytes))) {
        eprintln!("the input was b\"{}\"", bytes.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

fn noise(random: &mut Random, len_max: usize) -> Vec<u8> {
    (0..random.below(len_max)).map(|_| random.next() as u8).collect()
}

#[test]
fn lines_are_parsed_whatever_they_are() {
    let conversations = conversations();
    let lines: Vec<&[u8]> = conversations.iter().flat_map(|bytes| bytes.split(|&byte| byte == b'\n')).collect();
    let mut random = Random::new(1);
    for _ in 0..rounds(100_000) {
        let mut line = vec![random.next() as u8];
        line.extend_from_slice(random.pick(&lines));
        mutate(&mut line, &conversations[random.below(conversations.len())], &mut random);
        feed(targets::parse::run, &line);
    }
    for _ in 0..rounds(20_000) {
        feed(targets::parse::run, &noise(&mut random, 300));
    }
}

/// A frame whose fields fit each other now and then.
fn frame(random: &mut Random) -> Vec<u8> {
    let extras = [0, 0, 4, 8, 20][random.below(5)];
    let key = random.below(12);
    let value = random.below(12);
    let mut bytes = vec![0x80, random.below(0x26) as u8, 0, key as u8, extras, 0, 0, 0, 0, 0, 0];
    bytes.push(extras + (key + value) as u8);
    bytes.extend((random.next() as u32).to_be_bytes());
    bytes.extend((random.next() & random.next() & 3).to_be_bytes());
    bytes.extend((0..usize::from(extras)).map(|_| (random.next() & random.next() & random.next()) as u8));
    bytes.extend((0..key).map(|_| b"abc"[random.below(3)]));
    bytes.extend((0..value).map(|_| b"0123456789 x"[random.below(12)]));
    bytes
}

/// Another one, of which a few places may have been changed.
fn spoilt(random: &mut Random, percent: usize, mut bytes: Vec<u8>) -> Vec<u8> {
    if random.chance(percent) {
        let other = frame(random);
        mutate(&mut bytes, &other, random);
    }
    bytes
}

#[test]
fn frames_are_parsed_whatever_they_are() {
    let mut random = Random::new(4);
    for _ in 0..rounds(100_000) {
        let bytes = frame(&mut random);
        let bytes = spoilt(&mut random, 50, bytes);
        feed(targets::frame::run, &[&[random.next() as u8], bytes.as_slice()].concat());
    }
    for _ in 0..rounds(20_000) {
        let noise = noise(&mut random, 300);
        feed(targets::frame::run, &[&[random.next() as u8, 0x80], noise.as_slice()].concat());
    }
}

#[test]
fn frames_are_answered_alike_however_they_are_cut() {
    let mut random = Random::new(5);
    for _ in 0..rounds(600) {
        let bytes: Vec<u8> = (0..1 + random.below(40)).flat_map(|_| frame(&mut random)).collect();
        let bytes = spoilt(&mut random, 30, bytes);
        feed(targets::conn::run, &[&[random.next() as u8], bytes.as_slice()].concat());
    }
}

#[test]
fn conversations_are_answered_alike_however_they_are_cut() {
    let conversations = conversations();
    assert!(conversations.len() > 50, "the transcripts are found");
    let mut random = Random::new(2);
    for (number, conversation) in conversations.iter().enumerate() {
        let input = [&[number as u8], conversation.as_slice()].concat();
        feed(targets::conn::run, &input);
        if std::env::var_os("MEMHOLD_FUZZ_CORPUS").is_some() {
            let corpus = folder().join("fuzz/corpus/conn");
            fs::create_dir_all(&corpus).unwrap();
            fs::write(corpus.join(format!("transcript-{number}")), input).unwrap();
        }
    }
    for _ in 0..rounds(1500) {
        let mut input = vec![random.next() as u8];
        input.extend_from_slice(&conversations[random.below(conversations.len())]);
        mutate(&mut input, &conversations[random.below(conversations.len())], &mut random);
        feed(targets::conn::run, &input);
    }
    for _ in 0..rounds(100) {
        feed(targets::conn::run, &noise(&mut random, 3000));
    }
}

#[test]
fn the_store_keeps_its_books_whatever_is_done_to_it() {
    let mut random = Random::new(3);
    for _ in 0..rounds(80) {
        feed(targets::store::run, &noise(&mut random, 4000));
    }
}
