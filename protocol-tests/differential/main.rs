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
mod generate;

use compare::{Cases, Ids, same};
use generate::{Command, Generator};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use support::random::Random;
use support::server::{self, Server};
use support::{Link, escaped};

/// Differences after which a run stops.
const DIFFERENCES_MAX: usize = 20;
/// What is sent behind each command, so that its replies end visibly.
const FENCE: &[u8] = b"mn\r\n";
/// The answer to that.
const FENCE_ANSWER: &[u8] = b"MN\r\n";

fn main() -> ExitCode {
    let commands = setting("MEMHOLD_DIFF_COMMANDS", 20_000);
    let seed = setting("MEMHOLD_DIFF_SEED", u64::from(std::process::id()));
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

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// One of the two servers and our connection to it.
struct Side {
    server: Server,
    link: Link,
    version: String,
}

impl Side {
    fn start(binary: &Path, flags: &[&str]) -> Side {
        let server = Server::start(binary, flags);
        Side { link: server.connect(), version: server.version(), server }
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
        // Without the background threads memcached never holds an item while we increment it, which would change the padding.
        let quiet = ["-o", "no_lru_maintainer,no_lru_crawler", "-m", "512"];
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
            side.link.ask(b"flush_all\r\n", b"\r\n");
        }
    }
}

fn shortened(bytes: &[u8]) -> String {
    escaped(bytes).chars().take(400).collect()
}
