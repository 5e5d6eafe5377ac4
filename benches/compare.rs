//! Measures the server CPU time of an operation, memhold's beside memcached's, in turns on the same core.
//!
//! Both servers run all the time, hold the same items and get the same requests; each round measures one and then the
//! other, and what counts is the ratio within a round, since the machine's mood changes between rounds. The ratio is
//! memhold's cost over memcached's: 0.5 is half. `--check` only looks at the replies.

#[allow(dead_code, reason = "each bench uses a part")]
mod load;
#[allow(dead_code, reason = "each bench uses a part")]
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};

use load::client::{Client, Limit, Outcome};
use load::scenario::{LATENCY, SCENARIOS, Scenario, World};
use server::{Cores, Cpu, Failure, Server};

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if options.check {
        return check(&options);
    }
    let cores = Cores::claim();
    eprintln!("filling both servers");
    let world = World::new(options.keys, DRAWS);
    let ours = start(&options.ours, &cores, &world)?;
    let theirs = start(&options.theirs, &cores, &world)?;
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
    let servers = [&options.ours, &options.theirs];
    for path in servers.into_iter().filter(|path| path.exists()) {
        let server = start(path, &cores, &world)?;
        for scenario in options.scenarios() {
            let script = (scenario.script)(&world);
            let mut client = Client::connect(server.address, scenario.connections)?;
            let outcome = client.run(&script, Limit::Once)?;
            if outcome.replies != script.replies() as u64 {
                return Err(format!("{}: {} replies", scenario.name, outcome.replies).into());
            }
            println!("{}: {} replies to {} as expected", path.display(), outcome.replies, scenario.name);
        }
    }
    Ok(())
}

fn start(path: &Path, cores: &Cores, world: &World) -> Result<Server, Failure> {
    let server = Server::start(&cores.command(path), &["-t", "1", "-m", "1024"])?;
    server.play(world.fill())?;
    Ok(server)
}

/// All rounds of a scenario.
fn compare(scenario: &Scenario, world: &World, servers: [&Server; 2], options: &Options) -> Result<Vec<Row>, Failure> {
    let script = (scenario.script)(world);
    let mut sides = Vec::new();
    for server in servers {
        let mut client = Client::connect(server.address, scenario.connections)?;
        client.run(&script, Limit::Time(options.time / 4))?;
        sides.push((server, client));
    }
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let mut round = Vec::new();
        for (server, client) in &mut sides {
            let before = server.cpu()?;
            let outcome = client.run(&script, Limit::Time(options.time))?;
            round.push(Sample::new(scenario, before, server.cpu()?, &outcome));
        }
        rounds.push(round);
    }
    let mut rows = vec![Row::new(scenario, "cpu", &rounds, |sample| sample.cpu)];
    if scenario.name == LATENCY {
        rows.push(Row::new(scenario, "p50", &rounds, |sample| sample.p50));
        rows.push(Row::new(scenario, "p99", &rounds, |sample| sample.p99));
    }
    Ok(rows)
}

/// One server in one round; times in microseconds.
struct Sample {
    /// Server CPU time per unit.
    cpu: f64,
    /// The part of it spent in the server's own code, by the kernel's ticks: a guess, but a sum of many.
    user: f64,
    /// Thousands of units a second.
    rate: f64,
    /// The share of the time in which the server was busy.
    busy: f64,
    p50: f64,
    p99: f64,
}

impl Sample {
    fn new(scenario: &Scenario, before: Cpu, after: Cpu, outcome: &Outcome) -> Sample {
        let units = outcome.replies as f64 * scenario.unit.per_reply;
        let microseconds = (after.nanoseconds - before.nanoseconds) as f64 / 1e3;
        let ticks = (after.ticks - before.ticks).max(1) as f64;
        let cpu = microseconds / units;
        let elapsed = outcome.elapsed.as_secs_f64();
        Sample {
            cpu,
            user: cpu * (after.user_ticks - before.user_ticks) as f64 / ticks,
            rate: units / elapsed / 1e3,
            busy: microseconds / 1e6 / elapsed,
            p50: outcome.latencies.quantile(0.50) as f64 / 1e3,
            p99: outcome.latencies.quantile(0.99) as f64 / 1e3,
        }
    }
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
    /// Ours over theirs of each round, sorted.
    ratios: Vec<f64>,
}

impl Row {
    fn new(scenario: &Scenario, measure: &'static str, rounds: &[Vec<Sample>], value: fn(&Sample) -> f64) -> Row {
        let medians = |value: fn(&Sample) -> f64| {
            [0, 1].map(|side| median(&sorted(rounds.iter().map(|round| value(&round[side])))))
        };
        Row {
            scenario: scenario.name,
            measure,
            unit: scenario.unit.name,
            microseconds: medians(value),
            user: medians(|sample| sample.user),
            rate: medians(|sample| sample.rate),
            busy: medians(|sample| sample.busy),
            ratios: sorted(rounds.iter().map(|round| value(&round[0]) / value(&round[1]))),
        }
    }

    fn markdown(&self) -> String {
        let [ours, theirs] = self.microseconds;
        let ratio = format!("**{:.2}** ({:.2}..{:.2})", self.median(), self.lowest(), self.highest());
        let measured = format!("| {} | {} us/{}", self.scenario, self.measure, self.unit);
        let costs = format!("| {ours:.3} | {theirs:.3} | {ratio}");
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
        format!(
            "{{\"scenario\":\"{}\",\"measure\":\"{}\",\"unit\":\"{}\",\"ours\":{ours},\"theirs\":{theirs},\
             \"ratio\":{:.4},\"ratio_min\":{:.4},\"ratio_max\":{:.4},\"rounds\":{}}}",
            self.scenario,
            self.measure,
            self.unit,
            self.median(),
            self.lowest(),
            self.highest(),
            self.ratios.len()
        )
    }

    fn median(&self) -> f64 {
        median(&self.ratios)
    }

    fn lowest(&self) -> f64 {
        self.ratios[0]
    }

    fn highest(&self) -> f64 {
        self.ratios[self.ratios.len() - 1]
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

struct Options {
    ours: PathBuf,
    theirs: PathBuf,
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
        let value = |name: &'static str, default: &'static str, help: &'static str| {
            Arg::new(name).long(name).default_value(default).help(help)
        };
        let flag =
            |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
        let mut matches = Command::new("compare")
            .about("Server CPU time of an operation, memhold's beside memcached's")
            .arg(value("ours", OURS, "the server to look at").value_parser(value_parser!(PathBuf)))
            .arg(value("theirs", THEIRS, "the server to compare with").value_parser(value_parser!(PathBuf)))
            .arg(value("rounds", "5", "pairs of measurements").value_parser(value_parser!(u64).range(1..=1000)))
            .arg(value("seconds", "1", "length of a measurement").value_parser(value_parser!(f64)))
            .arg(value("keys", "1000000", "small items held").value_parser(value_parser!(u64).range(1..)))
            .arg(
                Arg::new("scenario")
                    .long("scenario")
                    .num_args(1..)
                    .action(ArgAction::Append)
                    .value_parser(names)
                    .help("only these"),
            )
            .arg(flag("json", "a JSON object for each line of the table"))
            .arg(flag("check", "look at the replies only, briefly and without timing"))
            .arg(flag("bench", "ignored; cargo passes it").hide(true))
            .get_matches();
        let path = |matches: &mut clap::ArgMatches, name| matches.remove_one(name).unwrap_or_default();
        let seconds: f64 = matches.remove_one("seconds").unwrap_or(1.0);
        Options {
            ours: path(&mut matches, "ours"),
            theirs: path(&mut matches, "theirs"),
            rounds: matches.remove_one::<u64>("rounds").unwrap_or(1) as usize,
            time: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1)),
            keys: matches.remove_one("keys").unwrap_or(1),
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

const OURS: &str = env!("CARGO_BIN_EXE_memhold");
const THEIRS: &str = "/usr/bin/memcached";

const HEADER: &str = "\
| scenario | measure | ours | theirs | ratio (lowest..highest) | of it user, ours / theirs \
| thousand units/s, ours / theirs | server busy, ours / theirs |
| --- | --- | --- | --- | --- | --- | --- | --- |";

/// Requests drawn for a scenario: enough that the popular items are popular and the others come once.
const DRAWS: usize = 1 << 19;
