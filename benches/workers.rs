//! Measures throughput with two workers, memhold's beside memcached's, and of each over its own with one worker, in turns.
//!
//! Server and client share all cores, so this says less than CPU time does: on a machine with few of them the client is a part of the
//! figure, the same one for all servers.

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
        .arg(count("rounds", "10", "measurements of each"))
        .arg(options::check())
        .get_matches();
    let is_check = options.get_flag("check");
    let (rounds, keys) = if is_check { (1, 2_000) } else { (number(&options, "rounds").max(1), KEYS) };
    let [ours, theirs] = options::servers(&options);
    let cores = Cores { server: None };
    let world = World::new(keys, DRAWS);
    let mut servers = Vec::new();
    for (path, workers) in [(&ours, "2"), (&theirs, "2"), (&ours, "1"), (&theirs, "1")] {
        let server = Server::start(&cores.command(path), &["-t", workers, "-m", "1024"])?;
        server.store(&world.sessions, None)?;
        servers.push(server);
    }
    println!("{HEADER}");
    for name in ["get", "set", "get-16", "set-16"] {
        let scenario = Scenario::named(name);
        let mut players = Vec::new();
        for server in &servers {
            players.push(Player::connect(Arc::new(scenario.plan(&world, server.target())), scenario.connections, 1)?);
        }
        let mut figures = Vec::new();
        for _ in 0..rounds {
            let mut samples = [Sample::new()?, Sample::new()?, Sample::new()?, Sample::new()?];
            for _ in 0..SLICES {
                for ((server, player), sample) in servers.iter().zip(&mut players).zip(&mut samples) {
                    sample.measure(server, player)?;
                }
            }
            samples.iter().try_for_each(|sample| scenario.prove(&sample.report.counts))?;
            figures.push(samples.map(|sample| (sample.rate(), sample.cpu())));
        }
        let medians = |value: fn(&(f64, f64)) -> f64, digits: usize| {
            let median = |side: usize| median_of(figures.iter().map(|round| value(&round[side])));
            [0, 1, 2, 3].map(|side| format!("{:.digits$}", median(side))).join(" / ")
        };
        let (rates, costs) = (medians(|figure| figure.0, 0), medians(|figure| figure.1, 2));
        let over = |[side, other]: [usize; 2]| {
            Ratios::new(figures.iter().map(|round| [round[side].0, round[other].0])).shown()
        };
        let [both, ours, theirs] = [[0, 1], [0, 2], [1, 3]].map(over);
        println!("| {name} | {rates} | {costs} | {both} | {ours} | {theirs} |");
    }
    Ok(())
}

const HEADER: &str = "\
| scenario | thousand requests/s: ours and theirs -t 2, ours and theirs -t 1 | server CPU us/request, same order \
| ours over theirs, -t 2 | ours, -t 2 over -t 1 | theirs, -t 2 over -t 1 |
| --- | --- | --- | --- | --- | --- |";

const KEYS: u64 = 1_000_000;
const DRAWS: usize = 1 << 18;
/// Slices of a measurement.
const SLICES: usize = 5;
