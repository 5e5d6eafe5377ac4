//! Bytes that mean nothing, from many connections and in datagrams (`tls.rs` does the same over TLS): the server answers or hangs
//! up, stays what it was, and goes on serving. The figures before and after are printed.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::time::Instant;

use support::random::Random;
use support::server::{self, Server, free_port};
use support::{PATIENCE, escaped};

/// Bad frames of each opcode.
const FRAMES: usize = 200;

/// Byte strings that are nothing at all.
const STRINGS: usize = 100_000;

/// Resident bytes that may come on top: buffers that workers keep, and pages of items that garbage has stored.
const GROWTH_MAX: u64 = 16 << 20;

/// What the process holds.
struct Figures {
    resident: u64,
    descriptors: usize,
}

impl Figures {
    fn of(server: &Server) -> Figures {
        Figures { resident: server.resident(), descriptors: server.descriptors() }
    }
}

/// A server that has seen some traffic, so that its buffers are there.
fn warm() -> Server {
    let server = Server::start(&server::memhold(), &["-m", "64"]);
    let mut random = Random::new(7);
    for _ in 0..2000 {
        let bytes = noise(&mut random);
        say(&server, &bytes);
    }
    server
}

fn noise(random: &mut Random) -> Vec<u8> {
    (0..1 + random.below(120)).map(|_| random.next() as u8).collect()
}

/// A frame of this opcode of which anything may be wrong: lengths, shape, what follows.
fn bad_frame(opcode: u8, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0x80, opcode];
    let length = |random: &mut Random| match random.below(4) {
        0 => random.next(),
        1 => random.below(300) as u64,
        _ => random.below(30) as u64,
    };
    bytes.extend((length(random) as u16).to_be_bytes());
    bytes.push(if random.chance(50) { [0, 4, 8, 20][random.below(4)] } else { random.next() as u8 });
    bytes.extend([0; 3]);
    bytes.extend((length(random) as u32).to_be_bytes());
    bytes.extend(random.next().to_be_bytes());
    bytes.extend((random.next() as u32).to_be_bytes());
    if random.chance(5) {
        bytes[0] = random.next() as u8;
    }
    bytes.extend(noise(random));
    bytes
}

/// Sends `bytes` on a connection of their own and reads until the server has hung up, which it does at the latest when it
/// has seen that nothing more comes.
fn say(server: &Server, bytes: &[u8]) {
    let mut stream = TcpStream::connect(server.address).expect("the server accepts connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
    // It may hang up in the middle.
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = [0; 4096];
    loop {
        match stream.read(&mut answer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server hangs after {}", escaped(bytes));
            }
            // Reset, because it hung up without having read everything.
            Err(_) => return,
        }
    }
}

/// Nothing is left of it, and the server serves.
fn check(mut server: Server, before: &Figures, what: &str) {
    assert!(!server.has_ended(), "the server survives {what}");
    let stored = server.connect().ask(b"set sound 0 0 1\r\n1\r\nget sound\r\n", b"END\r\n");
    assert_eq!(escaped(&stored), escaped(b"STORED\r\nVALUE sound 0 1\r\n1\r\nEND\r\n"));
    let after = Figures::of(&server);
    println!(
        "{what}: {} -> {} KiB resident, {} -> {} descriptors",
        before.resident >> 10,
        after.resident >> 10,
        before.descriptors,
        after.descriptors
    );
    assert!(after.resident < before.resident + GROWTH_MAX, "memory grows by {what}");
    // The one that asked just now may still be there.
    assert!(after.descriptors <= before.descriptors + 1, "descriptors are left open by {what}");
}

#[test]
fn bad_frames_of_every_opcode_leave_nothing_behind() {
    let server = warm();
    let before = Figures::of(&server);
    let mut random = Random::new(11);
    for opcode in 0..=u8::MAX {
        for _ in 0..FRAMES {
            say(&server, &bad_frame(opcode, &mut random));
        }
    }
    check(server, &before, &format!("{FRAMES} bad frames of each opcode"));
}

#[test]
fn random_bytes_leave_nothing_behind() {
    let server = warm();
    let before = Figures::of(&server);
    let mut random = Random::new(12);
    for _ in 0..STRINGS {
        let mut bytes = noise(&mut random);
        // One in four speaks binary, or means to.
        if random.chance(25) {
            bytes[0] = 0x80;
        }
        say(&server, &bytes);
    }
    check(server, &before, &format!("{STRINGS} random byte strings"));
}

/// Datagrams between two looks whether the server still answers; no more than a socket's buffer holds.
const VOLLEY: usize = 32;

#[test]
fn datagrams_leave_nothing_behind() {
    let port = free_port();
    let server = Server::start(&server::memhold(), &["-m", "64", "-U", &port.to_string()]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket.connect((Ipv4Addr::LOCALHOST, port)).expect("loopback can be reached");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
    let mut random = Random::new(13);
    let volley = |number: usize, random: &mut Random| {
        for _ in 0..VOLLEY {
            let payload = if random.chance(50) { noise(random) } else { bad_frame(random.next() as u8, random) };
            let header = if random.chance(90) { [0, 1, 0, 0, 0, 1, 0, 0] } else { random.next().to_be_bytes() };
            let _ = socket.send(&[&header[..], &payload].concat());
        }
        let id = [0x40 | (number >> 8) as u8 & 0x3f, number as u8];
        let question = [&id[..], &[0, 0, 0, 1, 0, 0], b"version\r\n"].concat();
        let mut answer = [0; 65536];
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The question may have found no room.
            let _ = socket.send(&question);
            match socket.recv(&mut answer) {
                Ok(n) if answer[..n].starts_with(&id) && answer[..n].ends_with(b"VERSION 1.6.45\r\n") => return,
                _ => assert!(Instant::now() < deadline, "the server answers over UDP"),
            }
        }
    };
    (0..50).for_each(|number| volley(number, &mut random));
    let before = Figures::of(&server);
    (50..50 + STRINGS / VOLLEY).for_each(|number| volley(number, &mut random));
    check(server, &before, &format!("{STRINGS} datagrams"));
}
