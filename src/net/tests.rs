//! Real workers on loopback sockets. What decides is what the sockets give: reads block until it comes, and the generous
//! timeout only turns a hang into a failure.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::stats::{Counter, Process, Sums};
use crate::store::Config;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server of its own for each test.
struct Running {
    server: Arc<Server>,
    workers: Option<Workers>,
    port: u16,
    shutdowns: mpsc::Receiver<bool>,
}

impl Running {
    fn start(change: impl FnOnce(&mut Settings)) -> Running {
        let mut settings = Settings { num_threads: 2, tcp_port: -1, ..Settings::default() };
        settings.inter = Some("127.0.0.1".to_owned());
        change(&mut settings);
        let listeners = listen(&settings, None).unwrap();
        let port = match listeners[0].address() {
            Address::Tcp(address) => address.port(),
            Address::Unix(_) | Address::Udp(_) => 0,
        };
        let store = Store::open(&Config::with_memory(64 << 20, 1)).unwrap();
        let server = Arc::new(Server::new(settings, Clock::start()));
        let (sender, shutdowns) = mpsc::channel();
        let on_shutdown = Box::new(move |graceful| sender.send(graceful).unwrap());
        let workers = Workers::start(Arc::clone(&server), store, listeners, on_shutdown).unwrap();
        Running { server, workers: Some(workers), port, shutdowns }
    }

    fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }

    fn counted(&self, counter: Counter) -> u64 {
        let mut sums = Sums::default();
        self.server.threads.iter().for_each(|thread| sums.add(thread));
        sums.plain(counter)
    }

    fn fact(&self, fact: Process) -> u64 {
        self.server.process.get(fact)
    }

    fn memory_used(&self) -> u64 {
        self.workers.as_ref().unwrap().shared.budget.used()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(workers) = self.workers.take() {
            workers.stop(false);
        }
    }
}

/// The other side.
struct Client<S>(S);

impl<S: Read + Write> Client<S> {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    #[track_caller]
    fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut got = vec![0; bytes.len()];
        self.0.read_exact(&mut got).unwrap();
        assert!(got == bytes, "{:?} came", String::from_utf8_lossy(&got[..got.len().min(200)]));
    }

    #[track_caller]
    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            // What a close with unread bytes looks like from here.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    #[track_caller]
    fn ask(&mut self, request: impl AsRef<[u8]>, reply: impl AsRef<[u8]>) {
        self.send(request);
        self.expect(reply);
    }

    /// All lines of an answer up to its `END`.
    fn ask_for_lines(&mut self, request: impl AsRef<[u8]>) -> String {
        self.send(request);
        let mut text = String::new();
        while !text.ends_with("END\r\n") {
            let mut bytes = [0; 4096];
            let n = self.0.read(&mut bytes).unwrap();
            assert!(n > 0);
            text.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
        text
    }

    fn set(&mut self, key: &str, value: &[u8]) {
        self.send(format!("set {key} 0 0 {}\r\n", value.len()));
        self.send(value);
        self.ask("\r\n", "STORED\r\n");
    }
}

/// What a `get` of it is answered.
fn reply(key: &str, value: &[u8]) -> Vec<u8> {
    let mut reply = format!("VALUE {key} 0 {}\r\n", value.len()).into_bytes();
    reply.extend_from_slice(value);
    reply.extend_from_slice(b"\r\nEND\r\n");
    reply
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let running = Running::start(|_| ());
    let mut client = running.connect();
    let mut requests = String::new();
    let mut replies = String::new();
    for number in 0..5000 {
        requests.push_str(&format!("set k{number} 0 0 4\r\n{number:04}\r\nget k{number}\r\n"));
        replies.push_str(&format!("STORED\r\nVALUE k{number} 0 4\r\n{number:04}\r\nEND\r\n"));
    }
    client.ask(requests, &replies);
    // Counted after the write, so perhaps not yet when its bytes are here; but before the next request is read.
    client.ask("version\r\n", "VERSION 1.6.45\r\n");
    assert!(running.counted(Counter::BytesWritten) >= replies.len() as u64);
}

#[test]
fn a_turn_that_is_used_up_goes_on_with_what_was_read() {
    let running = Running::start(|settings| {
        settings.reqs_per_event = 1;
        settings.num_threads = 1;
    });
    let mut clients: Vec<_> = (0..8).map(|_| running.connect()).collect();
    for client in &mut clients {
        client.send("version\r\n".repeat(500) + "get not");
    }
    for client in &mut clients {
        client.expect("VERSION 1.6.45\r\n".repeat(500));
        client.ask("there\r\n", "END\r\n");
    }
    // However many requests a turn has, each of them had to give way.
    assert!(running.counted(Counter::ConnYields) >= 8);
}

#[test]
fn requests_may_arrive_a_byte_at_a_time() {
    let running = Running::start(|_| ());
    let mut client = running.connect();
    for byte in b"set split 0 0 5\r\nabcde\r\nget split\r\nversion\r\n" {
        client.send([*byte]);
    }
    client.expect("STORED\r\nVALUE split 0 5\r\nabcde\r\nEND\r\nVERSION 1.6.45\r\n");
    // Nothing is kept once all is answered: asked on the same worker's thread, after that turn.
    client.ask("version\r\n", "VERSION 1.6.45\r\n");
}

#[test]
fn large_values_come_and_go_whole_and_what_follows_them_too() {
    let running = Running::start(|_| ());
    let mut client = running.connect();
    for length in [8_000, 66_000, 300_000, 1_000_000] {
        let value = pattern(length);
        let mut request = format!("set large 0 0 {length}\r\n").into_bytes();
        request.extend_from_slice(&value);
        request.extend_from_slice(b"\r\nget large\r\nversion\r\n");
        let mut replies = b"STORED\r\n".to_vec();
        replies.extend_from_slice(&reply("large", &value));
        replies.extend_from_slice(b"VERSION 1.6.45\r\n");
        client.ask(request, replies);
    }
}

#[test]
fn a_half_closed_client_still_gets_its_answers() {
    let running = Running::start(|_| ());
    let mut client = running.connect();
    let value = pattern(100_000);
    client.set("big", &value);
    client.send("get big\r\n".repeat(50));
    client.0.shutdown(Shutdown::Write).unwrap();
    for _ in 0..50 {
        client.expect(reply("big", &value));
    }
    client.expect_end();
}

#[test]
fn quit_closes_after_what_came_before_it() {
    let running = Running::start(|_| ());
    let mut client = running.connect();
    client.ask("version\r\nquit\r\nversion\r\n", "VERSION 1.6.45\r\n");
    client.expect_end();
}

#[test]
fn a_client_that_does_not_read_is_bounded_and_loses_nothing() {
    let running = Running::start(|settings| settings.num_threads = 1);
    let value = pattern(7_000);
    running.connect().set("big", &value);
    let mut slow = running.connect();
    let mut sender = slow.0.try_clone().unwrap();
    let requests = 20_000;
    let sending = thread::spawn(move || sender.write_all("get big\r\n".repeat(requests).as_bytes()).unwrap());
    // Others are served meanwhile. What they see of the slow one's memory stays within a client's bound.
    let mut other = running.connect();
    for _ in 0..1000 {
        other.ask("version\r\n", "VERSION 1.6.45\r\n");
        assert!(running.memory_used() <= budget::CLIENT_BYTES_MAX as u64);
    }
    let expected = reply("big", &value);
    for _ in 0..requests {
        slow.expect(&expected);
        assert!(running.memory_used() <= budget::CLIENT_BYTES_MAX as u64);
    }
    sending.join().unwrap();
    // The next turn of that client begins after its memory has been given back.
    slow.ask("version\r\n", "VERSION 1.6.45\r\n");
    other.ask("version\r\n", "VERSION 1.6.45\r\n");
    assert_eq!(running.memory_used(), 0);
}

#[test]
fn many_clients_that_do_not_read_stay_within_the_budget() {
    // Small enough to be used up by a few of them.
    let limit: u64 = 2 << 20;
    let running = Running::start(|settings| settings.read_buf_mem_limit_bytes = limit);
    let value = pattern(7_000);
    running.connect().set("big", &value);
    let request = "get big\r\n".repeat(2_000);
    let mut slow: Vec<_> = (0..40).map(|_| running.connect()).collect();
    for client in &mut slow {
        client.send(&request);
    }
    let bound = limit + 2 * budget::CLIENT_BYTES_MAX as u64;
    let expected = reply("big", &value);
    // The first one reads: it gets all, or, having taken nothing while others waited for memory, was closed.
    for client in &mut slow {
        assert!(running.memory_used() <= bound, "{} bytes", running.memory_used());
        let mut got = vec![0; expected.len()];
        for _ in 0..2_000 {
            if client.0.read_exact(&mut got).is_err() {
                break;
            }
            assert!(got == expected);
        }
    }
    drop(slow);
    running.connect().ask("version\r\n", "VERSION 1.6.45\r\n");
}

#[test]
fn beyond_the_limit_a_client_is_told_and_closed() {
    let running = Running::start(|settings| settings.maxconns = 3);
    let mut clients: Vec<_> = (0..3).map(|_| running.connect()).collect();
    for client in &mut clients {
        client.ask("version\r\n", "VERSION 1.6.45\r\n");
    }
    let mut refused = running.connect();
    refused.expect("ERROR Too many open connections\r\n");
    refused.expect_end();
    assert_eq!(running.fact(Process::RejectedConnections), 1);
    assert_eq!(running.fact(Process::CurrConnections), 3);
    assert_eq!(running.fact(Process::TotalConnections), 4);
    // A place that is free again is given again.
    let mut gone = clients.pop().unwrap();
    gone.send("quit\r\n");
    gone.expect_end();
    let mut next = running.connect();
    next.ask("version\r\n", "VERSION 1.6.45\r\n");
}

#[test]
fn without_fast_refusal_a_client_waits_for_its_place() {
    let running = Running::start(|settings| {
        settings.maxconns = 1;
        settings.maxconns_fast = false;
    });
    let mut first = running.connect();
    first.ask("version\r\n", "VERSION 1.6.45\r\n");
    let mut second = running.connect();
    second.send("version\r\n");
    first.send("quit\r\n");
    first.expect_end();
    second.expect("VERSION 1.6.45\r\n");
    assert_eq!(running.fact(Process::RejectedConnections), 0);
    assert!(running.fact(Process::ListenDisabledNum) >= 1);
}

#[test]
fn a_unix_socket_serves_as_tcp_does() {
    let path: PathBuf = std::env::temp_dir().join(format!("memhold-net-{}", std::process::id()));
    let socket_path = path.clone();
    let running = Running::start(move |settings| settings.socket_path = Some(socket_path));
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = Client(stream);
    let value = pattern(900_000);
    client.set("big", &value);
    let mut sender = client.0.try_clone().unwrap();
    let sending = thread::spawn(move || sender.write_all("get big\r\n".repeat(20).as_bytes()).unwrap());
    for _ in 0..20 {
        client.expect(reply("big", &value));
    }
    sending.join().unwrap();
    client.ask("version\r\n", "VERSION 1.6.45\r\n");
    drop(running);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn ipv6_is_served() {
    let running = Running::start(|settings| settings.inter = Some("[::1]:0".to_owned()));
    let stream = TcpStream::connect(("::1", running.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client(stream).ask("version\r\n", "VERSION 1.6.45\r\n");
}

#[test]
fn clients_are_spread_evenly() {
    let running = Running::start(|settings| settings.num_threads = 4);
    let mut clients: Vec<_> = (0..40).map(|_| running.connect()).collect();
    for client in &mut clients {
        client.ask("version\r\n", "VERSION 1.6.45\r\n");
    }
    let loads: Vec<_> = running.workers.as_ref().unwrap().rosters.iter().map(|roster| roster.load()).collect();
    assert_eq!(loads, [10; 4]);
}

#[test]
fn stats_conns_lists_listeners_and_clients() {
    let running = Running::start(|_| ());
    let mut quiet = running.connect();
    quiet.ask("version\r\n", "VERSION 1.6.45\r\n");
    let mut client = running.connect();
    // The quiet client has its answer a moment before its worker, another one, has ended its turn.
    let text = loop {
        let text = client.ask_for_lines("stats conns\r\n");
        if text.contains(":state conn_read\r\n") {
            break text;
        }
    };
    let own = client.0.local_addr().unwrap();
    let port = running.port;
    assert!(text.contains(&format!(":addr tcp:127.0.0.1:{port}\r\n")), "{text}");
    assert!(text.contains(&format!(":addr tcp:{own}\r\n")), "{text}");
    assert!(text.contains(&format!(":listen_addr tcp:127.0.0.1:{port}\r\n")), "{text}");
    for state in ["conn_listening", "conn_read", "conn_parse_cmd"] {
        assert_eq!(text.matches(&format!(":state {state}\r\n")).count(), 1, "{text}");
    }
    assert_eq!(text.matches(":secs_since_last_cmd ").count(), 3, "{text}");
}

#[test]
fn a_binary_value_is_stored_when_its_last_byte_has_come_and_nothing_follows() {
    let running = Running::start(|_| {});
    let mut client = running.connect();
    let value: Vec<u8> = (0..300_000).map(|n| (n % 251) as u8).collect();
    let head = |magic: u8, opcode: u8, extras: u8, key: u8, body: u32, cas: u64| {
        let mut bytes = vec![magic, opcode, 0, key, extras, 0, 0, 0];
        bytes.extend(body.to_be_bytes());
        bytes.extend([7; 4]);
        bytes.extend(cas.to_be_bytes());
        bytes
    };
    for (round, cut) in [1, 24, 40, 65_536, 299_999].into_iter().enumerate() {
        let cas = round as u64 + 1;
        let set = [head(0x80, 0x01, 8, 1, 9 + 300_000, 0), vec![0; 8], b"k".to_vec(), value.clone()].concat();
        client.send(&set[..cut]);
        client.ask(&set[cut..], head(0x81, 0x01, 0, 0, 0, cas));
        let hit = [head(0x81, 0x00, 4, 0, 4 + 300_000, cas), vec![0; 4], value.clone()].concat();
        client.ask([head(0x80, 0x00, 0, 1, 1, 0), b"k".to_vec()].concat(), hit);
    }
}

#[test]
fn accepted_sockets_inherit_what_the_listener_has_set() {
    let listeners = listen_tcp(&TcpOptions {
        interfaces: Some("127.0.0.1:0"),
        port: 0,
        backlog: 16,
        protocol: crate::settings::BindingProtocol::Negotiating,
        only: None,
        mark: 0,
        tls: None,
    })
    .unwrap();
    let Address::Tcp(address) = listeners[0].address() else { panic!("no TCP listener") };
    let _client = TcpStream::connect(address).unwrap();
    let listener::ListenSocket::Tcp(socket) = &listeners[0].socket else { panic!("no TCP listener") };
    let (accepted, _) = socket.accept().unwrap();
    let accepted = socket2::SockRef::from(&accepted);
    assert!(accepted.tcp_nodelay().unwrap());
    assert!(accepted.keepalive().unwrap());
}

#[test]
fn idle_tcp_clients_are_closed() {
    let running = Running::start(|settings| settings.idle_timeout_seconds = 1);
    // One that never says anything, one in the middle of a value, one that has been answered.
    let mut silent = running.connect();
    let mut stalled = running.connect();
    stalled.send("set k 0 0 10\r\nabc");
    let mut answered = running.connect();
    answered.ask("version\r\n", "VERSION 1.6.45\r\n");
    silent.expect_end();
    stalled.expect_end();
    answered.expect_end();
    assert_eq!(running.counted(Counter::IdleKicks), 3);
    assert_eq!(running.fact(Process::CurrConnections), 0);
}

#[test]
fn stopping_closes_all_clients_and_ends_all_threads() {
    for graceful in [false, true] {
        let mut running = Running::start(|_| ());
        let mut client = running.connect();
        client.ask("version\r\n", "VERSION 1.6.45\r\n");
        // Some of these are still being accepted while the server stops.
        let mut silent: Vec<_> = (0..50).map(|_| running.connect()).collect();
        running.workers.take().unwrap().stop(graceful);
        client.expect_end();
        silent.iter_mut().for_each(Client::expect_end);
    }
}

#[test]
fn shutdown_is_passed_on() {
    let running = Running::start(|settings| settings.shutdown_command = true);
    let mut client = running.connect();
    client.send("shutdown graceful\r\n");
    assert!(running.shutdowns.recv_timeout(PATIENCE).unwrap());
    client.expect_end();
}
