//! Measures how long clients wait, memhold's beside memcached's: at half of the rate that memcached can do, and a light client beside
//! others that read in bulk.
//!
//! Latencies count from when a request was due, so whatever makes a client late is in them. The two servers take turns. Do not run it
//! with real-time priority: the kernel stops such processes for some 50 ms of each second.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use memhold::tools::bench::items::{Items, Shape};
use memhold::tools::bench::mix::Kind;
use memhold::tools::bench::player::{Limit, Plan, Player};
use memhold::tools::bench::report::Report;
use support::Failure;
use support::options::{self, count, number};
use support::rounds::{Ratios, median_of};
use support::scenario::{Scenario, World};
use support::server::{Cores, Server, run};

fn main() -> Result<(), Failure> {
    let options = options::command("latency", "Waiting at half of memcached's rate, and beside bulk readers")
        .arg(count("rounds", "10", "pairs of measurements"))
        .arg(options::check())
        .get_matches();
    let is_check = options.get_flag("check");
    let (rounds, time) = if is_check { (1, SLICE / 10) } else { (number(&options, "rounds").max(1), SLICE) };
    let cores = Cores::claim();
    println!("| | quantile | us, ours | us, theirs | ratio (lowest..highest) |\n| --- | --- | --- | --- | --- |");
    let servers = options::servers(&options);
    at_half_rate(&servers, &cores, rounds, time)?;
    beside_bulk(&servers, &cores, rounds, time)
}

/// Gets over 50 connections, at half of what memcached answered flat out just before.
fn at_half_rate(paths: &[PathBuf; 2], cores: &Cores, rounds: u64, time: Duration) -> Result<(), Failure> {
    let world = World::new(KEYS, DRAWS);
    let scenario = Scenario::named("get");
    let servers = start(paths, cores, |server| server.store(&world.sessions, None))?;
    let mut flat_out = Player::connect(Arc::new(scenario.plan(&world, servers[1].target())), scenario.connections, 1)?;
    flat_out.play(Limit::For(time * 2))?;
    let report = flat_out.take_report()?;
    drop(flat_out);
    let rate = report.requests() as f64 / report.seconds / 2.0;
    let mut players = Vec::new();
    for server in &servers {
        let interval_nanos = 1e9 * scenario.connections as f64 / rate;
        let plan = Plan { interval_nanos, ..scenario.plan(&world, server.target()) };
        players.push(Player::connect(Arc::new(plan), scenario.connections, 1)?);
    }
    let figures = in_turns(rounds, |side| {
        players[side].play(Limit::For(time))?;
        Ok(players[side].take_report()?)
    })?;
    show(&format!("get, {:.0} thousand/s", rate / 1e3), QUANTILES, &figures);
    Ok(())
}

/// One connection that asks now and then, while others ask for 2,000 keys of 4 KiB at a time.
fn beside_bulk(paths: &[PathBuf; 2], cores: &Cores, rounds: u64, time: Duration) -> Result<(), Failure> {
    let shape = Shape { head: *b"bulk4kb:", count: BULK_KEYS as u64, key_len: 24, value_len: (4096, 4096), skew: 0.0 };
    let bulk = Arc::new(Items::new(shape));
    let servers = start(paths, cores, |server| server.store(&bulk, None))?;
    let figures = in_turns(rounds, |side| {
        let plan = |multiget| Plan {
            multiget,
            replay: 2 * BULK_KEYS,
            ..Plan::new(servers[side].target(), Arc::clone(&bulk), Arc::clone(&bulk))
        };
        let mut readers = Player::connect(Arc::new(plan(BULK_KEYS)), BULK_READERS, 1)?;
        let light = Plan { interval_nanos: 1e9 / LIGHT_RATE, ..plan(1) };
        let mut light = Player::connect(Arc::new(light), 1, 2)?;
        let reading = thread::spawn(move || readers.play(Limit::For(time)));
        hurry();
        light.play(Limit::For(time.mul_f64(0.9)))?;
        reading.join().map_err(|_| "the thread of the readers panicked")??;
        Ok(light.take_report()?)
    })?;
    show("light client beside bulk readers", &QUANTILES[..2], &figures);
    Ok(())
}

fn start(
    paths: &[PathBuf; 2],
    cores: &Cores,
    fill: impl Fn(&Server) -> Result<(), Failure>,
) -> Result<Vec<Server>, Failure> {
    let begin = |path: &Path| {
        let server = Server::start(&cores.command(path), &["-t", "1", "-m", "1024"])?;
        fill(&server)?;
        Ok(server)
    };
    paths.iter().map(|path| begin(path)).collect()
}

/// What each side made of each round: ours, theirs, ours, ...
fn in_turns(
    rounds: u64,
    mut measure: impl FnMut(usize) -> Result<Report, Failure>,
) -> Result<Vec<[Report; 2]>, Failure> {
    (0..rounds).map(|_| Ok([measure(0)?, measure(1)?])).collect()
}

fn show(title: &str, quantiles: &[(&str, f64)], rounds: &[[Report; 2]]) {
    for (name, share) in quantiles.iter().copied() {
        let figures = || rounds.iter().map(|round| [0, 1].map(|side| round[side].micros(Kind::Get, share)));
        let [ours, theirs] = [0, 1].map(|side| median_of(figures().map(|round| round[side])));
        println!("| {title} | {name} | {ours:.1} | {theirs:.1} | {} |", Ratios::new(figures()).shown());
    }
    // Who was still owed an answer at the end of a turn did not ask again, and these are in no quantile.
    let [ours, theirs] = [0, 1].map(|side| {
        let sum = |count: fn(&Report) -> u64| rounds.iter().map(|round| count(&round[side])).sum::<u64>() as f64;
        let unsent = sum(|report| report.unsent);
        unsent * 100.0 / (unsent + sum(Report::requests)).max(1.0)
    });
    println!("| {title} | % due and never asked | {ours:.1} | {theirs:.1} | |");
}

/// Lets this thread run before the readers', with which it may share a core: it is the server that is to be waited for. Does nothing
/// where that is not allowed. Threads that it starts do not inherit that: in the next turn they are readers again.
fn hurry() {
    let own = fs::read_link("/proc/thread-self").unwrap_or_default();
    if let Some(thread) = own.file_name().and_then(|name| name.to_str()) {
        run("chrt", &["--reset-on-fork", "--rr", "--pid", "50", thread]);
    }
}

const KEYS: u64 = 1_000_000;
const DRAWS: usize = 1 << 18;
/// Keys in a bulk reader's request, and how many there are.
const BULK_KEYS: usize = 2_000;
const BULK_READERS: usize = 4;
/// Requests of the light client, in a second: so few that it sleeps in between, or it would keep the readers from their core.
const LIGHT_RATE: f64 = 200.0;
/// How long a server is measured at a stretch.
const SLICE: Duration = Duration::from_secs(3);
/// What is shown; the light client asks too seldom for the last.
const QUANTILES: &[(&str, f64)] = &[("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
