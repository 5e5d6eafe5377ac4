//! UDP over real sockets (section 8 of the reference): headers, answers in several datagrams, what is ignored, and the bound that
//! keeps forged requests from being worth anything.

mod support;

use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::folder::Folder;
use support::random::Random;
use support::server::{Server, comes_up, free_port, memhold};
use support::tls::Files;
use support::{PATIENCE, eventually};

/// A server with UDP, and a socket that talks to it.
struct Udp {
    server: Server,
    socket: UdpSocket,
    address: SocketAddr,
}

impl Udp {
    fn start(arguments: &[&str]) -> Udp {
        let port = free_port();
        let spelled = port.to_string();
        let arguments = [&["-U", &spelled], arguments].concat();
        Udp::of(Server::start(&memhold(), &arguments), port)
    }

    fn of(server: Server, port: u16) -> Udp {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
        Udp { server, socket, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) }
    }

    /// Sends a request in one datagram.
    fn send(&self, id: u16, commands: &[u8]) {
        self.send_raw(&[&id.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0], commands].concat());
    }

    fn send_raw(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.address).expect("loopback takes it");
    }

    /// One datagram: id, sequence, total, and what it carries.
    fn receive(&self) -> (u16, u16, u16, Vec<u8>) {
        let mut datagram = [0; 65536];
        let length = self.socket.recv(&mut datagram).expect("an answer comes");
        assert!((9..=1400).contains(&length), "{length} bytes");
        let number = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
        assert_eq!(number(6), 0, "the reserved bytes");
        (number(0), number(2), number(4), datagram[8..length].to_vec())
    }

    /// A whole series: what it carries together.
    fn series(&self, id: u16) -> Vec<u8> {
        let (mut next, mut whole) = (0, Vec::new());
        loop {
            let (got, sequence, total, bytes) = self.receive();
            assert_eq!((got, sequence), (id, next));
            whole.extend(bytes);
            next += 1;
            if next == total {
                return whole;
            }
        }
    }

    fn ask(&self, id: u16, commands: &[u8]) -> String {
        self.send(id, commands);
        String::from_utf8_lossy(&self.series(id)).into_owned()
    }

    /// Nothing has been answered to what was sent before: an answer to this comes first. There must be one worker for that.
    fn expect_silence(&self) {
        assert_eq!(self.ask(0xfefe, b"mn\r\n"), "MN\r\n");
    }
}

#[test]
fn an_answer_bears_the_id_of_its_request() {
    let udp = Udp::start(&[]);
    assert_eq!(udp.ask(7, b"set a 3 0 5\r\nhello\r\n"), "STORED\r\n");
    assert_eq!(udp.ask(65535, b"get a\r\n"), "VALUE a 3 5\r\nhello\r\nEND\r\n");
    assert_eq!(udp.ask(0, b"mg a v\r\n"), "VA 5\r\nhello\r\n");
    assert_eq!(udp.ask(8, b"nonsense\r\n"), "ERROR\r\n");
}

#[test]
fn a_multiget_is_one_series_and_each_command_has_its_own() {
    let udp = Udp::start(&["-t", "1"]);
    udp.ask(1, b"set a 0 0 1\r\n1\r\n");
    udp.ask(2, b"set b 0 0 1\r\n2\r\n");
    assert_eq!(udp.ask(3, b"get a x b\r\n"), "VALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n2\r\nEND\r\n");
    udp.send(4, b"get a\r\nincr a 5\r\nset c 0 0 1 noreply\r\n3\r\nget c\r\n");
    for expected in ["VALUE a 0 1\r\n1\r\nEND\r\n", "6\r\n", "VALUE c 0 1\r\n3\r\nEND\r\n"] {
        assert_eq!(String::from_utf8_lossy(&udp.series(4)), expected);
    }
}

#[test]
fn a_large_answer_takes_several_datagrams() {
    let udp = Udp::start(&["-t", "1"]);
    let value: Vec<u8> = (0..60_000_u32).map(|at| (at % 251) as u8).collect();
    udp.ask(1, &[&b"set large 0 0 60000\r\n"[..], &value, b"\r\n"].concat());
    udp.send(2, b"get large\r\n");
    let first = udp.receive();
    let expected_bytes = 25 + 60_000 + 7;
    assert_eq!(
        (first.0, first.1, first.2, first.3.len()),
        (2, 0, u16::try_from(60_028_usize.div_ceil(1392)).unwrap(), 1392)
    );
    assert_eq!(expected_bytes, 60_032);
    let mut whole = first.3;
    for sequence in 1..first.2 {
        let (id, got, total, bytes) = udp.receive();
        assert_eq!((id, got, total), (2, sequence, first.2));
        whole.extend(bytes);
    }
    assert_eq!(whole, [&b"VALUE large 0 60000\r\n"[..], &value, b"\r\nEND\r\n"].concat());
}

#[test]
fn what_is_no_whole_request_is_ignored() {
    let udp = Udp::start(&["-t", "1"]);
    udp.send_raw(b"");
    udp.send_raw(b"\0\x01\0\0\0\x01\0");
    udp.send(1, b"");
    // One of two datagrams, one of none.
    udp.send_raw(b"\0\x01\0\0\0\x02\0\0version\r\n");
    udp.send_raw(b"\0\x01\0\0\0\0\0\0version\r\n");
    // Commands that do not end.
    udp.send(2, b"set a 0 0 10\r\nhalf");
    udp.send(3, b"get a");
    udp.send(4, b"ver");
    let mut many = b"get".to_vec();
    many.extend(std::iter::repeat_n(*b" k", 2000).flatten());
    udp.send(5, &many);
    udp.expect_silence();
    assert_eq!(udp.ask(6, b"get a\r\n"), "END\r\n");
}

#[test]
fn what_says_nothing_sends_nothing() {
    let udp = Udp::start(&["-t", "1"]);
    udp.send(1, b"set a 0 0 1 noreply\r\n1\r\n");
    udp.send(2, b"mg missing v q\r\n");
    udp.send(3, b"quit\r\nversion\r\n");
    udp.expect_silence();
    assert_eq!(udp.ask(4, b"get a\r\n"), "VALUE a 0 1\r\n1\r\nEND\r\n");
}

#[test]
fn dumps_and_watchers_are_refused_and_the_socket_lives() {
    let udp = Udp::start(&["-t", "1"]);
    for key in 0..100 {
        udp.ask(key, format!("set k{key} 0 0 1\r\n1\r\n").as_bytes());
    }
    assert_eq!(udp.ask(1, b"lru_crawler metadump all\r\n"), "CLIENT_ERROR not allowed over UDP\r\n");
    assert_eq!(udp.ask(2, b"lru_crawler mgdump hash\r\n"), "CLIENT_ERROR not allowed over UDP\r\n");
    assert!(udp.ask(3, b"watch fetchers\r\n").starts_with("CLIENT_ERROR "));
    udp.expect_silence();
}

/// A binary request: opcode and key, no extras and no value.
fn frame(opcode: u8, key: &[u8]) -> Vec<u8> {
    let length = u8::try_from(key.len()).expect("keys are short");
    let mut frame = vec![0x80, opcode, 0, length, 0, 0, 0, 0, 0, 0, 0, length];
    frame.extend([0; 12]);
    frame.extend(key);
    frame
}

#[test]
fn each_datagram_chooses_its_protocol() {
    let udp = Udp::start(&["-t", "1"]);
    udp.ask(1, b"set a 0 0 1\r\n1\r\n");
    // Get, and a quiet get of a key that is missing.
    udp.send(2, &[frame(0x09, b"missing"), frame(0x00, b"a")].concat());
    let answer = udp.series(2);
    assert_eq!((&answer[..2], &answer[24..]), (&[0x81, 0x00][..], &b"\0\0\0\x001"[..]));
    assert_eq!(udp.ask(3, b"get a\r\n"), "VALUE a 0 1\r\n1\r\nEND\r\n");
    // Version, twice: an answer each.
    udp.send(4, &frame(0x0b, b"").repeat(2));
    for _ in 0..2 {
        assert!(udp.series(4).ends_with(b"1.6.45"));
    }
}

#[test]
fn a_binary_answer_beyond_the_bound_is_left_out() {
    let udp = Udp::start(&["-t", "1", "-o", "udp_answer_max=200"]);
    udp.ask(1, format!("set large 0 0 1010\r\n{}\r\n", "x".repeat(1010)).as_bytes());
    udp.send(2, &frame(0x00, b"large"));
    udp.send(3, &frame(0x10, b""));
    udp.expect_silence();
}

#[test]
fn an_answer_beyond_the_bound_is_replaced_by_a_line() {
    let udp = Udp::start(&["-t", "1", "-o", "udp_answer_max=1k"]);
    const REFUSED: &str = "SERVER_ERROR answer exceeds udp_answer_max\r\n";
    udp.ask(1, format!("set fits 0 0 990\r\n{}\r\n", "x".repeat(990)).as_bytes());
    udp.ask(2, format!("set large 0 0 1010\r\n{}\r\n", "x".repeat(1010)).as_bytes());
    udp.ask(3, format!("set pinned 0 0 20000\r\n{}\r\n", "x".repeat(20_000)).as_bytes());
    assert_eq!(udp.ask(4, b"get fits\r\n").len(), 1015);
    for (id, request) in [(5, &b"get large\r\n"[..]), (6, b"get pinned\r\n"), (7, b"mg large v\r\n"), (8, b"stats\r\n")]
    {
        assert_eq!(udp.ask(id, request), REFUSED);
    }
    assert_eq!(udp.ask(9, b"get fits fits fits fits\r\n"), REFUSED);
    // All answers to one datagram together; what changes something is done all the same.
    udp.ask(10, b"set n 0 0 1\r\n0\r\n");
    udp.send(11, b"get fits\r\nget fits\r\nincr n 1\r\n");
    assert_eq!(udp.series(11).len(), 1015);
    udp.expect_silence();
    assert_eq!(udp.ask(12, b"get n\r\n"), "VALUE n 0 1\r\n1\r\nEND\r\n");
    // The bound is kept by however many small answers.
    let requests = b"mn\r\n".repeat(5000);
    udp.send(13, &requests);
    udp.send(14, b"version\r\n");
    let mut bytes = 0;
    loop {
        let (id, _, _, payload) = udp.receive();
        if id == 14 {
            break;
        }
        bytes += payload.len() + 8;
    }
    assert!((900..=1024).contains(&bytes), "{bytes} bytes for {} bytes of requests", requests.len());
}

#[test]
fn beyond_loopback_the_bound_must_be_given_or_waived() {
    let run = |list: &str, options: &[&str]| {
        let mut command = Command::new(memhold());
        command.args(["-u", "root", "-p", "0", "-U", "-1", "-l", list]).args(options);
        command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs")
    };
    for (list, address) in [("0.0.0.0", "0.0.0.0"), ("127.0.0.1,[::]:0", "::")] {
        let output = run(list, &[]).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = format!(
            "UDP on {address} needs -o udp_answer_max=<bytes> (or none): forged requests can aim large answers at anybody\n"
        );
        assert_eq!((output.status.code(), said), (Some(71), expected), "{list}");
    }
    let folder = Folder::new("udp");
    for (number, (list, option)) in
        [("0.0.0.0", "udp_answer_max=1400"), ("0.0.0.0", "udp_answer_max=none"), ("127.0.0.1", "no_hashexpand")]
            .into_iter()
            .enumerate()
    {
        // The file of ports tells that it serves, and where.
        let file = folder.path(&number.to_string());
        let mut child = Command::new(memhold())
            .args(["-u", "root", "-p", "0", "-U", "-1", "-l", list, "-o", option])
            .env("MEMCACHED_PORT_FILENAME", &file)
            .spawn()
            .expect("the binary runs");
        assert!(eventually(|| Path::new(&file).exists()), "{list} {option} starts");
        let ports = std::fs::read_to_string(&file).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let port = ports.strip_prefix("UDP INET: ").and_then(|rest| rest.trim_end().parse::<u16>().ok());
        assert!(port.is_some_and(|port| port > 0), "{ports:?}");
    }
}

#[test]
fn udp_alone_names_the_port_of_tcp_too() {
    let port = free_port();
    let mut child = Command::new(memhold())
        .args(["-u", "root", "-l", "127.0.0.1", "-U", &port.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut link = comes_up(&mut child, address, PATIENCE).expect("it starts");
    let conns = link.ask(b"stats conns\r\n", b"END\r\n");
    let text = String::from_utf8_lossy(&conns).into_owned();
    // A copy for each worker, before it a line that tells what it is.
    assert_eq!(text.matches(&format!(":addr udp:127.0.0.1:{port}\r\n")).count(), 4, "{text}");
    assert_eq!(text.matches(":UDP UDP\r\n").count(), 4, "{text}");
    let stats = link.ask(b"stats\r\n", b"END\r\n");
    let text = String::from_utf8_lossy(&stats).into_owned();
    assert!(text.contains("STAT curr_connections 5\r\n"), "{text}");
    child.kill().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    assert_eq!(said, "");
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(memhold())
        .args(["-u", "root", "-p", "0", "-U", &port, "-l", "127.0.0.1"])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(71));
    assert!(said.ends_with("failed to listen on one of interface(s) 127.0.0.1: Address already in use\n"), "{said}");
}

#[test]
fn every_address_of_the_list_is_served() {
    let udp = Udp::start(&["-l", "[::1]"]);
    assert_eq!(udp.ask(1, b"set a 0 0 1\r\n1\r\n"), "STORED\r\n");
    let socket = UdpSocket::bind("[::1]:0").expect("loopback has IPv6");
    let port = udp.address.port();
    for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))] {
        let other = if address.is_ipv4() { udp.socket.try_clone() } else { socket.try_clone() }.unwrap();
        other.set_read_timeout(Some(PATIENCE)).unwrap();
        other.send_to(b"\0\x02\0\0\0\x01\0\0get a\r\n", address).unwrap();
        let mut datagram = [0; 100];
        let length = other.recv(&mut datagram).expect("an answer comes");
        assert_eq!(&datagram[..length], b"\0\x02\0\0\0\x01\0\0VALUE a 0 1\r\n1\r\nEND\r\n");
    }
}

#[test]
fn datagrams_are_never_enciphered() {
    let files = Files::new("udp");
    let port = free_port();
    let udp = Udp::of(files.start("", &["-U", &port.to_string()]), port);
    assert_eq!(udp.ask(1, b"version\r\n"), "VERSION 1.6.45\r\n");
    assert!(files.client().is_served(udp.server.address));
}

#[test]
fn a_hundred_thousand_random_datagrams_neither_stop_it_nor_stay_with_it() {
    let udp = Udp::start(&["-t", "1"]);
    udp.socket.set_read_timeout(Some(Duration::from_millis(100))).expect("it is not zero");
    let mut random = Random::new(21);
    let mut buffer = vec![0; 65536];
    let mut throw = |count: usize, id: u16| {
        for number in 0..count {
            let datagram = random_datagram(&mut random);
            udp.send_raw(&datagram);
            // The queue of a socket is short: from time to time all has to be answered.
            if number % 50 == 0 {
                let deadline = Instant::now() + PATIENCE;
                let mut asked = false;
                loop {
                    match if asked { udp.socket.recv(&mut buffer) } else { Ok(0) } {
                        Ok(length)
                            if length > 8 && buffer[..2] == id.to_be_bytes() && &buffer[8..length] == b"MN\r\n" =>
                        {
                            break;
                        }
                        Ok(length) if length > 0 => {}
                        // Not asked yet, or lost among the other answers.
                        _ => udp.send(id, b"mn\r\n"),
                    }
                    asked = true;
                    assert!(Instant::now() < deadline, "the server answers");
                }
            }
        }
    };
    throw(2000, 0xfefe);
    let (memory, open) = (udp.server.resident(), udp.server.descriptors());
    throw(100_000, 0xfdfd);
    let after = (udp.server.resident(), udp.server.descriptors());
    println!("100,000 datagrams: {memory} bytes and {open} descriptors before, {} and {} after", after.0, after.1);
    assert_eq!(after.1, open);
    assert!(after.0 <= memory + (8 << 20), "{memory} bytes before, {} after", after.0);
    assert_eq!(udp.server.connect().ask(b"mn\r\n", b"\r\n"), b"MN\r\n");
}

/// Noise, noise behind a right header, or a command with noise behind it; its id is never one that the test waits for.
fn random_datagram(random: &mut Random) -> Vec<u8> {
    let starts: [&[u8]; 9] =
        [b"", b"get ", b"set k 0 0 5\r\n", b"mg k v ", b"ms k 9 ", b"\x80\0", b"ma n ", b"stats ", b"gets k k k "];
    let mut datagram = if random.chance(80) {
        [&[1, random.next() as u8, 0, 0, 0, 1, 0, 0][..], random.pick(&starts)].concat()
    } else {
        vec![1]
    };
    let most = if random.chance(1) { 30_000 } else { 100 };
    datagram.extend((0..random.below(most)).map(|_| random.next() as u8));
    if random.chance(70) {
        datagram.extend_from_slice(b"\r\n");
    }
    datagram
}
