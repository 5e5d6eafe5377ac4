//! Measures the server CPU time of an operation, memhold's beside memcached's, in turns on the same core.
//!
//! Both servers run all the time, hold the same items and get the same requests; a round measures one and the other in
//! turns of a tenth of a second, and what counts is the ratio within a round, since the machine's mood changes between
//! rounds. The ratio is memhold's cost over memcached's: 0.5 is half. `--check` only looks at the replies.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};

use memhold::tools::bench::mix::Kind;
use memhold::tools::bench::player::{Limit, Player};
use memhold::tools::bench::usage::Cpu;
use support::Failure;
use support::options::{self, number};
use support::rounds::{Ratios, median_of};
use support::sample::{SLICE, Sample};
use support::scenario::{LATENCY, SCENARIOS, Scenario, World};
use support::server::{Cores, Server};

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if options.check {
        return check(&options);
    }
    let cores = Cores::claim();
    eprintln!("filling both servers");
    let world = World::new(options.keys, DRAWS);
    let [ours, theirs] = &options.servers;
    let (ours, theirs) = (start(ours, &cores, &world)?, start(theirs, &cores, &world)?);
    if !options.json {
        println!("{HEADER}");
    }
    for scenario in options.scenarios() {
        for row in compare(scenario, &world, [&ours, &theirs], &options)? {
            println!("{}", if options.json { row.json() } else { row.markdown() });
        }
    }
    Ok(())
}

/// Plays every scenario once against each server there is.
fn check(options: &Options) -> Result<(), Failure> {
    let cores = Cores { server: None };
    let world = World::new(2_000, 6_400);
    let [ours, theirs] = &options.servers;
    if !theirs.exists() {
        println!("{} is not there: left out", theirs.display());
    }
    for path in [ours, theirs].into_iter().filter(|path| *path == ours || path.exists()) {
        let server = start(path, &cores, &world)?;
        for scenario in options.scenarios() {
            let mut player = connect(scenario, &world, &server)?;
            player.play(Limit::Bursts(scenario.bursts(&world)))?;
            let report = player.take_report()?;
            let (requests, expected) = (report.requests(), scenario.bursts(&world) * scenario.pipeline as u64);
            scenario.prove(&report.counts)?;
            if requests != expected {
                return Err(format!("{}: {requests} of {expected} requests", scenario.name).into());
            }
            println!("{}: {requests} requests of {} answered as expected", path.display(), scenario.name);
        }
    }
    Ok(())
}

fn start(path: &Path, cores: &Cores, world: &World) -> Result<Server, Failure> {
    let server = Server::start(&cores.command(path), &["-t", "1", "-m", "1024"])?;
    server.fill(world)?;
    // Memory stands still once the hash table has stopped growing.
    server.resident_bytes()?;
    Ok(server)
}

fn connect(scenario: &Scenario, world: &World, server: &Server) -> Result<Player, Failure> {
    Ok(Player::connect(Arc::new(scenario.plan(world, server.target())), scenario.connections, 1)?)
}

/// All rounds of a scenario.
fn compare(scenario: &Scenario, world: &World, servers: [&Server; 2], options: &Options) -> Result<Vec<Row>, Failure> {
    let mut sides = Vec::new();
    for server in servers {
        sides.push((server, connect(scenario, world, server)?));
    }
    let slices = options.time.div_duration_f64(SLICE).ceil() as usize;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let mut round = [Sample::new()?, Sample::new()?];
        for _ in 0..slices {
            for ((server, player), sample) in sides.iter_mut().zip(&mut round) {
                sample.measure(server, player)?;
            }
        }
        round.iter().try_for_each(|sample| scenario.prove(&sample.report.counts))?;
        rounds.push(round);
    }
    let mut rows = vec![Row::new(scenario, "cpu", &rounds, Sample::cpu)];
    if scenario.name == LATENCY {
        rows.push(Row::new(scenario, "p50", &rounds, |sample| sample.report.micros(Kind::Get, 0.5)));
        rows.push(Row::new(scenario, "p99", &rounds, |sample| sample.report.micros(Kind::Get, 0.99)));
    }
    Ok(rows)
}

/// A line of the result: medians over the rounds, ours first.
struct Row {
    scenario: &'static str,
    /// What was measured: `cpu`, or a quantile of the time to reply.
    measure: &'static str,
    unit: &'static str,
    microseconds: [f64; 2],
    user: [f64; 2],
    rate: [f64; 2],
    busy: [f64; 2],
    ratios: Ratios,
}

impl Row {
    fn new(scenario: &Scenario, measure: &'static str, rounds: &[[Sample; 2]], value: fn(&Sample) -> f64) -> Row {
        let medians =
            |value: fn(&Sample) -> f64| [0, 1].map(|side| median_of(rounds.iter().map(|round| value(&round[side]))));
        let (unit, units) = scenario.unit();
        let microseconds = medians(value).map(|each| each / units);
        let user = [0, 1].map(|side| {
            let cpu = rounds.iter().fold(Cpu::default(), |sum, round| sum.and(round[side].cpu));
            microseconds[side] * cpu.user_share()
        });
        Row {
            scenario: scenario.name,
            measure,
            unit,
            microseconds,
            user,
            rate: medians(Sample::rate).map(|requests| requests * units),
            busy: medians(Sample::busy),
            ratios: Ratios::new(rounds.iter().map(|[ours, theirs]| [value(ours), value(theirs)])),
        }
    }

    fn markdown(&self) -> String {
        let [ours, theirs] = self.microseconds;
        let measured = format!("| {} | {} us/{}", self.scenario, self.measure, self.unit);
        let costs = format!("| {ours:.3} | {theirs:.3} | {}", self.ratios.shown());
        if self.measure != "cpu" {
            return format!("{measured} {costs} | | | |");
        }
        let [user, rate, busy] = [(self.user, 3), (self.rate, 0), (self.busy, 2)]
            .map(|([ours, theirs], digits)| format!("{ours:.digits$} / {theirs:.digits$}"));
        format!("{measured} {costs} | {user} | {rate} | {busy} |")
    }

    fn json(&self) -> String {
        let [ours, theirs] = [0, 1].map(|side| {
            format!(
                "{{\"microseconds\":{:.4},\"user\":{:.4},\"thousands_per_second\":{:.1},\"busy\":{:.3}}}",
                self.microseconds[side], self.user[side], self.rate[side], self.busy[side]
            )
        });
        let Row { scenario, measure, unit, ratios, .. } = self;
        format!(
            "{{\"scenario\":\"{scenario}\",\"measure\":\"{measure}\",\"unit\":\"{unit}\",\"ours\":{ours},\"theirs\":{theirs},\
             \"ratio\":{:.4},\"ratio_min\":{:.4},\"ratio_max\":{:.4},\"rounds\":{}}}",
            ratios.median(),
            ratios.lowest(),
            ratios.highest(),
            ratios.len()
        )
    }
}

struct Options {
    servers: [PathBuf; 2],
    rounds: usize,
    time: Duration,
    keys: u64,
    names: Vec<String>,
    json: bool,
    check: bool,
}

impl Options {
    fn parse() -> Options {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        let only = Arg::new("scenario").long("scenario").num_args(1..).action(ArgAction::Append);
        let length = Arg::new("seconds").long("seconds").default_value("1").value_parser(seconds);
        let mut matches: ArgMatches =
            options::command("compare", "Server CPU time of an operation, beside memcached's")
                .arg(options::count("rounds", "5", "pairs of measurements"))
                .arg(length.help("length of a measurement"))
                .arg(options::count("keys", "1000000", "small items held"))
                .arg(only.value_parser(names).help("only these"))
                .arg(options::flag("json", "a JSON object for each line of the table"))
                .arg(options::check())
                .get_matches();
        Options {
            servers: options::servers(&matches),
            rounds: number(&matches, "rounds").max(1) as usize,
            time: matches.remove_one("seconds").unwrap_or(SLICE),
            keys: number(&matches, "keys").max(1),
            names: matches.remove_many("scenario").into_iter().flatten().collect(),
            json: matches.get_flag("json"),
            check: matches.get_flag("check"),
        }
    }

    fn scenarios(&self) -> impl Iterator<Item = &'static Scenario> {
        let wanted =
            |scenario: &&Scenario| self.names.is_empty() || self.names.iter().any(|name| name == scenario.name);
        SCENARIOS.iter().filter(wanted)
    }
}

fn seconds(typed: &str) -> Result<Duration, &'static str> {
    let seconds = typed.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 1e6);
    seconds.map(Duration::from_secs_f64).ok_or("not a number of seconds above 0")
}

const HEADER: &str = "\
| scenario | measure | ours | theirs | ratio (lowest..highest) | of it user, ours / theirs \
| thousand units/s, ours / theirs | server busy, ours / theirs |
| --- | --- | --- | --- | --- | --- | --- | --- |";

/// Items drawn for a scenario: enough that the popular ones are popular and the others come once.
const DRAWS: usize = 1 << 19;
