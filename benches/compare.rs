//! Measures the server CPU time of an operation, memhold's beside memcached's, in turns on the same core.
//!
//! Both servers run all the time, hold the same items and get the same requests; a round measures one and the other in
//! turns of a tenth of a second, and what counts is the ratio within a round, since the machine's mood changes between
//! rounds. The ratio is memhold's cost over memcached's: 0.5 is half. `--check` only looks at the replies.

#[allow(dead_code, reason = "each bench uses a part")]
mod load;
#[allow(dead_code, reason = "each bench uses a part")]
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};

use load::client::{Client, Limit};
use load::histogram::Histogram;
use load::scenario::{LATENCY, SCENARIOS, Scenario, World};
use load::script::Script;
use server::{Cores, Failure, Server};

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
    // Memory stands still once the hash table has stopped growing.
    server.resident_bytes()?;
    Ok(server)
}

/// All rounds of a scenario.
fn compare(scenario: &Scenario, world: &World, servers: [&Server; 2], options: &Options) -> Result<Vec<Row>, Failure> {
    let script = (scenario.script)(world);
    let mut sides = Vec::new();
    for server in servers {
        sides.push((server, Client::connect(server.address, scenario.connections)?));
    }
    let slices = options.time.div_duration_f64(SLICE).ceil() as usize;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let mut round = [Sample::default(), Sample::default()];
        for _ in 0..slices {
            for ((server, client), sample) in sides.iter_mut().zip(&mut round) {
                sample.measure(server, client, &script)?;
            }
        }
        rounds.push(round);
    }
    let mut rows = vec![Row::new(scenario, "cpu", &rounds, Sample::cpu)];
    if scenario.name == LATENCY {
        rows.push(Row::new(scenario, "p50", &rounds, Sample::p50));
        rows.push(Row::new(scenario, "p99", &rounds, Sample::p99));
    }
    Ok(rows)
}

/// What one server did in a round. Functions give microseconds, for one reply.
#[derive(Default)]
struct Sample {
    replies: u64,
    elapsed: Duration,
    /// Server CPU time, in nanoseconds.
    nanoseconds: u64,
    /// The kernel's guess at where it was spent, by looking every tick.
    user_ticks: u64,
    ticks: u64,
    latencies: Histogram,
}

impl Sample {
    /// Adds a slice of load.
    fn measure(&mut self, server: &Server, client: &mut Client, script: &Script) -> Result<(), Failure> {
        // Brings the server's memory back into the caches after the other one's turn.
        client.run(script, Limit::Time(SLICE / 10))?;
        let before = server.cpu()?;
        let outcome = client.run(script, Limit::Time(SLICE))?;
        let after = server.cpu()?;
        self.replies += outcome.replies;
        self.elapsed += outcome.elapsed;
        self.nanoseconds += after.nanoseconds - before.nanoseconds;
        self.user_ticks += after.user_ticks - before.user_ticks;
        self.ticks += after.ticks - before.ticks;
        self.latencies.add(&outcome.latencies);
        Ok(())
    }

    fn cpu(&self) -> f64 {
        self.nanoseconds as f64 / self.replies as f64 / 1e3
    }

    fn p50(&self) -> f64 {
        self.latencies.quantile(0.50) as f64 / 1e3
    }

    fn p99(&self) -> f64 {
        self.latencies.quantile(0.99) as f64 / 1e3
    }

    /// Thousands of replies a second.
    fn rate(&self) -> f64 {
        self.replies as f64 / self.elapsed.as_secs_f64() / 1e3
    }

    /// The share of the time in which the server was on a core.
    fn busy(&self) -> f64 {
        self.nanoseconds as f64 / self.elapsed.as_nanos() as f64
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
    fn new(scenario: &Scenario, measure: &'static str, rounds: &[[Sample; 2]], value: fn(&Sample) -> f64) -> Row {
        let medians = |value: fn(&Sample) -> f64| {
            [0, 1].map(|side| median(&sorted(rounds.iter().map(|round| value(&round[side])))))
        };
        let per_unit = 1.0 / scenario.unit.per_reply;
        let microseconds = medians(value).map(|per_reply| per_reply * per_unit);
        let sum =
            |side: usize, ticks: fn(&Sample) -> u64| -> u64 { rounds.iter().map(|round| ticks(&round[side])).sum() };
        let user = [0, 1].map(|side| {
            let ticks = sum(side, |sample| sample.ticks).max(1);
            microseconds[side] * sum(side, |sample| sample.user_ticks) as f64 / ticks as f64
        });
        Row {
            scenario: scenario.name,
            measure,
            unit: scenario.unit.name,
            microseconds,
            user,
            rate: medians(Sample::rate).map(|replies| replies / per_unit),
            busy: medians(Sample::busy),
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

/// How long a server is measured at a stretch. Shorter ones share the noise more evenly, but leave less time between
/// the caches' getting warm again.
const SLICE: Duration = Duration::from_millis(100);

/// Requests drawn for a scenario: enough that the popular items are popular and the others come once.
const DRAWS: usize = 1 << 19;
