//! Measures how much of what is asked for a full cache finds: memhold beside memcached with the same resident memory, on traces that are
//! the same in every run, and beside what other policies would find in as many bytes.
//!
//! `--simulate` leaves the servers out. Times to live are real seconds, so two of the traces take a minute each.

mod policies;
mod support;

use std::path::{Path, PathBuf};
use std::thread;

use clap::{Arg, ArgMatches};

use memhold::tools::trace::generate::{ROWS, Row};
use memhold::tools::trace::replay::{Outcome, replay};
use memhold::tools::trace::{Found, Trace};
use policies::{OVERHEAD, POLICIES, simulate, store};
use support::Failure;
use support::options::{self, flag};
use support::server::Server;

fn main() -> Result<(), Failure> {
    let options = options::command("eviction", "Hit ratios at equal memory")
        .arg(Arg::new("trace").long("trace").value_parser(ROWS.map(|row| row.name)).help("one of them only"))
        .arg(flag("simulate", "no servers, only simulations"))
        .arg(options::check())
        .get_matches();
    let is_check = options.get_flag("check");
    let part = if is_check { CHECK_PART } else { 1 };
    let wanted = options.get_one::<String>("trace");
    let rows = ROWS.iter().filter(|row| wanted.is_none_or(|wanted| wanted == row.name));
    let pair = if options.get_flag("simulate") { None } else { Some(Pair::new(&options)?) };
    let mut ratios = Vec::new();
    for row in rows {
        let trace = row.make(part);
        println!("\n## {}: {}\n", row.name, row.about);
        let mut table = Table::new(&trace);
        if let Some(pair) = &pair {
            let [ours, theirs] = pair.play(&trace)?;
            table.row("memhold", &ours.outcome.found, &ours.note());
            table.row("memcached", &theirs.outcome.found, &theirs.note());
            ratios.push((row, ours.misses(&trace), theirs.misses(&trace)));
            if is_check {
                compare(&trace, [&ours, &theirs])?;
            }
        }
        let capacity = MEGABYTES << 20;
        table.row("memhold's store alone", &store::run(&trace, capacity), "");
        for (name, make) in POLICIES {
            table.row(&format!("{name}, simulated"), &simulate(&trace, capacity, make(&trace)), "");
        }
    }
    print_ratios(&ratios);
    Ok(())
}

/// That little of a trace has room, so both servers find what any cache does. Times to live are left out: a slow machine plays late.
fn compare(trace: &Trace, servers: [&Played; 2]) -> Result<(), Failure> {
    let (name, make) = POLICIES[0];
    let expected = simulate(trace, MEGABYTES << 20, make(trace));
    for (side, played) in ["memhold", "memcached"].iter().zip(servers) {
        if !trace.timed && played.outcome.found != expected {
            return Err(format!("{side} found {:?}, {name} {expected:?}", played.outcome.found).into());
        }
    }
    Ok(())
}

/// Two servers that are given the same resident memory.
struct Pair {
    paths: [PathBuf; 2],
    /// The `-m` with which ours takes as much memory as theirs with [`MEGABYTES`], on a trace of mixed sizes.
    ours_megabytes: u64,
    /// Only to see that it works, without waiting until memory has settled.
    is_check: bool,
}

/// A server after a trace.
struct Played {
    outcome: Outcome,
    resident_bytes: u64,
    megabytes: u64,
}

impl Pair {
    fn new(options: &ArgMatches) -> Result<Pair, Failure> {
        let is_check = options.get_flag("check");
        let mut pair = Pair { paths: options::servers(options), ours_megabytes: MEGABYTES, is_check };
        if !is_check {
            let [ours, _] = pair.play_in_turn(&ROWS[0].make(1))?;
            pair.ours_megabytes = ours.megabytes;
        }
        Ok(pair)
    }

    fn play(&self, trace: &Trace) -> Result<[Played; 2], Failure> {
        if trace.timed { self.play_at_once(trace) } else { self.play_in_turn(trace) }
    }

    fn play_in_turn(&self, trace: &Trace) -> Result<[Played; 2], Failure> {
        let [ours_path, theirs_path] = &self.paths;
        let theirs = self.play_on(theirs_path, MEGABYTES, trace)?;
        let mut ours = self.play_on(ours_path, self.ours_megabytes, trace)?;
        // How much memcached takes beyond its -m depends on the sizes.
        let more = (theirs.resident_bytes as f64 - ours.resident_bytes as f64) / f64::from(1 << 20);
        if more.abs() > 0.5 {
            ours = self.play_on(ours_path, (ours.megabytes as f64 + more).round() as u64, trace)?;
        }
        Ok([ours, theirs])
    }

    /// Of a trace that takes its time, both at the same time.
    fn play_at_once(&self, trace: &Trace) -> Result<[Played; 2], Failure> {
        let one = |path: &Path, megabytes| self.play_on(path, megabytes, trace).map_err(|error| error.to_string());
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| one(&self.paths[1], MEGABYTES));
            let ours = one(&self.paths[0], self.ours_megabytes);
            (ours, theirs.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
        });
        Ok([ours?, theirs?])
    }

    fn play_on(&self, path: &Path, megabytes: u64, trace: &Trace) -> Result<Played, Failure> {
        let server = Server::start(&[path.as_os_str()], &["-m", &megabytes.to_string(), "-t", "1"])?;
        let outcome = replay(trace, &server.target().address, |_| {})?;
        let resident_bytes = if self.is_check { 0 } else { server.resident_bytes()? };
        Ok(Played { outcome, resident_bytes, megabytes })
    }
}

impl Played {
    fn misses(&self, trace: &Trace) -> f64 {
        1.0 - trace.hit_ratio(&self.outcome.found)
    }

    fn note(&self) -> String {
        let Outcome { refused, seconds, late_millis, .. } = self.outcome;
        let megabytes = self.resident_bytes as f64 / f64::from(1 << 20);
        let late = if late_millis > LATE_MILLIS { format!(", late by {late_millis} ms") } else { String::new() };
        let refused = if refused > 0 { format!(", {refused} refused") } else { String::new() };
        format!("{megabytes:.1} MiB resident, -m {}, {seconds:.0} s{late}{refused}", self.megabytes)
    }
}

/// Hit ratios of a trace, a line each.
struct Table<'a>(&'a Trace);

impl Table<'_> {
    fn new(trace: &Trace) -> Table<'_> {
        let names: String = trace.groups.iter().map(|group| format!(" {} |", group.name)).collect();
        println!("| | hit ratio |{names} |\n|{}", " --- |".repeat(trace.groups.len() + 3));
        Table(trace)
    }

    fn row(&mut self, name: &str, found: &[Found], note: &str) {
        let parts: String = found.iter().map(|part| format!(" {} |", part.shown())).collect();
        println!("| {name} | {:.4} |{parts} {note} |", self.0.hit_ratio(found));
    }
}

/// Of each trace what ours missed and what theirs did; where theirs missed nothing there is no ratio.
fn print_ratios(misses: &[(&Row, f64, f64)]) {
    if misses.is_empty() {
        return;
    }
    println!("\n## Misses, memhold's over memcached's\n\n| trace | ratio |\n| --- | --- |");
    let mut logs = Vec::new();
    for (row, ours, theirs) in misses {
        if *theirs > 0.0 {
            println!("| {} | {:.3} |", row.name, ours / theirs);
            logs.extend((row.name != LEFT_OUT).then(|| (ours / theirs).ln()));
        } else {
            println!("| {} | {:.4} of nothing |", row.name, ours);
        }
    }
    if !logs.is_empty() {
        let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        println!("| geometric mean, without {LEFT_OUT} | {mean:.3} |");
    }
    println!("\nSimulated caches have {MEGABYTES} MiB and {OVERHEAD} bytes of overhead an item.");
}

const MEGABYTES: u64 = 64;

/// Of how many requests a check plays one.
const CHECK_PART: u32 = 60;

/// Delays of a timed trace that are worth telling.
const LATE_MILLIS: u64 = 100;

/// Of this one nearly nothing is missed, which would make any mean small.
const LEFT_OUT: &str = "flood";
