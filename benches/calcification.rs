//! Measures whether a full server of small items makes room for what comes then: sessions that arrive fast or slowly, large values, and
//! sessions in use that a flood of other items must not push out. memhold beside memcached, each act on a fresh server of 256 MiB.
//!
//! Acts that take their time are played on both servers at once. What nobody has read is judged by how much of it is there at the end.

mod support;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use support::Failure;
use support::bulk::{BATCH, Bulk, Kind, never};
use support::options;
use support::server::Server;

fn main() -> Result<(), Failure> {
    let options =
        options::command("calcification", "What a full server has room for").arg(options::check()).get_matches();
    let servers = options::servers(&options);
    let check = options.get_flag("check");
    println!(
        "| alive at the end, on a server of 256 MiB full of small items | memhold | memcached |\n| --- | --- | --- |"
    );
    for act in ACTS {
        let act = if check { act.shortened() } else { act };
        let play = |path: &Path| act.play(path).map_err(|error| error.to_string());
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| play(&servers[1]));
            (play(&servers[0]), theirs.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
        });
        let alive = [ours?, theirs?];
        // So few have room in both, whatever they are.
        if check && alive != [act.arriving.count; 2] {
            return Err(format!("{}: of {} there are {alive:?}", act.title, act.arriving.count).into());
        }
        let [ours, theirs] = alive.map(|alive| format!("{alive} of {}", act.arriving.count));
        println!("| {} | {ours} | {theirs} |", act.title);
    }
    Ok(())
}

/// What happens to a full server.
#[derive(Clone, Copy)]
struct Act {
    title: &'static str,
    /// What the server is full of before.
    before: Kind,
    /// What arrives, and is looked for at the end.
    arriving: Kind,
    /// The time it takes to arrive.
    seconds: u64,
    /// What comes afterwards, while the former stay in use.
    flood: Option<Kind>,
}

/// Twice as many as the server holds.
const SMALL: Kind = Kind { prefix: "small", count: 4_000_000, value_len: 64 };
/// Sessions that a flood is to push out have to be there first.
const NOTHING: Kind = Kind { count: 0, ..SMALL };
const SESSIONS: Kind = Kind { prefix: "session", count: 60_000, value_len: 700 };
const LARGE: Kind = Kind { prefix: "large", count: 200, value_len: 300_000 };
const FLOOD: Kind = Kind { prefix: "flood", count: 2_000_000, value_len: 200 };

const ACTS: [Act; 6] = [
    Act {
        title: "60,000 sessions of 700 bytes within 7 s",
        before: SMALL,
        arriving: SESSIONS,
        seconds: 7,
        flood: None,
    },
    Act { title: "the same within 60 s", before: SMALL, arriving: SESSIONS, seconds: 60, flood: None },
    Act { title: "the same within 180 s", before: SMALL, arriving: SESSIONS, seconds: 180, flood: None },
    Act { title: "200 values of 300 kB, at full speed", before: SMALL, arriving: LARGE, seconds: 0, flood: None },
    Act { title: "the same within 60 s", before: SMALL, arriving: LARGE, seconds: 60, flood: None },
    Act {
        title: "60,000 sessions in use, under a flood of 2,000,000 items",
        before: NOTHING,
        arriving: SESSIONS,
        seconds: 0,
        flood: Some(FLOOD),
    },
];

impl Act {
    /// The same in no time, and with little of everything.
    fn shortened(self) -> Act {
        let few = |kind: Kind| Kind { count: kind.count / 100, ..kind };
        Act {
            before: few(self.before),
            arriving: few(self.arriving),
            seconds: self.seconds.min(1),
            flood: self.flood.map(few),
            ..self
        }
    }

    /// How many of those that arrived are there at the end.
    fn play(&self, path: &Path) -> Result<u64, Failure> {
        let server = Server::start(&[path.as_os_str()], &["-m", "256", "-t", "1"])?;
        let mut bulk = Bulk::open(&server)?;
        bulk.set(&self.before, 0..self.before.count, never)?;
        arrive(&mut bulk, &self.arriving, Duration::from_secs(self.seconds))?;
        if let Some(other) = self.flood {
            flood(&mut bulk, &other, &self.arriving)?;
        }
        Ok(bulk.found(&self.arriving, 0..self.arriving.count)?)
    }
}

/// Stores items evenly over a time.
fn arrive(bulk: &mut Bulk, kind: &Kind, time: Duration) -> Result<(), Failure> {
    let start = Instant::now();
    let mut done = 0;
    while done < kind.count {
        let share = start.elapsed().as_secs_f64() / time.as_secs_f64().max(1e-9);
        let due = ((kind.count as f64 * share) as u64).clamp(done, kind.count);
        bulk.set(kind, done..due, never)?;
        done = due;
        if due < kind.count {
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

/// Stores one kind while each of the others is read every so often.
fn flood(bulk: &mut Bulk, flood: &Kind, others: &Kind) -> Result<(), Failure> {
    let rounds = USES * others.count / BATCH;
    for round in 0..rounds {
        bulk.set(flood, flood.count * round / rounds..flood.count * (round + 1) / rounds, never)?;
        let first = round * BATCH % others.count;
        bulk.found(others, first..(first + BATCH).min(others.count))?;
    }
    Ok(())
}

/// How often each session is read during the flood.
const USES: u64 = 4;
