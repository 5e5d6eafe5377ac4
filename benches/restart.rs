//! Measures what clients notice when a server goes and comes back: how long it takes until the items are served again, beside memcached's
//! warm start (`-e` and SIGUSR1) in the same run; and how long clients that stay connected wait for an answer while one process gives way
//! to the next, by an upgrade in place (SIGUSR2) or by a restart with the descriptors kept by a service manager (one of ours, see
//! `protocol-tests/support/manager.rs`; systemd's own time comes on top and is measured by `protocol-tests/service/run`).
//!
//! Clients are processes of their own, since each may have only so many files open, and check every answer: busy ones count with the
//! server, so that an answer that is lost, doubled or out of order ends the bench.

#[path = "restart/crowd.rs"]
mod crowd;
#[path = "../protocol-tests/support/manager.rs"]
mod manager;
mod support;

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches};
use crowd::Crowds;
use manager::Manager;
use support::options::{self, count, number};
use support::server::ports;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PATIENCE: Duration = Duration::from_secs(60);
const VALUE_LEN: usize = 100;

fn main() -> Result<(), Failure> {
    let matches = options::command("restart", "How long items and clients wait when a server goes and comes back")
        .arg(count("items", "5000000", "items of 100 bytes"))
        .arg(count("rounds", "3", "starts of each kind"))
        .arg(count("idle", "8000", "connected clients that do nothing"))
        .arg(count("busy", "100", "connected clients that ask all the time"))
        .arg(count("times", "20", "upgrades and restarts under these clients"))
        .arg(options::check())
        .arg(Arg::new("crowd").long("crowd").num_args(4).hide(true))
        .get_matches();
    if let Some(words) = matches.get_many::<String>("crowd") {
        return crowd::run(&words.map(String::as_str).collect::<Vec<_>>());
    }
    let plan = Plan::of(&matches);
    starts(&plan)?;
    println!("\n| longest wait of any client, ms | items | median | worst | each |\n| --- | --- | --- | --- | --- |");
    let mut answers = 0;
    for items in [0, plan.items] {
        for way in [Way::Upgrade, Way::Restart] {
            answers += waits(&plan, way, items)?;
        }
    }
    println!("\n{} idle and {} busy clients: {answers} answers, all right", plan.idle, plan.busy);
    Ok(())
}

struct Plan {
    ours: PathBuf,
    theirs: PathBuf,
    items: usize,
    rounds: usize,
    idle: usize,
    busy: usize,
    times: usize,
}

impl Plan {
    fn of(matches: &ArgMatches) -> Plan {
        let [ours, theirs] = options::servers(matches);
        if matches.get_flag("check") {
            return Plan { ours, theirs, items: 20_000, rounds: 1, idle: 40, busy: 8, times: 2 };
        }
        let number = |name| number(matches, name) as usize;
        Plan {
            ours,
            theirs,
            items: number("items").max(1),
            rounds: number("rounds").max(1),
            idle: number("idle"),
            busy: number("busy"),
            times: number("times").max(1),
        }
    }

    /// Megabytes in which both servers keep all items.
    fn megabytes(&self) -> usize {
        64 + self.items * 300 / (1 << 20)
    }
}

/// A server that goes and comes back, on one port and one memory file.
struct Server {
    program: PathBuf,
    options: Vec<String>,
    address: SocketAddr,
    file: PathBuf,
    manager: Option<Manager>,
    process: Option<Child>,
    /// What it says.
    errors: Option<BufReader<ChildStderr>>,
}

impl Server {
    fn new(program: &Path, options: &[String]) -> Server {
        let place = Path::new("/dev/shm");
        let place = if place.is_dir() { place.to_owned() } else { std::env::temp_dir() };
        let port = ports::free_port();
        Server {
            program: program.to_owned(),
            options: options.to_vec(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            file: place.join(format!("memhold-bench-restart-{}-{port}", std::process::id())),
            manager: None,
            process: None,
            errors: None,
        }
    }

    /// Waits until it says a line with `part` in it.
    fn hear(&mut self, part: &str) -> Result<(), Failure> {
        let errors = self.errors.as_mut().ok_or("it runs")?;
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            if errors.read_line(&mut line)? == 0 {
                return Err(format!("it ended without {part}").into());
            }
        }
        Ok(())
    }

    /// Starts it; returns how long it took until it answered `request` with something that ends like this.
    fn start(&mut self, request: &str, ending: &str) -> Result<Duration, Failure> {
        let mut command = match &self.manager {
            Some(manager) => manager.command(self.program.as_os_str()),
            None => Command::new(&self.program),
        };
        command.args(["-u", "root", "-l", "127.0.0.1", "-p", &self.address.port().to_string()]);
        command.arg("-e").arg(&self.file).args(&self.options);
        if self.manager.is_none() {
            command.stdin(Stdio::null());
        }
        let begun = Instant::now();
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        self.errors = child.stderr.take().map(BufReader::new);
        self.process = Some(child);
        while begun.elapsed() < PATIENCE {
            match ask(self.address, request, ending) {
                Ok(()) => return Ok(begun.elapsed()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    thread::sleep(Duration::from_micros(500));
                }
                Err(error) => return Err(format!("{}: {error}", self.program.display()).into()),
            }
        }
        Err(format!("{} does not serve", self.program.display()).into())
    }

    fn signal(&self, name: &str) -> Result<(), Failure> {
        let pid = self.process.as_ref().ok_or("it runs")?.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status()?;
        if status.success() { Ok(()) } else { Err("kill failed".into()) }
    }

    fn end(&mut self, signal: &str) -> Result<(), Failure> {
        self.signal(signal)?;
        self.process.take().ok_or("it runs")?.wait()?;
        Ok(())
    }

    fn fill(&self, items: usize) -> Result<(), Failure> {
        let mut stream = TcpStream::connect(self.address)?;
        let mut piece = Vec::new();
        for number in 0..items {
            write!(piece, "set {} 0 0 {VALUE_LEN} noreply\r\n{}\r\n", key(number), value(number))?;
            if piece.len() > 1 << 16 || number + 1 == items {
                stream.write_all(&piece)?;
                piece.clear();
            }
        }
        drop(stream);
        // What was sent last is stored last.
        if items > 0 { Ok(eventually(|| self.has(items - 1))?) } else { Ok(()) }
    }

    fn has(&self, number: usize) -> io::Result<()> {
        let (request, answer) = question(number);
        ask(self.address, &request, &answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for suffix in ["", ".meta"] {
            let _ = fs::remove_file(format!("{}{suffix}", self.file.display()));
        }
    }
}

fn key(number: usize) -> String {
    format!("item:{number:010}")
}

fn value(number: usize) -> String {
    format!("{number:0VALUE_LEN$}")
}

/// A request for an item, and its answer.
fn question(number: usize) -> (String, String) {
    let (key, value) = (key(number), value(number));
    (format!("get {key}\r\n"), format!("VALUE {key} 0 {VALUE_LEN}\r\n{value}\r\nEND\r\n"))
}

fn ask(address: SocketAddr, request: &str, answer: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    hear(&mut stream, answer)
}

/// Reads an answer and compares it.
fn hear(stream: &mut TcpStream, answer: &str) -> io::Result<()> {
    let mut found = vec![0; answer.len()];
    let mut len = 0;
    while len < found.len() && answer.as_bytes().starts_with(&found[..len]) {
        match stream.read(&mut found[len..])? {
            0 => break,
            more => len += more,
        }
    }
    let found = &found[..len];
    if found == answer.as_bytes() { Ok(()) } else { Err(io::Error::other(format!("{found:?} instead of {answer}"))) }
}

fn eventually(mut what: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match what() {
            Err(_) if begun.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
}

/// How long starts take: ours after an orderly end and after SIGKILL, memcached's after SIGUSR1.
fn starts(plan: &Plan) -> Result<(), Failure> {
    let options = ["-m".to_owned(), plan.megabytes().to_string()];
    let mut servers = [Server::new(&plan.ours, &options), Server::new(&plan.theirs, &options)];
    for server in &mut servers {
        server.start("version\r\n", "VERSION 1.6.")?;
        server.fill(plan.items)?;
    }
    let kinds =
        [("ours after SIGTERM", 0, "TERM"), ("ours after SIGKILL", 0, "KILL"), ("theirs after SIGUSR1", 1, "USR1")];
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    let (request, answer) = question(0);
    for _ in 0..plan.rounds {
        for ((_, server, signal), times) in kinds.iter().zip(&mut times) {
            let server = &mut servers[*server];
            server.end(signal)?;
            if *signal == "USR1" {
                // Within the second in which it ended memcached does not take its file over.
                thread::sleep(Duration::from_millis(1100));
            }
            times.push(server.start(&request, &answer)?);
            server.has(plan.items - 1)?;
            server.has(plan.items / 2)?;
        }
    }
    let medians = times.each_ref().map(|times| median(times).as_secs_f64());
    println!("| {} items served again after | s | over theirs |\n| --- | --- | --- |", plan.items);
    for ((name, ..), median) in kinds.iter().zip(medians) {
        println!("| {name} | {median:.3} | {:.2} |", median / medians[2]);
    }
    Ok(())
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// How one process gives way to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// SIGUSR2.
    Upgrade,
    /// SIGTERM, and a start with what the manager kept.
    Restart,
}

/// How long connected clients wait while that happens; returns how many answers they had.
fn waits(plan: &Plan, way: Way, items: usize) -> Result<u64, Failure> {
    let connections = (plan.idle + plan.busy + 100).to_string();
    let options = ["-m", &plan.megabytes().to_string(), "-c", &connections].map(str::to_owned);
    let mut server = Server::new(&plan.ours, &options);
    if way == Way::Restart {
        server.manager = Some(Manager::new(&server.file.with_extension("notify")));
    }
    server.start("version\r\n", "VERSION 1.6.")?;
    server.fill(items)?;
    let mut crowds = Crowds::connect(server.address, plan)?;
    let mut waits = Vec::new();
    for _ in 0..plan.times {
        crowds.longest_wait("look")?;
        match way {
            Way::Upgrade => {
                server.signal("USR2")?;
                server.hear("has taken over")?;
            }
            Way::Restart => {
                server.end("TERM")?;
                if let Some(manager) = &mut server.manager {
                    manager.hears("STOPPING=1");
                    if manager.kept.is_none() {
                        return Err("nothing was left with the manager".into());
                    }
                }
                server.start("version\r\n", "VERSION 1.6.")?;
            }
        }
        // Whoever was kept waiting has its answer by then.
        ask(server.address, "version\r\n", "VERSION 1.6.")?;
        thread::sleep(Duration::from_millis(50));
        waits.push(crowds.longest_wait("look")?);
        if let Some(manager) = &mut server.manager {
            manager.hears("READY=1");
        }
    }
    let answers = crowds.stop()?;
    let milliseconds = |wait: &Duration| wait.as_millis().to_string();
    let (median, worst) = (milliseconds(&median(&waits)), waits.iter().max().map_or_else(String::new, milliseconds));
    let all: Vec<String> = waits.iter().map(milliseconds).collect();
    println!("| {way:?} | {items} | {median} | {worst} | {} |", all.join(" "));
    Ok(answers)
}
