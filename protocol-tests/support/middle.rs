//! Clients in the middle of everything that a conversation can be in the middle of, while the process that serves them gives way to
//! another: each is answered as if nothing had been.

use super::{Link, escaped};
use std::net::SocketAddr;
use std::time::Duration;

/// Another process has to begin, on a machine that may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

const VALUE_LEN: usize = 300_000;

/// The clients.
pub struct Middle {
    value: Vec<u8>,
    idle: Vec<Link>,
    line: Link,
    set: Link,
    swallowed: Link,
    keys: Link,
    binary: Link,
    lazy: Link,
}

/// Reads until so many bytes are there, and compares.
#[track_caller]
pub fn expect(link: &mut Link, expected: &[u8]) {
    link.read_within(PATIENCE, |bytes| bytes.len() >= expected.len());
    let found = link.take();
    assert!(found == expected, "{} instead of {}", escaped(&found), escaped(expected));
}

impl Middle {
    /// Everybody says the first half.
    pub fn begin(address: SocketAddr) -> Middle {
        let connect = || Link::open(address).expect("the server accepts connections");
        let value = vec![b'v'; VALUE_LEN];
        let mut setup = connect();
        setup.send(b"set large 0 0 300000\r\n");
        setup.send(&value);
        setup.send(b"\r\nset small 5 0 3\r\nabc\r\n");
        expect(&mut setup, b"STORED\r\nSTORED\r\n");

        let idle = (0..50).map(|_| connect()).collect();
        let mut line = connect();
        line.send(b"get sm");
        let mut set = connect();
        set.send(b"set new 1 0 200000\r\n");
        set.send(&value[..77_777]);
        let mut swallowed = connect();
        swallowed.send(b"set toolarge 0 0 2000000\r\n");
        expect(&mut swallowed, b"SERVER_ERROR object too large for cache\r\n");
        swallowed.send(&value[..10]);
        let mut keys = connect();
        keys.send(b"get small ");
        keys.send(&b"missing ".repeat(1000));
        let mut binary = connect();
        binary.send(&[0x80, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        // It does not read: replies wait with the server, pinned in item memory.
        let mut lazy = connect();
        lazy.send(&b"get large\r\n".repeat(100));
        Middle { value, idle, line, set, swallowed, keys, binary, lazy }
    }

    /// Those that had nothing to say are answered, any number of times.
    pub fn ask_idle(&mut self) {
        for link in &mut self.idle {
            link.send(b"mn\r\n");
        }
        for link in &mut self.idle {
            expect(link, b"MN\r\n");
        }
    }

    /// Everybody says the rest.
    pub fn finish(mut self) {
        self.line.send(b"all\r\n");
        expect(&mut self.line, b"VALUE small 5 3\r\nabc\r\nEND\r\n");
        self.set.send(&self.value[77_777..200_000]);
        self.set.send(b"\r\nmg new s f\r\n");
        expect(&mut self.set, b"STORED\r\nHD s200000 f1\r\n");
        self.swallowed.send(&vec![b'x'; 2_000_000 - 10]);
        self.swallowed.send(b"\r\nmn\r\n");
        expect(&mut self.swallowed, b"MN\r\n");
        self.keys.send(b"small\r\n");
        expect(&mut self.keys, b"VALUE small 5 3\r\nabc\r\nVALUE small 5 3\r\nabc\r\nEND\r\n");
        self.binary.send(&[0; 12]);
        let mut noop = vec![0x81, 10];
        noop.resize(24, 0);
        expect(&mut self.binary, &noop);
        let mut one = b"VALUE large 0 300000\r\n".to_vec();
        one.extend_from_slice(&self.value);
        one.extend_from_slice(b"\r\nEND\r\n");
        expect(&mut self.lazy, &one.repeat(100));
    }
}
