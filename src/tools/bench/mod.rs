//! `memhold bench`: load for any server that speaks memcached's protocols, and what it makes of it.
//!
//! - [`items`]: what is stored and asked for; [`dialect`]: how, and whether the answers are right.
//! - [`player`]: a thread and its connections.
//! - here: the threads, what is shown meanwhile, and the table at the end.

pub mod dialect;
pub mod items;
pub mod player;

use super::{Failure, progress};
use crate::clock::Clock;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use dialect::{Dialect, Tally};
use hdrhistogram::Histogram;
use items::Items;
use player::{Limit, Plan, Player, Report};
use std::fmt::Write as _;
use std::thread::JoinHandle;
use std::time::Duration;

/// What was typed, checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the server is.
    pub server: String,
    /// Which protocol is spoken.
    pub dialect: Dialect,
    /// Threads of ours.
    pub threads: usize,
    /// Connections in all, at least one a thread.
    pub connections: usize,
    /// Requests in a burst.
    pub pipeline: usize,
    /// Keys in a request to read.
    pub multiget: usize,
    /// Items.
    pub keys: u64,
    /// Exponent of Zipf's distribution; 0 for none.
    pub skew: f64,
    /// Bytes of a value: least and most.
    pub value_len: (usize, usize),
    /// How many of a hundred requests store.
    pub set_percent: u64,
    /// How many of a hundred touch; both together are a hundred at most.
    pub touch_percent: u64,
    /// Requests a second over all connections; 0 for as many as the server answers.
    pub rate: u64,
    /// How long.
    pub seconds: f64,
    /// Whether all items are stored first.
    pub fill: bool,
    /// Whether the result is JSON.
    pub json: bool,
}

/// From one look of the bar to the next.
const LOOK: Duration = Duration::from_millis(200);
const MICROS: f64 = 1e6;

/// Plays, and gives the table.
///
/// # Errors
/// When the server is not there, goes away, or gives a wrong answer.
pub fn run(options: &Options) -> Result<String, Failure> {
    let bursts = options.rate as f64 / options.pipeline as f64 / options.connections as f64;
    let plan = Arc::new(Plan {
        server: options.server.clone(),
        dialect: options.dialect,
        pipeline: options.pipeline,
        multiget: options.multiget,
        set_percent: options.set_percent,
        touch_percent: options.touch_percent,
        interval_micros: if options.rate == 0 { 0.0 } else { MICROS / bursts },
        items: Items::new(options.keys, options.value_len.0, options.value_len.1, options.skew),
        clock: Clock::start(),
        answered: AtomicU64::new(0),
        broken: AtomicBool::new(false),
    });
    let mut players = Vec::new();
    for number in 0..options.threads {
        let connections = (options.connections + number) / options.threads;
        players.push(Player::connect(Arc::clone(&plan), connections, number as u64 + 1)?);
    }
    if options.fill {
        let step = options.threads as u64;
        let bar = progress::bar("storing", options.keys, false);
        players = play(players, &plan, &bar, |number| Limit::Fill { rest: number, step })?;
        bar.finish_and_clear();
        players.iter_mut().try_for_each(Player::reset)?;
    }
    let start = plan.clock.running_micros();
    let end = start + (options.seconds * MICROS) as u64;
    let bar = progress::bar("measuring", (options.seconds * options.rate as f64) as u64, false);
    plan.answered.store(0, Ordering::Relaxed);
    let players = play(players, &plan, &bar, |_| Limit::Until(end))?;
    let seconds = (plan.clock.running_micros() - start) as f64 / MICROS;
    bar.finish_and_clear();
    let mut all = Report::new()?;
    for report in players.into_iter().map(Player::into_report) {
        add(&mut all, &report)?;
    }
    Ok(if options.json { json(&all, seconds) } else { table(&all, seconds) })
}

/// Lets each player play in a thread of its own and shows how far they are.
fn play(
    players: Vec<Player>,
    plan: &Plan,
    bar: &indicatif::ProgressBar,
    limit: impl Fn(u64) -> Limit,
) -> Result<Vec<Player>, Failure> {
    let mut threads = Vec::new();
    for (number, mut player) in players.into_iter().enumerate() {
        let limit = limit(number as u64);
        let name = std::thread::Builder::new().name(format!("bench-{number}"));
        let spawned = name.spawn(move || player.play(limit).map(|()| player));
        threads.push(spawned.map_err(|error| Failure(crate::sys::reason(&error)))?);
    }
    while threads.iter().any(|thread| !thread.is_finished()) {
        std::thread::park_timeout(LOOK);
        let answered = plan.answered.load(Ordering::Relaxed);
        if bar.length().is_some_and(|length| length < answered) {
            bar.set_length(answered);
        }
        bar.set_position(answered);
    }
    let results: Vec<_> = threads.into_iter().map(finish).collect();
    // What the others say is only that one has failed.
    let first = results.iter().position(|result| matches!(result, Err(Failure(text)) if !text.starts_with("another")));
    let mut results = results;
    if let Some(first) = first {
        results.swap(0, first);
    }
    results.into_iter().collect()
}

fn finish(thread: JoinHandle<Result<Player, Failure>>) -> Result<Player, Failure> {
    thread.join().unwrap_or_else(|_| Err(Failure("a thread panicked".to_owned())))
}

fn add(all: &mut Report, one: &Report) -> Result<(), Failure> {
    let Tally { gets, hits, misses, sets, refused, touches } = one.tally;
    all.tally.gets += gets;
    all.tally.hits += hits;
    all.tally.misses += misses;
    all.tally.sets += sets;
    all.tally.refused += refused;
    all.tally.touches += touches;
    let pairs = [
        (&mut all.get_micros, &one.get_micros),
        (&mut all.set_micros, &one.set_micros),
        (&mut all.touch_micros, &one.touch_micros),
    ];
    pairs.into_iter().try_for_each(|(sum, part)| sum.add(part)).map_err(|error| Failure(error.to_string()))
}

/// What is told of each kind of request: a name, and the share of requests that took no longer.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// Each kind of request: its name, how many were answered, and how fast.
fn kinds(report: &Report) -> [(&'static str, u64, &Histogram<u64>); 3] {
    [
        ("get", report.tally.gets, &report.get_micros),
        ("set", report.tally.sets, &report.set_micros),
        ("touch", report.tally.touches, &report.touch_micros),
    ]
}

fn table(report: &Report, seconds: f64) -> String {
    let Tally { hits, misses, refused, .. } = report.tally;
    let mut out = format!("{:<5}{:>12}{:>14}", "", "requests", "per second");
    for (name, _) in QUANTILES {
        let _ = write!(out, "{name:>10}");
    }
    for (name, count, micros) in kinds(report).into_iter().filter(|(_, count, _)| *count > 0) {
        let _ = write!(out, "\n{name:<5}{count:>12}{:>14.0}", count as f64 / seconds);
        for (_, share) in QUANTILES {
            let _ = write!(out, "{:>7} µs", micros.value_at_quantile(share));
        }
    }
    let keys = (hits + misses).max(1) as f64;
    let _ = write!(
        out,
        "\nin {seconds:.1} s; {hits} of {} keys found ({:.2} %)",
        hits + misses,
        hits as f64 * 100.0 / keys
    );
    if refused > 0 {
        let _ = write!(out, "; {refused} sets were refused");
    }
    out
}

fn json(report: &Report, seconds: f64) -> String {
    let Tally { hits, misses, refused, .. } = report.tally;
    let kinds = kinds(report).map(|(name, count, micros)| {
        let quantiles = QUANTILES.map(|(name, share)| format!("\"{name}\":{}", micros.value_at_quantile(share)));
        let (per_second, quantiles) = (count as f64 / seconds, quantiles.join(","));
        format!("\"{name}\":{{\"requests\":{count},\"per_second\":{per_second:.1},\"micros\":{{{quantiles}}}}}")
    });
    let counts = format!("\"seconds\":{seconds:.3},\"hits\":{hits},\"misses\":{misses},\"refused\":{refused}");
    format!("{{{counts},{}}}", kinds.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new().unwrap();
        report.tally = Tally { gets: 3, hits: 2, misses: 1, sets: 1, refused: 1, touches: 0 };
        [10, 20, 30].into_iter().for_each(|micros| report.get_micros.record(micros).unwrap());
        report.set_micros.record(40).unwrap();
        report
    }

    #[test]
    fn the_table_has_a_line_for_each_kind() {
        let text = table(&report(), 2.0);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["requests", "per", "second", "p50", "p90", "p99", "p99.9", "max"]);
        assert_eq!(lines[1][..5], ["get", "3", "2", "20", "µs"]);
        assert_eq!(lines[2][..4], ["set", "1", "0", "40"]);
        assert_eq!(lines.len(), 4, "what was not asked for has no line");
        assert!(text.ends_with("in 2.0 s; 2 of 3 keys found (66.67 %); 1 sets were refused"), "{text}");
    }

    #[test]
    fn json_has_the_same_figures() {
        assert_eq!(
            json(&report(), 2.0),
            "{\"seconds\":2.000,\"hits\":2,\"misses\":1,\"refused\":1,\
             \"get\":{\"requests\":3,\"per_second\":1.5,\
             \"micros\":{\"p50\":20,\"p90\":30,\"p99\":30,\"p99.9\":30,\"max\":30}},\
             \"set\":{\"requests\":1,\"per_second\":0.5,\
             \"micros\":{\"p50\":40,\"p90\":40,\"p99\":40,\"p99.9\":40,\"max\":40}},\
             \"touch\":{\"requests\":0,\"per_second\":0.0,\
             \"micros\":{\"p50\":0,\"p90\":0,\"p99\":0,\"p99.9\":0,\"max\":0}}}"
        );
    }
}
