//! Measures whether a full server of small items makes room for what comes then: sessions that arrive fast or slowly, large values, and
//! sessions in use that a flood of other items must not push out. memhold beside memcached, each act on a fresh server of 256 MiB.
//!
//! Acts that take their time are played on both servers at once. What nobody has read is judged by how much of it is there at the end.

mod support;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};



use memhold::tools::link::Link;
use support::Failure;
use support::options;
use support::server::Server;

fn main() -> Result<(), Failure> {
    let options = options::command("calcification", "What a full server has room for").arg(options::check()).get_matches();
    let servers = options::servers(&options);
    let check = options.get_flag("check");
    println!("| on a full server of 256 MiB | memhold | memcached |\n| --- | --- | --- |");
    for act in ACTS {
        let act = if check { act.shortened() } else { act };
        let play = |path: &Path| act.play(path).map_err(|error| error.to_string());
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| play(&servers[1]));
            (play(&servers[0]), theirs.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
        });
        let [ours, theirs] = [ours?, theirs?].map(|alive| format!("{alive} of {}", act.arriving.count));
        println!("| {} | {ours} | {theirs} |", act.title);
    }
    Ok(())
}

/// Items of one kind.
#[derive(Clone, Copy)]
struct Kind {
    prefix: &'static str,
    count: u64,
    value_len: usize,
}

/// What happens to a full server.
#[derive(Clone, Copy)]
struct Act {
    title: &'static str,
    /// What arrives, and is looked for at the end.
    arriving: Kind,
    /// The time it takes to arrive.
    seconds: u64,
    /// What comes afterwards, while the former stay in use.
    flood: Option<Kind>,
}

/// Twice as many as the server holds.
const SMALL: Kind = Kind { prefix: "small", count: 4_000_000, value_len: 64 };
const SESSIONS: Kind = Kind { prefix: "session", count: 60_000, value_len: 700 };
const LARGE: Kind = Kind { prefix: "large", count: 200, value_len: 300_000 };
const FLOOD: Kind = Kind { prefix: "flood", count: 2_000_000, value_len: 200 };

const ACTS: [Act; 6] = [
    Act { title: "60,000 sessions of 700 bytes within 7 s", arriving: SESSIONS, seconds: 7, flood: None },
    Act { title: "the same within 60 s", arriving: SESSIONS, seconds: 60, flood: None },
    Act { title: "the same within 180 s", arriving: SESSIONS, seconds: 180, flood: None },
    Act { title: "200 values of 300 kB, at full speed", arriving: LARGE, seconds: 0, flood: None },
    Act { title: "the same within 60 s", arriving: LARGE, seconds: 60, flood: None },
    Act {
        title: "60,000 sessions in use, after a flood of 2,000,000 items",
        arriving: SESSIONS,
        seconds: 7,
        flood: Some(FLOOD),
    },
];

impl Act {
    /// The same in no time, and with little of everything.
    fn shortened(self) -> Act {
        let few = |kind: Kind| Kind { count: kind.count / 100, ..kind };
        Act { arriving: few(self.arriving), seconds: self.seconds.min(1), flood: self.flood.map(few), ..self }
    }

    /// How many of those that arrived are there at the end.
    fn play(&self, path: &Path) -> Result<u64, Failure> {
        let server = Server::start(&[path.as_os_str()], &["-m", "256", "-t", "1"])?;
        let mut client = Client::open(&server)?;
        client.set(&SMALL, 0..SMALL.count)?;
        client.arrive(&self.arriving, Duration::from_secs(self.seconds))?;
        if let Some(flood) = self.flood {
            client.flood(&flood, &self.arriving)?;
        }
        client.found(&self.arriving, 0..self.arriving.count)
    }
}

/// One connection, requests in batches.
struct Client {
    link: Link,
    value: Vec<u8>,
}

impl Client {
    fn open(server: &Server) -> Result<Client, Failure> {
        Ok(Client { link: Link::open(&server.address.to_string())?, value: Vec::new() })
    }

    /// Stores items. A server may refuse some: they will not be found.
    fn set(&mut self, kind: &Kind, numbers: std::ops::Range<u64>) -> Result<(), Failure> {
        let batch_len = (BATCH_BYTES / kind.value_len as u64).clamp(1, BATCH);
        for start in numbers.clone().step_by(batch_len as usize) {
            let end = (start + batch_len).min(numbers.end);
            let mut batch = Vec::new();
            for number in start..end {
                let Kind { prefix, value_len, .. } = kind;
                batch.extend_from_slice(format!("ms {prefix}:{number} {value_len}\r\n").as_bytes());
                batch.resize(batch.len() + value_len, b'v');
                batch.extend_from_slice(b"\r\n");
            }
            self.link.send(&batch)?;
            for _ in start..end {
                self.link.line()?;
            }
        }
        Ok(())
    }

    /// Stores items evenly over a time.
    fn arrive(&mut self, kind: &Kind, time: Duration) -> Result<(), Failure> {
        let start = Instant::now();
        let mut done = 0;
        while done < kind.count {
            let share = start.elapsed().as_secs_f64() / time.as_secs_f64().max(1e-9);
            let due = ((kind.count as f64 * share) as u64).clamp(done, kind.count);
            self.set(kind, done..due)?;
            done = due;
            if due < kind.count {
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    /// Stores `flood` while each of the others is read every so often.
    fn flood(&mut self, flood: &Kind, others: &Kind) -> Result<(), Failure> {
        let rounds = USES * others.count / BATCH;
        for round in 0..rounds {
            self.set(flood, flood.count * round / rounds..flood.count * (round + 1) / rounds)?;
            let first = round * BATCH % others.count;
            self.found(others, first..(first + BATCH).min(others.count))?;
        }
        Ok(())
    }

    /// How many of the items are there.
    fn found(&mut self, kind: &Kind, numbers: std::ops::Range<u64>) -> Result<u64, Failure> {
        let mut found = 0;
        for start in numbers.clone().step_by(BATCH as usize) {
            let end = (start + BATCH).min(numbers.end);
            let batch: String = (start..end).map(|number| format!("mg {}:{number} s v\r\n", kind.prefix)).collect();
            self.link.send(batch.as_bytes())?;
            for _ in start..end {
                if self.link.line()? != b"EN" {
                    self.link.bytes(kind.value_len + 2, &mut self.value)?;
                    found += 1;
                }
            }
        }
        Ok(found)
    }
}

/// Requests sent at once, and their bytes about.
const BATCH: u64 = 100;
const BATCH_BYTES: u64 = 300_000;

/// How often each session is read during the flood.
const USES: u64 = 4;
