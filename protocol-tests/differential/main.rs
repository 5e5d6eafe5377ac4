//! Sends the same random commands to our server and to a real memcached, in lock step, and compares every reply and every
//! closed connection.
//!
//! The commands come from a seed, valid and invalid ones mixed (`generate.rs`); replies may differ in what must differ (CAS ids, which are
//! kept as pairs, and a second of clock) and in what section 17 of the reference lists, each by a rule that names its row
//! (`compare.rs`). What would leave the two with different items afterwards is not generated: the transcripts cover it.
//!
//! `MEMHOLD_DIFF_COMMANDS` (20,000) says how many, `MEMHOLD_DIFF_SEED` repeats a run. With `MEMHOLD_TEST_BINARY` set to memcached itself
//! the harness proves itself: no difference.

#[path = "../support/mod.rs"]
mod support;

mod compare;
mod frames;
mod generate;

use compare::{Cases, Ids, same};
use frames::Frame;
use generate::{Command, Generator};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use support::random::Random;
use support::server::{self, Server};
use support::{Link, escaped, setting};

/// Differences after which a run stops.
const DIFFERENCES_MAX: usize = 20;
/// What is sent behind each command, so that its replies end visibly.
const FENCE: &[u8] = b"mn\r\n";
/// The answer to that.
const FENCE_ANSWER: &[u8] = b"MN\r\n";

fn main() -> ExitCode {
    let commands = setting::number("MEMHOLD_DIFF_COMMANDS").unwrap_or(20_000);
    let seed = setting::number("MEMHOLD_DIFF_SEED").unwrap_or_else(|| std::process::id().into());
    let Some(peer) = server::memcached() else {
        return ExitCode::SUCCESS;
    };
    println!("differential: seed {seed}, {commands} commands");
    let started = Instant::now();
    let mut run = Run::new(&server::memhold(), &peer, seed);
    while run.done < commands && run.differences < DIFFERENCES_MAX {
        run.batch();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "differential: {} commands in {seconds:.1} s, {} closed connections, {} explained by section 17, {} differences (seed {seed})",
        run.done, run.closed, run.cases.explained, run.differences
    );
    println!("{} commands, {} differences", run.done, run.differences);
    if run.differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One of the two servers and our connection to it.
struct Side {
    server: Server,
    link: Link,
    /// The one that speaks binary.
    frames: Link,
    version: String,
}

impl Side {
    fn start(binary: &Path, flags: &[&str]) -> Side {
        let server = Server::start(binary, flags);
        Side { link: server.connect(), frames: server.connect(), version: server.version(), server }
    }

    /// Reads until `count` fences were answered or the connection ends; gives what was said before each.
    fn replies(&mut self, count: usize) -> Vec<Vec<u8>> {
        // Only an answer that ends in a fence is looked through: some are tens of megabytes.
        self.link.read_until(|bytes| bytes.ends_with(FENCE_ANSWER) && fences(bytes).count() >= count);
        let bytes = self.link.take();
        let mut from = 0;
        let mut parts: Vec<Vec<u8>> = Vec::with_capacity(count);
        for at in fences(&bytes) {
            parts.push(bytes[from..at].to_vec());
            from = at + FENCE_ANSWER.len();
        }
        if parts.len() < count {
            parts.push(bytes[from..].to_vec());
        }
        parts
    }
}

impl Side {
    /// The same in the binary protocol.
    fn frame_replies(&mut self, count: usize) -> Vec<Vec<u8>> {
        let (mut parts, mut part) = (Vec::with_capacity(count), Vec::new());
        let mut at = 0;
        self.frames.read_until(|bytes| {
            while let Some(length) = frames::len(&bytes[at..]).filter(|length| at + length <= bytes.len()) {
                let frame = &bytes[at..at + length];
                at += length;
                if frame == frames::FENCE_ANSWER {
                    parts.push(std::mem::take(&mut part));
                } else {
                    part.extend_from_slice(frame);
                }
            }
            parts.len() >= count
        });
        if parts.len() < count {
            part.extend_from_slice(&self.frames.received[at..]);
            parts.push(part);
        }
        self.frames.take();
        parts
    }
}

/// Where `MN` stands on a line of its own. Generated values never hold it.
fn fences(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    bytes
        .windows(FENCE_ANSWER.len())
        .enumerate()
        .filter(move |(at, window)| *window == FENCE_ANSWER && (*at == 0 || bytes[at - 1] == b'\n'))
        .map(|(at, _)| at)
}

/// Both servers, the generator and the score.
struct Run {
    ours: Side,
    theirs: Side,
    random: Random,
    generator: Generator,
    ids: Ids,
    cases: Cases,
    done: u64,
    closed: u64,
    differences: usize,
    recent: Vec<String>,
}

impl Run {
    fn new(ours: &Path, theirs: &Path, seed: u64) -> Run {
        // Without the background threads, and with one worker for both connections, memcached never holds an item while we
        // increment it, which would change the padding.
        let quiet = ["-o", "no_lru_maintainer,no_lru_crawler", "-m", "512", "-t", "1"];
        let ours = Side::start(ours, if ours == theirs { &quiet } else { &["-m", "512", "-f", "1.25"] });
        let theirs = Side::start(theirs, &quiet);
        println!("differential: {} beside {}", ours.version, theirs.version);
        Run {
            ours,
            theirs,
            random: Random::new(seed),
            generator: Generator::default(),
            ids: Ids::default(),
            cases: Cases::default(),
            done: 0,
            closed: 0,
            differences: 0,
            recent: Vec::new(),
        }
    }

    /// A few commands in one write, and their replies.
    fn batch(&mut self) {
        if self.random.chance(30) {
            return self.frame_batch();
        }
        let mut commands = Vec::new();
        let size = 1 + self.random.below(24);
        while commands.len() < size {
            let command = self.generator.next(&mut self.random, &self.ids);
            if command.alone {
                self.exchange(&commands);
                self.exchange(&[command]);
                return;
            }
            commands.push(command);
        }
        self.exchange(&commands);
    }

    fn exchange(&mut self, commands: &[Command]) {
        if commands.is_empty() {
            return;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for command in commands {
            ours.extend_from_slice(&command.ours);
            theirs.extend_from_slice(&command.theirs);
            if !command.closes {
                ours.extend_from_slice(FENCE);
                theirs.extend_from_slice(FENCE);
            }
        }
        // Two writes now and then, so that lines and data blocks arrive in pieces.
        let cut = if self.random.chance(30) { self.random.below(ours.len()) } else { 0 };
        self.ours.link.send(&ours[..cut]);
        self.theirs.link.send(&theirs);
        self.ours.link.send(&ours[cut..]);
        let count = commands.len();
        let (said, expected) = (self.ours.replies(count), self.theirs.replies(count));
        self.done += count as u64;
        for (index, command) in commands.iter().enumerate() {
            let empty = Vec::new();
            let pair = (said.get(index).unwrap_or(&empty), expected.get(index).unwrap_or(&empty));
            if !self.judge(command, pair.0, pair.1) {
                // What follows in this burst may be off by one reply; it would only repeat the news.
                self.same_start();
                return;
            }
        }
        self.reconnect(commands);
    }

    /// The same in the binary protocol, over the same items.
    fn frame_batch(&mut self) {
        let size = 1 + self.random.below(24);
        let mut batch: Vec<Frame> = (0..size).map(|_| frames::next(&mut self.random, &self.ids)).collect();
        if self.random.chance(5) {
            // memcached loses what it has said before it hangs up.
            batch = vec![frames::malformed(&mut self.random)];
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for frame in &batch {
            ours.extend_from_slice(&frame.ours);
            theirs.extend_from_slice(&frame.theirs);
            if !frame.closes {
                ours.extend(frames::FENCE);
                theirs.extend(frames::FENCE);
            }
        }
        let cut = if self.random.chance(30) { self.random.below(ours.len()) } else { 0 };
        self.ours.frames.send(&ours[..cut]);
        self.theirs.frames.send(&theirs);
        self.ours.frames.send(&ours[cut..]);
        let count = batch.len();
        let (said, expected) = (self.ours.frame_replies(count), self.theirs.frame_replies(count));
        self.done += count as u64;
        for (index, frame) in batch.iter().enumerate() {
            let empty = Vec::new();
            let pair = (said.get(index).unwrap_or(&empty), expected.get(index).unwrap_or(&empty));
            self.recent.push(shortened(&frame.ours));
            if !frames::same(pair.0, pair.1, &mut self.ids) {
                self.differences += 1;
                println!("DIFFERENCE {} after {} commands, in binary", self.differences, self.done);
                println!("  sent   {}", shortened(&frame.ours));
                println!("  ours   {}\n  theirs {}", shortened(pair.0), shortened(pair.1));
                let before = self.recent.iter().rev().skip(1).take(6).collect::<Vec<_>>();
                before.iter().rev().for_each(|earlier| println!("    before: {earlier}"));
                return self.same_start();
            }
        }
        let should_close = batch.iter().any(|frame| frame.closes);
        let ends = if should_close {
            (self.ours.frames.reaches_end(), self.theirs.frames.reaches_end())
        } else {
            (self.ours.frames.closed, self.theirs.frames.closed)
        };
        if ends != (should_close, should_close) {
            self.differences += 1;
            println!("DIFFERENCE: closed (ours, theirs) = {ends:?} after {}", shortened(&batch[count - 1].ours));
        }
        if ends != (false, false) {
            self.closed += 1;
            self.ours.frames = self.ours.server.connect();
            self.theirs.frames = self.theirs.server.connect();
        }
    }

    /// Compares the replies to one command, and reports a difference. Whether they agree.
    fn judge(&mut self, command: &Command, said: &[u8], expected: &[u8]) -> bool {
        self.recent.push(shortened(&command.ours));
        let versions = (self.ours.version.as_str(), self.theirs.version.as_str());
        let agrees = match &command.rule {
            None => same(said, expected, &mut self.ids),
            Some(rule) => self.cases.agree(rule, versions, (said, expected), &mut self.ids),
        };
        if !agrees {
            self.differences += 1;
            println!("DIFFERENCE {} after {} commands", self.differences, self.done);
            println!("  sent   {}", shortened(&command.ours));
            println!("  ours   {}\n  theirs {}", shortened(said), shortened(expected));
            let common = said.iter().zip(expected).take_while(|(left, right)| left == right).count();
            println!("  {} and {} bytes, alike up to {common}", said.len(), expected.len());
            let words = |text: &str| -> Vec<String> { text.split([' ', '\\']).map(str::to_owned).collect() };
            let key = words(&shortened(&command.ours)).get(1).cloned().unwrap_or_default();
            let touching = self.recent.iter().rev().skip(1).filter(|earlier| words(earlier).contains(&key)).take(12);
            for earlier in touching.collect::<Vec<_>>().iter().rev() {
                println!("    before: {earlier}");
            }
        }
        if self.recent.len() > 2000 {
            self.recent.drain(..1000);
        }
        agrees
    }

    /// New connections where commands close them; the two must agree on that too.
    fn reconnect(&mut self, commands: &[Command]) {
        let should_close = commands.iter().any(|command| command.closes);
        let ends = if should_close {
            (self.ours.link.reaches_end(), self.theirs.link.reaches_end())
        } else {
            (self.ours.link.closed, self.theirs.link.closed)
        };
        if ends != (should_close, should_close) {
            self.differences += 1;
            println!(
                "DIFFERENCE: closed (ours, theirs) = {ends:?} after {}",
                shortened(&commands[commands.len() - 1].ours)
            );
        }
        if ends != (false, false) {
            self.closed += 1;
            self.ours.link = self.ours.server.connect();
            self.theirs.link = self.theirs.server.connect();
        }
    }

    /// After a difference: nothing stored on either side, new connections.
    fn same_start(&mut self) {
        for side in [&mut self.ours, &mut self.theirs] {
            side.link = side.server.connect();
            side.frames = side.server.connect();
            side.link.ask(b"flush_all\r\n", b"\r\n");
        }
    }
}

fn shortened(bytes: &[u8]) -> String {
    escaped(bytes).chars().take(400).collect()
}
