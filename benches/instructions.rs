//! Counts the instructions of the server's own code for an operation, under valgrind's callgrind: exact, and slow.
//!
//! One worker, one connection, each burst read whole, so that a count hardly changes from run to run and a change of
//! a few in a thousand is the code's. The kernel's part is not in it, nor is a cache miss dearer than a hit. Needs
//! valgrind; memcached is counted beside memhold where it is installed.

#[allow(dead_code, reason = "each bench uses a part")]
mod load;
#[allow(dead_code, reason = "each bench uses a part")]
mod server;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Arg, value_parser};

use load::client::{Client, Limit};
use load::scenario::{LATENCY, SCENARIOS, World};
use server::{Failure, Server};

fn main() -> Result<(), Failure> {
    let path = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).default_value(default).value_parser(value_parser!(PathBuf)).help(help)
    };
    let options = clap::Command::new("instructions")
        .about("Instructions of an operation in the server's own code")
        .arg(path("ours", env!("CARGO_BIN_EXE_memhold"), "the server to look at"))
        .arg(path("theirs", "/usr/bin/memcached", "the server to compare with, if it is there"))
        .arg(Arg::new("bench").long("bench").num_args(0).hide(true))
        .get_matches();
    let path = |name| options.get_one::<PathBuf>(name).cloned().unwrap_or_default();
    let world = World::new(KEYS, DRAWS);
    let ours = count(&path("ours"), &world)?;
    let theirs = if path("theirs").exists() { count(&path("theirs"), &world)? } else { Vec::new() };

    println!("| scenario | ours | theirs | ratio |\n| --- | --- | --- | --- |");
    for (place, (name, ours)) in ours.iter().enumerate() {
        match theirs.get(place) {
            Some((_, theirs)) => println!("| {name} | {ours:.1} | {theirs:.1} | {:.3} |", ours / theirs),
            None => println!("| {name} | {ours:.1} | | |"),
        }
    }
    Ok(())
}

/// Instructions of an operation in each scenario with small items.
fn count(path: &Path, world: &World) -> Result<Vec<(&'static str, f64)>, Failure> {
    let folder = Folder::new()?;
    let output = folder.0.join("counts");
    let option = format!("--callgrind-out-file={}", output.display());
    let command =
        ["prlimit", FILES, "valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", &option].map(OsStr::new);
    let command: Vec<&OsStr> = command.into_iter().chain([path.as_os_str()]).collect();
    let server = Server::start(&command, &["-t", "1", "-m", "1024", "-c", "1024"])?;
    server.play(world.fill())?;

    let mut counts = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.is_small() && scenario.name != LATENCY) {
        let script = (scenario.script)(world);
        let mut client = Client::connect(server.address, 1)?;
        // Once to settle: buffers grow, hits are noted in items.
        client.run(&script, Limit::Once)?;
        tell(&server, "zero")?;
        client.run(&script, Limit::Once)?;
        tell(&server, &format!("dump {}", scenario.name))?;
        let instructions = worker_total(&folder.0, counts.len() + 1)?;
        counts.push((scenario.name, instructions as f64 / script.replies() as f64));
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

/// memcached asks for exactly its `-c` files; valgrind grants that only when it is the hard limit less its own 12.
const FILES: &str = "--nofile=1036:1036";

const KEYS: u64 = 10_000;

const DRAWS: usize = 6_400;
