//! Kills servers under load, again and again, and starts them on the same memory file: what was acknowledged is there whole, what was
//! deleted is gone, nothing is torn, no time to live has changed, and the store's own check finds nothing wrong.
//!
//! Two servers take turns in each round: one with room for everything, where nothing may be missing, and one far too small, which evicts,
//! moves pages and is never allowed to show what it should not have. They are ended by SIGKILL, by SIGTERM and the like, by a panic and by
//! a fault; also while they start, and before, while and after they are upgraded in place; and are started with other options.
//!
//! `MEMHOLD_TORTURE_ENDS` says how many ends there are (40 by default), `MEMHOLD_TORTURE_SEED` repeats a run.

#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/random.rs"]
#[allow(dead_code, reason = "a test uses a part of it")]
mod random;
#[path = "../support/setting.rs"]
mod setting;

mod client;
mod model;

use client::Client;
use memhold::clock::Clock;
use memhold::server::{memory, options};
use memhold::store::{Kept, Store, Trouble};
use random::Random;
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is killed more than once.
struct Victim {
    file: PathBuf,
    address: SocketAddr,
    options: Vec<String>,
    roomy: bool,
    process: Option<(Child, BufReader<ChildStderr>)>,
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for suffix in ["", ".moving"] {
            let _ = fs::remove_file(format!("{}{suffix}", self.file.display()));
        }
    }
}

impl Victim {
    fn new(roomy: bool) -> Victim {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let port = ports::free_port();
        let file = directory.join(format!("memhold-torture-{}-{roomy}", std::process::id()));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut victim = Victim { file, address, options: Vec::new(), roomy, process: None };
        victim.set_options(&mut Random::new(0));
        victim
    }

    /// Other options, as an operator might change them.
    fn set_options(&mut self, random: &mut Random) {
        let megabytes = if self.roomy { 96 + random.below(3) * 16 } else { 8 + random.below(2) };
        let threads = 1 + random.below(4);
        let mut words = vec![format!("-m{megabytes}"), format!("-t{threads}")];
        // Another slab table now and then: everything moves into another file.
        if self.roomy && random.chance(10) {
            words.push("-f1.25".to_owned());
        }
        self.options = words;
    }

    fn spawn(&self) -> (Child, BufReader<ChildStderr>) {
        let binary = std::env::var_os("MEMHOLD_TEST_BINARY")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_memhold")), PathBuf::from);
        let mut child = Command::new(binary)
            .args(["-u", "root", "-l", "127.0.0.1", "--debug-commands", "-p", &self.address.port().to_string()])
            .arg("-e")
            .arg(&self.file)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server can be started");
        let errors = child.stderr.take().expect("asked for");
        (child, BufReader::new(errors))
    }

    /// Starts it and waits until it serves; returns how long that took.
    fn start(&mut self) -> Duration {
        let begun = Instant::now();
        let (mut child, mut errors) = self.spawn();
        while begun.elapsed() < PATIENCE {
            if TcpStream::connect(self.address).is_ok() && ports::listens(child.id(), self.address.port()) {
                self.process = Some((child, errors));
                return begun.elapsed();
            }
            if child.try_wait().is_ok_and(|status| status.is_some()) {
                let mut said = String::new();
                let _ = errors.read_to_string(&mut said);
                panic!("the server does not start with {:?}: {said}", self.options);
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("the server does not serve within {PATIENCE:?}");
    }

    /// Starts it and kills it before it has got far.
    fn start_in_vain(&self, random: &mut Random) {
        let (mut child, _errors) = self.spawn();
        thread::sleep(Duration::from_micros(random.next() % 30_000));
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks for an upgrade in place, and lets it get somewhere: what comes next finds it before, within or behind it.
    fn upgrade(&mut self, random: &mut Random) {
        let (child, _) = self.process.as_ref().expect("it runs");
        let status = Command::new("kill").args(["-USR2", &child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -USR2 works");
        thread::sleep(Duration::from_micros(random.next() % 60_000));
    }

    fn end(&mut self, way: End) {
        let (mut child, mut errors) = self.process.take().expect("it runs");
        match way {
            End::Signal(name) => {
                let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
                assert!(status.is_ok_and(|status| status.success()), "kill -{name} works");
            }
            End::Crash(how) => {
                let mut stream = TcpStream::connect(self.address).expect("it serves");
                let _ = stream.write_all(format!("debugcrash {how}\r\n").as_bytes());
            }
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => {
                    let orderly = matches!(way, End::Signal("TERM" | "INT" | "USR1"));
                    assert_eq!(status.success(), orderly, "{way:?} ended with {status}");
                    break;
                }
                _ if Instant::now() > deadline => panic!("{way:?} does not end it"),
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
        let mut line = String::new();
        while errors.read_line(&mut line).is_ok_and(|n| n > 0) {
            let told = matches!(way, End::Crash("panic")) || !line.contains("panicked");
            assert!(told, "the server said {line}");
            assert!(!line.contains("damaged") && !line.contains("could not be kept"), "the server said {line}");
            line.clear();
        }
    }

    /// Opens the file as a server would, checks every invariant of the store, and leaves it as a death would.
    fn look_inside(&self) {
        let words: Vec<Vec<u8>> = self.options.iter().map(|word| word.clone().into_bytes()).collect();
        let settings = options::parse("memhold", &words).expect("right options").settings;
        let config = memory::store_config(&settings, 7);
        let file = OpenOptions::new().read(true).write(true).open(&self.file).expect("the memory file");
        let boot_id = memhold::server::kept::boot_id().expect("a boot id");
        let now = Clock::start().now();
        match Store::open_kept(&config, Kept { file, boot_id, second: now.seconds, threads: 2, summary: None }) {
            Ok((store, recovery)) => {
                assert_eq!((recovery.lost_items, recovery.damaged_pages), (0, 0));
                store.check(now).unwrap_or_else(|wrong| panic!("after an end: {wrong}"));
            }
            Err(Trouble::Differs(_)) => {}
            Err(trouble) => panic!("{trouble:?}"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Signal(&'static str),
    Crash(&'static str),
}

impl End {
    fn random(random: &mut Random) -> End {
        match random.below(100) {
            0..80 => End::Signal("KILL"),
            80..84 => End::Signal("TERM"),
            84..86 => End::Signal("INT"),
            86..90 => End::Signal("USR1"),
            90..95 => End::Crash("panic"),
            _ => End::Crash("fault"),
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    ends: u64,
    in_vain: u64,
    upgrades: u64,
    operations: u64,
    refused: u64,
    slowest: Duration,
}

/// One life of a server: it works for a moment, ends somehow, starts again and shows what it has.
fn round(victim: &mut Victim, clients: &mut [Client], random: &mut Random, tally: &mut Tally) {
    let way = End::random(random);
    let small = [60, 300, 900, 3000][random.below(4)];
    let address = victim.address;
    let life = Duration::from_millis(random.below(250) as u64);
    thread::scope(|scope| {
        let working: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                client.small = if victim.roomy { small.min(300) } else { small };
                scope.spawn(|| client.work(address))
            })
            .collect();
        thread::sleep(life);
        while random.chance(40) {
            victim.upgrade(random);
            tally.upgrades += 1;
        }
        victim.end(way);
        for client in working {
            client.join().expect("no panic").unwrap_or_else(|wrong| panic!("{:?}: {wrong}", victim.options));
        }
    });
    tally.ends += 1;
    if random.chance(30) {
        victim.set_options(random);
    }
    while random.chance(35) {
        victim.start_in_vain(random);
        tally.in_vain += 1;
    }
    if random.chance(15) {
        victim.look_inside();
    }
    tally.slowest = tally.slowest.max(victim.start());
    for client in clients.iter_mut() {
        client.verify(address).unwrap_or_else(|wrong| panic!("{way:?}, {:?}: {wrong}", victim.options));
    }
    if random.chance(4) {
        let mut stream = BufReader::new(TcpStream::connect(address).expect("it serves"));
        stream.get_mut().write_all(b"flush_all\r\n").expect("it reads");
        let mut line = String::new();
        stream.read_line(&mut line).expect("it answers");
        assert_eq!(line, "OK\r\n");
        clients.iter_mut().for_each(Client::forget);
    }
}

#[test]
fn nothing_acknowledged_is_lost_however_a_server_ends() {
    let ends = setting::number("MEMHOLD_TORTURE_ENDS").unwrap_or(40);
    let seed = setting::number("MEMHOLD_TORTURE_SEED").unwrap_or_else(|| std::process::id().into());
    println!("MEMHOLD_TORTURE_SEED={seed}");
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut pairs: Vec<(Victim, Vec<Client>)> = [true, false]
        .map(|roomy| {
            let keys = if roomy { 12_000 } else { 8_000 };
            let clients = (0..CLIENTS).map(|name| Client::new(name, keys, seed, !roomy)).collect();
            (Victim::new(roomy), clients)
        })
        .into();
    for (victim, _) in &mut pairs {
        victim.start();
    }
    while tally.ends < ends {
        for (victim, clients) in &mut pairs {
            round(victim, clients, &mut random, &mut tally);
        }
    }
    for (victim, clients) in pairs.iter().filter(|(victim, _)| victim.roomy) {
        // Else a server that refuses all would pass: a refused store may leave anything.
        assert!(clients.iter().all(|client| client.refused == 0), "there is room for everything: {:?}", victim.options);
    }
    tally.operations = pairs.iter().flat_map(|(_, clients)| clients).map(|client| client.done).sum();
    tally.refused = pairs.iter().flat_map(|(_, clients)| clients).map(|client| client.refused).sum();
    println!("{tally:?}");
    assert!(tally.operations > ends, "the clients had something to do");
}
