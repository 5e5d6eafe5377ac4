//! Measures how soon the memory of expired items comes back, and what that costs: ten million items, of which one after the other
//! expires within a minute, in a server that has nothing else to do.
//!
//! Before that the server stands still for a while with all of them, so that the cost of looking for what has expired is told apart from
//! that of taking it away.

mod support;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::ArgMatches;

use support::Failure;
use support::bulk::{Bulk, Kind, unix_time};
use support::options::{self, count, number};
use support::server::Server;

fn main() -> Result<(), Failure> {
    let options = options::command("expiry", "Memory that comes back when items expire")
        .arg(count("items", "10000000", "items stored"))
        .arg(count("seconds", "60", "time within which they expire"))
        .arg(options::check())
        .get_matches();
    println!(
        "| | items | % of a core while nothing expires | µs for an expired item | % of a core if all live 30 minutes | late by | left |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, path) in ["memhold", "memcached"].iter().zip(options::servers(&options)) {
        Run::new(&options).play(name, &path)?;
    }
    Ok(())
}

/// So many items, of 8-byte values, that expire within so many seconds, and the time before that.
struct Run {
    items: u64,
    seconds: u64,
    quiet: u64,
}

impl Run {
    fn new(options: &ArgMatches) -> Run {
        if options.get_flag("check") {
            return Run { items: 10_000, seconds: 2, quiet: 1 };
        }
        Run { items: number(options, "items").max(1), seconds: number(options, "seconds").max(1), quiet: QUIET_SECONDS }
    }

    fn play(&self, name: &str, path: &Path) -> Result<(), Failure> {
        let kind = Kind { prefix: "session", count: self.items, value_len: 8 };
        let (server, mut bulk, first) = self.store(&kind, path)?;
        let (start, began) = (server.cpu()?.nanos, unix_time());
        thread::sleep(Duration::from_secs_f64((first as f64 - began).max(0.0)));
        let (quiet, passed) = (server.cpu()?.nanos, unix_time() - began);
        let mut late: f64 = 0.0;
        while unix_time() < (first + self.seconds + GRACE_SECONDS) as f64 {
            thread::sleep(Duration::from_millis(250));
            late = late.max(self.late(first, server.stat("curr_items")?));
        }
        let idle = (quiet - start) as f64 / 1e9 / passed;
        let used = (server.cpu()?.nanos - quiet) as f64 / 1e9 - idle * (self.seconds + GRACE_SECONDS) as f64;
        let left = server.stat("curr_items")?;
        let steady = idle + used / LIFE_SECONDS;
        let each = used * 1e6 / self.items as f64;
        let (idle, steady) = (idle * 100.0, steady * 100.0);
        // However long the memory takes to come back: nobody finds what is over.
        let sample = 0..self.items.min(SAMPLE);
        let over = Instant::now();
        while bulk.found(&kind, sample.clone())? > 0 {
            if over.elapsed() > PATIENCE {
                return Err(format!("{name}: items are found {} s after they expired", PATIENCE.as_secs()).into());
            }
        }
        println!("| {name} | {} | {idle:.2} | {each:.2} | {steady:.2} | {late:.1} s | {left} |", self.items);
        Ok(())
    }

    /// A server with all items, and the second from which they expire. Where storing took longer than was foreseen it is done again,
    /// with more time for it.
    fn store(&self, kind: &Kind, path: &Path) -> Result<(Server, Bulk, u64), Failure> {
        let mut needed = self.items as f64 / STORED_PER_SECOND;
        loop {
            let server = Server::start(&[path.as_os_str()], &["-m", "2048", "-t", "1"])?;
            let mut bulk = Bulk::open(&server)?;
            let began = unix_time();
            let first = (began + needed + self.quiet as f64).ceil() as u64;
            bulk.set(kind, 0..self.items, |number| first + number % self.seconds)?;
            let held = server.stat("curr_items")?;
            if unix_time() + self.quiet as f64 > first as f64 {
                needed = (unix_time() - began) * 2.0;
            } else if held == self.items {
                return Ok((server, bulk, first));
            } else {
                return Err(format!("{}: {held} items of {} are left", path.display(), self.items).into());
            }
        }
    }

    /// By how many seconds the server is behind that still counts so many items.
    fn late(&self, first: u64, counted: u64) -> f64 {
        // Those of one second expire together, at its beginning.
        let gone = self.items.saturating_sub(counted) * self.seconds / self.items.max(1);
        let now = unix_time() - first as f64;
        if gone >= self.seconds { 0.0 } else { (now - gone as f64).max(0.0) }
    }
}

/// Items stored in a second, as is foreseen, so that the first does not expire before the last is stored.
const STORED_PER_SECOND: f64 = 200_000.0;

/// Seconds in which all items are there and nothing expires, at least.
const QUIET_SECONDS: u64 = 10;

/// A usual time to live.
const LIFE_SECONDS: f64 = 1800.0;

/// Seconds for the last items to go.
const GRACE_SECONDS: u64 = 3;

/// How many are looked for when all have expired, and for how long.
const SAMPLE: u64 = 100_000;
const PATIENCE: Duration = Duration::from_secs(60);
