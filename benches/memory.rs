//! Measures the memory an item takes beyond its key and value, and an idle connection, in memhold and in memcached.
//!
//! Each figure comes from a fresh server: what its resident memory grew by from empty to filled, over the count. The
//! kernel's own memory for sockets is not in it. Memory does not depend on the machine's mood: one run is enough.

#[allow(dead_code, reason = "each bench uses a part")]
mod load;
#[allow(dead_code, reason = "each bench uses a part")]
mod server;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use socket2::{Domain, Socket, Type};

use load::keys::{key, key_of_len};
use load::random::mix;
use load::scenario::in_parts;
use load::script::Script;
use server::{Failure, Server, allow_files};

fn main() -> Result<(), Failure> {
    let options = parse();
    let servers = ["ours", "theirs"].map(|name| options.get_one::<PathBuf>(name).cloned().unwrap_or_default());
    let items = number(&options, "items");
    let connections = number(&options, "connections");

    println!("| bytes beyond key and value | ours | theirs | ratio |\n| --- | --- | --- | --- |");
    for middle in [8, 64, 512] {
        for (kind, len_of) in [("", exact as LenOf), (" mixed", mixed)] {
            if items > 0 {
                let filling = Filling { items, middle, len_of };
                let title = format!("item of {KEY_LEN} + {middle} bytes{kind}");
                print_row(&title, &servers, |path| filling.overhead(path))?;
            }
        }
    }
    allow_files(connections as usize + 100);
    for (title, talk) in [("connection that said nothing", false), ("connection after one get", true)] {
        if connections > 0 {
            print_row(title, &servers, |path| per_connection(path, connections, talk))?;
        }
    }
    Ok(())
}

fn print_row(
    title: &str,
    servers: &[PathBuf; 2],
    measure: impl Fn(&Path) -> Result<f64, Failure>,
) -> Result<(), Failure> {
    let ours = measure(&servers[0])?;
    let theirs = measure(&servers[1])?;
    println!("| {title} | {ours:.1} | {theirs:.1} | {:.2} |", ours / theirs);
    Ok(())
}

/// The value length of an item, from the one in the middle and the number of the item.
type LenOf = fn(usize, u64) -> usize;

fn exact(middle: usize, _: u64) -> usize {
    middle
}

/// Evenly from half to one and a half times the middle.
fn mixed(middle: usize, number: u64) -> usize {
    middle / 2 + (mix(!number) % (middle as u64 + 1)) as usize
}

/// The items a server is filled with.
struct Filling {
    items: u64,
    /// The value length, or the middle one, in bytes.
    middle: usize,
    len_of: LenOf,
}

impl Filling {
    /// The bytes of resident memory an item takes, less its key and value.
    fn overhead(&self, path: &Path) -> Result<f64, Failure> {
        // Twice what they need: nothing is evicted, and memory is not taken from elsewhere.
        let megabytes = (self.items * (self.middle as u64 + 100) * 2) >> 20;
        let server = Server::start(&[path.as_os_str()], &["-m", &megabytes.max(1024).to_string()])?;
        // What the first requests need for good, such as buffers, is not the items'.
        server.play(in_parts(10_000, |script, number| script.miss(&key(PREFIX, number))))?;
        let empty = server.resident_bytes()?;

        server.play(in_parts(self.items, |script, number| self.set(script, number)))?;
        let held = server.stat("curr_items")?;
        if held != self.items {
            return Err(format!("{}: {held} items of {} are left", path.display(), self.items).into());
        }
        let payload: u64 = (0..self.items).map(|number| (KEY_LEN + (self.len_of)(self.middle, number)) as u64).sum();
        let grown = server.resident_bytes()? as f64 - empty as f64;
        Ok((grown - payload as f64) / self.items as f64)
    }

    fn set(&self, script: &mut Script, number: u64) {
        let key = key_of_len::<KEY_LEN>(PREFIX, number);
        script.set(&key, (self.len_of)(self.middle, number));
    }
}

/// The bytes of resident memory a connection takes that waits for its client.
fn per_connection(path: &Path, connections: u64, talk: bool) -> Result<f64, Failure> {
    let limit = (connections + connections / 5).to_string();
    let command: &[&OsStr] = &[path.as_os_str()];
    let server = Server::start(command, &["-c", &limit])?;
    server.play(in_parts(1, |script, number| script.miss(&key(PREFIX, number))))?;
    let before = server.resident_bytes()?;

    let mut streams = Vec::new();
    for number in 0..connections {
        let mut stream = connect_from(source(number), server.address)?;
        // Connections are accepted in order, so this answer means that the ones before are in; without it the
        // listener's queue would overflow.
        if talk || number % BATCH == BATCH - 1 || number == connections - 1 {
            stream.write_all(b"get nothing\r\n")?;
            let mut reply = [0; 5];
            stream.read_exact(&mut reply)?;
            if &reply != b"END\r\n" {
                return Err(format!("{}: refused connection {number}", path.display()).into());
            }
        }
        streams.push(stream);
    }
    let open = server.stat("curr_connections")?;
    if open < connections {
        return Err(format!("{}: {open} connections of {connections} are open", path.display()).into());
    }
    let grown = server.resident_bytes()? as f64 - before as f64;
    Ok(grown / connections as f64)
}

/// A few thousand connections from each address, so that no address runs out of ports.
fn source(number: u64) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + (number / 5_000) as u8)
}

fn connect_from(source: Ipv4Addr, server: SocketAddr) -> Result<TcpStream, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

fn parse() -> ArgMatches {
    let path = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).default_value(default).value_parser(value_parser!(PathBuf)).help(help)
    };
    let count = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .default_value(default)
            .value_parser(value_parser!(u64).range(..=1_000_000_000))
            .help(help)
    };
    Command::new("memory")
        .about("Memory of an item beyond key and value, and of an idle connection")
        .arg(path("ours", env!("CARGO_BIN_EXE_memhold"), "the server to look at"))
        .arg(path("theirs", "/usr/bin/memcached", "the server to compare with"))
        .arg(count("items", "1000000", "items stored for each figure; 0 to leave out"))
        .arg(count("connections", "10000", "connections opened; 0 to leave out"))
        .arg(Arg::new("bench").long("bench").num_args(0).hide(true))
        .get_matches()
}

fn number(options: &ArgMatches, name: &str) -> u64 {
    options.get_one(name).copied().unwrap_or(0)
}

const KEY_LEN: usize = 24;

const PREFIX: [u8; 8] = *b"session:";

/// Connections opened between two answers; below any server's listen backlog.
const BATCH: u64 = 100;
