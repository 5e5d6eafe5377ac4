//! Measures what a get costs when an attacker chose the keys to fall into one bucket, over a get of ordinary keys.
//!
//! The keys share all 32 bits of memcached's default hash (MurmurHash3, 32 bits, not seeded), so they are a single
//! chain there whatever the size of its table. A server whose hash cannot be predicted has a ratio of 1.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use memhold::tools::bench::items::Random;
use support::server::{Cores, Server};
use support::{Failure, options};

type Key = [u8; KEY_LEN];

fn main() -> Result<(), Failure> {
    let options =
        options::command("collide", "Cost of a get of keys that collide in memcached, over one of ordinary keys")
            .get_matches();
    let cores = Cores::claim();
    let mut random = Random(2);
    let ordinary: Vec<Key> = (0..KEYS).map(|_| key(*b"ordinary", &mut random)).collect();
    let colliding = colliding_keys();

    println!("| server | ordinary us/get | colliding us/get | ratio |\n| --- | --- | --- | --- |");
    for (name, path) in ["ours", "theirs"].iter().zip(options::servers(&options)) {
        let [usual, worst] = [&ordinary, &colliding].map(|keys| cost(&path, &cores, keys));
        let (usual, worst) = (usual?, worst?);
        println!("| {name} | {usual:.2} | {worst:.2} | {:.2} |", worst / usual);
    }
    Ok(())
}

/// Server CPU time of a get in microseconds, the keys read one after another on one connection, 16 in a write.
fn cost(path: &Path, cores: &Cores, keys: &[Key]) -> Result<f64, Failure> {
    let server = Server::start(&cores.command(path), &["-t", "1", "-m", "1024"])?;
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_nodelay(true)?;
    let value = [b'v'; VALUE_LEN];
    let mut turn = |keys: &[Key], spell: &dyn Fn(&Key) -> [Vec<u8>; 2]| -> Result<(), Failure> {
        let [requests, expected] =
            [0, 1].map(|which| keys.iter().flat_map(|key| spell(key)[which].clone()).collect::<Vec<u8>>());
        stream.write_all(&requests)?;
        let mut got = vec![0; expected.len()];
        stream.read_exact(&mut got)?;
        if got == expected { Ok(()) } else { Err("another answer than expected".into()) }
    };
    let set = |key: &Key| [[b"set ", &key[..], b" 0 0 100\r\n", &value, b"\r\n"].concat(), b"STORED\r\n".to_vec()];
    let get = |key: &Key| {
        let found = [b"VALUE ", &key[..], b" 0 100\r\n", &value, b"\r\nEND\r\n"].concat();
        [[b"get ", &key[..], b"\r\n"].concat(), found]
    };
    keys.chunks(DEPTH).try_for_each(|keys| turn(keys, &set))?;
    let before = server.cpu()?;
    let (start, mut gets) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        keys.chunks(DEPTH).try_for_each(|keys| turn(keys, &get))?;
        gets += keys.len();
    }
    Ok(server.cpu()?.since(before).nanos as f64 / gets as f64 / 1e3)
}

/// A key that begins so and goes on with random digits.
fn key(start: [u8; 8], random: &mut Random) -> Key {
    let mut key = [0; KEY_LEN];
    key[..8].copy_from_slice(&start);
    key[8..].fill_with(|| b"0123456789abcdef"[random.below(16) as usize]);
    key
}

/// Keys whose hash is zero.
///
/// All bytes but the last four are drawn; these are computed backwards from the hash and the state before them, and
/// are characters of a key once in 55 times.
fn colliding_keys() -> Vec<Key> {
    let mut random = Random(1);
    let mut keys = Vec::with_capacity(KEYS);
    while keys.len() < KEYS {
        let mut key = key(*b"collide:", &mut random);
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

const KEY_LEN: usize = 32;

const VALUE_LEN: usize = 100;

/// Requests in a write.
const DEPTH: usize = 16;

const TIME: Duration = Duration::from_secs(2);
