//! Watchers and dumps on real connections: what is delivered, when, and that nobody who does not read makes others wait
//! (sections 12 and 13 of the reference).

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use support::server::{Server, memhold};
use support::{Link, PATIENCE, eventually, unix_connection};

/// A watcher that has been accepted.
fn watch(server: &Server, streams: &str) -> Link {
    let mut link = server.connect();
    let mut said = link.ask(format!("watch {streams}\r\n").as_bytes(), b"\r\n");
    assert!(said.starts_with(b"OK\r\n"), "{}", String::from_utf8_lossy(&said));
    // The first lines may have come with it.
    link.received = said.split_off(4);
    link
}

/// Waits until the watcher was told so many lines, and gives them without times and numbers.
fn lines(watcher: &mut Link, count: usize) -> Vec<String> {
    watcher.read_until(|said| said.iter().filter(|&&byte| byte == b'\n').count() >= count);
    let said = String::from_utf8(watcher.take()).expect("lines are ASCII");
    said.lines().map(|line| line.split_once(" type=").expect("every line has a type").1.to_owned()).collect()
}

/// The value of a field of a line.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

// --- watchers -------------------------------------------------------------------------------------------------------

#[test]
fn a_watcher_is_told_without_asking_again() {
    let server = Server::start(&memhold(), &[]);
    let mut watcher = watch(&server, "fetchers mutations");
    let mut link = server.connect();
    for round in 0..3 {
        link.ask(format!("set k{round} 0 0 1\r\na\r\n").as_bytes(), b"\r\n");
        let told = lines(&mut watcher, 2);
        assert!(told[0].starts_with(&format!("item_get key=k{round} status=not_found clsid=0 cfd=")), "{told:?}");
        assert!(
            told[1].starts_with(&format!("item_store key=k{round} status=stored cmd=set ttl=0 clsid=")),
            "{told:?}"
        );
        assert_eq!(field(&told[0], "cfd"), field(&told[1], "cfd"));
    }
    let conns = String::from_utf8(link.ask(b"stats conns\r\n", b"END\r\n")).expect("stats are ASCII");
    assert!(conns.contains(":state conn_watch\r\n"), "{conns}");
    drop(watcher);
    assert!(eventually(|| link.stat("", "log_watchers") == "0"), "a watcher that has gone is noticed");
}

#[test]
fn clients_that_come_and_go_are_told_with_the_reason() {
    let server = Server::start(&memhold(), &["-o", "idle_timeout=1"]);
    let mut watcher = watch(&server, "connevents");
    let came_and_went = |watcher: &mut Link, port: u16, reason: &str| {
        let rport = format!(" rport={port} ");
        let of_it = |said: &[u8]| String::from_utf8_lossy(said).matches(&rport).count() == 2;
        assert!(watcher.read_until(of_it), "{reason}: {}", String::from_utf8_lossy(&watcher.received));
        let told: Vec<_> = lines(watcher, 0).into_iter().filter(|line| line.contains(&rport)).collect();
        assert!(told[0].starts_with(&format!("conn_new rip=127.0.0.1{rport}transport=tcp cfd=")), "{told:?}");
        let went = format!("conn_close rip=127.0.0.1{rport}transport=tcp reason={reason} cfd=");
        assert!(told[1].starts_with(&went), "{told:?}");
        assert_eq!(field(&told[0], "cfd"), field(&told[1], "cfd"));
    };
    let port_of = |link: &Link| link.stream().local_addr().expect("it is connected").port();

    let mut quits = server.connect();
    quits.send(b"quit\r\n");
    came_and_went(&mut watcher, port_of(&quits), "normal");
    let closes = server.connect();
    let port = port_of(&closes);
    closes.stream().shutdown(Shutdown::Both).expect("it is open");
    came_and_went(&mut watcher, port, "normal");
    let mut asks_http = server.connect();
    asks_http.send(b"GET / HTTP/1.1\r\n");
    came_and_went(&mut watcher, port_of(&asks_http), "error");
    let idles = server.connect();
    came_and_went(&mut watcher, port_of(&idles), "idle_timeout");
    assert!(!watcher.closed, "a watcher is never idle");
}

#[test]
fn a_client_of_a_unix_socket_is_told_as_local() {
    let path = std::env::temp_dir().join(format!("memhold-watch-{}", std::process::id()));
    let name = path.to_str().expect("the path is ASCII").to_owned();
    let mut server =
        std::process::Command::new(memhold()).args(["-u", "root", "-s", &name]).spawn().expect("the binary starts");
    let mut watcher = unix_connection(&path);
    watcher.write_all(b"watch connevents\r\n").expect("it takes commands");
    let mut said = [0; 4];
    watcher.read_exact(&mut said).expect("it answers");
    drop(UnixStream::connect(&path).expect("it takes another client"));
    let mut told = String::new();
    let mut piece = [0; 512];
    while told.lines().count() < 2 {
        let count = watcher.read(&mut piece).expect("it tells");
        told.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    server.kill().expect("it can be killed");
    server.wait().expect("it ends");
    let _ = std::fs::remove_file(&path);
    assert!(told.contains(" type=conn_new rip=unix rport=0 transport=local cfd="), "{told}");
    assert!(told.contains(" type=conn_close rip=unix rport=0 transport=local reason=normal cfd="), "{told}");
}

/// A watcher that does not read costs its buffers and no more, and nobody waits for it.
#[test]
fn a_watcher_that_does_not_read_loses_lines_and_stops_nobody() {
    let server = Server::start(&memhold(), &["-o", "watcher_logbuf_size=64"]);
    let mut deaf = watch(&server, "fetchers");
    let mut link = server.connect();
    let burst = format!("get{}\r\n", " 0123456789abcdef".repeat(500));
    let before = server.resident();
    let deadline = Instant::now() + PATIENCE * 4;
    // Until what the kernel keeps for it is full too.
    while link.stat("", "log_watcher_skipped").parse::<u64>().expect("a number") < 100_000 {
        for _ in 0..20 {
            assert_eq!(link.ask(burst.as_bytes(), b"END\r\n"), b"END\r\n");
        }
        assert!(Instant::now() < deadline, "lines are left out");
    }
    assert!(server.resident() < before + (16 << 20), "{} bytes more", server.resident() - before);
    // Once it reads, it is told how many it missed.
    assert!(
        deaf.read_until(|said| said.windows(8).any(|window| window == b"skipped=")),
        "no word of what was left out"
    );
    let (written, sent, skipped) =
        (link.stat("", "log_worker_written"), link.stat("", "log_watcher_sent"), link.stat("", "log_watcher_skipped"));
    let number = |text: &str| text.parse::<u64>().expect("a number");
    assert_eq!(number(&written), number(&sent) + number(&skipped), "one watcher: each line is sent or left out");
}

// --- dumps ----------------------------------------------------------------------------------------------------------

/// Fills a server with keys enough for a dump that no socket takes at once.
fn filled(items: usize) -> Server {
    let server = Server::start(&memhold(), &["-m", "128", "--debug-commands"]);
    let mut link = server.connect();
    let mut sets = String::new();
    for number in 0..items {
        sets.push_str(&format!("set {number:0>100} 0 0 1 noreply\r\nx\r\n"));
    }
    sets.push_str("version\r\n");
    link.ask(sets.as_bytes(), b"VERSION 1.6.45\r\n");
    server
}

/// memcached takes one dump at a time and blocks its workers in those that wait for it: one unread and four more freeze it.
#[test]
fn dumps_that_nobody_reads_stop_neither_each_other_nor_anybody_else() {
    const ITEMS: usize = 60_000;
    let server = filled(ITEMS);
    let mut unread: Vec<Link> = (0..5).map(|_| server.connect()).collect();
    for link in &mut unread {
        link.send(b"lru_crawler metadump all\r\n");
    }
    // On every worker, as there are more clients than workers.
    let mut others: Vec<Link> = (0..8).map(|_| server.connect()).collect();
    for round in 0..200 {
        let link = &mut others[round % 8];
        let asked = Instant::now();
        assert_eq!(link.ask(format!("set s{round} 0 0 1\r\ny\r\n").as_bytes(), b"\r\n"), b"STORED\r\n");
        assert!(asked.elapsed() < Duration::from_secs(1), "a set took {:?} beside dumps", asked.elapsed());
    }
    let mut whole = server.connect();
    whole.send(b"lru_crawler mgdump all\r\nversion\r\n");
    assert!(whole.read_until_patiently(|said| said.ends_with(b"EN\r\nVERSION 1.6.45\r\n")), "another dump goes on");
    let keys = whole.take().windows(3).filter(|window| window == b"mg ").count();
    assert!(keys >= ITEMS, "{keys} keys");
    // Those who read late after all get everything.
    let last = &mut unread[4];
    assert!(last.read_until_patiently(|said| said.ends_with(b"END\r\n")), "the dump ends");
    assert!(last.take().split(|&byte| byte == b'\n').count() >= ITEMS, "the dump is whole");
}

#[test]
fn a_dump_that_nobody_reads_ends_after_thirty_seconds() {
    let server = filled(60_000);
    let mut watcher = watch(&server, "connevents");
    let mut unread = server.connect();
    let port = unread.stream().local_addr().expect("it is connected").port();
    unread.send(b"lru_crawler metadump all\r\n");
    let mut link = server.connect();
    let waits =
        || String::from_utf8_lossy(&link.ask(b"stats conns\r\n", b"END\r\n")).contains(":state conn_mwrite\r\n");
    assert!(eventually(waits), "the dump waits for its client");
    let closed =
        |said: &[u8]| String::from_utf8_lossy(said).contains(&format!("conn_close rip=127.0.0.1 rport={port} "));
    assert_eq!(link.ask(b"debugtime 20\r\n", b"\r\n"), b"OK\r\n");
    // Workers look once a second.
    assert!(!watcher.read_within(Duration::from_millis(2500), closed), "not yet");
    assert_eq!(link.ask(b"debugtime 20\r\n", b"\r\n"), b"OK\r\n");
    assert!(watcher.read_until(closed), "it is closed");
}

// --- pages ----------------------------------------------------------------------------------------------------------

/// The value of a line of `stats <sub>`.
fn line(link: &mut Link, sub: &str, name: &str) -> u64 {
    link.stat(sub, name).parse().unwrap_or(0)
}

#[test]
fn slabs_reassign_moves_a_page_and_its_items_stay() {
    let server = Server::start(&memhold(), &["-f", "1.25"]);
    let mut watcher = watch(&server, "sysevents");
    let mut link = server.connect();
    let value = "x".repeat(450);
    for number in 0..4000 {
        link.send(format!("set key{number} 0 0 450 noreply\r\n{value}\r\n").as_bytes());
    }
    assert_eq!(line(&mut link, "slabs", "9:total_pages"), 3);
    for number in (0..4000).step_by(2) {
        link.send(format!("delete key{number} noreply\r\n").as_bytes());
    }
    assert_eq!(link.ask(b"slabs reassign 9 20\r\n", b"\r\n"), b"OK\r\n");
    assert_eq!(lines(&mut watcher, 1), ["slab_move src=9 dst=20 state=ok"]);
    assert_eq!((line(&mut link, "slabs", "9:total_pages"), line(&mut link, "slabs", "20:total_pages")), (2, 1));
    assert_eq!((line(&mut link, "", "curr_items"), line(&mut link, "", "evictions")), (2000, 0));
    assert_eq!((line(&mut link, "", "slabs_moved"), line(&mut link, "", "slab_reassign_running")), (1, 0));
}

#[test]
fn a_crawl_tells_what_it_did_in_each_class() {
    let server = Server::start(&memhold(), &["-f", "1.25"]);
    let mut link = server.connect();
    link.ask(b"set k 0 0 1\r\na\r\n", b"\r\n");
    let mut watcher = watch(&server, "sysevents");
    assert_eq!(link.ask(b"lru_crawler crawl all\r\n", b"\r\n"), b"OK\r\n");
    let told = lines(&mut watcher, 1);
    assert!(told[0].starts_with("lru_crawler crawler=1 lru=cold low_mark=0 "), "{told:?}");
    assert_eq!((field(&told[0], "reclaimed"), field(&told[0], "elapsed")), ("0", "0"));
    assert_eq!(line(&mut link, "", "lru_crawler_starts"), 1);
}

#[test]
fn temporary_items_are_counted_apart() {
    let server = Server::start(&memhold(), &["-f", "1.25", "-o", "temporary_ttl=60"]);
    let mut link = server.connect();
    for (number, ttl) in [0, 30, 60, 61, 0].into_iter().enumerate() {
        link.ask(format!("set k{number} 0 {ttl} 1\r\na\r\n").as_bytes(), b"\r\n");
    }
    link.ask(b"get k0\r\n", b"END\r\n");
    let counts = ["number", "number_hot", "number_warm", "number_cold", "number_temp"];
    let seen = counts.map(|name| line(&mut link, "items", &format!("items:1:{name}")));
    assert_eq!(seen, [5, 0, 1, 2, 2]);
}

#[test]
fn with_napi_ids_clients_of_loopback_go_anywhere_and_are_counted() {
    let server = Server::start(&memhold(), &["-N", "2"]);
    let mut links: Vec<Link> = (0..6).map(|_| server.connect()).collect();
    for link in &mut links {
        assert_eq!(link.ask(b"mn\r\n", b"\r\n"), b"MN\r\n");
    }
    let link = &mut links[0];
    assert!(line(link, "", "round_robin_fallback") >= 6);
    assert_eq!((line(link, "", "unexpected_napi_ids"), line(link, "settings", "num_napi_ids")), (0, 2));
}
