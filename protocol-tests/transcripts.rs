//! Runs every transcript three ways: in process with a fake clock and the input split at every byte, against our binary over a
//! socket, and against a real memcached, which proves the transcript itself.
//!
//! `cargo test --test transcripts -- text/get` runs the files whose name contains that word; `-- --record` asks memcached what
//! is missing and writes it into the files. Each conversation starts without items: on a server of its own when it changes
//! settings or lets time pass, else on a shared one after `flush_all`.

#[path = "support/in_process.rs"]
mod in_process;
mod support;

use in_process::InProcess;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::frame;
use support::server::{self, Server};
use support::transcript::{self, Agreement, Conversation, Exchange, Names, Piece, Step, Transcript};
use support::{Link, escaped};

/// Gives our server the commands of memcached's debug build (section 16.6), of which `debugtime` is used here.
const DEBUG_FLAG: &str = "--debug-commands";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let record = arguments.iter().any(|argument| argument == "--record");
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests/transcripts");
    let mut transcripts = transcript::read_all(&folder);
    transcripts.retain(|each| wanted.is_empty() || wanted.iter().any(|word| each.name.contains(word.as_str())));
    if record {
        return record_all(&transcripts);
    }
    let mut totals = in_process(&transcripts);
    for binary in [Some(server::memhold()), server::memcached()].into_iter().flatten() {
        totals.add(run_against(&binary, &transcripts));
    }
    println!("transcripts: {} passed, {} failed", totals.passed, totals.failed);
    if totals.failed == 0 && totals.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Conversations that went as written, and the others.
#[derive(Default)]
struct Totals {
    passed: usize,
    failed: usize,
}

impl Totals {
    fn add(&mut self, other: Totals) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// How the bytes of an exchange arrive.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// In one piece.
    Whole,
    /// One by one.
    EachByte,
    /// In two pieces: the first of so many bytes, in each exchange that has as many and more.
    At(usize),
    /// In two pieces: the second of so many bytes.
    Before(usize),
}

/// Bytes at both ends of an exchange between which it is cut everywhere; what lies between is one long value or line.
const CUT_BYTES: usize = 300;
/// The same where values of megabytes go back and forth each time.
const CUT_BYTES_OF_LONG: usize = 60;

/// All conversations with the library itself: whole, byte by byte, and cut in two at every place.
fn in_process(transcripts: &[Transcript]) -> Totals {
    let mut totals = Totals::default();
    for file in transcripts {
        for conversation in &file.conversations {
            if let Some(reason) = conversation.not_memhold.as_ref().or(conversation.needs_socket.as_ref()) {
                println!("left out in process: {}:{}: {}: {reason}", file.name, conversation.line, conversation.title);
                continue;
            }
            let longest = match hold(conversation, Cut::Whole) {
                Ok(longest) => longest,
                Err((line, reason)) => {
                    println!("FAILED in process\n{}:{line}: {}\n{reason}\n", file.name, conversation.title);
                    totals.failed += 1;
                    continue;
                }
            };
            // Every place of what is not long; else those near both ends.
            let most = if longest > 100_000 { CUT_BYTES_OF_LONG } else { CUT_BYTES };
            let from_the_end = if longest > most { 1..most } else { 0..0 };
            let cuts = (1..longest.min(most)).map(Cut::At).chain(from_the_end.map(Cut::Before)).chain([Cut::EachByte]);
            let failure = if conversation.in_one_read { None } else { first_failure(conversation, cuts) };
            match failure {
                None => totals.passed += 1,
                Some((cut, (line, reason))) => {
                    println!(
                        "FAILED in process, cut {cut:?}\n{}:{line}: {}\n{reason}\n",
                        file.name, conversation.title
                    );
                    totals.failed += 1;
                }
            }
        }
    }
    println!("in process: {} conversations passed, {} failed", totals.passed, totals.failed);
    totals
}

fn first_failure(conversation: &Conversation, cuts: impl Iterator<Item = Cut>) -> Option<(Cut, Failure)> {
    cuts.map(|cut| (cut, hold(conversation, cut))).find_map(|(cut, held)| held.err().map(|failure| (cut, failure)))
}

/// Holds one conversation with a server of its own. Returns the length of the longest exchange.
fn hold(conversation: &Conversation, cut: Cut) -> Result<usize, Failure> {
    let mut server = InProcess::start(conversation.server.as_deref().unwrap_or_default());
    let mut names = Names::new();
    let mut longest = 0;
    for step in &conversation.steps {
        let exchange = match step {
            Step::Advance(seconds) => {
                server.advance(*seconds);
                continue;
            }
            Step::Exchange(exchange) => exchange,
        };
        if server.closed {
            server.reconnect();
        }
        let bytes = transcript::spelled(&exchange.send, &names);
        longest = longest.max(bytes.len());
        let halves = |server: &mut InProcess, at: usize| {
            let (start, rest) = bytes.split_at(at.min(bytes.len()));
            server.feed(start);
            server.feed(rest);
        };
        match cut {
            Cut::Whole => server.feed(&bytes),
            Cut::EachByte => bytes.iter().for_each(|byte| server.feed(&[*byte])),
            Cut::At(at) => halves(&mut server, at),
            Cut::Before(at) => halves(&mut server, bytes.len().saturating_sub(at)),
        }
        let got = std::mem::take(&mut server.received);
        if transcript::compare(&exchange.expect, &got, &mut names) != Agreement::Whole(got.len()) {
            return Err((exchange.lines.0, difference(exchange, &exchange.expect, &got)));
        }
        if server.closed != exchange.closes {
            return Err((exchange.lines.0, format!("  the server has closed the connection: {}", server.closed)));
        }
    }
    if !server.closed && !conversation.ends_silent {
        let (question, answer) = conversation.last_question();
        server.feed(question);
        if server.received != answer {
            return Err((conversation.line, format!("  at the end a noop is answered {}", escaped(&server.received))));
        }
    }
    Ok(longest)
}

/// One conversation and the file it is from.
type Task<'a> = (&'a Transcript, &'a Conversation);

/// All conversations against a server binary. Those that sleep wait beside each other.
fn run_against(binary: &Path, transcripts: &[Transcript]) -> Totals {
    let mut shared = Server::start(binary, &[]);
    let version = shared.version();
    let peer = Peer { old: version == "1.6.18" };
    if peer.old {
        // Its background threads hold an item now and then, and arithmetic on such an item leaves no padding (section 3.6).
        shared = Server::start(binary, &["-o", "no_lru_maintainer,no_lru_crawler"]);
    }
    let tasks: Vec<Task> = transcripts
        .iter()
        .flat_map(|file| file.conversations.iter().map(move |conversation| (file, conversation)))
        .filter(|(_, conversation)| if peer.old { !conversation.not_18 } else { conversation.not_memhold.is_none() })
        .collect();
    let (own, sharing): (Vec<Task>, Vec<Task>) =
        tasks.into_iter().partition(|(_, each)| each.server.is_some() || each.moves_clock());
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let fail = |file: &Transcript, line: usize, conversation: &Conversation, reason: String| {
        let text = format!("{}:{line}: {}\n{reason}", file.name, conversation.title);
        failures.lock().expect("no thread panics while it reports").push(text);
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((file, conversation)) = own.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut flags: Vec<&str> = conversation.server.iter().flatten().map(String::as_str).collect();
                    if conversation.moves_clock() && !peer.old {
                        flags.push(DEBUG_FLAG);
                    }
                    let server = Server::start(binary, &flags);
                    if let Err((line, reason)) = peer.run(&server, conversation) {
                        fail(file, line, conversation, reason);
                    }
                }
            });
        }
        for (file, conversation) in &sharing {
            shared.connect().ask(b"flush_all\r\n", b"\r\n");
            if let Err((line, reason)) = peer.run(&shared, conversation) {
                fail(file, line, conversation, reason);
            }
        }
    });
    let failures = failures.into_inner().expect("no thread panicked");
    for failure in &failures {
        println!("FAILED {} (version {version})\n{failure}\n", binary.display());
    }
    let passed = own.len() + sharing.len() - failures.len();
    println!("{} (version {version}): {passed} conversations passed, {} failed", binary.display(), failures.len());
    Totals { passed, failed: failures.len() }
}

/// Who is at the other end.
struct Peer {
    /// Whether it is 1.6.18, whose own answers the transcripts note too.
    old: bool,
}

/// The line of the file where a conversation went wrong, and how.
type Failure = (usize, String);

impl Peer {
    fn run(&self, server: &Server, conversation: &Conversation) -> Result<(), Failure> {
        let mut names = Names::new();
        let mut link = server.connect();
        for step in &conversation.steps {
            match step {
                Step::Advance(seconds) => advance(server, *seconds),
                Step::Exchange(exchange) => {
                    if link.closed {
                        link = server.connect();
                    }
                    self.exchange(&mut link, exchange, &mut names).map_err(|reason| (exchange.lines.0, reason))?;
                }
            }
        }
        if link.closed || conversation.ends_silent {
            return Ok(());
        }
        let (question, answer) = conversation.last_question();
        let rest = link.ask(question, answer);
        if rest == answer {
            return Ok(());
        }
        Err((
            conversation.line,
            format!("  more was said than expected, or the server waits for more: {}", escaped(&rest)),
        ))
    }

    fn exchange(&self, link: &mut Link, exchange: &Exchange, names: &mut Names) -> Result<(), String> {
        let expect = match &exchange.expect_18 {
            Some(other) if self.old => other,
            _ => &exchange.expect,
        };
        link.send(&transcript::spelled(&exchange.send, names));
        let mut agreement = Agreement::SoFar;
        link.read_until(|bytes| {
            agreement = transcript::compare(expect, bytes, &mut names.clone());
            agreement != Agreement::SoFar
        });
        let Agreement::Whole(length) = agreement else {
            link.wait(Duration::from_millis(50));
            return Err(difference(exchange, expect, &link.received));
        };
        transcript::compare(expect, &link.received, names);
        link.received.drain(..length);
        if exchange.closes && !link.reaches_end() {
            return Err("  the server did not close the connection".to_owned());
        }
        if link.closed && !exchange.closes {
            return Err("  the server closed the connection".to_owned());
        }
        if !link.received.is_empty() {
            return Err(format!("  too much: {}", escaped(&link.received)));
        }
        Ok(())
    }
}

fn difference(exchange: &Exchange, expected: &[Piece], got: &[u8]) -> String {
    let short = |text: String| text.chars().take(1500).collect::<String>();
    let sent = short(transcript::shown(&exchange.send));
    let expected = short(transcript::shown(expected));
    format!("  sent     {sent}\n  expected {expected}\n  got      {}", short(escaped(got)))
}

/// Lets time pass for a server: by its debug command where it has one, else by waiting.
fn advance(server: &Server, seconds: u32) {
    let said = server.connect().ask(format!("debugtime {seconds}\r\n").as_bytes(), b"\r\n");
    if said != b"OK\r\n" {
        std::thread::sleep(Duration::from_secs(seconds.into()));
    }
}

/// Asks memcached for each answer that is not written yet, and notes as `<18` each that differs from what is written.
fn record_all(transcripts: &[Transcript]) -> ExitCode {
    let Some(binary) = server::memcached() else {
        return ExitCode::FAILURE;
    };
    for file in transcripts {
        let mut additions = Vec::new();
        for conversation in file.conversations.iter().filter(|each| !each.not_18) {
            let flags: Vec<&str> = conversation.server.iter().flatten().map(String::as_str).collect();
            record(&Server::start(&binary, &flags), conversation, &mut additions);
        }
        if let Err(error) = insert(file, additions) {
            println!("{}: {error}", file.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Lines to add to the file.
struct Addition {
    /// Behind this line, from 1.
    after: usize,
    /// Whether that line goes.
    replaces: bool,
    lines: Vec<String>,
}

fn record(server: &Server, conversation: &Conversation, additions: &mut Vec<Addition>) {
    let mut names = Names::new();
    let mut link = server.connect();
    for step in &conversation.steps {
        let exchange = match step {
            Step::Advance(seconds) => {
                advance(server, *seconds);
                continue;
            }
            Step::Exchange(exchange) => exchange,
        };
        if link.closed {
            link = server.connect();
        }
        link.send(&transcript::spelled(&exchange.send, &names));
        while !link.closed && link.wait(Duration::from_millis(60)) {}
        let got = link.take();
        let expect = exchange.expect_18.as_ref().unwrap_or(&exchange.expect);
        if transcript::compare(expect, &got, &mut names) == Agreement::Whole(got.len()) {
            continue;
        }
        let unknown = exchange.expect.is_empty();
        let mark = if unknown { "<" } else { "<18" };
        let mut lines: Vec<String> = if got.first() == Some(&0x81) {
            frame::shown(&got).iter().map(|line| format!("{mark}b {line}")).collect()
        } else {
            got.split_inclusive(|byte| *byte == b'\n').map(|line| format!("{mark} {}", escaped(line))).collect()
        };
        if got.is_empty() {
            lines.push(mark.to_owned());
        }
        if link.closed && !exchange.closes {
            lines.push("@ closes".to_owned());
        }
        match exchange.silence.filter(|_| unknown) {
            Some(after) => additions.push(Addition { after, replaces: true, lines }),
            None => additions.push(Addition { after: exchange.lines.1, replaces: false, lines }),
        }
    }
}

fn insert(file: &Transcript, additions: Vec<Addition>) -> std::io::Result<()> {
    let text = std::fs::read_to_string(&file.path)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    println!("{}: {} answers recorded", file.name, additions.len());
    for Addition { after, replaces, lines: new } in additions.into_iter().rev() {
        lines.splice(after - usize::from(replaces)..after, new);
    }
    lines.push(String::new());
    std::fs::write(&file.path, lines.join("\n"))
}
