//! Measures the memory an item takes beyond its key and value, an idle connection, and a full cache, in memhold and in memcached.
//!
//! Each figure comes from a fresh server: what its resident memory grew by from empty to filled, over the count. The
//! kernel's own memory for sockets is not in it. Memory does not depend on the machine's mood: one run is enough.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memhold::tools::bench::items::{Items, KEY_LEN_MIN, Shape};
use memhold::tools::bench::player::{Limit, Plan, Player};
use support::Failure;
use support::crowd::Crowd;
use support::options::{self, count, flag, number};
use support::server::{Server, allow_files};

fn main() -> Result<(), Failure> {
    let options =
        options::command("memory", "Memory of an item beyond key and value, of an idle connection, of a full cache")
            .arg(count("items", "1000000", "items stored for each figure; 0 to leave out"))
            .arg(count("connections", "10000", "connections opened; 0 to leave out"))
            .arg(flag("full", "also: a full cache of 400-byte values, and ten times the data in mixed sizes"))
            .arg(options::check())
            .get_matches();
    let servers = options::servers(&options);
    let is_check = options.get_flag("check");
    let items = if is_check { 10_000 } else { number(&options, "items") };
    let connections = if is_check { 200 } else { number(&options, "connections") };

    println!("| | ours | theirs | ratio |\n| --- | --- | --- | --- |");
    let middles: &[usize] = if is_check { &[64] } else { &[8, 64, 512, 1024] };
    for &middle in middles {
        for (kind, value_len) in [("", (middle, middle)), (" mixed", (middle / 2, middle + middle / 2))] {
            if items > 0 {
                let title = format!("bytes beyond an item of {KEY_LEN_MIN} + {middle} bytes{kind}, {items} items");
                print_row(&title, &servers, |path| overhead(path, sessions(items, value_len)))?;
            }
        }
    }
    allow_files(connections as usize + 100);
    for (title, talks) in [("connection that said nothing", false), ("connection after one get", true)] {
        if connections > 0 {
            print_row(&format!("bytes of a {title}"), &servers, |path| per_connection(path, connections, talks))?;
        }
    }
    if options.get_flag("full") {
        print_row("full of 400-byte values: % of resident memory that is key and value", &servers, payload_share)?;
        for (title, large) in [("1 B to 2 KB", None), ("to 4 MB, -I 8m", Some("8m"))] {
            let title = format!("ten times -m {BOUND_MEGABYTES} in values of {title}: MB of resident memory beyond -m");
            print_row(&title, &servers, |path| beyond_limit(path, large))?;
        }
    }
    Ok(())
}

fn print_row(
    title: &str,
    servers: &[PathBuf; 2],
    measure: impl Fn(&Path) -> Result<f64, Failure>,
) -> Result<(), Failure> {
    let (ours, theirs) = (measure(&servers[0])?, measure(&servers[1])?);
    println!("| {title} | {ours:.1} | {theirs:.1} | {:.2} |", ours / theirs);
    Ok(())
}

/// Items with keys of 24 bytes, all as popular, their values evenly between two lengths.
fn sessions(count: u64, value_len: (usize, usize)) -> Arc<Items> {
    Arc::new(Items::new(Shape { head: *b"session:", count, key_len: KEY_LEN_MIN, value_len, skew: 0.0 }))
}

/// The bytes of resident memory an item takes, less its key and value.
fn overhead(path: &Path, items: Arc<Items>) -> Result<f64, Failure> {
    let (count, values) = (items.count(), items.value_bytes());
    // Twice what they need: nothing is evicted, and memory is not taken from elsewhere.
    let megabytes = ((values + count * 124) * 2) >> 20;
    let server = Server::start(&[path.as_os_str()], &["-m", &megabytes.max(1024).to_string()])?;
    // What the first requests need for good, such as buffers, is not the items'.
    warm(&server)?;
    let empty = server.resident_bytes()?;
    server.store(&items, None)?;
    let held = server.stat("curr_items")?;
    if held != count {
        return Err(format!("{}: {held} items of {count} are left", path.display()).into());
    }
    let grown = server.resident_bytes()? as f64 - empty as f64;
    Ok((grown - values as f64) / count as f64 - KEY_LEN_MIN as f64)
}

/// Of a cache that was filled three times over, how many of a hundred bytes are key and value.
fn payload_share(path: &Path) -> Result<f64, Failure> {
    const VALUE_LEN: usize = 400;
    let server = Server::start(&[path.as_os_str()], &["-m", &BOUND_MEGABYTES.to_string()])?;
    server.store(&sessions((BOUND_MEGABYTES << 20) * 3 / VALUE_LEN as u64, (VALUE_LEN, VALUE_LEN)), None)?;
    let payload = server.stat("curr_items")? * (KEY_LEN_MIN + VALUE_LEN) as u64;
    Ok(payload as f64 * 100.0 / server.resident_bytes()? as f64)
}

/// Megabytes of resident memory beyond `-m` when ten times that is stored, in values of all sizes. `large` is a limit for items,
/// which then are up to half as large. A store that is refused is a failure.
fn beyond_limit(path: &Path, large: Option<&str>) -> Result<f64, Failure> {
    let megabytes = BOUND_MEGABYTES.to_string();
    let options = ["-m", &megabytes, "-I", large.unwrap_or("1m")];
    let server = Server::start(&[path.as_os_str()], &options)?;
    let longest = if large.is_some() { 4 << 20 } else { 2000 };
    // Short ones and long ones in turns, each a tenth of all the bytes there are to store in.
    for part in 0..10 {
        let value_len = if part % 2 == 0 { (1, longest / 10) } else { (longest / 10, longest) };
        let mean = (value_len.0 + value_len.1) as u64 / 2 + KEY_LEN_MIN as u64;
        let head = [b's', b'h', b'i', b'f', b't', b':', b'0', b'0' + part as u8];
        let count = (BOUND_MEGABYTES << 20) / mean;
        let shape = Shape { head, count, key_len: KEY_LEN_MIN, value_len, skew: 0.0 };
        server.store(&Arc::new(Items::new(shape)), None)?;
    }
    Ok((server.resident_bytes()? as f64 - (BOUND_MEGABYTES << 20) as f64) / f64::from(1 << 20))
}

/// Asks for some items that are not there.
fn warm(server: &Server) -> Result<(), Failure> {
    let (absent, counters) = (sessions(10_000, (1, 1)), sessions(1, (1, 1)));
    let mut player =
        Player::connect(Arc::new(Plan { pipeline: 64, ..Plan::new(server.target(), absent, counters) }), 4, 1)?;
    Ok(player.play(Limit::Bursts(160))?)
}

/// The bytes of resident memory a connection takes that waits for its client.
fn per_connection(path: &Path, connections: u64, talks: bool) -> Result<f64, Failure> {
    let limit = (connections + connections / 5).to_string();
    let server = Server::start(&[path.as_os_str()], &["-c", &limit])?;
    warm(&server)?;
    let before = server.resident_bytes()?;
    let crowd = Crowd::gather(&server, connections, talks)?;
    let grown = server.resident_bytes()? as f64 - before as f64;
    drop(crowd);
    Ok(grown / connections as f64)
}

/// Memory of a cache that is to be full.
const BOUND_MEGABYTES: u64 = 256;
