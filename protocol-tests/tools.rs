//! `memhold dump`, `load` and `bench`, as an operator runs them: with servers of ours and a real memcached, and everything that can
//! go wrong on the way. Damage bit by bit is tested where the file is (`src/tools/archive.rs`).

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::folder::Folder;
use support::random::Random;
use support::server::{self, Server, memhold};
use support::tls::Files;
use support::{Link, escaped, unix_connection};

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(memhold()).args(arguments).output().expect("the binary can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Runs what has to succeed; what it says on standard output.
fn done(arguments: &[&str]) -> String {
    let (code, said, complained) = run(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {complained}");
    said
}

/// Runs what has to fail, in one line; the line.
fn refused(arguments: &[&str]) -> String {
    let (code, said, complained) = run(arguments);
    assert!(code.is_some_and(|code| code == 1 || code == 64), "{arguments:?}: {code:?}");
    assert_eq!(said, "");
    assert_eq!(complained.lines().count(), 1, "{complained}");
    complained
}

fn start(flags: &[&str]) -> Server {
    Server::start(&memhold(), &[&["-m", "128", "-I", "4m"], flags].concat())
}

fn address(server: &Server) -> String {
    server.address.to_string()
}

fn base64(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    memhold::protocol::base64::encode(&mut out, bytes);
    String::from_utf8(out).expect("base64 is ASCII")
}

/// How a key is typed, and the flag behind it.
fn typed(key: &[u8], as_base64: bool) -> (Vec<u8>, &'static str) {
    if as_base64 { (base64(key).into_bytes(), " b") } else { (key.to_vec(), "") }
}

// --- everything there and back ---------------------------------------------------------------------------------------

/// A key, whether it is typed in base64, and whether only the binary protocol can name it.
struct Named {
    key: Vec<u8>,
    as_base64: bool,
    only_binary: bool,
}

fn random_key(random: &mut Random, number: usize) -> Named {
    let mut key = format!("{number:x}").into_bytes();
    let kind = random.below(40);
    let length = match kind {
        0 => 250,
        1 => 200,
        2..15 => 10 + random.below(160),
        _ => 10 + random.below(200),
    };
    while key.len() < length {
        // Any byte at all, or what a word may hold.
        key.push(if (1..15).contains(&kind) { random.next() as u8 } else { 0x21 + random.below(0x5e) as u8 });
    }
    if kind == 1 {
        key[5..8].copy_from_slice(b"\r\n ");
    }
    Named { key, as_base64: (2..15).contains(&kind), only_binary: kind == 1 }
}

/// Fills a server and returns the keys.
fn fill(server: &Server, seed: u64, count: usize) -> Vec<Named> {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let (mut link, mut binary) = (server.connect(), server.connect());
    let mut keys = Vec::new();
    for number in 0..count {
        let named = random_key(&mut random, number);
        let length = match random.below(300) {
            0 => 1_000_000,
            1..5 => 30_000 + random.below(200_000),
            5..40 => 0,
            _ => random.below(800),
        };
        let fill = random.next() as u8;
        let mut value = vec![fill; length];
        value.iter_mut().take(200).for_each(|byte| *byte = random.next() as u8);
        let flags = if random.chance(50) { random.next() as u32 } else { 0 };
        // Up to 30 days relative, beyond that absolute.
        let ttl = if random.chance(30) { 0 } else { 1000 + random.below(2_500_000) };
        if named.only_binary {
            let mut frame = vec![0x80, 0x01, 0, named.key.len() as u8, 8, 0, 0, 0];
            frame.extend_from_slice(&((8 + named.key.len() + value.len()) as u32).to_be_bytes());
            frame.extend_from_slice(&[0; 12]);
            frame.extend_from_slice(&flags.to_be_bytes());
            frame.extend_from_slice(&(ttl as u32).to_be_bytes());
            frame.extend_from_slice(&named.key);
            frame.extend_from_slice(&value);
            binary.send(&frame);
            assert!(binary.read_until(|bytes| bytes.len() >= 24), "a frame is answered");
            assert_eq!(binary.take()[6..8], [0, 0], "it is stored");
        } else {
            let (name, flag) = typed(&named.key, named.as_base64);
            let head = format!(" {length} T{ttl} F{flags}{flag}\r\n");
            let request = [b"ms ", &name[..], head.as_bytes(), &value, b"\r\n"].concat();
            assert_eq!(escaped(&link.ask(&request, b"\r\n")), "HD\\r\\n", "{}", escaped(&named.key));
        }
        keys.push(named);
    }
    keys
}

/// What a server has under a key: value, flags, CAS and the rest of the line, and in which second it expires.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    words: Vec<String>,
    value: Vec<u8>,
    /// By our clock; the server's seconds begin at another moment, so that one more or less is the same.
    exptime: Option<u64>,
}

fn look(server: &Server, keys: &[Named], with_cas: bool) -> BTreeMap<Vec<u8>, Seen> {
    let mut link = server.connect();
    let mut seen = BTreeMap::new();
    for named in keys {
        if named.only_binary {
            if let Some(found) = look_binary(&mut server.connect(), &named.key) {
                seen.insert(named.key.clone(), found);
            }
            continue;
        }
        let (name, flag) = typed(&named.key, named.as_base64);
        let cas = if with_cas { " c" } else { "" };
        link.send(&[b"mg ", &name[..], format!(" t f k u{cas} v{flag}\r\n").as_bytes()].concat());
        let line = read_line(&mut link);
        if line.starts_with("EN") {
            continue;
        }
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(words.remove(0), "VA", "{line}");
        let length: usize = words.remove(0).parse().expect("a length");
        let left: i64 = words.remove(0).trim_start_matches('t').parse().expect("seconds");
        assert!(link.read_until(|bytes| bytes.len() >= length + 2), "the value comes whole");
        let value = link.received.drain(..length + 2).take(length).collect();
        let exptime = u64::try_from(left).ok().map(|left| unix_time() + left);
        seen.insert(named.key.clone(), Seen { words, value, exptime });
    }
    seen
}

/// Flags and value by the binary protocol, which knows no time that is left.
fn look_binary(link: &mut Link, key: &[u8]) -> Option<Seen> {
    let mut frame = vec![0x80, 0x00, 0, key.len() as u8];
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&(key.len() as u32).to_be_bytes());
    frame.extend_from_slice(&[0; 12]);
    frame.extend_from_slice(key);
    link.send(&frame);
    let body = |bytes: &[u8]| bytes[8..12].iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
    assert!(link.read_until(|bytes| bytes.len() >= 24 && bytes.len() >= 24 + body(bytes)), "a frame is answered");
    let answer = link.take();
    let found = answer[6..8] == [0, 0];
    found.then(|| Seen { words: vec![escaped(&answer[24..28])], value: answer[28..].to_vec(), exptime: None })
}

/// The next line, as text in which odd bytes are spelled.
fn read_line(link: &mut Link) -> String {
    let find = |bytes: &[u8]| bytes.windows(2).position(|pair| pair == b"\r\n");
    assert!(link.read_until(|bytes| find(bytes).is_some()), "a line comes");
    let end = find(&link.received).unwrap_or(0);
    let line: Vec<u8> = link.received.drain(..end + 2).take(end).collect();
    escaped(&line)
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

/// Dumps `source`, loads `target`, and compares all.
fn there_and_back(name: &str, source: &Server, target: &Server, with_cas: bool) {
    let folder = Folder::new(&format!("tools-{name}"));
    let keys = fill(source, 0x6d65_6d68 + name.len() as u64, 3000);
    let before = look(source, &keys, with_cas);
    assert!(before.len() > 2900, "the source has room for them: {}", before.len());
    let said = done(&["dump", "--server", &address(source), &folder.path("dump")]);
    assert!(said.starts_with(&format!("dumped {} items of ", before.len())), "{said}");
    assert_eq!(folder.names(), ["dump"]);
    let mode = fs::metadata(folder.path("dump")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only its owner may read everybody's sessions");
    let said = done(&["load", &folder.path("dump"), "--check"]);
    assert!(said.contains(&format!("is whole: {} items", before.len())), "{said}");

    let said = done(&["load", &folder.path("dump"), "--server", &address(target)]);
    assert!(said.starts_with(&format!("loaded {} items from ", before.len())), "{said}");
    let after = look(target, &keys, with_cas);
    assert_eq!(after.len(), before.len());
    for (key, seen) in &before {
        let found = &after[key];
        let name = escaped(key);
        assert!(found.value == seen.value, "{name}: the value of {} bytes", seen.value.len());
        assert_eq!(found.words, seen.words, "{name}");
        match (found.exptime, seen.exptime) {
            (Some(found), Some(seen)) => assert!(found.abs_diff(seen) <= 3, "{name}: {found} is not {seen}"),
            (found, seen) => assert_eq!(found, seen, "{name}"),
        }
    }
    // The source has all it had.
    assert_eq!(look(source, &keys, with_cas).len(), before.len());
}

#[test]
fn every_item_comes_over_from_a_server_of_ours() {
    there_and_back("ours", &start(&[]), &start(&[]), true);
}

#[test]
fn every_item_comes_over_from_memcached() {
    let Some(peer) = server::memcached() else { return };
    let source = Server::start(&peer, &["-m", "128", "-I", "4m"]);
    there_and_back("from-peer", &source, &start(&[]), true);
}

#[test]
fn every_item_goes_over_to_memcached() {
    let Some(peer) = server::memcached() else { return };
    let target = Server::start(&peer, &["-m", "128", "-I", "4m"]);
    // Debian's takes no CAS.
    there_and_back("to-peer", &start(&[]), &target, false);
}

/// memcached holds locks while it waits for us to read its list.
#[test]
fn a_list_longer_than_the_kernel_holds_is_no_trap() {
    let Some(peer) = server::memcached() else { return };
    let folder = Folder::new("tools-long");
    for binary in [peer, memhold()] {
        let source = Server::start(&binary, &["-m", "128"]);
        let mut link = source.connect();
        for number in 0..60 {
            let sets =
                (0..1000).map(|at| format!("set {}{:0200} 0 0 1 noreply\r\nx\r\n", "%".repeat(40), number * 1000 + at));
            link.send(sets.collect::<String>().as_bytes());
        }
        assert_eq!(link.ask(b"mn\r\n", b"\r\n"), b"MN\r\n");
        let said = done(&["dump", "--force", "--server", &address(&source), &folder.path("dump")]);
        assert!(said.starts_with("dumped 60000 items of "), "{said}");
        assert_eq!(folder.names(), ["dump"]);
    }
}

fn ask(server: &Server, request: &str) -> String {
    let answer = server.connect().ask(request.as_bytes(), b"\r\n");
    String::from_utf8_lossy(&answer).trim_end().to_owned()
}

#[test]
fn marks_come_over_and_nobody_loses_a_right_to_them() {
    marks(&start(&[]), &start(&[]), true);
    if let Some(peer) = server::memcached() {
        let peer = || Server::start(&peer, &[]);
        // Debian's gives a stale item a new CAS, and takes none.
        marks(&peer(), &start(&[]), false);
        marks(&start(&[]), &peer(), false);
    }
}

fn marks(source: &Server, target: &Server, with_cas: bool) {
    let folder = Folder::new(&format!("tools-marks-{}", source.address.port()));
    for key in ["stale", "taken"] {
        assert_eq!(ask(source, &format!("ms {key} 1 T5000\r\nx\r\n")), "HD");
        assert_eq!(ask(source, &format!("md {key} I\r\n")), "HD");
    }
    assert_eq!(ask(source, "mg taken\r\n"), "HD X W");
    assert_eq!(ask(source, "mg awaited N5000\r\n"), "HD W");
    assert_eq!(ask(source, "ms plain 1\r\nx\r\n"), "HD");
    let cas = ask(source, "gets stale\r\n");
    done(&["dump", "--server", &address(source), &folder.path("dump")]);
    done(&["load", "--server", &address(target), &folder.path("dump")]);
    for server in [source, target] {
        if with_cas {
            assert_eq!(ask(server, "gets stale\r\n"), cas);
        }
        assert_eq!(ask(server, "mg plain s\r\n"), "HD s1");
        assert_eq!(ask(server, "mg awaited s\r\n"), "HD s0 Z");
        assert_eq!(ask(server, "mg taken s\r\n"), "HD s1 Z X");
        assert_eq!(ask(server, "mg stale s\r\n"), "HD s1 X W");
    }
}

#[test]
fn what_expired_meanwhile_is_left_out() {
    let folder = Folder::new("tools-expired");
    let (source, target) = (start(&[]), start(&["--debug-commands"]));
    for (key, ttl) in [("soon", 1000), ("later", 100_000), ("never", 0)] {
        assert_eq!(ask(&source, &format!("set {key} 0 {ttl} 1\r\nx\r\n")), "STORED");
    }
    done(&["dump", "--server", &address(&source), &folder.path("dump")]);
    assert_eq!(ask(&target, "debugtime 5000\r\n"), "OK");
    let said = done(&["load", "--server", &address(&target), &folder.path("dump")]);
    assert!(said.starts_with("loaded 2 items from ") && said.ends_with("; 1 had expired\n"), "{said}");
    assert_eq!(ask(&target, "mg soon\r\n"), "EN");
    assert_eq!(ask(&target, "mg never t\r\n"), "HD t-1");
    let left: i64 = ask(&target, "mg later t\r\n").trim_start_matches("HD t").parse().expect("seconds");
    assert!((94_990..=95_002).contains(&left), "{left}");
}

#[test]
fn a_unix_socket_is_a_server_too_and_kept_items_stay() {
    let folder = Folder::new("tools-unix");
    let path = folder.0.join("socket").display().to_string();
    let mut child = Command::new(memhold()).args(["-u", "root", "-s", &path]).spawn().expect("the binary can be run");
    drop(unix_connection(&path));
    let source = start(&[]);
    assert_eq!(ask(&source, "set k 1 0 3\r\nold\r\n"), "STORED");
    done(&["dump", "--server", &address(&source), &folder.path("dump")]);
    assert!(done(&["load", "--server", &path, &folder.path("dump")]).starts_with("loaded 1 items"));
    let _ = child.kill();
    let _ = child.wait();

    assert_eq!(ask(&source, "set k 2 0 3\r\nnew\r\n"), "STORED");
    let said = done(&["load", "--keep", "--server", &address(&source), &folder.path("dump")]);
    assert!(said.starts_with("loaded 0 items") && said.ends_with("; 1 were there already\n"), "{said}");
    assert_eq!(ask(&source, "mg k f\r\n"), "HD f2");
    done(&["load", "--server", &address(&source), &folder.path("dump")]);
    assert_eq!(ask(&source, "mg k f\r\n"), "HD f1");
}

// --- what goes wrong -------------------------------------------------------------------------------------------------

#[test]
fn what_cannot_be_meant_is_told_in_a_line() {
    let nobody = format!("127.0.0.1:{}", server::free_port());
    assert!(refused(&["dump"]).contains("FILE"));
    assert!(refused(&["dump", "--nonsense", "f"]).contains("--nonsense"));
    let folder = Folder::new("tools-wrong");
    let said = refused(&["dump", "--server", &nobody, &folder.path("dump")]);
    assert!(said.ends_with(&format!("dump: {nobody}: Connection refused\n")), "{said}");
    assert!(refused(&["dump", "--server", "127.0.0.1:x", &folder.path("dump")]).contains("HOST:PORT"));
    assert!(refused(&["dump", "--server", "/nowhere/at/all", &folder.path("dump")]).contains("No such file"));
    assert!(refused(&["load", &folder.path("dump")]).contains("No such file"));
    let pipe = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()), "a pipe can be made");
    for nothing in ["/dev/null", &pipe] {
        assert!(refused(&["load", nothing]).contains("not a file"), "nobody waits for {nothing}");
        let said = refused(&["dump", "--force", "--server", &nobody, nothing]);
        assert!(said.contains("no ordinary file"), "{nothing} is not taken away: {said}");
    }
    fs::remove_file(&pipe).expect("it is still there");
    assert!(refused(&["dump", "--server", &nobody, &folder.path("")]).contains("is a directory"));
    assert_eq!(folder.names(), Vec::<String>::new());
    let (code, help, _) = run(&["dump", "--help"]);
    assert!(code == Some(0) && help.contains("--server") && help.contains("--force"), "{help}");
}

#[test]
fn a_result_that_finds_no_room_is_a_failure_and_a_closed_pipe_is_none() {
    let folder = Folder::new("tools-output");
    let server = start(&[]);
    done(&["dump", "--server", &address(&server), &folder.path("dump")]);
    for words in [&["load", "--check", &folder.path("dump")][..], &["load", "--help"]] {
        let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
        let output = Command::new(memhold()).args(words).stdout(full).output().expect("the binary can be run");
        let complained = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {complained}");
        assert!(complained.ends_with("load: standard output: No space left on device\n"), "{complained}");

        let (reader, closed) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let output = Command::new(memhold()).args(words).stdout(closed).output().expect("the binary can be run");
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]), "{words:?}");
    }
}

#[test]
fn a_file_is_replaced_only_by_force() {
    let folder = Folder::new("tools-force");
    let server = start(&[]);
    fs::write(folder.path("dump"), "mine").expect("it can be written");
    let said = refused(&["dump", "--server", &address(&server), &folder.path("dump")]);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(fs::read(folder.path("dump")).expect("it is there"), b"mine");
    done(&["dump", "--force", "--server", &address(&server), &folder.path("dump")]);
    assert!(done(&["load", "--check", &folder.path("dump")]).contains("is whole: 0 items"));
}

#[test]
fn nothing_of_a_damaged_file_is_stored() {
    let folder = Folder::new("tools-damaged");
    let (source, target) = (start(&[]), start(&[]));
    fill(&source, 7, 300);
    done(&["dump", "--server", &address(&source), &folder.path("dump")]);
    let whole = fs::read(folder.path("dump")).expect("it is there");
    let mut flipped = whole.clone();
    let last = flipped.len() - 100;
    flipped[last] ^= 0x10;
    let cases =
        [(flipped, "damaged"), (whole[..last].to_vec(), "incomplete"), ([&whole[..], b"x"].concat(), "damaged")];
    for (bytes, expected) in cases {
        fs::write(folder.path("dump"), bytes).expect("it can be written");
        let said = refused(&["load", "--server", &address(&target), &folder.path("dump")]);
        assert!(said.contains(expected), "{said}");
    }
    let stats = target.connect().ask(b"stats\r\n", b"END\r\n");
    assert!(escaped(&stats).contains("STAT total_items 0\\r\\n"), "{}", escaped(&stats));
}

#[test]
fn a_server_that_refuses_is_quoted() {
    let folder = Folder::new("tools-refuses");
    let closed = start(&["-X"]);
    let said = refused(&["dump", "--server", &address(&closed), &folder.path("dump")]);
    assert!(said.contains("the server answered: ERROR metadump not allowed"), "{said}");
    assert_eq!(folder.names(), Vec::<String>::new());

    let source = start(&[]);
    let value = "v".repeat(2_000_000);
    assert_eq!(ask(&source, &format!("set big 0 0 2000000\r\n{value}\r\n")), "STORED");
    assert_eq!(ask(&source, "set small 0 0 1\r\nx\r\n"), "STORED");
    done(&["dump", "--server", &address(&source), &folder.path("dump")]);
    let narrow = Server::start(&memhold(), &[]);
    let said = refused(&["load", "--server", &address(&narrow), &folder.path("dump")]);
    assert!(said.contains("1 of 2 items were not stored") && said.contains("object too large for cache"), "{said}");
    assert_eq!(ask(&narrow, "mg small s\r\n"), "HD s1");
}

/// A server that accepts a connection for each row, and on it answers each line with what stands behind it; then it closes.
fn scripted_server(rows: &'static [(usize, &[(&str, &str)])]) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let thread = std::thread::spawn(move || {
        let mut links = Vec::new();
        for (number, lines) in rows {
            if *number == links.len() {
                let (link, _) = listener.accept().expect("somebody comes");
                links.push(BufReader::new(link));
            }
            for (expected, answer) in *lines {
                let mut line = String::new();
                links[*number].read_line(&mut line).expect("a line comes");
                assert_eq!(line.trim_end(), *expected);
                links[*number].get_mut().write_all(answer.as_bytes()).expect("it is sent");
            }
        }
    });
    (address, thread)
}

const STATS: (&str, &str) = ("stats", "STAT curr_items 2\r\nSTAT time 1800000000\r\nEND\r\n");

#[test]
fn a_dump_that_is_cut_off_leaves_no_file() {
    let folder = Folder::new("tools-cut");
    let (address, server) =
        scripted_server(&[(0, &[STATS]), (1, &[("lru_crawler metadump hash", "OK\r\nkey=a exp=-1 la=1 cas=1 \n")])]);
    let said = refused(&["dump", "--server", &address, &folder.path("dump")]);
    assert!(said.contains("the server closed the connection"), "{said}");
    server.join().expect("it saw what it expected");
    assert_eq!(folder.names(), Vec::<String>::new());
}

#[test]
fn a_busy_crawler_and_a_growing_table_are_waited_for_and_gone_around() {
    let folder = Folder::new("tools-busy");
    let (address, server) = scripted_server(&[
        (0, &[STATS]),
        (1, &[("lru_crawler metadump hash", "BUSY currently processing crawler request\r\n")]),
        (2, &[("lru_crawler metadump hash", "key=a exp=-1 la=1 cas=1\nERROR locked try again later\r\n")]),
        (3, &[("lru_crawler metadump all", "OK\r\nkey=a exp=-1 la=1 cas=1\nkey=b exp=1800009999 la=1\nEND\r\n")]),
        (0, &[("md memhold-probe C18446744073709551615 E1", "NF\r\n")]),
        (0, &[("mg a v f t c k u", "VA 1 f7 t-1 c5 ka\r\nx\r\n"), ("mg b v f t c k u", "EN\r\n")]),
    ]);
    let said = done(&["dump", "--server", &address, &folder.path("dump")]);
    assert!(said.starts_with("dumped 1 items of 2 bytes"), "{said}");
    server.join().expect("it saw what it expected");
}

#[test]
fn a_load_that_is_cut_off_says_how_far_it_came() {
    let folder = Folder::new("tools-load-cut");
    let source = start(&[]);
    assert_eq!(ask(&source, "set k 0 0 1\r\nx\r\n"), "STORED");
    done(&["dump", "--server", &address(&source), &folder.path("dump")]);
    let (address, server) = scripted_server(&[
        (0, &[STATS, ("ms memhold-probe 0 C18446744073709551615 E1", ""), ("", "NF\r\n")]),
        (0, &[("md memhold-probe C18446744073709551615 E1", "NF\r\n")]),
    ]);
    let said = refused(&["load", "--server", &address, &folder.path("dump")]);
    assert!(said.ends_with("; 1 of 1 items had been sent\n"), "{said}");
    server.join().expect("it saw what it expected");
}

// --- load ------------------------------------------------------------------------------------------------------------

/// A number of a result in JSON.
fn figure(json: &str, name: &str) -> f64 {
    let rest = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name} in {json}")).1;
    rest.split([',', '}']).next().and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{name} in {json}"))
}

#[test]
fn load_is_answered_in_every_protocol_and_every_value_is_right() {
    let mut binaries = vec![memhold()];
    binaries.extend(server::memcached());
    for binary in binaries {
        let server = Server::start(&binary, &[]);
        for protocol in ["text", "meta", "binary"] {
            let server_address = address(&server);
            let fixed = ["bench", "--json", "--server", &server_address, "--keys", "2000", "--seconds", "0.3"];
            let shape = ["--protocol", protocol, "--pipeline", "4", "--multiget", "5", "--value-size", "0-3000"];
            let threads = ["--threads", "2", "--connections", "7", "--sets", "20", "--touches", "10"];
            let json = done(&[&fixed[..], &shape, &threads].concat());
            assert_eq!(json.lines().count(), 1);
            assert_eq!(figure(&json, "misses"), 0.0, "{protocol}: {json}");
            let (get, set) = json.split_once("\"set\"").expect("both kinds");
            let (set, touch) = set.split_once("\"touch\"").expect("the third kind");
            let (gets, sets) = (figure(get, "requests"), figure(set, "requests"));
            assert!(figure(touch, "requests") > 0.0, "{protocol}: {json}");
            assert_eq!(figure(&json, "hits"), gets * 5.0, "{protocol}: {json}");
            assert!(sets > 0.0 && gets > 2.0 * sets, "{protocol}: {json}");
            assert!(figure(get, "p50") > 0.0 && figure(get, "max") >= figure(get, "p99"), "{json}");
        }
        let stats = escaped(&server.connect().ask(b"stats\r\n", b"END\r\n"));
        assert!(stats.contains("STAT curr_items 2000\\r\\n"), "{stats}");
    }
}

#[test]
fn a_rate_is_kept_and_not_more() {
    let server = start(&[]);
    let server_address = address(&server);
    let options = ["--rate", "2000", "--seconds", "1", "--keys", "100", "--sets", "0", "--connections", "8"];
    let json = done(&[&["bench", "--json", "--server", &server_address][..], &options].concat());
    let requests = figure(&json, "requests");
    // A machine that is busy with other things sends less, but nobody sends more than is due.
    assert!((100.0..=2008.0).contains(&requests), "{json}");
    // What it could not send it tells; the first of all is due at once.
    assert_eq!(requests + figure(&json, "unsent"), 2000.0, "{json}");
}

/// A server that stalls once, for `stall`, and then answers each line at once.
fn stalling_server(stall: Duration) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        let (link, _) = listener.accept().expect("somebody comes");
        let lines = BufReader::new(link.try_clone().expect("a second handle")).lines();
        for (number, line) in lines.map_while(Result::ok).enumerate() {
            assert!(line.starts_with("get "), "{line}");
            if number == 0 {
                std::thread::sleep(stall);
            }
            if (&link).write_all(b"END\r\n").is_err() {
                break;
            }
        }
    });
    address
}

#[test]
fn whoever_had_to_wait_for_a_stall_is_counted() {
    let address = stalling_server(Duration::from_millis(500));
    let shape = ["--connections", "1", "--rate", "100", "--seconds", "1", "--sets", "0", "--no-fill"];
    let json = done(&[&["bench", "--json", "--server", &address][..], &shape].concat());
    // A hundred were due; the fifty of the first half waited for up to 500 ms.
    assert!(figure(&json, "p90") > 300_000.0 && figure(&json, "max") >= 490_000.0, "{json}");
    assert_eq!(figure(&json, "misses"), figure(&json, "requests"), "{json}");
}

#[test]
fn whoever_is_never_asked_because_of_a_stall_is_counted_too() {
    let address = stalling_server(Duration::from_millis(700));
    let shape = ["--connections", "1", "--rate", "100", "--seconds", "0.5", "--sets", "0", "--no-fill"];
    let json = done(&[&["bench", "--json", "--server", &address][..], &shape].concat());
    // The stall lasts beyond the end: one was asked, and fifty were due.
    assert_eq!((figure(&json, "requests"), figure(&json, "unsent")), (1.0, 49.0), "{json}");
}

/// Its last bytes and its end come together.
#[test]
fn a_server_that_ends_in_the_middle_of_an_answer_is_not_waited_for() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let server = std::thread::spawn(move || {
        let (mut link, _) = listener.accept().expect("somebody comes");
        BufReader::new(&link).read_line(&mut String::new()).expect("a line comes");
        link.write_all(b"VALUE memhold:").expect("it is sent");
    });
    let begun = Instant::now();
    let shape = ["--connections", "1", "--sets", "0", "--no-fill"];
    let said = refused(&[&["bench", "--server", &address][..], &shape].concat());
    assert!(said.contains("the server closed the connection"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(20), "the silence of 30 s is not waited for");
    server.join().expect("it saw what it expected");
}

#[test]
fn what_finds_nothing_or_is_not_stored_is_told() {
    let mut binaries = vec![memhold()];
    binaries.extend(server::memcached());
    for binary in binaries {
        let server = Server::start(&binary, &[]);
        for protocol in ["text", "meta", "binary"] {
            let shares = ["--protocol", protocol, "--no-fill", "--sets", "0", "--incrs", "50", "--touches", "50"];
            let json = load(&address(&server), &shares);
            let (_, touches) = json.split_once("\"touch\"").expect("it is told");
            let (touches, incrs) = touches.split_once("\"incr\"").expect("it is told");
            let asked = figure(touches, "requests") + figure(incrs, "requests");
            assert!(asked > 0.0 && figure(&json, "absent") == asked, "{protocol}: {json}");
            let large = ["--protocol", protocol, "--value-size", "1100000", "--keys", "3", "--sets", "0"];
            let json =
                done(&[&["bench", "--json", "--seconds", "0.1", "--server", &address(&server)][..], &large].concat());
            assert_eq!((figure(&json, "unfilled"), figure(&json, "hits")), (3.0, 0.0), "{protocol}: {json}");
        }
    }
}

#[test]
fn a_wrong_value_ends_the_run() {
    let server = start(&[]);
    let server_address = address(&server);
    let run_it = ["bench", "--server", &server_address, "--keys", "10", "--seconds", "0.1", "--sets", "0"];
    done(&run_it);
    let said = escaped(&server.connect().ask(b"lru_crawler metadump all\r\n", b"END\r\n"));
    let key = said.split("key=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a key");
    let key = key.replace("%3A", ":").replace("%3a", ":");
    assert_eq!(ask(&server, &format!("append {key} 0 0 1\r\nx\r\n")), "STORED");
    let said = refused(&[&run_it[..], &["--no-fill"]].concat());
    assert!(said.contains("another value than was stored"), "{said}");
    assert!(refused(&["bench", "--keys", "0"]).contains("--keys: not a number from 1"));
    assert!(refused(&["bench", "--protocol", "morse"]).contains("--protocol"));
}

/// Some load on `server`, with what else is to be said.
fn load(server: &str, more: &[&str]) -> String {
    let brief = ["bench", "--json", "--server", server, "--keys", "500", "--seconds", "0.2", "--connections", "3"];
    done(&[&brief[..], more].concat())
}

#[test]
fn a_trace_is_played_and_what_was_found_is_told() {
    let folder = Folder::new("tools-trace");
    let file = folder.path("trace.csv");
    let lines = [
        "# time,op,key,size,ttl",
        "0,get,a,100",
        "0,get,a,100",
        "0,set,b",
        "0.2,gat,b,0,9",
        "0.3,delete,a",
        "0.3,get,a,5",
    ];
    fs::write(&file, lines.join("\n")).expect("a folder of our own");
    let mut binaries = vec![memhold()];
    binaries.extend(server::memcached());
    for binary in binaries {
        let server = Server::start(&binary, &[]);
        let said = done(&["bench", "--json", "--server", &address(&server), "--trace", &file]);
        assert!(said.starts_with("{\"hit_ratio\":0.500000,\"requests\":6,"), "{said}");
        assert!(said.contains("\"groups\":{\"all\":{\"asked\":4,\"hits\":2}}"), "{said}");
    }
    assert!(refused(&["bench", "--trace", &file, "--tls-unchecked"]).contains("not with --tls-unchecked"));
    assert!(refused(&["bench", "--trace", ""]).contains("a value is required for '--trace"));
    assert!(refused(&["bench", "--trace", "zipf99"]).contains("zipf99 is no file, and none of zipf08, zipf10"));
}

#[test]
fn every_kind_of_request_is_answered_in_every_protocol_also_on_a_unix_socket() {
    let folder = Folder::new("tools-bench-unix");
    let socket = folder.path("socket");
    let mut child = Command::new(memhold()).args(["-u", "root", "-s", &socket]).spawn().expect("the binary can be run");
    drop(unix_connection(&socket));
    let shares = ["--sets", "20", "--touches", "20", "--incrs", "20", "--deletes", "20", "--misses", "50"];
    for protocol in ["text", "meta", "binary"] {
        let shape = ["--protocol", protocol, "--pipeline", "8", "--multiget", "3", "--key-size", "60"];
        let json = load(&socket, &[&shape[..], &shares].concat());
        for kind in ["get", "set", "touch", "incr", "delete"] {
            let (_, rest) = json.split_once(&format!("\"{kind}\":")).expect("every kind is told");
            assert!(figure(rest, "requests") > 0.0, "{protocol}, {kind}: {json}");
        }
        assert!(figure(&json, "hits") > 0.0 && figure(&json, "misses") > figure(&json, "hits"), "{protocol}: {json}");
    }
    child.kill().and_then(|()| child.wait()).expect("it has not ended by itself");
}

#[test]
fn load_over_tls_needs_the_right_authority_or_none() {
    let files = Files::new("tools-bench");
    let server = files.start("", &[]);
    files.write("servers.pem", files.servers.pem().as_bytes());
    let file = |name: &str| files.path(name).to_string_lossy().into_owned();
    let (right, wrong) = (file("servers.pem"), file("ca.pem"));
    let shape = ["--pipeline", "16", "--value-size", "0-100000", "--sets", "50"];
    for trust in [&["--tls-ca", right.as_str()][..], &["--tls-unchecked"]] {
        let json = load(&address(&server), &[trust, &shape].concat());
        assert!(figure(&json, "hits") > 0.0 && figure(&json, "misses") == 0.0, "{json}");
    }
    let server_address = address(&server);
    let said = refused(&["bench", "--server", &server_address, "--tls-ca", &wrong]);
    assert!(said.contains("certificate"), "{said}");
    // Who speaks in the clear is sent away without a word.
    let folder = Folder::new("tools-tls");
    for words in [&["bench"][..], &["bench", "--trace", "zipf08"], &["dump", &folder.path("dump")]] {
        let said = refused(&[words, &["--server", &server_address]].concat());
        assert!(said.ends_with("without any answer: perhaps it wants TLS\n"), "{words:?}: {said}");
    }
    let clear = start(&[]);
    assert!(refused(&["bench", "--server", &address(&clear), "--tls-unchecked"]).contains("it does not speak TLS"));
    assert!(refused(&["bench", "--tls-ca", &right, "--tls-unchecked"]).contains("one of them"));
    assert!(refused(&["bench", "--tls-ca", &file("key.pem")]).contains("no certificate in it"));
    assert!(refused(&["bench", "--tls-unchecked", "--server", "/some/socket"]).contains("no TLS on a unix socket"));
}

#[test]
fn whoever_has_a_password_may_put_load_on_a_guarded_server() {
    let folder = Folder::new("tools-bench-login");
    let passwords = folder.write("passwords", "ann:secret\n");
    let wrong = folder.write("wrong", "ann:guess\n");
    let nothing = folder.write("nothing", "ann\n");
    let database = format!("sasl_pwdb={passwords}");
    let guarded = [(&["-Y", passwords.as_str()][..], "text"), (&["-S", "-o", &database], "binary")];
    for (flags, protocol) in guarded {
        let server = start(flags);
        let json = load(&address(&server), &["--protocol", protocol, "--login", &passwords]);
        assert!(figure(&json, "hits") > 0.0, "{protocol}: {json}");
        let server_address = address(&server);
        let said = refused(&["bench", "--server", &server_address, "--protocol", protocol, "--login", &wrong]);
        assert!(said.contains("name or password is not accepted"), "{protocol}: {said}");
    }
    assert!(refused(&["bench", "--login", &nothing]).contains("not NAME:PASSWORD"));
    assert!(refused(&["bench", "--login", "/no/such/file"]).contains("/no/such/file: No such file"));
}

#[test]
fn the_processor_time_of_a_local_server_is_told() {
    let server = start(&[]);
    let pid = server.pid().to_string();
    let json = load(&address(&server), &["--pid", &pid]);
    let (_, used) = json.split_once("\"server_micros\":").expect("it is told");
    assert!(figure(used, "all") > 0.0 && figure(used, "user") <= figure(used, "all"), "{json}");
    // That is known before anybody is asked.
    let nobody = format!("127.0.0.1:{}", server::free_port());
    let said = refused(&["bench", "--server", &nobody, "--pid", "4294967295"]);
    assert!(said.contains("--pid 4294967295: No such file"), "{said}");
}
