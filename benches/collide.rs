//! Measures what a get costs when an attacker chose the keys to fall into one bucket, over a get of ordinary keys.
//!
//! The keys share all 32 bits of memcached's default hash (MurmurHash3, 32 bits, not seeded), so they are a single
//! chain there whatever the size of its table. A server whose hash cannot be predicted has a ratio of 1.

#[allow(dead_code, reason = "each bench uses a part")]
mod load;
#[allow(dead_code, reason = "each bench uses a part")]
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, Command, value_parser};

use load::client::{Client, Limit};
use load::keys::{KEY_LEN, Key, key};
use load::random::Random;
use load::script::Script;
use server::{Cores, Failure, Server};

fn main() -> Result<(), Failure> {
    let path = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).default_value(default).value_parser(value_parser!(PathBuf)).help(help)
    };
    let options = Command::new("collide")
        .about("Cost of a get of keys that collide in memcached, over one of ordinary keys")
        .arg(path("ours", env!("CARGO_BIN_EXE_memhold"), "the server to look at"))
        .arg(path("theirs", "/usr/bin/memcached", "the server to compare with"))
        .arg(Arg::new("bench").long("bench").num_args(0).hide(true))
        .get_matches();
    let cores = Cores::claim();
    let ordinary: Vec<Key> = (0..KEYS as u64).map(|number| key(*b"ordinary", number)).collect();
    let colliding = colliding_keys();

    println!("| server | ordinary us/get | colliding us/get | ratio |\n| --- | --- | --- | --- |");
    for name in ["ours", "theirs"] {
        let path = options.get_one::<PathBuf>(name).cloned().unwrap_or_default();
        let [usual, worst] = [&ordinary, &colliding].map(|keys| cost(&path, &cores, keys));
        let (usual, worst) = (usual?, worst?);
        println!("| {name} | {usual:.2} | {worst:.2} | {:.2} |", worst / usual);
    }
    Ok(())
}

/// Server CPU time of a get in microseconds, the keys read one after another on one connection, 16 in a write.
fn cost(path: &Path, cores: &Cores, keys: &[Key]) -> Result<f64, Failure> {
    let server = Server::start(&cores.command(path), &["-t", "1", "-m", "1024"])?;
    let (mut sets, mut gets) = (Script::new(), Script::new());
    for burst in keys.chunks(16) {
        for key in burst {
            sets.set(key, VALUE_LEN);
            gets.get(key, VALUE_LEN);
        }
        sets.end_burst();
        gets.end_burst();
    }
    server.play([sets])?;
    let mut client = Client::connect(server.address, 1)?;
    let before = server.cpu()?;
    let outcome = client.run(&gets, Limit::Time(TIME))?;
    let used = server.cpu()?.nanoseconds - before.nanoseconds;
    Ok(used as f64 / outcome.replies as f64 / 1e3)
}

/// Keys whose hash is zero.
///
/// All bytes but the last four are drawn; these are computed backwards from the hash and the state before them, and
/// are characters of a key once in 55 times.
fn colliding_keys() -> Vec<Key> {
    let mut random = Random::new(1);
    let mut keys = Vec::with_capacity(KEYS);
    while keys.len() < KEYS {
        let mut key = key(*b"collide:", random.next());
        let (start, end) = key.split_at_mut(KEY_LEN - 4);
        end.copy_from_slice(&murmur::last_block_for(0, start).to_le_bytes());
        if end.iter().all(u8::is_ascii_graphic) {
            assert_eq!(murmur::hash(&key), 0, "the way back is not the way there");
            keys.push(key);
        }
    }
    keys
}

/// MurmurHash3 for 32 bits with the seed 0, for lengths that are a multiple of four; forwards and backwards.
mod murmur {
    pub fn hash(key: &[u8]) -> u32 {
        finish(state(key) ^ key.len() as u32)
    }

    /// The last four bytes of a key that begins with `start` and shall have this hash.
    pub fn last_block_for(hash: u32, start: &[u8]) -> u32 {
        let state_after = unfinish(hash) ^ (start.len() as u32 + 4);
        let mixed = state_after.wrapping_sub(ADD).wrapping_mul(inverse(5)).rotate_right(13) ^ state(start);
        mixed.wrapping_mul(inverse(C2)).rotate_right(15).wrapping_mul(inverse(C1))
    }

    fn state(key: &[u8]) -> u32 {
        let (blocks, _) = key.as_chunks::<4>();
        blocks.iter().fold(0, |state, &block| {
            let mixed = u32::from_le_bytes(block).wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
            (state ^ mixed).rotate_left(13).wrapping_mul(5).wrapping_add(ADD)
        })
    }

    fn finish(mut hash: u32) -> u32 {
        hash = (hash ^ (hash >> 16)).wrapping_mul(F1);
        hash = (hash ^ (hash >> 13)).wrapping_mul(F2);
        hash ^ (hash >> 16)
    }

    fn unfinish(mut hash: u32) -> u32 {
        hash = (hash ^ (hash >> 16)).wrapping_mul(inverse(F2));
        hash = (hash ^ (hash >> 13) ^ (hash >> 26)).wrapping_mul(inverse(F1));
        hash ^ (hash >> 16)
    }

    /// The number that undoes a multiplication by an odd one; each step of Newton's doubles the bits that are right.
    fn inverse(odd: u32) -> u32 {
        (0..5).fold(odd, |guess, _| guess.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(guess))))
    }

    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    const ADD: u32 = 0xe654_6b64;
    const F1: u32 = 0x85eb_ca6b;
    const F2: u32 = 0xc2b2_ae35;
}

const KEYS: usize = 12_000;

const VALUE_LEN: usize = 100;

const TIME: Duration = Duration::from_secs(2);
