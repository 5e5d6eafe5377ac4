//! Many conversations over one small store in one thread, cut anywhere, with a clock that jumps and background work
//! in between: all of it follows
//! from one seed.
//!
//! A model knows what was ever sent to every key. A value that is read must be one of these, whole and of its own key; it may be missing
//! (evicted, expired, flushed). Answers come in the order of the requests. The store's own invariants
//! are checked now and then, when nobody is in the middle of anything, and at the end.
//!
//! The seed is printed; `MEMHOLD_SEED=<n>` repeats one run, `MEMHOLD_SIMULATIONS=<n>` says how many seeds are tried (2).

#[path = "support/random.rs"]
#[allow(dead_code, reason = "a test uses a part of it")]
mod random;
#[path = "support/setting.rs"]
mod setting;

use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use memhold::clock::{Clock, Now};
use memhold::commands::{Context, Server};
use memhold::conn::{Conn, Next, Output};
use memhold::settings::Settings;
use memhold::store::{Config, Store};
use random::Random;

const CONNS: usize = 40;
const KEYS: usize = 600;
/// Steps of one simulation: in each a client writes, arrives, is given a turn, or takes replies.
const STEPS: usize = 60_000;
/// Between two checks of the store's invariants.
const CHECK_EVERY: usize = 15_000;
/// Seconds after which a value that waits for memory is given up lie far below this, so a quiet world settles.
const SETTLE_TURNS: usize = 4000;

/// What a request must be answered with. Values are judged when the answer comes, against what the model held since the request was sent.
#[derive(Debug)]
enum Expected {
    /// Exactly these bytes.
    Line(Vec<u8>),
    /// `VALUE` lines for some of these keys, in this order, then `END`.
    Values(Vec<usize>),
    /// `VA` of this key, or `EN`.
    Meta(usize),
    /// One of the two lines; of `set` and its kin.
    Either(&'static [&'static [u8]]),
}

/// A client, its conversation, and what is on the way between them.
struct Client {
    conn: Conn,
    /// Written by the client, not yet arrived.
    sent: VecDeque<u8>,
    /// Arrived, not yet run.
    unread: Vec<u8>,
    /// Answered, not yet taken.
    out: Output,
    received: Vec<u8>,
    expected: VecDeque<Expected>,
    /// The conversation goes on without new bytes.
    again: bool,
}

struct World {
    random: Random,
    store: Store,
    server: Server,
    now: Now,
    clients: Vec<Client>,
    /// For each key the numbers of all values ever sent to it: what is read must be one of them.
    versions: HashMap<usize, Vec<u64>>,
    next_version: u64,
    answers: usize,
    values: usize,
    later: usize,
}

/// The bytes of a value: its key and version, its length, then what follows from them.
fn value_of(key: usize, version: u64, len: usize) -> Vec<u8> {
    let mut value = format!("{key}:{version}:{len}:").into_bytes();
    let mut word = version.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ key as u64;
    while value.len() < len {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // CR and LF too: a value must never be taken for an answer.
        value.push(b"abc\r\n \0z"[(word >> 61) as usize]);
    }
    value
}

impl World {
    fn new(seed: u64) -> World {
        let config = Config::with_memory(8 << 20, seed);
        let client = || Client {
            conn: Conn::new(),
            sent: VecDeque::new(),
            unread: Vec::new(),
            out: Output::new(),
            received: Vec::new(),
            expected: VecDeque::new(),
            again: false,
        };
        World {
            random: Random::new(seed),
            store: Store::open(&config).expect("8 MiB of memory"),
            server: Server::new(Settings::default(), Clock::start()),
            now: Now::at(1_700_000_000, 0),
            clients: (0..CONNS).map(|_| client()).collect(),
            versions: HashMap::new(),
            next_version: 0,
            answers: 0,
            values: 0,
            later: 0,
        }
    }

    fn length(&mut self) -> usize {
        40 + match self.random.below(20) {
            0..2 => self.random.below(900_000),
            2..5 => self.random.below(20_000),
            _ => self.random.below(500),
        }
    }

    /// A client writes one request.
    fn write(&mut self, number: usize) {
        // Nobody piles up requests without end.
        if self.clients[number].sent.len() > 2_000_000 {
            return;
        }
        let key = self.random.below(KEYS);
        let (request, expected): (Vec<u8>, Option<Expected>) = match self.random.below(100) {
            0..30 => self.store_value(key),
            30..55 => (format!("get k{key}\r\n").into_bytes(), Some(Expected::Values(vec![key]))),
            55..65 => {
                let keys: Vec<usize> = (0..1 + self.random.below(60)).map(|_| self.random.below(KEYS)).collect();
                let words: Vec<String> = keys.iter().map(|key| format!("k{key}")).collect();
                let verb = ["get", "gets", "gat 0"][self.random.below(3)];
                (format!("{verb} {}\r\n", words.join(" ")).into_bytes(), Some(Expected::Values(keys)))
            }
            65..75 => (format!("mg k{key} v\r\n").into_bytes(), Some(Expected::Meta(key))),
            75..80 => {
                (format!("delete k{key}\r\n").into_bytes(), Some(Expected::Either(&[b"DELETED\r\n", b"NOT_FOUND\r\n"])))
            }
            80..84 => {
                let seconds = self.random.below(100);
                let lines: &[&[u8]] = &[b"TOUCHED\r\n", b"NOT_FOUND\r\n"];
                (format!("touch k{key} {seconds}\r\n").into_bytes(), Some(Expected::Either(lines)))
            }
            84..90 => (b"mn\r\n".to_vec(), Some(Expected::Line(b"MN\r\n".to_vec()))),
            90..92 => (b"nonsense\r\n".to_vec(), Some(Expected::Line(b"ERROR\r\n".to_vec()))),
            92..94 => {
                let answer = b"CLIENT_ERROR bad command line format\r\n".to_vec();
                (b"set k 0 0 -1\r\n".to_vec(), Some(Expected::Line(answer)))
            }
            94..96 => {
                let text = format!("set k{key} 0 0 5000000\r\n").into_bytes();
                let answer = b"SERVER_ERROR object too large for cache\r\n".to_vec();
                ([text, vec![b'x'; 5_000_002]].concat(), Some(Expected::Line(answer)))
            }
            96 => (b"flush_all\r\n".to_vec(), Some(Expected::Line(b"OK\r\n".to_vec()))),
            _ => (b"version\r\n".to_vec(), Some(Expected::Line(b"VERSION 1.6.45\r\n".to_vec()))),
        };
        // Five megabytes to be swallowed are worth testing, but not often.
        if request.len() > 1_000_000 && !self.random.chance(10) {
            return;
        }
        let client = &mut self.clients[number];
        client.sent.extend(request);
        client.expected.extend(expected);
    }

    fn store_value(&mut self, key: usize) -> (Vec<u8>, Option<Expected>) {
        let (len, version) = (self.length(), self.next_version);
        self.next_version += 1;
        self.versions.entry(key).or_default().push(version);
        let value = value_of(key, version, len);
        let exptime = [0, 0, 5, 100][self.random.below(4)];
        let meta = self.random.chance(20);
        let quiet = self.random.chance(20);
        let len = value.len();
        let line = match (meta, quiet) {
            (true, _) => format!("ms k{key} {len} T{exptime}\r\n"),
            (false, true) => format!("set k{key} 0 {exptime} {len} noreply\r\n"),
            (false, false) => {
                let verb = ["set", "add", "replace"][self.random.below(3)];
                format!("{verb} k{key} 0 {exptime} {len}\r\n")
            }
        };
        let whole = !self.random.chance(3);
        let end: &[u8] = if whole { b"\r\n" } else { b"XY" };
        let expected = match (whole, meta) {
            _ if quiet && !meta => None,
            // Memory that clients may hold can run out while others are in the middle of their values.
            (true, true) => Some(Expected::Either(&[
                b"HD\r\n",
                b"SERVER_ERROR out of memory storing object\r\n",
                b"SERVER_ERROR Out of memory during read\r\n",
            ])),
            (true, false) => Some(Expected::Either(&[
                b"STORED\r\n",
                b"NOT_STORED\r\n",
                b"SERVER_ERROR out of memory storing object\r\n",
                b"SERVER_ERROR Out of memory during read\r\n",
            ])),
            (false, _) => Some(Expected::Either(&[
                b"CLIENT_ERROR bad data chunk\r\n",
                b"SERVER_ERROR out of memory storing object\r\n",
                b"SERVER_ERROR Out of memory during read\r\n",
            ])),
        };
        ([line.into_bytes(), value, end.to_vec()].concat(), expected)
    }

    /// Some of what a client wrote arrives and is run.
    fn arrive(&mut self, number: usize) {
        let most = [1, 10, 2000, 100_000, 1_000_000][self.random.below(5)];
        let World { random, store, server, now, clients, later, .. } = self;
        let client = &mut clients[number];
        let mut cx = Context::new(store, server, &server.threads[0], *now, -1);
        let mut piece: Vec<u8> = Vec::new();
        let waits = client.conn.must_wait(*now);
        *later += usize::from(waits);
        if !client.again && client.out.is_empty() && !waits {
            let len = client.sent.len().min(1 + random.below(most));
            piece.extend(client.sent.drain(..len));
        }
        // As net does: a value goes straight into item memory, and nothing is run while replies wait.
        let mut rest = &piece[..];
        while client.unread.is_empty()
            && !rest.is_empty()
            && let Some(place) = client.conn.upload(&mut cx)
        {
            let len = place.len().min(rest.len());
            place[..len].copy_from_slice(&rest[..len]);
            client.conn.uploaded(len);
            rest = &rest[len..];
        }
        client.unread.extend_from_slice(rest);
        if !client.out.is_empty() {
            return;
        }
        let progress = client.conn.process(&client.unread, &mut client.out, &mut cx);
        client.unread.drain(..progress.consumed);
        client.again = progress.next != Next::Read;
        *later += usize::from(progress.next == Next::Later);
        assert!(matches!(progress.next, Next::Read | Next::Again | Next::Later), "{:?}", progress.next);
    }

    /// A client takes some of its replies, and judges those that are complete.
    fn take(&mut self, number: usize) {
        let World { random, clients, versions, answers, values, .. } = self;
        let client = &mut clients[number];
        let most = [1, 100, 10_000, usize::MAX][random.below(4)];
        let (_, sent) = client.out.send(most, |slices| client.received.write_vectored(slices)).expect("memory");
        assert!(sent <= most, "no more than was asked for");
        while let Some(expected) = client.expected.front() {
            let Some(len) = judge(expected, &client.received, versions, values) else { break };
            client.received.drain(..len);
            client.expected.pop_front();
            *answers += 1;
        }
        assert!(!client.expected.is_empty() || client.received.is_empty(), "an answer nobody asked for");
    }

    fn step(&mut self) {
        let number = self.random.below(CONNS);
        match self.random.below(100) {
            0..25 => {
                self.write(number);
            }
            25..65 => self.arrive(number),
            65..96 => self.take(number),
            96..98 => self.store.maintain(self.now),
            98 => {
                let ticks = self.random.below(64) as u32;
                self.now = Now::at(self.now.seconds + ticks / 32, self.now.ticks % 32);
            }
            // A client goes without a word, whatever it was in the middle of, and another one comes.
            _ if self.random.chance(10) => {
                let client = &mut self.clients[number];
                client.conn = Conn::new();
                client.out = Output::new();
                client.sent.clear();
                client.unread.clear();
                client.received.clear();
                client.expected.clear();
                client.again = false;
            }
            _ => {}
        }
    }

    /// Lets everybody finish what was begun; then nobody is owed anything, and the store is sound.
    fn settle(&mut self) {
        for turn in 0..SETTLE_TURNS {
            for number in 0..CONNS {
                self.arrive(number);
                self.take(number);
            }
            if self.clients.iter().all(|client| client.sent.is_empty() && client.out.is_empty() && !client.again) {
                break;
            }
            if turn % 50 == 49 {
                self.now = Now::at(self.now.seconds + 1, 0);
            }
        }
        for (number, client) in self.clients.iter().enumerate() {
            assert!(client.sent.is_empty(), "client {number} is not read from any more");
            assert!(client.expected.is_empty(), "client {number} waits for {:?}", client.expected.front());
        }
        assert_eq!(self.store.held_bytes(), 0, "nobody holds item memory");
        self.store.check(self.now).expect("a sound store");
    }
}

/// The length of the answer at the start of `received`, when it is complete. Panics when it is a wrong one.
fn judge(
    expected: &Expected,
    received: &[u8],
    versions: &HashMap<usize, Vec<u64>>,
    values: &mut usize,
) -> Option<usize> {
    match expected {
        Expected::Line(line) => {
            let some = line.len().min(received.len());
            assert_eq!(shown(&received[..some]), shown(&line[..some]));
            (some == line.len()).then_some(some)
        }
        Expected::Either(lines) => {
            let line = line(received)?;
            assert!(lines.contains(&line), "{} to a request that is answered by {:?}", shown(line), shown(lines[0]));
            Some(line.len())
        }
        Expected::Meta(key) => {
            let head = line(received)?;
            if head == b"EN\r\n" {
                return Some(head.len());
            }
            let len = number(head.strip_prefix(b"VA ")?.strip_suffix(b"\r\n")?);
            let value = received.get(head.len()..head.len() + len + 2)?;
            judge_value(*key, value, versions);
            *values += 1;
            Some(head.len() + len + 2)
        }
        Expected::Values(keys) => {
            let mut at = 0;
            let mut keys = keys.iter();
            let mut found = 0;
            loop {
                let head = line(&received[at..])?;
                if head == b"END\r\n" {
                    *values += found;
                    return Some(at + head.len());
                }
                let text = String::from_utf8_lossy(head).into_owned();
                let words: Vec<&str> = text.split_whitespace().collect();
                assert!(words.len() >= 4 && words[0] == "VALUE", "{text:?} where a value belongs");
                let key = words[1].strip_prefix('k').and_then(|key| key.parse().ok()).expect("a key of ours");
                assert!(keys.any(|&asked| asked == key), "{key} was not asked for, or not here");
                let len = number(words[3].as_bytes());
                let value = received.get(at + head.len()..at + head.len() + len + 2)?;
                judge_value(key, value, versions);
                found += 1;
                at += head.len() + len + 2;
            }
        }
    }
}

/// A value, with CR LF behind it: whole, of this key, and one that was sent there.
fn judge_value(key: usize, value: &[u8], versions: &HashMap<usize, Vec<u64>>) {
    let value = value.strip_suffix(b"\r\n").expect("CR LF behind a value");
    let mut parts = value.splitn(4, |&byte| byte == b':');
    let mut next = || number(parts.next().unwrap_or_default());
    let (its_key, version, len) = (next(), next() as u64, next());
    assert_eq!(its_key, key, "the value of another key");
    assert!(value == value_of(key, version, len), "a value of {len} bytes of key {key} is torn");
    assert!(versions[&key].contains(&version), "nobody ever sent version {version} to key {key}");
}

fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    Some(&bytes[..=end])
}

fn number(text: &[u8]) -> usize {
    String::from_utf8_lossy(text).parse().unwrap_or_else(|_| panic!("{} is no number", shown(text)))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).escape_debug().to_string()
}

fn simulate(seed: u64) {
    println!("MEMHOLD_SEED={seed}");
    let mut world = World::new(seed);
    for step in 1..=STEPS {
        world.step();
        if step % CHECK_EVERY == 0 {
            world.settle();
        }
    }
    let World { answers, values, later, .. } = world;
    println!("  {answers} answers, {values} values, {later} waits for memory");
    assert!(answers > 1000 && values > 100, "a world in which something happens");
}

#[test]
fn whatever_clients_do_in_whatever_order_values_are_whole_and_answers_in_order() {
    if let Some(seed) = setting::number("MEMHOLD_SEED") {
        return simulate(seed);
    }
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    let count = setting::number("MEMHOLD_SIMULATIONS").unwrap_or(2);
    (0..count).for_each(|number| simulate(time.wrapping_add(number)));
}
