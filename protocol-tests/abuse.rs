//! Clients that are rude, broken or hostile: each gets the documented answer or a closed connection, the server lives, its memory stays
//! within bounds and comes back, and everybody else is answered meanwhile.
//!
//! One server for all cases. While a case runs, a bystander asks for a small value every few milliseconds, and the process's
//! resident memory is watched. The bounds: 64 MiB more than before at any time, given back within five seconds of the end. Latency is
//! printed; only a second of it is a failure, since this may run on a crowded machine.

mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::server::{self, Server};
use support::{Link, escaped};

/// How much memory a case may cost.
const GROWTH_MAX: u64 = 64 << 20;
/// How long that memory may stay after the case.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(5);
/// What of the growth counts as given back: allocators keep a little.
const LEFT_MAX: u64 = 8 << 20;
/// When a bystander's wait is a failure.
const LATENCY_MAX: Duration = Duration::from_secs(1);
/// Clients at once in the cases that need many.
const CROWD: usize = 1000;
/// Descriptors that those need in this process.
const DESCRIPTORS: u64 = 4096;

type Case = (&'static str, fn(&Server) -> Result<(), String>);

const CASES: &[Case] = &[
    ("lines without an end close the connection, after the answers that were due", over_long_lines),
    ("lengths that are negative, huge or no number are refused and nothing is swallowed", absurd_lengths),
    ("NUL bytes anywhere are bytes like others", nul_bytes),
    ("data without its CR LF is refused and what follows is understood", missing_terminators),
    ("random bytes never stop the server", random_bytes),
    ("a hundred thousand commands in one write from a client that never reads", never_reads),
    ("a thousand clients ask for a large value and do not read it", large_values_unread),
    ("a hundred thousand keys in one get", many_keys),
    ("a thousand clients announce a large value and send a part of it", uploads_without_end),
    ("a thousand clients begin a line and do not end it", lines_without_end),
];

fn main() -> ExitCode {
    if let Some(code) = with_more_descriptors() {
        return code;
    }
    let server = Server::start(&server::memhold(), &["-c", "4096", "-m", "256"]);
    if server.version() == "1.6.18" {
        println!("this is memcached itself: expect failures where section 19 lists defects");
    }
    prepare(&server);
    let mut failed = 0;
    for (name, case) in CASES {
        let outcome = watched(&server, *case);
        match outcome {
            Ok(report) => println!("ok     {name} ({report})"),
            Err(reason) => {
                failed += 1;
                println!("FAILED {name}: {reason}");
            }
        }
    }
    println!("abuse: {} passed, {failed} failed", CASES.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// Runs a case while a bystander asks and memory is watched.
fn watched(server: &Server, case: fn(&Server) -> Result<(), String>) -> Result<String, String> {
    let before = server.resident();
    let (peak, slowest, stop) = (AtomicU64::new(before), AtomicU64::new(0), AtomicBool::new(false));
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut bystander = server.connect();
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                if !bystander.ask(b"get small\r\n", b"END\r\n").ends_with(b"END\r\n") {
                    slowest.store(u64::MAX, Ordering::Relaxed);
                    return;
                }
                slowest.fetch_max(asked.elapsed().as_micros() as u64, Ordering::Relaxed);
                peak.fetch_max(server.resident(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let outcome = case(server);
        stop.store(true, Ordering::Relaxed);
        outcome
    });
    outcome?;
    let slowest = slowest.into_inner();
    if Duration::from_micros(slowest) > LATENCY_MAX {
        return Err(format!("a bystander waited {slowest} us (or was dropped)"));
    }
    let grown = peak.into_inner().saturating_sub(before);
    if grown > GROWTH_MAX {
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
    let commands = b"get kilo\r\n".repeat(100_000);
    let links: Vec<Link> = (0..4).map(|_| server.connect()).collect();
    for link in &links {
        push(link, &commands);
    }
    std::thread::sleep(Duration::from_millis(500));
    // One that reads late gets every answer to what was taken.
    let small = b"get small\r\n".repeat(10_000);
    let mut late = server.connect();
    let sent = push(&late, &small);
    let expected = (sent / b"get small\r\n".len()) * b"VALUE small 0 20\r\nvvvvvvvvvvvvvvvvvvvv\r\nEND\r\n".len();
    if late.read_until(|bytes| bytes.len() >= expected) { Ok(()) } else { Err("answers are missing".to_owned()) }
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

fn many_keys(server: &Server) -> Result<(), String> {
    let mut line = String::from("get");
    for number in 0..100_000 {
        let _ = write!(line, " key:{number}");
    }
    line.push_str("\r\n");
    let mut silent = server.connect();
    let pushed = push(&silent, line.as_bytes());
    let mut link = server.connect();
    std::thread::scope(|scope| {
        let writer = link.stream().try_clone().map_err(|error| error.to_string())?;
        scope.spawn(|| {
            let mut writer = writer;
            let _ = writer.write_all(line.as_bytes());
        });
        if !link.read_until(|bytes| bytes.ends_with(b"END\r\n")) {
            return Err(format!("no END after {} bytes", link.received.len()));
        }
        Ok(())
    })?;
    let values = link.received.windows(6).filter(|window| window == b"VALUE ").count();
    silent.wait(Duration::from_millis(10));
    if values == 100_000 && pushed > 0 { Ok(()) } else { Err(format!("{values} values came")) }
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
