//! What is asked of the server: one row for each scenario, and the requests they are made of.
//!
//! The requests of a scenario are drawn once, by the same seed, so every server gets the same ones in the same order.

use super::keys::{Key, key, mark, push_value};
use super::random::{Random, Zipf};
use super::script::Script;

/// A kind of load.
pub struct Scenario {
    pub name: &'static str,
    /// How many connections carry it.
    pub connections: usize,
    /// How much of what is counted there is in a reply, and its name.
    pub unit: Unit,
    /// Draws the requests.
    pub script: fn(&World) -> Script,
}

/// What costs are given for.
pub struct Unit {
    pub name: &'static str,
    /// How many of them one reply is.
    pub per_reply: f64,
}

/// The items a server holds, and who is asked for.
pub struct World {
    sessions: u64,
    counters: u64,
    /// Requests drawn for each scenario.
    draws: usize,
    zipf: Zipf,
}

/// Every scenario, in the order of the table.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "get", connections: MANY, unit: OP, script: |w| w.gets(1, Script::get) },
    Scenario { name: "set", connections: MANY, unit: OP, script: |w| w.sets(1) },
    Scenario { name: "get-16", connections: MANY, unit: OP, script: |w| w.gets(16, Script::get) },
    Scenario { name: "get-64", connections: MANY, unit: OP, script: |w| w.gets(64, Script::get) },
    Scenario { name: "mg-16", connections: MANY, unit: OP, script: |w| w.gets(16, Script::meta_get) },
    Scenario { name: "binary-getq-16", connections: MANY, unit: OP, script: |w| w.quiet_gets(16) },
    Scenario { name: "miss-16", connections: MANY, unit: OP, script: |w| w.misses(16) },
    Scenario { name: "miss-64", connections: MANY, unit: OP, script: |w| w.misses(64) },
    Scenario { name: "multiget-100", connections: MANY, unit: KEY, script: |w| w.multigets(100) },
    Scenario { name: "incr-16", connections: MANY, unit: OP, script: |w| w.incrs(16) },
    Scenario { name: "set-16", connections: MANY, unit: OP, script: |w| w.sets(16) },
    Scenario { name: "get-100k", connections: FEW, unit: KB_OF_100K, script: |w| w.large_gets(&LARGE[0]) },
    Scenario { name: "set-100k", connections: FEW, unit: KB_OF_100K, script: |w| w.large_sets(&LARGE[0]) },
    Scenario { name: "get-1m", connections: FEW, unit: KB_OF_1M, script: |w| w.large_gets(&LARGE[1]) },
    Scenario { name: "set-1m", connections: FEW, unit: KB_OF_1M, script: |w| w.large_sets(&LARGE[1]) },
    Scenario { name: LATENCY, connections: 1, unit: OP, script: |w| w.gets(1, Script::get) },
];

/// The scenario that is about the time from request to reply.
pub const LATENCY: &str = "latency";

impl Scenario {
    /// Whether it is about operations rather than about bytes.
    pub fn is_small(&self) -> bool {
        self.unit.per_reply == 1.0
    }
}

impl World {
    /// `sessions` items of 100 bytes, a tenth as many counters, some large items; `draws` requests a scenario.
    pub fn new(sessions: u64, draws: usize) -> World {
        let counters = (sessions / 10).max(1);
        World { sessions, counters, draws, zipf: Zipf::new(sessions, ZIPF_EXPONENT) }
    }

    /// What stores every item, a part at a time so that the requests need not be in memory all at once.
    pub fn fill(&self) -> impl Iterator<Item = Script> {
        let sessions = in_parts(self.sessions, |script, number| {
            script.set(&key(SESSION, number), SESSION_LEN);
        });
        let counters = in_parts(self.counters, |script, number| {
            script.set_counter(&key(COUNTER, number));
        });
        let large = LARGE.iter().map(|large| self.large_sets(large));
        sessions.chain(counters).chain(large)
    }

    fn gets(&self, depth: usize, get: fn(&mut Script, &Key, usize)) -> Script {
        self.drawn(depth, |script, random| get(script, &key(SESSION, self.zipf.draw(random)), SESSION_LEN))
    }

    fn sets(&self, depth: usize) -> Script {
        self.drawn(depth, |script, random| script.set(&key(SESSION, self.zipf.draw(random)), SESSION_LEN))
    }

    fn misses(&self, depth: usize) -> Script {
        self.drawn(depth, |script, random| script.miss(&key(ABSENT, random.below(self.sessions))))
    }

    /// As binary clients read many keys: quiet gets, and a noop whose answer says that all have come.
    fn quiet_gets(&self, keys: usize) -> Script {
        let mut script = Script::new();
        let mut random = Random::new(SEED);
        for _ in 0..self.draws / keys {
            for _ in 0..keys {
                script.binary(0x09, &key(SESSION, self.zipf.draw(&mut random)), 4 + SESSION_LEN);
            }
            script.binary(0x0a, b"", 0);
            script.end_burst();
        }
        script
    }

    fn incrs(&self, depth: usize) -> Script {
        self.drawn(depth, |script, random| script.incr(&key(COUNTER, self.zipf.draw(random) % self.counters)))
    }

    fn multigets(&self, keys: usize) -> Script {
        let mut script = Script::new();
        let mut random = Random::new(SEED);
        for _ in 0..self.draws / keys {
            let keys: Vec<Key> = (0..keys).map(|_| key(SESSION, self.zipf.draw(&mut random))).collect();
            script.multiget(&keys, SESSION_LEN);
            script.end_burst();
        }
        script
    }

    fn large_gets(&self, large: &Large) -> Script {
        let mut script = Script::new();
        for number in 0..large.count {
            script.get(&key(large.prefix, number), large.len);
            script.end_burst();
        }
        script
    }

    fn large_sets(&self, large: &Large) -> Script {
        let mut script = Script::new();
        for number in 0..large.count {
            script.set(&key(large.prefix, number), large.len);
            script.end_burst();
        }
        script
    }

    fn drawn(&self, depth: usize, mut request: impl FnMut(&mut Script, &mut Random)) -> Script {
        let mut script = Script::new();
        let mut random = Random::new(SEED);
        for _ in 0..self.draws / depth {
            for _ in 0..depth {
                request(&mut script, &mut random);
            }
            script.end_burst();
        }
        script
    }
}

/// Scripts that together make one request for every number below `count`.
pub fn in_parts(count: u64, request: impl Fn(&mut Script, u64)) -> impl Iterator<Item = Script> {
    (0..count).step_by(FILL_PART as usize).map(move |start| {
        let mut script = Script::new();
        let end = count.min(start + FILL_PART);
        for burst in (start..end).step_by(FILL_DEPTH as usize) {
            for number in burst..end.min(burst + FILL_DEPTH) {
                request(&mut script, number);
            }
            script.end_burst();
        }
        script
    })
}

/// The requests and what memcached answers to them.
impl Script {
    pub fn get(&mut self, key: &Key, len: usize) {
        self.request(|out| put(out, &[b"get ", key, b"\r\n"]));
        self.value(key, len, b"\r\nEND\r\n");
    }

    pub fn multiget(&mut self, keys: &[Key], len: usize) {
        self.request(|out| {
            out.extend_from_slice(b"get");
            for key in keys {
                put(out, &[b" ", key]);
            }
            out.extend_from_slice(b"\r\n");
        });
        for (number, key) in keys.iter().enumerate() {
            let last = number + 1 == keys.len();
            self.value(key, len, if last { b"\r\nEND\r\n" } else { b"\r\n" });
        }
    }

    pub fn meta_get(&mut self, key: &Key, len: usize) {
        self.request(|out| put(out, &[b"mg ", key, b" v\r\n"]));
        let mark = mark(key, len);
        self.reply(&[format!("VA {len}\r\n").as_bytes(), mark], len - mark.len(), b"\r\n");
    }

    pub fn miss(&mut self, key: &Key) {
        self.request(|out| put(out, &[b"get ", key, b"\r\n"]));
        self.reply(&[], 0, b"END\r\n");
    }

    pub fn set(&mut self, key: &[u8], len: usize) {
        self.request(|out| {
            put(out, &[b"set ", key, format!(" 0 0 {len}\r\n").as_bytes()]);
            push_value(out, key, len);
            out.extend_from_slice(b"\r\n");
        });
        self.reply(&[], 0, b"STORED\r\n");
    }

    pub fn set_counter(&mut self, key: &Key) {
        let (digits, skip) = COUNTER_START;
        let zeros = &b"0000000000000000"[..skip];
        let len = digits.len() + skip;
        self.request(|out| put(out, &[b"set ", key, format!(" 0 0 {len}\r\n").as_bytes(), digits, zeros, b"\r\n"]));
        self.reply(&[], 0, b"STORED\r\n");
    }

    pub fn incr(&mut self, key: &Key) {
        self.request(|out| put(out, &[b"incr ", key, b" 1\r\n"]));
        let (digits, skip) = COUNTER_START;
        self.reply(&[digits], skip, b"\r\n");
    }

    /// A frame without extras or value, answered by a body of so many bytes. What is checked is the header up to the CAS.
    fn binary(&mut self, opcode: u8, key: &[u8], body: usize) {
        let key_len = (key.len() as u16).to_be_bytes();
        let key_body = (key.len() as u32).to_be_bytes();
        self.request(|out| put(out, &[&[0x80, opcode], &key_len, &[0; 4], &key_body, &[0; 12], key]));
        let extras = if body > 0 { 4 } else { 0 };
        let body_len = (body as u32).to_be_bytes();
        self.reply(&[&[0x81, opcode, 0, 0, extras, 0, 0, 0], &body_len, &[0; 4]], 8 + body, b"");
    }

    fn value(&mut self, key: &[u8], len: usize, tail: &'static [u8]) {
        let mark = mark(key, len);
        let header = format!(" 0 {len}\r\n");
        self.reply(&[b"VALUE ", key, header.as_bytes(), mark], len - mark.len(), tail);
    }
}

fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// Items that are not small.
struct Large {
    prefix: [u8; 8],
    len: usize,
    count: u64,
}

/// As many as make some tens of megabytes, so that they do not stay in a core's own cache.
const LARGE: [Large; 2] = [
    Large { prefix: *b"big100k:", len: 100_000, count: 400 },
    Large { prefix: *b"big1mil:", len: 1_000_000, count: 64 },
];

const SESSION: [u8; 8] = *b"session:";
const COUNTER: [u8; 8] = *b"counter:";
const ABSENT: [u8; 8] = *b"absent::";

/// The value length of the small items, in bytes.
const SESSION_LEN: usize = 100;

/// Where counters start: these digits, then so many zeros. Nobody counts far enough to touch the digits, so the
/// length of a reply is known although its last digits are not.
const COUNTER_START: (&[u8], usize) = (b"1000", 14);

/// As the popularity of keys in memcached traffic is usually modelled.
const ZIPF_EXPONENT: f64 = 0.99;

const SEED: u64 = 11211;

const MANY: usize = 50;
const FEW: usize = 10;

const OP: Unit = Unit { name: "op", per_reply: 1.0 };
const KEY: Unit = Unit { name: "key", per_reply: 1.0 };
const KB_OF_100K: Unit = Unit { name: "kB", per_reply: 100.0 };
const KB_OF_1M: Unit = Unit { name: "kB", per_reply: 1000.0 };

/// Items stored by one script of a fill.
const FILL_PART: u64 = 1 << 17;

/// Sets in one burst of a fill.
const FILL_DEPTH: u64 = 64;
