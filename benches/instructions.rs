//! Counts the instructions of the server's own code for an operation, under valgrind's callgrind: exact, and slow.
//!
//! One worker, one connection, each burst read whole, so that a count hardly changes from run to run and a change of
//! a few in a thousand is the code's. The kernel's part is not in it, nor is a cache miss dearer than a hit. Needs
//! valgrind; memcached is counted beside memhold where it is installed.
//!
//! `--recorded` compares with the figures in `benches/instructions.txt` instead and fails when one has grown; `--record` writes them.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use memhold::tools::bench::player::{Limit, Player};
use support::Failure;
use support::options::{self, flag};
use support::scenario::{LATENCY, SCENARIOS, Scenario, World};
use support::server::Server;

fn main() -> Result<(), Failure> {
    let options = options::command("instructions", "Instructions of an operation in the server's own code")
        .arg(flag("recorded", "compare with what was recorded, and fail on growth"))
        .arg(flag("record", "record how many there are now"))
        .get_matches();
    let [ours, theirs] = options::servers(&options);
    let record = Record::new();
    if options.get_flag("record") {
        return record.write(&count(&ours, RECORDED)?);
    }
    if options.get_flag("recorded") {
        return record.compare(&count(&ours, RECORDED)?);
    }
    let names: Vec<&str> =
        SCENARIOS.iter().filter(|row| row.is_small() && row.name != LATENCY).map(|row| row.name).collect();
    let counted = count(&ours, &names)?;
    let theirs = if theirs.exists() { count(&theirs, &names)? } else { Vec::new() };

    println!("| scenario | ours | theirs | ratio |\n| --- | --- | --- | --- |");
    for (place, (name, ours)) in counted.iter().enumerate() {
        match theirs.get(place) {
            Some((_, theirs)) => println!("| {name} | {ours:.1} | {theirs:.1} | {:.3} |", ours / theirs),
            None => println!("| {name} | {ours:.1} | | |"),
        }
    }
    Ok(())
}

/// What an operation cost when somebody looked last: a line for each scenario, and one for the compiler.
struct Record {
    path: PathBuf,
    compiler: String,
}

impl Record {
    fn new() -> Record {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
        let said = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        Record { path, compiler: String::from_utf8_lossy(&said).trim().to_owned() }
    }

    fn write(&self, counts: &[(&str, f64)]) -> Result<(), Failure> {
        let lines: String = counts.iter().map(|(name, count)| format!("{name} {count:.1}\n")).collect();
        fs::write(&self.path, format!("{}\n{lines}", self.compiler))?;
        print!("{lines}");
        Ok(())
    }

    /// Fails when a scenario costs more than was recorded.
    fn compare(&self, counts: &[(&str, f64)]) -> Result<(), Failure> {
        let text = fs::read_to_string(&self.path)?;
        let (compiler, lines) = text.split_once('\n').ok_or("nothing is recorded")?;
        if compiler != self.compiler {
            println!(
                "recorded with {compiler}, counted with {}: another compiler may explain a difference",
                self.compiler
            );
        }
        let mut grown = Vec::new();
        for (name, count) in counts {
            let recorded = lines.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            let recorded = recorded.ok_or_else(|| format!("{name} is not recorded: {AGAIN}"))?;
            let percent = (count / recorded - 1.0) * 100.0;
            println!("{name}: {count:.1} instructions, {recorded:.1} recorded, {percent:+.1} %");
            if percent > GROWTH_PERCENT_MAX {
                grown.push(*name);
            }
        }
        if grown.is_empty() {
            return Ok(());
        }
        Err(format!("more than {GROWTH_PERCENT_MAX} % more instructions for {}: mend it, or {AGAIN}", grown.join(", "))
            .into())
    }
}

/// Instructions of an operation in each of these scenarios.
fn count<'a>(path: &Path, names: &[&'a str]) -> Result<Vec<(&'a str, f64)>, Failure> {
    let world = World::new(KEYS, DRAWS);
    let folder = Folder::new()?;
    let output = folder.0.join("counts");
    let option = format!("--callgrind-out-file={}", output.display());
    let command =
        ["prlimit", FILES, "valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", &option].map(OsStr::new);
    let command: Vec<&OsStr> = command.into_iter().chain([path.as_os_str()]).collect();
    let server = Server::start(&command, &["-t", "1", "-m", "1024", "-c", "1024"])?;
    server.fill(&world)?;

    let mut counts = Vec::new();
    for name in names {
        let scenario = Scenario::named(name);
        let mut player = Player::connect(Arc::new(scenario.plan(&world, server.target())), 1, 1)?;
        let once = Limit::Bursts(scenario.bursts(&world));
        // Once to settle: buffers grow, hits are noted in items.
        player.play(once)?;
        player.take_report()?;
        tell(&server, "zero")?;
        player.play(once)?;
        tell(&server, &format!("dump {name}"))?;
        let report = player.take_report()?;
        scenario.prove(&report.counts)?;
        let operations = report.requests() * scenario.multiget as u64;
        counts.push((*name, worker_total(&folder.0, counts.len() + 1)? as f64 / operations as f64));
    }
    Ok(counts)
}

/// Gives a command to the valgrind that runs the server.
fn tell(server: &Server, command: &str) -> Result<(), Failure> {
    let pid = format!("--pid={}", server.pid());
    let status = Command::new("vgdb").args([&pid, command]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("vgdb {command}: {status}").into()) }
}

/// The instructions of the busiest thread in callgrind's dump of this number: the worker's, without what a clock or a
/// maintainer did meanwhile.
fn worker_total(folder: &Path, dump: usize) -> Result<u64, Failure> {
    let start = format!("counts.{dump}-");
    let mut highest = 0;
    for file in fs::read_dir(folder)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with(&start) {
            highest = highest.max(total(&fs::read_to_string(file.path())?)?);
        }
    }
    if highest == 0 { Err("callgrind counted nothing".into()) } else { Ok(highest) }
}

fn total(dump: &str) -> Result<u64, Failure> {
    let line = dump.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    Ok(line.ok_or("no total in callgrind's output")?.trim().parse()?)
}

/// A folder that goes when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, Failure> {
        let path = std::env::temp_dir().join(format!("memhold-instructions-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What is compared with a record.
const RECORDED: &[&str] = &["get", "set", "get-16", "mg-16", "multiget-100", "incr-16", "set-16"];

const GROWTH_PERCENT_MAX: f64 = 3.0;

const AGAIN: &str =
    "say in the commit why it is worth it and record anew: cargo bench --bench instructions -- --record";

/// memcached asks for exactly its `-c` files; valgrind grants that only when it is the hard limit less its own 12.
const FILES: &str = "--nofile=1036:1036";

const KEYS: u64 = 10_000;

const DRAWS: usize = 6_400;
