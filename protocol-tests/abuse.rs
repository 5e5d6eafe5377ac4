//! Clients that are rude, broken or hostile: each gets the documented answer or a closed connection, the server lives, its memory stays
//! within bounds and comes back, and everybody else is answered meanwhile.
//!
//! One server for most cases, with all of its item memory taken at start (`-L`), so that what its resident memory grows by is process
//! memory. While a case runs, bystanders on several workers store and read small values every few milliseconds, and memory is watched. The
//! bounds: 64 MiB more than before at any time, 1 MiB for any one client, given back within five seconds of the end.
//! How long a bystander waited is printed (50 ms is the goal); only seconds are a failure, since this may run on a crowded machine.

mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::server::{self, Server};
use support::{Link, escaped};

/// How much process memory a case may cost.
const GROWTH_MAX: u64 = 64 << 20;
/// How much a case of a single client may cost, but for what the process's threads take once and keep.
const CLIENT_GROWTH_MAX: u64 = 1 << 20;
/// How long that memory may stay after the case.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(5);
/// What of the growth counts as given back: allocators keep a little.
const LEFT_MAX: u64 = 8 << 20;
/// When a bystander's wait is a failure.
const LATENCY_MAX: Duration = Duration::from_secs(2);
/// How many bystanders there are: clients are spread over the workers, so each of these has one of the four.
const BYSTANDERS: usize = 4;
/// Clients at once in the cases that need many.
const CROWD: usize = 1000;
/// Clients that do nothing, and what each may cost the process in bytes.
const IDLE: u64 = 3000;
const IDLE_BYTES: u64 = 512;
/// Descriptors that those need in this process.
const DESCRIPTORS: u64 = 4096;

/// Name, case, what memory it may cost, and how much item memory its server has (`-m`).
struct Case {
    name: &'static str,
    run: fn(&Server) -> Result<(), String>,
    growth_max: u64,
    megabytes: u32,
}

const fn case(name: &'static str, run: fn(&Server) -> Result<(), String>) -> Case {
    Case { name, run, growth_max: GROWTH_MAX, megabytes: 256 }
}

/// A case of one client.
const fn single(name: &'static str, run: fn(&Server) -> Result<(), String>) -> Case {
    Case { growth_max: CLIENT_GROWTH_MAX, ..case(name, run) }
}

/// A case with little item memory.
const fn tight(name: &'static str, run: fn(&Server) -> Result<(), String>) -> Case {
    Case { megabytes: 64, ..case(name, run) }
}

const CASES: &[Case] = &[
    Case { growth_max: IDLE * IDLE_BYTES, ..case("three thousand idle clients", idle_clients) },
    case("lines without an end close the connection, after the answers that were due", over_long_lines),
    case("lengths that are negative, huge or no number are refused and nothing is swallowed", absurd_lengths),
    case("NUL bytes anywhere are bytes like others", nul_bytes),
    case("data without its CR LF is refused and what follows is understood", missing_terminators),
    case("random bytes never stop the server", random_bytes),
    single("a hundred thousand commands in one write from a client that never reads", never_reads),
    case("commands from a client that reads late are all answered", reads_late),
    case("five hundred clients send a hundred thousand commands each and never read", many_never_read),
    case("a thousand clients ask for a large value and do not read it", large_values_unread),
    single("a hundred thousand keys in one get, read", many_keys),
    single("a hundred thousand keys in one get, not read", many_keys_unread),
    case(
        "two hundred clients with a hundred thousand keys in one get, half of them not reading",
        many_clients_many_keys,
    ),
    single("a get line that never ends", endless_get),
    case("a thousand clients announce a large value and send a part of it", uploads_without_end),
    case("a thousand clients begin a line and do not end it", lines_without_end),
    tight("with little memory, a thousand clients announce a large value and stall", tight_announcements),
    tight("with little memory, a thousand clients send a half of a large value and stall", tight_uploads),
    tight("with little memory, clients pin all there is and do not read", tight_pins),
    tight("with little memory, a hundred clients upload large values at once", tight_honest_uploads),
];

fn main() -> ExitCode {
    if let Some(code) = with_more_descriptors() {
        return code;
    }
    let only = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    let mut failed = 0;
    let mut run = 0;
    let mut server: Option<(u32, Server)> = None;
    for case in CASES.iter().filter(|case| only.as_deref().is_none_or(|word| case.name.contains(word))) {
        if server.as_ref().is_none_or(|(megabytes, _)| *megabytes != case.megabytes) {
            server = Some((case.megabytes, start(case.megabytes)));
        }
        let Some((_, server)) = &mut server else { break };
        run += 1;
        match watched(server, case) {
            Ok(report) => println!("ok     {} ({report})", case.name),
            Err(reason) => {
                failed += 1;
                println!("FAILED {}: {reason}", case.name);
            }
        }
    }
    println!("abuse: {} passed, {failed} failed", run - failed);
    // A word that is in no case's name tests nothing, which must not look like success.
    if failed == 0 && run > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(megabytes: u32) -> Server {
    let server = Server::start(&server::memhold(), &["-c", "4096", "-L", "-m", &megabytes.to_string()]);
    if server.version() == "1.6.18" {
        println!("this is memcached itself: expect failures where section 19 lists defects");
    }
    prepare(&server);
    server
}

/// Starts this program again through a shell that raises the limit of open files, when that is too low.
fn with_more_descriptors() -> Option<ExitCode> {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    let soft: u64 = line.split_whitespace().nth(3)?.parse().ok()?;
    if soft >= DESCRIPTORS || std::env::var_os("MEMHOLD_ABUSE_AGAIN").is_some() {
        return None;
    }
    let status = Command::new("sh")
        .args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\"")])
        .arg(std::env::current_exe().ok()?)
        .env("MEMHOLD_ABUSE_AGAIN", "1")
        .status()
        .ok()?;
    Some(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Items that the cases use, stored before memory is measured.
fn prepare(server: &Server) {
    let mut link = server.connect();
    for (key, size) in [("small", 20), ("kilo", 1000), ("large", 1_000_000)] {
        let command = format!("set {key} 0 0 {size}\r\n{}\r\n", "v".repeat(size));
        assert_eq!(link.ask(command.as_bytes(), b"\r\n"), b"STORED\r\n");
    }
    for number in 0..100_000 {
        link.send(format!("set key:{number} 0 0 20 noreply\r\n{number:020}\r\n").as_bytes());
    }
    assert_eq!(link.ask(b"mn\r\n", b"\r\n"), b"MN\r\n");
}

/// What is seen while a case runs.
struct Watch {
    peak: AtomicU64,
    slowest_micros: AtomicU64,
    /// What a bystander was answered that it should not have been.
    wrong: OnceLock<String>,
    stop: AtomicBool,
}

impl Watch {
    /// A bystander stores and reads a small value until it is told to stop.
    fn stand_by(&self, server: &Server, number: usize) {
        let mut bystander = server.connect();
        let set = format!("set bystander:{number} 0 0 20\r\n{number:020}\r\n");
        let get = format!("get bystander:{number}\r\n");
        let value = format!("VALUE bystander:{number} 0 20\r\n{number:020}\r\nEND\r\n");
        while !self.stop.load(Ordering::Relaxed) {
            for (request, reply) in [(&set, "STORED\r\n"), (&get, &value)] {
                let asked = Instant::now();
                bystander.send(request.as_bytes());
                bystander.read_until(|bytes| {
                    let refused =
                        bytes == b"END\r\n" || bytes.starts_with(b"SERVER_ERROR ") && bytes.ends_with(b"\r\n");
                    refused || bytes.len() >= reply.len()
                });
                let said = bystander.take();
                if said != reply.as_bytes() {
                    let _first = self.wrong.set(format!("{:?} to {request:?}", escaped(&said)));
                    return;
                }
                self.slowest_micros.fetch_max(asked.elapsed().as_micros() as u64, Ordering::Relaxed);
            }
            self.peak.fetch_max(server.resident(), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Runs a case while bystanders ask and memory is watched.
fn watched(server: &mut Server, case: &Case) -> Result<String, String> {
    let before = server.resident();
    let watch = Watch {
        peak: AtomicU64::new(before),
        slowest_micros: AtomicU64::new(0),
        wrong: OnceLock::new(),
        stop: AtomicBool::new(false),
    };
    let outcome = std::thread::scope(|scope| {
        for number in 0..BYSTANDERS {
            let (watch, server) = (&watch, &*server);
            scope.spawn(move || watch.stand_by(server, number));
        }
        let outcome = (case.run)(server);
        watch.stop.store(true, Ordering::Relaxed);
        outcome
    });
    if server.has_ended() {
        return Err("the server is gone".to_owned());
    }
    outcome?;
    let slowest = watch.slowest_micros.into_inner();
    if let Some(wrong) = watch.wrong.get() {
        return Err(format!("a bystander was answered {wrong}"));
    }
    if Duration::from_micros(slowest) > LATENCY_MAX {
        return Err(format!("a bystander waited {slowest} us"));
    }
    let grown = watch.peak.into_inner().saturating_sub(before);
    if grown > case.growth_max {
        return Err(format!("memory grew by {} KiB", grown >> 10));
    }
    let deadline = Instant::now() + GIVEN_BACK_WITHIN;
    while server.resident() > before + LEFT_MAX {
        if Instant::now() > deadline {
            return Err(format!("{} KiB are not given back", (server.resident() - before) >> 10));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let left = server.resident().saturating_sub(before);
    Ok(format!("+{} KiB at most, +{} KiB after, others waited {slowest} us at most", grown >> 10, left >> 10))
}

/// Sends `sent` on a new connection and wants exactly `expected`, then the end if `closes`.
fn expect(server: &Server, sent: &[u8], expected: &[u8], closes: bool) -> Result<(), String> {
    let mut link = server.connect();
    link.send(sent);
    let arrived = link.read_until(|bytes| bytes.len() >= expected.len() && (expected.is_empty() || !bytes.is_empty()));
    let ended = closes && link.reaches_end();
    if !closes {
        link.wait(Duration::from_millis(20));
    }
    let said: String = escaped(&link.received).chars().take(300).collect();
    let sent: String = escaped(sent).chars().take(100).collect();
    if link.received != expected || !(arrived || closes) {
        return Err(format!("to {sent}: {said}"));
    }
    if closes && !ended {
        return Err(format!("to {sent}: not closed"));
    }
    Ok(())
}

fn idle_clients(server: &Server) -> Result<(), String> {
    let mut links: Vec<Link> = (0..IDLE).map(|_| server.connect()).collect();
    // Each has said something once, and has its place with a worker.
    for link in &mut links {
        if link.ask(b"mn\r\n", b"\r\n") != b"MN\r\n" {
            return Err("an idle client is not answered".to_owned());
        }
    }
    std::thread::sleep(Duration::from_millis(100));
    Ok(())
}

fn over_long_lines(server: &Server) -> Result<(), String> {
    let long = vec![b'x'; 3000];
    expect(server, &long, b"", true)?;
    expect(server, &[b"set ", &long[..]].concat(), b"", true)?;
    expect(server, &[&b" ".repeat(200)[..], b"get ", &long].concat(), b"", true)?;
    expect(server, &[b"mn\r\nversio", &long[..]].concat(), b"MN\r\n", true)?;
    // Much more than any buffer holds, and nobody there to read the answer.
    expect(server, &vec![b'y'; 4 << 20], b"", true)?;
    expect(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"", true)?;
    // get may go on for ever; a key that is too long is its one error.
    let key = vec![b'k'; 100_000];
    let answer = b"CLIENT_ERROR bad command line format\r\n";
    expect(server, &[b"get ", &key[..], b"\r\n"].concat(), answer, false)
}

fn absurd_lengths(server: &Server) -> Result<(), String> {
    for length in
        ["-1", "-2147483648", "2147483646", "2147483647", "4294967295", "18446744073709551615", "1e9", "0x10", "x"]
    {
        let answer = b"CLIENT_ERROR bad command line format\r\nMN\r\n";
        expect(server, format!("set k 0 0 {length}\r\nmn\r\n").as_bytes(), answer, false)?;
        expect(server, format!("ms k {length}\r\nmn\r\n").as_bytes(), answer, false)?;
    }
    // Two gigabytes may be announced; they are swallowed, and nothing is set aside for them.
    let mut link = server.connect();
    link.send(b"set k 0 0 2147483645\r\n");
    for _ in 0..64 {
        link.send(&[b'z'; 65536]);
    }
    if link.closed { Err("a large announced length closed the connection".to_owned()) } else { Ok(()) }
}

fn nul_bytes(server: &Server) -> Result<(), String> {
    expect(server, b"\0\0\0\0\r\n", b"ERROR\r\n", false)?;
    expect(server, b"get \0\r\n", b"END\r\n", false)?;
    expect(
        server,
        b"set a\0b 0 0 3\r\n\0\0\0\r\nget a\0b\r\n",
        b"STORED\r\nVALUE a\0b 0 3\r\n\0\0\0\r\nEND\r\n",
        false,
    )?;
    expect(server, b"incr small \0\r\n", b"CLIENT_ERROR invalid numeric delta argument\r\n", false)?;
    expect(server, b"set k 0 0 \x001\r\nmn\r\n", b"CLIENT_ERROR bad command line format\r\nMN\r\n", false)
}

fn missing_terminators(server: &Server) -> Result<(), String> {
    expect(server, b"set k 0 0 3\r\nabcXYversion x\r\n", b"CLIENT_ERROR bad data chunk\r\nVERSION 1.6.45\r\n", false)?;
    expect(server, b"set k 0 0 3\r\nabc\nXmn\r\n", b"CLIENT_ERROR bad data chunk\r\nMN\r\n", false)?;
    let large = [b"set k 0 0 600000\r\n", &vec![b'a'; 600_000][..], b"XYmn\r\n"].concat();
    expect(server, &large, b"CLIENT_ERROR bad data chunk\r\nMN\r\n", false)?;
    let refused = [b"set k 0 0 5000000\r\n", &vec![b'a'; 5_000_002][..], b"mn\r\n"].concat();
    expect(server, &refused, b"SERVER_ERROR object too large for cache\r\nMN\r\n", false)
}

/// Garbage from a fixed seed, some of it beginning like commands.
fn random_bytes(server: &Server) -> Result<(), String> {
    let mut random = support::random::Random::new(7);
    let starts: [&[u8]; 8] = [b"", b"get ", b"set k 0 0 ", b"mg k ", b"ms k ", b"\x80", b"ma n ", b"stats "];
    for _ in 0..300 {
        let mut bytes = random.pick(&starts).to_vec();
        for _ in 0..random.below(2000) {
            let byte = random.next() as u8;
            bytes.push(if random.chance(5) { b'\n' } else { byte });
        }
        let mut link = server.connect();
        link.send(&bytes);
        link.wait(Duration::from_millis(1));
    }
    expect(server, b"mn\r\n", b"MN\r\n", false)
}

/// Writes all of `bytes` as far as the server takes them within a second, reading nothing.
fn push(link: &Link, bytes: &[u8]) -> usize {
    let mut stream = link.stream();
    let _ = stream.set_write_timeout(Some(Duration::from_millis(300)));
    let (mut sent, started) = (0, Instant::now());
    while sent < bytes.len() && started.elapsed() < Duration::from_secs(1) {
        match stream.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
    sent
}

fn never_reads(server: &Server) -> Result<(), String> {
    let link = server.connect();
    push(&link, &b"get kilo\r\n".repeat(100_000));
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

fn reads_late(server: &Server) -> Result<(), String> {
    let small = b"get small\r\n".repeat(10_000);
    let mut late = server.connect();
    let sent = push(&late, &small);
    let expected = (sent / b"get small\r\n".len()) * b"VALUE small 0 20\r\nvvvvvvvvvvvvvvvvvvvv\r\nEND\r\n".len();
    if late.read_until(|bytes| bytes.len() >= expected) { Ok(()) } else { Err("answers are missing".to_owned()) }
}

fn many_never_read(server: &Server) -> Result<(), String> {
    let commands = b"get kilo\r\n".repeat(100_000);
    let links: Vec<Link> = (0..500).map(|_| server.connect()).collect();
    push_to_all(&links, &commands);
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Writes to all of `links` what they take at once, for a few rounds; reads nothing.
fn push_to_all(links: &[Link], bytes: &[u8]) {
    let mut sent = vec![0; links.len()];
    for link in links {
        let _ = link.stream().set_nonblocking(true);
    }
    for _ in 0..5 {
        for (link, sent) in links.iter().zip(&mut sent) {
            while *sent < bytes.len()
                && let Ok(n) = link.stream().write(&bytes[*sent..])
            {
                *sent += n;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for link in links {
        let _ = link.stream().set_nonblocking(false);
    }
}

fn large_values_unread(server: &Server) -> Result<(), String> {
    let mut links: Vec<Link> = (0..CROWD).map(|_| server.connect()).collect();
    for link in &mut links {
        link.send(b"get large\r\nget large\r\n");
    }
    std::thread::sleep(Duration::from_secs(1));
    // The value is deleted under them; those who read now still get it whole.
    expect(server, b"delete large\r\n", b"DELETED\r\n", false)?;
    let restored = [b"set large 0 0 1000000\r\n", &vec![b'v'; 1_000_000][..], b"\r\n"].concat();
    expect(server, &restored, b"STORED\r\n", false)?;
    for link in links.iter_mut().take(20) {
        let mut total = 0;
        let mut piece = vec![0_u8; 1 << 20];
        let _ = link.stream().set_read_timeout(Some(support::PATIENCE));
        while total < 2_000_000 {
            match link.stream().read(&mut piece) {
                Ok(0) | Err(_) => return Err(format!("only {total} bytes of an answer came")),
                Ok(n) => total += n,
            }
        }
    }
    Ok(())
}

/// `get` with a hundred thousand keys, all of them there.
fn long_get() -> String {
    let mut line = String::from("get");
    for number in 0..100_000 {
        let _ = write!(line, " key:{number}");
    }
    line.push_str("\r\n");
    line
}

fn many_keys(server: &Server) -> Result<(), String> {
    ask_for_many(server.connect(), &long_get())
}

/// Asks by one long line and reads the whole answer.
fn ask_for_many(mut link: Link, line: &str) -> Result<(), String> {
    let (mut values, mut ended) = (0, false);
    std::thread::scope(|scope| {
        let writer = link.stream().try_clone().map_err(|error| error.to_string())?;
        scope.spawn(|| {
            let mut writer = writer;
            let _ = writer.write_all(line.as_bytes());
        });
        while !ended && link.wait(support::PATIENCE) && !link.closed {
            ended = link.received.ends_with(b"END\r\n");
            values += memchr::memmem::find_iter(&link.received, b"VALUE ").count();
            // What may be the beginning of another one stays.
            let kept = if ended { 0 } else { link.received.len().min(5) };
            let done = link.received.len() - kept;
            link.received.drain(..done);
        }
        if ended && values == 100_000 { Ok(()) } else { Err(format!("{values} values came, END: {ended}")) }
    })
}

fn many_keys_unread(server: &Server) -> Result<(), String> {
    let mut silent = server.connect();
    let pushed = push(&silent, long_get().as_bytes());
    silent.wait(Duration::from_millis(10));
    if pushed > 0 { Ok(()) } else { Err("nothing was taken".to_owned()) }
}

fn many_clients_many_keys(server: &Server) -> Result<(), String> {
    let line = long_get();
    let silent: Vec<Link> = (0..100).map(|_| server.connect()).collect();
    push_to_all(&silent, line.as_bytes());
    // A few at a time, since these are threads; the silent ones are there all the while.
    for _ in 0..10 {
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..10).map(|_| scope.spawn(|| ask_for_many(server.connect(), &line))).collect();
            readers.into_iter().try_for_each(|reader| reader.join().unwrap_or(Err("a reader panicked".to_owned())))
        })?;
    }
    Ok(())
}

fn endless_get(server: &Server) -> Result<(), String> {
    for piece in [&b"nobody:has:this:key "[..], b"                    ", b"small               "] {
        let mut link = server.connect();
        link.send(b"get ");
        let bytes = piece.repeat(3000);
        for _ in 0..100 {
            push(&link, &bytes);
            let _ = link.stream().set_nonblocking(true);
            link.wait(Duration::from_millis(1));
            link.take();
            let _ = link.stream().set_nonblocking(false);
        }
        if link.closed {
            return Err("an endless get line was closed".to_owned());
        }
    }
    // And one that reads nothing of its answers.
    let link = server.connect();
    push(&link, b"get ");
    push(&link, &b"kilo ".repeat(1_000_000));
    Ok(())
}

fn uploads_without_end(server: &Server) -> Result<(), String> {
    let start = [b"set upload 0 0 1000000\r\n", &vec![b'u'; 30_000][..]].concat();
    let links: Vec<Link> = (0..CROWD)
        .map(|_| {
            let mut link = server.connect();
            link.send(&start);
            link
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    drop(links);
    expect(server, b"get upload\r\n", b"END\r\n", false)
}

fn lines_without_end(server: &Server) -> Result<(), String> {
    let mut links: Vec<Link> = (0..CROWD)
        .map(|number| {
            let mut link = server.connect();
            link.send(if number % 2 == 0 { b"get small" } else { b"set half 0 0 5\r\nab" });
            link
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let whole = b"VALUE small 0 20\r\nvvvvvvvvvvvvvvvvvvvv\r\nEND\r\n";
    for link in links.iter_mut().step_by(2) {
        if link.ask(b"\r\n", b"END\r\n") != whole {
            return Err("a line that came in two pieces was answered wrongly".to_owned());
        }
    }
    for link in links.iter_mut().skip(1).step_by(2) {
        if link.ask(b"cde\r\n", b"\r\n") != b"STORED\r\n" {
            return Err("a value that came in two pieces was answered wrongly".to_owned());
        }
    }
    Ok(())
}

/// Stores a large value and reads it back, as a client that is not rude does: told that there is no memory, it tries again.
fn store_large(server: &Server, key: &str, size: usize) -> Result<(), String> {
    let value = vec![b'w'; size];
    let set = [format!("set {key} 0 0 {size}\r\n").as_bytes(), &value, b"\r\n"].concat();
    let mut link = server.connect();
    let deadline = Instant::now() + 4 * support::PATIENCE;
    loop {
        link.send(&set);
        link.read_until_patiently(|bytes| bytes.ends_with(b"\r\n"));
        let said = link.take();
        if said == b"STORED\r\n" {
            break;
        }
        if !said.starts_with(b"SERVER_ERROR ") || Instant::now() > deadline {
            return Err(format!("{key} is not stored: {:?}, closed: {}", escaped(&said), link.closed));
        }
    }
    link.send(format!("get {key}\r\n").as_bytes());
    let expected = [format!("VALUE {key} 0 {size}\r\n").as_bytes(), &value, b"\r\nEND\r\n"].concat();
    if !link.read_until_patiently(|bytes| bytes.len() >= expected.len()) || link.received != expected {
        return Err(format!("{key} is not read back: {} bytes", link.received.len()));
    }
    Ok(())
}

fn tight_announcements(server: &Server) -> Result<(), String> {
    let _links = announce(server, CROWD, 0);
    for number in 0..20 {
        store_large(server, &format!("honest:{number}"), 1_000_000)?;
    }
    Ok(())
}

fn tight_uploads(server: &Server) -> Result<(), String> {
    let _links = announce(server, CROWD, 500_000);
    for number in 0..20 {
        store_large(server, &format!("honest:{number}"), 1_000_000)?;
    }
    Ok(())
}

/// So many clients announce a value of a million bytes and send some of it, as far as it is taken.
fn announce(server: &Server, clients: usize, sent: usize) -> Vec<Link> {
    let start = [b"set upload 0 0 1000000\r\n", &vec![b'u'; sent][..]].concat();
    let links: Vec<Link> = (0..clients).map(|_| server.connect()).collect();
    push_to_all(&links, &start);
    links
}

fn tight_pins(server: &Server) -> Result<(), String> {
    for number in 0..40 {
        store_large(server, &format!("pinned:{number}"), 1_000_000)?;
    }
    let links: Vec<Link> = (0..400).map(|_| server.connect()).collect();
    for (number, link) in links.iter().enumerate() {
        push(link, format!("get pinned:{}\r\n", number % 40).repeat(20).as_bytes());
    }
    for number in 0..60 {
        store_large(server, &format!("honest:{number}"), 1_000_000)?;
    }
    Ok(())
}

fn tight_honest_uploads(server: &Server) -> Result<(), String> {
    // More at once than clients may hold together; each is stored, or, having waited long, told that there was no memory.
    let start = Instant::now();
    let value = [b"set honest 0 0 1000000\r\n", &vec![b'h'; 1_000_000][..], b"\r\n"].concat();
    let mut links: Vec<Link> = (0..100).map(|_| server.connect()).collect();
    std::thread::scope(|scope| {
        for link in &mut links {
            let value = &value;
            scope.spawn(move || {
                link.send(value);
                link.read_until_patiently(|bytes| bytes.ends_with(b"\r\n"));
            });
        }
    });
    let stored = links.iter().filter(|link| link.received == b"STORED\r\n").count();
    let refused = links.iter().filter(|link| link.received.starts_with(b"SERVER_ERROR ")).count();
    if stored + refused < links.len() || stored < links.len() / 2 {
        return Err(format!("{stored} stored, {refused} refused of {}", links.len()));
    }
    println!("       ({stored} stored and {refused} refused in {} ms)", start.elapsed().as_millis());
    Ok(())
}
