//! Once everything is warm, a request costs no allocation: gets, sets, multigets, `mg` and `ms` through a whole
//! conversation, with a counting
//! allocator underneath.
//!
//! One test, because the count is the thread's own but what is warm is not. Values that are sent from item memory (8 KiB and more) and
//! values that arrive in pieces are not meant: they keep something between two turns.

#![allow(unsafe_code, reason = "a global allocator is unsafe to write; this one adds a count to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use memhold::clock::{Clock, Now};
use memhold::commands::{Context, Server};
use memhold::conn::{Conn, Next, Output};
use memhold::settings::Settings;
use memhold::store::{Config, Store};

struct Counting;

thread_local! {
    /// Without a destructor and initialised at compile time: reading it never allocates.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one asked for here.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one asked for here.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the one asked for here.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rounds of one kind of request.
const ROUNDS: usize = 10_000;
/// Keys in use.
const KEYS: usize = 1000;
const NOW: Now = Now::at(1_700_000_000, 0);

struct Talk {
    store: Store,
    server: Server,
    conn: Conn,
    out: Output,
}

impl Talk {
    fn new() -> Talk {
        let config = Config::with_memory(64 << 20, 1);
        let store = Store::open(&config).expect("64 MiB of memory");
        let server = Server::new(Settings::default(), Clock::start());
        Talk { store, server, conn: Conn::new(), out: Output::new() }
    }

    /// Runs a request and returns how many bytes it was answered with, having "sent" them.
    fn say(&mut self, mut input: &[u8]) -> usize {
        let mut cx = Context::new(&self.store, &self.server, &self.server.threads[0], NOW, -1);
        let mut answered = 0;
        loop {
            let progress = self.conn.process(input, &mut self.out, &mut cx);
            input = &input[progress.consumed..];
            while !self.out.is_empty() {
                let sent = self.out.send(usize::MAX, |slices| io::sink().write_vectored(slices));
                answered += sent.expect("a sink").1;
            }
            match progress.next {
                Next::Again => {}
                Next::Read if input.is_empty() => return answered,
                other => panic!("{other:?} with {} bytes left", input.len()),
            }
        }
    }
}

/// Requests of one kind, written in advance; each round asks one of them.
fn requests(write: impl Fn(&mut String, usize)) -> Vec<Vec<u8>> {
    (0..KEYS)
        .map(|number| {
            let mut text = String::new();
            write(&mut text, number);
            text.into_bytes()
        })
        .collect()
}

/// The same for frames of the binary protocol: each an opcode, extras, key and value.
fn frames(write: impl Fn(usize) -> Vec<(u8, Vec<u8>, String, String)>) -> Vec<Vec<u8>> {
    let frame = |(opcode, extras, key, value): (u8, Vec<u8>, String, String)| {
        let body = extras.len() + key.len() + value.len();
        let mut bytes = vec![0x80, opcode];
        bytes.extend((key.len() as u16).to_be_bytes());
        bytes.extend([extras.len() as u8, 0, 0, 0]);
        bytes.extend((body as u32).to_be_bytes());
        bytes.extend([0; 12]);
        [&bytes[..], &extras, key.as_bytes(), value.as_bytes()].concat()
    };
    (0..KEYS).map(|number| write(number).into_iter().flat_map(frame).collect()).collect()
}

/// Asks all kinds of requests once to warm up, then counts.
fn allocate_nothing(talk: &mut Talk, kinds: &[(&str, Vec<Vec<u8>>)]) {
    let mut allocated = Vec::new();
    for round in 0..2 {
        for (name, requests) in kinds {
            let before = ALLOCATIONS.get();
            let mut answered = 0;
            for number in 0..if round == 0 { KEYS } else { ROUNDS } {
                answered += talk.say(&requests[number % KEYS]);
            }
            assert!(answered > KEYS, "{name} is answered");
            let count = ALLOCATIONS.get() - before;
            if round == 1 && count > 0 {
                allocated.push(format!("{ROUNDS} of {name} allocated {count} times"));
            }
        }
    }
    assert!(allocated.is_empty(), "{}", allocated.join("\n"));
}

#[test]
fn warm_requests_allocate_nothing() {
    let mut talk = Talk::new();
    let values: Vec<String> = (0..KEYS).map(|number| "v".repeat(number * 5)).collect();
    let kinds = [
        ("set", requests(|out, n| write!(out, "set key:{n} 7 0 {}\r\n{}\r\n", n * 5, values[n]).unwrap_or_default())),
        ("get", requests(|out, n| write!(out, "get key:{n}\r\n").unwrap_or_default())),
        ("gets and a miss", requests(|out, n| write!(out, "gets key:{n} nobody:{n}\r\n").unwrap_or_default())),
        (
            "multiget",
            requests(|out, n| {
                out.push_str("get");
                (0..100).for_each(|step| write!(out, " key:{}", (n + step * 7) % KEYS).unwrap_or_default());
                out.push_str("\r\n");
            }),
        ),
        ("pipeline", requests(|out, n| out.push_str(&format!("get key:{n}\r\n").repeat(50)))),
        (
            "ms",
            requests(|out, n| {
                write!(out, "ms key:{n} {} c T300 F9 Oxyz\r\n{}\r\n", n * 5, values[n]).unwrap_or_default()
            }),
        ),
        ("mg", requests(|out, n| write!(out, "mg key:{n} v k f t s c h l O123\r\n").unwrap_or_default())),
        ("mg base64", requests(|out, _| out.push_str("mg a2V5OjE= b k v\r\n"))),
        ("incr", requests(|out, _| out.push_str("incr number 3\r\ndecr number 2\r\nma number\r\n"))),
        (
            "touch and gat",
            requests(|out, n| write!(out, "touch key:{n} 900\r\ngat 1000 key:{n}\r\n").unwrap_or_default()),
        ),
        (
            "delete and add",
            requests(|out, n| write!(out, "delete x:{n}\r\nadd x:{n} 0 0 1\r\nA\r\n").unwrap_or_default()),
        ),
        (
            "append",
            requests(|out, n| write!(out, "set a:{n} 0 0 1\r\nA\r\nappend a:{n} 0 0 1\r\nB\r\n").unwrap_or_default()),
        ),
    ];
    talk.say(b"set number 0 0 1\r\n5\r\n");
    allocate_nothing(&mut talk, &kinds);
}

#[test]
fn warm_binary_requests_allocate_nothing() {
    let mut talk = Talk::new();
    let key = |n: usize| format!("key:{n}");
    let none = String::new;
    let number = [&1_u64.to_be_bytes()[..], &[0; 12]].concat();
    let kinds = [
        ("set", frames(|n| vec![(0x01, vec![0; 8], key(n), "v".repeat(n * 5))])),
        ("get", frames(|n| vec![(0x00, vec![], key(n), none())])),
        ("getk and a miss", frames(|n| vec![(0x0c, vec![], key(n), none()), (0x00, vec![], format!("x{n}"), none())])),
        (
            "sixteen quiet gets and a noop",
            frames(|n| {
                let mut all: Vec<_> = (0..16).map(|step| (0x09, vec![], key((n + step * 7) % KEYS), none())).collect();
                all.push((0x0a, vec![], none(), none()));
                all
            }),
        ),
        ("quiet sets and a noop", frames(|n| vec![(0x11, vec![0; 8], key(n), key(n)), (0x0a, vec![], none(), none())])),
        ("increment", frames(|_| vec![(0x05, number.clone(), "number".to_owned(), none())])),
        ("touch and gat", frames(|n| vec![(0x1c, vec![1; 4], key(n), none()), (0x1d, vec![1; 4], key(n), none())])),
        (
            "append",
            frames(|n| vec![(0x01, vec![0; 8], format!("a{n}"), key(n)), (0x0e, vec![], format!("a{n}"), key(n))]),
        ),
        (
            "delete",
            frames(|n| vec![(0x01, vec![0; 8], format!("d{n}"), key(n)), (0x04, vec![], format!("d{n}"), none())]),
        ),
    ];
    allocate_nothing(&mut talk, &kinds);
}
