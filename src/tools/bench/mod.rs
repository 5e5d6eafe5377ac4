//! `memhold bench`: load for any server that speaks memcached's protocols, and what it makes of it. The same engine drives `benches/`.
//!
//! - [`items`]: what is stored and asked for; [`mix`]: which requests; [`dialect`]: how they are spelled.
//! - [`outgoing`], [`replies`]: what a connection sends, and what comes back, checked.
//! - [`player`]: a thread and its connections; [`pace`]: when it sends, and until when.
//! - [`usage`]: what the server used. [`report`]: what came of it.
//! - [`options`]: the command line. Here: the threads, and what is shown meanwhile.

pub mod dialect;
pub mod items;
pub mod mix;
pub mod options;
pub mod outgoing;
pub mod pace;
pub mod player;
pub mod replies;
pub mod report;
pub mod usage;

use super::{Failure, progress};
use crate::sync::{Arc, Ordering};
use crate::sys::reason;
use items::{Items, Shape};
use options::Options;
use player::{Limit, Plan, Player};
use report::Report;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;
use usage::Cpu;

/// What the keys of items begin with, and those of counters.
const HEADS: [&[u8; items::HEAD_LEN]; 2] = [b"memhold:", b"counter:"];
/// A counter for so many items.
const ITEMS_PER_COUNTER: u64 = 10;
/// From one look of the bar to the next.
const LOOK: Duration = Duration::from_millis(200);
const NANOS: f64 = 1e9;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// Plays, and gives the table.
///
/// # Errors
/// When the server is not there, goes away, or gives a wrong answer.
pub fn run(options: &Options) -> Result<String, Failure> {
    // Before anything is stored: a process that is not there is known at once.
    let pid = options.pid;
    pid.map(Cpu::of).transpose().map_err(|error| unseen(options, &error))?;
    let plan = Arc::new(plan(options));
    let mut unfilled = 0;
    let mut players = Vec::new();
    for number in 0..options.threads {
        let connections = (options.connections + number) / options.threads;
        players.push(Player::connect(Arc::clone(&plan), connections, number as u64 + 1)?);
    }
    if options.fill {
        let step = options.threads as u64;
        let bar = progress::bar("storing", options.keys, false);
        let stored = || bar.set_position(plan.answered.load(Ordering::Relaxed));
        players = play(players, stored, |number| Limit::Fill { rest: number, step })?;
        bar.finish_and_clear();
        for player in &mut players {
            unfilled += player.take_report()?.counts.refused;
        }
    }
    let time = Duration::from_secs_f64(options.seconds);
    let bar = progress::timed(time.as_millis() as u64);
    plan.answered.store(0, Ordering::Relaxed);
    let used = pid.map(Cpu::of).transpose().map_err(|error| unseen(options, &error))?;
    let start = plan.clock.running_nanos();
    let mut last = (start, 0);
    let measured = || {
        let (now, answered) = (plan.clock.running_nanos(), plan.answered.load(Ordering::Relaxed));
        let rate = (answered - last.1) as f64 * NANOS / (now - last.0).max(1) as f64;
        last = (now, answered);
        bar.set_position((now - start) / NANOS_PER_MILLI);
        bar.set_message(format!("{answered} requests, {rate:.0}/s"));
    };
    let players = play(players, measured, |_| Limit::For(time))?;
    bar.finish_and_clear();
    let mut all = Report { unfilled, ..Report::new()? };
    if let (Some(pid), Some(before)) = (pid, used) {
        all.server = Some(Cpu::of(pid).map_err(|error| unseen(options, &error))?.since(before));
    }
    for mut player in players {
        all.add(&player.take_report()?)?;
    }
    Ok(if options.json { all.json() } else { all.table() })
}

fn plan(options: &Options) -> Plan {
    let bursts = options.rate as f64 / options.pipeline as f64 / options.connections as f64;
    let Options { key_len, value_len, skew, keys: count, .. } = *options;
    let shape = Shape { head: *HEADS[0], count, key_len, value_len, skew };
    // What a counter is stored as is the dialect's.
    let counters =
        Shape { head: *HEADS[1], count: count.div_ceil(ITEMS_PER_COUNTER), value_len: (0, 0), skew: 0.0, ..shape };
    Plan {
        dialect: options.dialect,
        mix: options.mix,
        pipeline: options.pipeline,
        multiget: options.multiget,
        interval_nanos: if options.rate == 0 { 0.0 } else { NANOS / bursts },
        awake: options.awake,
        ..Plan::new(options.target.clone(), Arc::new(Items::new(shape)), Arc::new(Items::new(counters)))
    }
}

fn unseen(options: &Options, error: &io::Error) -> Failure {
    Failure(format!("--pid {}: {}", options.pid.unwrap_or_default(), reason(error)))
}

/// Lets each player play in a thread of its own, and calls `look` meanwhile.
fn play(players: Vec<Player>, mut look: impl FnMut(), limit: impl Fn(u64) -> Limit) -> Result<Vec<Player>, Failure> {
    let mut threads = Vec::new();
    for (number, mut player) in players.into_iter().enumerate() {
        let limit = limit(number as u64);
        let name = std::thread::Builder::new().name(format!("bench-{number}"));
        let spawned = name.spawn(move || player.play(limit).map(|()| player));
        threads.push(spawned.map_err(|error| Failure(reason(&error)))?);
    }
    while threads.iter().any(|thread| !thread.is_finished()) {
        std::thread::park_timeout(LOOK);
        look();
    }
    let mut results: Vec<_> = threads.into_iter().map(finish).collect();
    // What the others say is only that one has failed.
    let first = results.iter().position(|result| matches!(result, Err(Failure(text)) if text != player::ANOTHER));
    if let Some(first) = first {
        results.swap(0, first);
    }
    results.into_iter().collect()
}

fn finish(thread: JoinHandle<Result<Player, Failure>>) -> Result<Player, Failure> {
    thread.join().unwrap_or_else(|_| Err(Failure("a thread panicked".to_owned())))
}
