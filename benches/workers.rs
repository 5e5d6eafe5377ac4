//! Measures throughput with two workers, memhold's beside memcached's and beside memhold's own with one, in turns.
//!
//! Server and client share all cores, so this says less than CPU time does: on a machine with few of them the client is a part of the
//! figure, the same one for all three servers.

mod support;

use std::sync::Arc;

use memhold::tools::bench::player::Player;
use support::Failure;
use support::options::{self, count, number};
use support::rounds::{Ratios, median_of};
use support::sample::Sample;
use support::scenario::{Scenario, World};
use support::server::{Cores, Server};

fn main() -> Result<(), Failure> {
    let options = options::command("workers", "Throughput with two workers, beside memcached's and beside one worker")
        .arg(count("rounds", "10", "triples of measurements"))
        .get_matches();
    let is_check = options.get_flag("check");
    let (rounds, keys) = if is_check { (1, 2_000) } else { (number(&options, "rounds").max(1), KEYS) };
    let [ours, theirs] = options::servers(&options);
    let cores = Cores { server: None };
    let world = World::new(keys, DRAWS);
    let mut servers = Vec::new();
    for (path, workers) in [(&ours, "2"), (&theirs, "2"), (&ours, "1")] {
        let server = Server::start(&cores.command(path), &["-t", workers, "-m", "1024"])?;
        server.store(&world.sessions, None)?;
        servers.push(server);
    }
    println!(
        "| scenario | thousand requests/s, ours -t 2 / theirs -t 2 / ours -t 1 | us/request | ours over theirs | -t 2 over -t 1 |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for name in ["get", "set", "get-16", "set-16"] {
        let scenario = Scenario::named(name);
        let mut players = Vec::new();
        for server in &servers {
            players.push(Player::connect(Arc::new(scenario.plan(&world, server.target())), scenario.connections, 1)?);
        }
        let mut figures = Vec::new();
        for _ in 0..rounds {
            let mut samples = [Sample::new()?, Sample::new()?, Sample::new()?];
            for _ in 0..SLICES {
                for ((server, player), sample) in servers.iter().zip(&mut players).zip(&mut samples) {
                    sample.measure(server, player)?;
                }
            }
            figures.push(samples.map(|sample| (sample.rate(), sample.cpu())));
        }
        let rates =
            [0, 1, 2].map(|side| format!("{:.0}", median_of(figures.iter().map(|round| round[side].0)))).join(" / ");
        let costs =
            [0, 1, 2].map(|side| format!("{:.2}", median_of(figures.iter().map(|round| round[side].1)))).join(" / ");
        let over = |other: usize| Ratios::new(figures.iter().map(|round| [round[0].0, round[other].0])).shown();
        println!("| {name} | {rates} | {costs} | {} | {} |", over(1), over(2));
    }
    Ok(())
}

const KEYS: u64 = 1_000_000;
const DRAWS: usize = 1 << 18;
/// Slices of a measurement.
const SLICES: usize = 5;
