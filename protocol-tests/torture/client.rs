//! One client: keys that are its own, batches of random operations on them, and what it may expect of each.

use crate::model::{Answer, Item, Known, Operation, value_of};
use crate::random::Random;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Operations sent before their answers are read.
const BATCH: usize = 40;
/// Of a client's keys, how many hold large values, and how many expire soon.
const LARGE: usize = 12;
const FLEETING: usize = 60;
/// Keys asked for at a time.
const ASKED: usize = 200;

/// The second by the clock on the wall.
pub fn second() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub struct Client {
    name: usize,
    known: Vec<Known>,
    random: Random,
    version: u64,
    /// The server may evict.
    evicts: bool,
    /// Bytes of small values are below this; changed from round to round, so that pages move.
    pub small: usize,
    /// Operations acknowledged.
    pub done: u64,
    /// Of those, refused for want of memory.
    pub refused: u64,
}

/// What happened on the way.
pub enum End {
    /// The connection ended, as it does when the server dies.
    Cut,
    /// The server said something it must not say.
    Wrong(String),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> End {
        End::Cut
    }
}

impl Client {
    pub fn new(name: usize, keys: usize, seed: u64, evicts: bool) -> Client {
        let known = vec![Known::certain(None); keys];
        Client {
            name,
            known,
            random: Random::new(seed + name as u64),
            version: 0,
            evicts,
            small: 400,
            done: 0,
            refused: 0,
        }
    }

    fn key(&self, number: usize) -> String {
        format!("{}:{number}", self.name)
    }

    /// Everything was flushed.
    pub fn forget(&mut self) {
        self.known.fill(Known::certain(None));
    }

    /// Works until the connection ends. Whatever was sent and not answered is suspected.
    pub fn work(&mut self, address: SocketAddr) -> Result<(), String> {
        loop {
            match self.connect(address).and_then(|mut stream| self.work_on(&mut stream)) {
                Ok(()) => {}
                Err(End::Cut) => return Ok(()),
                Err(End::Wrong(text)) => return Err(text),
            }
        }
    }

    fn connect(&self, address: SocketAddr) -> Result<BufReader<TcpStream>, End> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(BufReader::with_capacity(1 << 16, stream))
    }

    fn work_on(&mut self, stream: &mut BufReader<TcpStream>) -> Result<(), End> {
        loop {
            let mut bytes = Vec::new();
            let mut sent = Vec::with_capacity(BATCH);
            for _ in 0..BATCH {
                let number = self.choose();
                let operation = self.invent(number);
                spell(&self.key(number), &operation, &mut bytes);
                sent.push((number, operation));
            }
            let mut answered = 0;
            let outcome = self.exchange(stream, &bytes, &sent, &mut answered);
            for (number, operation) in &sent[answered..] {
                self.known[*number].suspect(operation, self.evicts);
            }
            outcome?;
        }
    }

    fn exchange(
        &mut self,
        stream: &mut BufReader<TcpStream>,
        bytes: &[u8],
        sent: &[(usize, Operation)],
        answered: &mut usize,
    ) -> Result<(), End> {
        stream.get_mut().write_all(bytes)?;
        for (number, operation) in sent {
            let answer = read_answer(stream)?;
            *answered += 1;
            let key = self.key(*number);
            let known = self.known[*number].acknowledge(operation, answer, self.evicts);
            known.map_err(|text| End::Wrong(format!("{key}: {text}")))?;
            self.done += 1;
            self.refused += u64::from(answer == Answer::NoMemory);
        }
        Ok(())
    }

    fn choose(&mut self) -> usize {
        if self.random.chance(2) {
            return self.random.below(LARGE);
        }
        LARGE + self.random.below(self.known.len() - LARGE)
    }

    fn invent(&mut self, number: usize) -> Operation {
        let now = second();
        self.version += 1;
        let last = self.known.len() - FLEETING;
        if number >= last {
            // These are only set: nobody knows whether they are still there.
            let exptime = now + 1 + self.random.below(3) as u64;
            return Operation::Set { item: Item { exptime, ..self.item(number, now) }, meta: true };
        }
        if number % 16 == 5 {
            return match self.random.below(8) {
                0..4 => Operation::Increase(self.random.next() % 1000),
                4..6 => Operation::Decrease(self.random.next() % 1000),
                _ => {
                    let value = (self.random.next() % 10_000_000).to_string().into_bytes();
                    Operation::Set { item: Item { value, ..self.item(number, now) }, meta: false }
                }
            };
        }
        let item = self.item(number, now);
        let long = self.known[number].sample().is_some_and(|item| item.value.len() > 300_000);
        match self.random.below(20) {
            0..5 => Operation::Set { item, meta: false },
            5..9 => Operation::Set { item, meta: true },
            9 => Operation::Add(item),
            10 => Operation::Replace(item),
            11..13 => {
                let known = self.known[number].sample().and_then(|item| item.cas);
                Operation::Cas { item, cas: known.unwrap_or(u64::MAX) }
            }
            13 | 14 if !long => {
                let more = value_of("+", self.version, 1 + self.random.below(60));
                if self.random.chance(50) { Operation::Append(more) } else { Operation::Prepend(more) }
            }
            15 => Operation::Touch(self.exptime(now)),
            16 => Operation::MarkStale,
            _ => Operation::Delete,
        }
    }

    fn exptime(&mut self, now: u64) -> u64 {
        if self.random.chance(50) { 0 } else { now + 1000 + self.random.below(100_000) as u64 }
    }

    fn item(&mut self, number: usize, now: u64) -> Item {
        let len = if number < LARGE { 5_000 + self.random.below(250_000) } else { self.random.below(self.small) };
        let flags = if self.random.chance(50) { 0 } else { self.random.next() as u32 };
        let value = value_of(&self.key(number), self.version, len);
        Item { value, flags, exptime: self.exptime(now), cas: None, stale: false }
    }

    /// Reads every key and compares; afterwards it is known exactly.
    pub fn verify(&mut self, address: SocketAddr) -> Result<u64, String> {
        let lost = |_: End| "the connection ended".to_owned();
        let mut stream = self.connect(address).map_err(lost)?;
        let mut present = 0;
        for start in (0..self.known.len()).step_by(ASKED) {
            let end = (start + ASKED).min(self.known.len());
            let asked: Vec<u8> =
                (start..end).flat_map(|number| format!("mg {} v f t c\r\n", self.key(number)).into_bytes()).collect();
            let first = second();
            stream.get_mut().write_all(&asked).map_err(|error| error.to_string())?;
            for number in start..end {
                let read = read_item(&mut stream).map_err(|end| match end {
                    End::Cut => "the connection ended".to_owned(),
                    End::Wrong(text) => text,
                })?;
                present += u64::from(read.is_some());
                let (item, ttl) = read.map_or((None, 0), |(item, ttl)| (Some(item), ttl));
                let key = self.key(number);
                let known = self.known[number].check(item.as_ref(), (first, second()), ttl, self.evicts);
                known.map_err(|text| format!("{key}: {text}"))?;
            }
        }
        Ok(present)
    }
}

/// An operation as bytes.
fn spell(key: &str, operation: &Operation, out: &mut Vec<u8>) {
    let mut store = |verb: &str, item: &Item, behind: String| {
        let head = format!("{verb} {key} {} {} {}{behind}\r\n", item.flags, item.exptime, item.value.len());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&item.value);
        out.extend_from_slice(b"\r\n");
    };
    let more = |value: &[u8]| Item { value: value.to_vec(), flags: 0, exptime: 0, cas: None, stale: false };
    match operation {
        Operation::Set { item, meta: false } => store("set", item, String::new()),
        Operation::Add(item) => store("add", item, String::new()),
        Operation::Replace(item) => store("replace", item, String::new()),
        Operation::Cas { item, cas } => store("cas", item, format!(" {cas}")),
        Operation::Append(value) => store("append", &more(value), String::new()),
        Operation::Prepend(value) => store("prepend", &more(value), String::new()),
        Operation::Set { item, meta: true } => {
            let head = format!("ms {key} {} F{} T{} c\r\n", item.value.len(), item.flags, item.exptime);
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&item.value);
            out.extend_from_slice(b"\r\n");
        }
        Operation::Increase(by) => out.extend_from_slice(format!("incr {key} {by}\r\n").as_bytes()),
        Operation::Decrease(by) => out.extend_from_slice(format!("decr {key} {by}\r\n").as_bytes()),
        Operation::Touch(exptime) => out.extend_from_slice(format!("touch {key} {exptime}\r\n").as_bytes()),
        Operation::Delete => out.extend_from_slice(format!("delete {key}\r\n").as_bytes()),
        Operation::MarkStale => out.extend_from_slice(format!("md {key} I\r\n").as_bytes()),
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> Result<String, End> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(End::Cut);
    }
    line.pop();
    String::from_utf8(line).map_err(|_| End::Wrong("a line that is no text".to_owned()))
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> Result<Answer, End> {
    let line = read_line(stream)?;
    let mut words = line.split(' ');
    let first = words.next().unwrap_or_default();
    Ok(match first {
        "STORED" | "DELETED" | "TOUCHED" => Answer::Done(None),
        "HD" => Answer::Done(words.next().and_then(|word| word.strip_prefix('c')).and_then(|cas| cas.parse().ok())),
        "NOT_STORED" | "NS" => Answer::NotStored,
        "NOT_FOUND" | "NF" => Answer::NotFound,
        "EXISTS" | "EX" => Answer::Exists,
        "SERVER_ERROR" => Answer::NoMemory,
        "CLIENT_ERROR" if line.contains("non-numeric") => Answer::NoNumber,
        number if number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty() => Answer::Done(None),
        _ => return Err(End::Wrong(format!("the answer {line:?}"))),
    })
}

/// An item and the seconds left to it.
fn read_item(stream: &mut BufReader<TcpStream>) -> Result<Option<(Item, i64)>, End> {
    let line = read_line(stream)?;
    let mut words = line.split(' ');
    if words.next() != Some("VA") {
        return if line == "EN" { Ok(None) } else { Err(End::Wrong(format!("the answer {line:?}"))) };
    }
    let len: usize = words.next().and_then(|word| word.parse().ok()).ok_or(End::Cut)?;
    let mut item = Item { value: vec![0; len], flags: 0, exptime: 0, cas: None, stale: false };
    let mut ttl = 0;
    for word in words {
        match word.split_at(1) {
            ("f", flags) => item.flags = flags.parse().unwrap_or(u32::MAX),
            ("t", left) => ttl = left.parse().unwrap_or(i64::MIN),
            ("c", cas) => item.cas = cas.parse().ok(),
            ("X", "") => item.stale = true,
            _ => {}
        }
    }
    stream.read_exact(&mut item.value)?;
    let mut ending = [0; 2];
    stream.read_exact(&mut ending)?;
    Ok(Some((item, ttl)))
}
