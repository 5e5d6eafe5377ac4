//! `memhold load`: the items of a dump into a running server.
//!
//! The file is read twice: first to verify all of it, so that nothing of a damaged one is stored, then to send. Items go as
//! pipelined quiet `ms` (section 5.3), so that an answer comes only for what was refused; an `mn` behind each batch tells that all of
//! it was understood. Marks follow their item: `md I` makes it stale, `mg` takes the right to make it anew as somebody had.

use super::archive::{Item, Reader, Totals};
use super::link::Link;
use super::{Failure, binary, progress, spelling};
use crate::clock;
use crate::sys::reason;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What was typed.
pub struct Options {
    /// The file to read.
    pub file: PathBuf,
    /// Where the server is.
    pub server: String,
    /// Whether what the server has stays.
    pub keep: bool,
    /// Whether only the file is looked at.
    pub check: bool,
}

/// Requests are sent when they have this many bytes or are this many: so few that their answers, should all be refused, find room
/// in the kernel while we still write.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_ITEMS: usize = 256;
/// Batches sent before the answers to the first of them are waited for.
const BATCHES_AHEAD: usize = 2;
/// The latest expiry that the meta commands take; what expires later (in 2038) expires then.
const EXPTIME_MAX: i32 = i32::MAX;

/// Loads, and says what was loaded.
///
/// # Errors
/// When the file is not whole, the server is not there or refused an item.
pub fn run(options: &Options) -> Result<String, Failure> {
    let file = &options.file;
    let totals = verify(file)?;
    if options.check {
        return Ok(format!("{} is whole: {} items of {} bytes", file.display(), totals.items, totals.bytes));
    }
    let mut link = Link::open(&options.server)?;
    let [server_time, evicted_before] = link.stats(["time", "evictions"])?;
    let mut load = Load {
        server: &options.server,
        link,
        binary: None,
        skew: server_time.cast_signed() - clock::unix_time().as_secs().cast_signed(),
        keep: options.keep,
        takes_cas: false,
        takes_stale_cas: false,
        requests: Vec::new(),
        batch_items: 0,
        batches: 0,
        counts: Counts::default(),
    };
    load.probe()?;
    if let Err(Failure(why)) = load.all(file) {
        return Err(Failure(format!("{why}; {} of {} items had been sent", load.counts.sent, totals.items)));
    }
    let [evicted] = load.link.stats(["evictions"])?;
    load.warn(evicted.saturating_sub(evicted_before));
    load.counts.settle(file, &options.server)
}

/// Reads all of it. What is wrong is an error.
fn verify(file: &Path) -> Result<Totals, Failure> {
    let (mut reader, bar) = open(file, "verifying")?;
    while reader.next_block().map_err(|broken| Failure(format!("{}: {broken}", file.display())))?.is_some() {
        bar.set_position(reader.at());
    }
    bar.finish_and_clear();
    Ok(reader.totals())
}

fn open(file: &Path, what: &'static str) -> Result<(Reader<File>, ProgressBar), Failure> {
    let failure = |error: &std::io::Error| Failure(format!("{}: {}", file.display(), reason(error)));
    // Before it is opened: a pipe into which nobody writes would be waited for.
    let facts = file.metadata().map_err(|error| failure(&error))?;
    if !facts.is_file() {
        return Err(Failure(format!("{}: not a file; it is read twice, so a pipe will not do", file.display())));
    }
    let input = File::open(file).map_err(|error| failure(&error))?;
    let reader =
        Reader::begin(input, facts.len()).map_err(|broken| Failure(format!("{}: {broken}", file.display())))?;
    Ok((reader, progress::bar(what, facts.len(), true)))
}

struct Load<'a> {
    server: &'a str,
    link: Link,
    /// For keys that the meta commands cannot name; made when there is one.
    binary: Option<Link>,
    /// The server's clock less ours, in seconds.
    skew: i64,
    keep: bool,
    /// Whether `ms` takes a CAS, and `md`.
    takes_cas: bool,
    takes_stale_cas: bool,
    requests: Vec<u8>,
    batch_items: usize,
    /// Batches whose answers have not been read.
    batches: usize,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    /// Items sent.
    sent: u64,
    /// Items that had expired.
    expired: u64,
    /// Items that the server had already.
    kept: u64,
    /// Items that were refused, and what was said of the first.
    refused: u64,
    first_refusal: String,
    /// Marks that could not be set again: items that were being made anew and never expire.
    unmarked: u64,
}

impl Load<'_> {
    /// Finds out what this server's meta commands know, by asking for what cannot be.
    fn probe(&mut self) -> Result<(), Failure> {
        let never = u64::MAX;
        let answer = self.link.ask(format!("ms memhold-probe 0 C{never} E1\r\n\r\n").as_bytes())?.to_vec();
        if !answer.starts_with(b"NF") && !answer.starts_with(b"EX") && !answer.starts_with(b"CLIENT_ERROR") {
            return Err(self.link.refused(&answer));
        }
        self.takes_cas = !answer.starts_with(b"CLIENT_ERROR");
        let answer = self.link.ask(format!("md memhold-probe C{never} E1\r\n").as_bytes())?;
        self.takes_stale_cas = !answer.starts_with(b"CLIENT_ERROR");
        Ok(())
    }

    /// Sends all that is in the file, and hears what became of it.
    fn all(&mut self, file: &Path) -> Result<(), Failure> {
        let (mut reader, bar) = open(file, "loading")?;
        let broken = |broken| Failure(format!("{}: {broken}", file.display()));
        while let Some(items) = reader.next_block().map_err(broken)? {
            for item in &items {
                self.add(item)?;
            }
            bar.set_position(reader.at());
        }
        self.send()?;
        self.answers(0)?;
        bar.finish_and_clear();
        Ok(())
    }

    fn add(&mut self, item: &Item<'_>) -> Result<(), Failure> {
        let now = clock::unix_time().as_secs().saturating_add_signed(self.skew);
        if item.exptime != 0 && item.exptime <= now {
            self.counts.expired += 1;
            return Ok(());
        }
        let exptime = i32::try_from(item.exptime).unwrap_or(EXPTIME_MAX);
        let mut key = Vec::new();
        let Some(base64) = spelling::key(item.key, item.base64, &mut key) else {
            return self.store_binary(item, exptime);
        };
        let base64 = if base64 { " b" } else { "" };
        let mention =
            |verb: &str, length: &str| [verb.as_bytes(), b" ", &key, length.as_bytes(), base64.as_bytes()].concat();
        let out = &mut self.requests;
        out.extend_from_slice(&mention("ms", &format!(" {}", item.value.len())));
        // Writing to memory does not fail.
        let _ = write!(out, " q T{exptime} F{}", item.flags);
        if self.takes_cas && item.cas != 0 {
            let _ = write!(out, " E{}", item.cas);
        }
        out.extend_from_slice(if self.keep { b" ME\r\n" } else { b"\r\n" });
        out.extend_from_slice(item.value);
        out.extend_from_slice(b"\r\n");
        // Only this very item: the CAS tells it from one that was there or came meanwhile.
        let known = self.takes_cas && item.cas != 0;
        if item.stale && (known || !self.keep) {
            out.extend_from_slice(&mention("md", ""));
            out.extend_from_slice(b" I q");
            if known {
                let _ = write!(out, " C{}", item.cas);
            }
            if known && self.takes_stale_cas {
                let _ = write!(out, " E{}", item.cas);
            }
            out.extend_from_slice(b"\r\n");
        }
        if item.sent && !self.keep {
            if item.stale || item.exptime != 0 {
                out.extend_from_slice(&mention("mg", ""));
                // Nearer than a moment behind its expiry: that wins. A stale one wins anyway.
                let _ = write!(out, " u R{}\r\n", exptime.saturating_add(1));
            } else {
                self.counts.unmarked += 1;
            }
        }
        self.counts.sent += 1;
        self.batch_items += 1;
        if self.requests.len() >= BATCH_BYTES || self.batch_items >= BATCH_ITEMS { self.send() } else { Ok(()) }
    }

    /// Sends the batch.
    fn send(&mut self) -> Result<(), Failure> {
        self.requests.extend_from_slice(b"mn\r\n");
        self.link.send(&self.requests)?;
        self.requests.clear();
        // What one large value needed is not kept for small ones.
        self.requests.shrink_to(4 * BATCH_BYTES);
        self.batch_items = 0;
        self.batches += 1;
        self.answers(BATCHES_AHEAD - 1)
    }

    /// Reads answers until at most `ahead` batches are without.
    fn answers(&mut self, ahead: usize) -> Result<(), Failure> {
        while self.batches > ahead {
            let line = self.link.line()?;
            match line {
                b"MN" => self.batches -= 1,
                _ if line.starts_with(b"NS") => self.counts.kept += 1,
                // A mark that found its item changed, or set as it should be.
                _ if [&b"HD"[..], b"EX", b"NF", b"EN"].iter().any(|word| line.starts_with(word)) => {}
                _ if line.starts_with(b"CLIENT_ERROR ") || line.starts_with(b"SERVER_ERROR ") => {
                    let line = String::from_utf8_lossy(line).into_owned();
                    self.counts.refuse(line);
                }
                _ => {
                    let line = line.to_vec();
                    return Err(self.link.refused(&line));
                }
            }
        }
        Ok(())
    }

    fn store_binary(&mut self, item: &Item<'_>, exptime: i32) -> Result<(), Failure> {
        if self.binary.is_none() {
            self.binary = Some(Link::open(self.server)?);
        }
        let Some(link) = &mut self.binary else { return Ok(()) };
        self.counts.sent += 1;
        match binary::store(link, item, exptime, self.keep)? {
            binary::Stored::Yes => {}
            binary::Stored::Kept => self.counts.kept += 1,
            binary::Stored::No(line) => self.counts.refuse(line),
        }
        Ok(())
    }

    /// Says what did not stop anything but should be known.
    fn warn(&self, evicted: u64) {
        let mut notes = Vec::new();
        if !self.takes_cas && self.counts.sent > 0 {
            notes.push("this server's ms does not take CAS values: all items have new ones".to_owned());
        }
        if self.counts.unmarked > 0 {
            notes.push(format!("{} items are no longer marked as being made anew", self.counts.unmarked));
        }
        if evicted > 0 {
            notes.push(format!("the server evicted {evicted} items meanwhile: it has less memory than these need"));
        }
        for note in notes {
            let _ = writeln!(std::io::stderr(), "note: {note}");
        }
    }
}

impl Counts {
    fn refuse(&mut self, line: String) {
        self.refused += 1;
        if self.first_refusal.is_empty() {
            self.first_refusal = line;
        }
    }

    /// The last line.
    fn settle(&self, file: &Path, server: &str) -> Result<String, Failure> {
        if self.refused > 0 {
            let of = format!("{} of {} items were not stored", self.refused, self.sent);
            return Err(Failure(format!("{server}: {of}; the first because of: {}", self.first_refusal)));
        }
        let mut line = format!("loaded {} items from {}", self.sent - self.kept, file.display());
        for (count, what) in [(self.expired, "had expired"), (self.kept, "were there already")] {
            if count > 0 {
                line.push_str(&format!("; {count} {what}"));
            }
        }
        Ok(line)
    }
}
