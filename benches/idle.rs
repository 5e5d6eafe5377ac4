//! Measures what a crowd of idle connections costs the busy ones: server CPU time of a get over 100 connections, on a server with
//! thousands of idle clients over the same on one without, in turns.

mod support;

use std::path::Path;
use std::sync::Arc;

use memhold::tools::bench::player::Player;
use support::Failure;
use support::crowd::Crowd;
use support::options::{self, count, number};
use support::rounds::{Ratios, median_of};
use support::sample::Sample;
use support::scenario::{Scenario, World};
use support::server::{Cores, Server, allow_files};

fn main() -> Result<(), Failure> {
    let options = options::command("idle", "What idle connections cost the busy ones")
        .arg(count("idle", "18000", "idle connections"))
        .arg(count("rounds", "10", "pairs of measurements"))
        .arg(options::check())
        .get_matches();
    let is_check = options.get_flag("check");
    let (idle, rounds) =
        if is_check { (100, 1) } else { (number(&options, "idle"), number(&options, "rounds").max(1)) };
    allow_files((idle + BUSY) as usize + 500);
    let cores = Cores::claim();
    let world = World::new(KEYS, DRAWS);
    println!("| server | us/get with {idle} idle | without | ratio (lowest..highest) |\n| --- | --- | --- | --- |");
    for (name, path) in ["ours", "theirs"].iter().zip(options::servers(&options)) {
        let rounds = measure(&path, &cores, &world, idle, rounds)?;
        let [crowded, alone] = [0, 1].map(|side| median_of(rounds.iter().map(|round| round[side])));
        println!("| {name} | {crowded:.3} | {alone:.3} | {} |", Ratios::new(rounds.into_iter()).shown());
    }
    Ok(())
}

/// Microseconds of a get in each round: with the crowd, and without.
fn measure(path: &Path, cores: &Cores, world: &World, idle: u64, rounds: u64) -> Result<Vec<[f64; 2]>, Failure> {
    let limit = (idle + BUSY + 100).to_string();
    let scenario = Scenario::named("get");
    let mut sides = Vec::new();
    let mut crowd = None;
    for is_crowded in [true, false] {
        let server = Server::start(&cores.command(path), &["-t", "1", "-m", "1024", "-c", &limit])?;
        server.store(&world.sessions, None)?;
        if is_crowded {
            crowd = Some(Crowd::gather(&server, idle, true)?);
        }
        let plan = scenario.plan(world, server.target());
        let player = Player::connect(Arc::new(plan), BUSY as usize, 1)?;
        sides.push((server, player));
    }
    let mut figures = Vec::new();
    for _ in 0..rounds {
        let mut round = [0.0; 2];
        for ((server, player), figure) in sides.iter_mut().zip(&mut round) {
            let mut sample = Sample::new()?;
            for _ in 0..SLICES {
                sample.measure(server, player)?;
            }
            scenario.prove(&sample.report.counts)?;
            *figure = sample.cpu();
        }
        figures.push(round);
    }
    drop(crowd);
    Ok(figures)
}

/// Connections that ask.
const BUSY: u64 = 100;
const KEYS: u64 = 100_000;
const DRAWS: usize = 1 << 18;
/// Slices of a measurement.
const SLICES: usize = 5;
