//! `memhold dump`: all items of a running server to a file.
//!
//! First all keys are listed (`lru_crawler metadump`, section 13.1), into a file without a name, so that memory does not grow with
//! the server; then the items are asked for with pipelined `mg`. Not both at once: while memcached waits for us to read its list it
//! holds locks that the next `mg` needs, and both sides would wait for ever. `metadump` and not `mgdump`, because it is there in every
//! version, says when items expire to the second, and is unambiguous for any key. What changes meanwhile may be dumped as it was or as
//! it is.
//!
//! Reading leaves no trace: hits are not marked (`u`), and where a stale item gives us the right to make it anew, the right is given
//! back by marking it stale again.

use super::archive::{Item, Totals, Writer};
use super::link::Link;
use super::{Failure, binary, progress, spelling};
use crate::clock;
use crate::sys::reason;
use indicatif::ProgressBar;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was typed.
pub struct Options {
    /// The file to write.
    pub file: PathBuf,
    /// Where the server is.
    pub server: String,
    /// Whether the file may be replaced.
    pub force: bool,
}

/// Bytes of requests sent before their answers are read: what the kernel holds for the server, whatever it is doing.
const BATCH_BYTES: usize = 16 << 10;
/// How a list of keys is asked for, in order of preference: `hash` visits each item once; `all` may miss one that moves between
/// lists meanwhile, but goes on while the hash table grows.
const LISTS: [&str; 2] = ["hash", "all"];
/// Keys from one look of the bar to the next.
const BAR_STEP: u64 = 1000;
/// How often to ask again while another dump or the crawler is at work, and how long to wait each time.
const BUSY_TRIES: u32 = 120;
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// Seconds by which two ways to tell an expiry may differ while it is the same one.
const EXPTIME_SLACK: u64 = 2;

/// Dumps, and says what was dumped.
///
/// # Errors
/// When there is a file already, the server refuses, or anything breaks meanwhile; then there is no new file.
pub fn run(options: &Options) -> Result<String, Failure> {
    let target = Target::create(&options.file, options.force)?;
    let mut items = Link::open(&options.server)?;
    let [expected, server_time] = items.stats(["curr_items", "time"])?;
    let bar = progress::bar("listing", expected, false);
    let mut keys = Keys::create(&options.file)?;
    keys.list_all(&options.server, &bar)?;
    bar.set_message("dumping");
    bar.set_length(keys.count);
    bar.reset();
    let file = target.file.try_clone().map_err(|error| target.failure(&error))?;
    let writer = Writer::begin(BufWriter::new(file), clock::unix_time().as_secs());
    let mut dump = Dump {
        server: &options.server,
        items,
        binary: None,
        skew: server_time.cast_signed() - clock::unix_time().as_secs().cast_signed(),
        writer: writer.map_err(|error| target.failure(&error))?,
        file: &options.file,
        requests: Vec::new(),
        batch: Vec::new(),
        value: Vec::new(),
        won: Vec::new(),
        knows_cas: false,
        bar: &bar,
    };
    dump.probe()?;
    dump.all(keys)?;
    let totals = dump.finish()?;
    bar.finish_and_clear();
    target.complete(options.force)?;
    Ok(format!("dumped {} items of {} bytes to {}", totals.items, totals.bytes, options.file.display()))
}

struct Dump<'a> {
    server: &'a str,
    /// Answers `mg`.
    items: Link,
    /// For the keys that `mg` cannot name; made when there is one.
    binary: Option<Link>,
    /// The server's clock less ours, in seconds.
    skew: i64,
    writer: Writer<BufWriter<File>>,
    file: &'a Path,
    /// Requests to be sent.
    requests: Vec<u8>,
    /// Their keys.
    batch: Vec<Listed>,
    value: Vec<u8>,
    /// Stale items that this batch won, as they have to be told: key, ` b` or nothing, CAS.
    won: Vec<(Vec<u8>, &'static str, u64)>,
    /// Whether `md` takes a CAS.
    knows_cas: bool,
    bar: &'a ProgressBar,
}

/// A line of the list.
struct Listed {
    key: Vec<u8>,
    /// Unix time by the server's clock, 0 for never.
    exptime: u64,
    /// As `mg` is told it.
    spelled: Vec<u8>,
    base64: bool,
}

/// How a list ended.
enum Listing {
    Complete,
    /// Not by this kind of list, or not now.
    Refused(Failure),
    Busy,
}

/// What `mg` said.
#[derive(Default)]
struct Found {
    flags: u64,
    /// Seconds left; `None` for never.
    left: Option<u64>,
    cas: u64,
    base64: bool,
    stale: bool,
    sent: bool,
    won: bool,
}

impl Dump<'_> {
    /// Whether stale items can be given back with their CAS. Asks for something that cannot be.
    fn probe(&mut self) -> Result<(), Failure> {
        let answer = self.items.ask(format!("md memhold-probe C{} E1\r\n", u64::MAX).as_bytes())?;
        self.knows_cas = !answer.starts_with(b"CLIENT_ERROR");
        Ok(())
    }

    fn all(&mut self, keys: Keys) -> Result<(), Failure> {
        let mut lines = keys.lines()?;
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(|error| failure(self.file, &error))? == 0 {
                return self.fetch();
            }
            // It was looked at when it came.
            if let Some((key, exptime)) = listed(line.trim_ascii_end()) {
                self.add(key, exptime)?;
            }
        }
    }

    /// Puts an item into the batch, or fetches it by itself.
    fn add(&mut self, key: Vec<u8>, exptime: u64) -> Result<(), Failure> {
        let mut spelled = Vec::new();
        let Some(base64) = spelling::key(&key, false, &mut spelled) else {
            return self.fetch_binary(&key, exptime);
        };
        self.requests.extend_from_slice(b"mg ");
        self.requests.extend_from_slice(&spelled);
        self.requests.extend_from_slice(if base64 { b" v f t c k u b\r\n" } else { b" v f t c k u\r\n" });
        self.batch.push(Listed { key, exptime, spelled, base64 });
        if self.requests.len() >= BATCH_BYTES { self.fetch() } else { Ok(()) }
    }

    /// Fetches the batch and writes it.
    fn fetch(&mut self) -> Result<(), Failure> {
        self.items.send(&self.requests)?;
        self.requests.clear();
        let batch = std::mem::take(&mut self.batch);
        self.bar.inc(batch.len() as u64);
        for listed in &batch {
            let line = self.items.line()?;
            if line.starts_with(b"EN") {
                // Expired, evicted or deleted since it was listed.
                continue;
            }
            let Some((length, found)) = answered(line) else {
                let line = line.to_vec();
                return Err(self.items.refused(&line));
            };
            self.items.bytes(length + 2, &mut self.value)?;
            if !self.value.ends_with(b"\r\n") {
                return Err(self.items.refused(b"a value without its end"));
            }
            self.value.truncate(length);
            if found.won {
                self.won.push((listed.spelled.clone(), if listed.base64 { " b" } else { "" }, found.cas));
            }
            let item = Item {
                key: &listed.key,
                value: &self.value,
                flags: found.flags,
                exptime: self.exptime(listed.exptime, found.left),
                cas: found.cas,
                base64: found.base64,
                stale: found.stale,
                sent: found.sent,
            };
            self.writer.push(&item).map_err(|error| failure(self.file, &error))?;
        }
        self.give_back()
    }

    /// When the item expires: as it was listed, to the second, unless it was touched since.
    fn exptime(&self, listed: u64, left: Option<u64>) -> u64 {
        let Some(left) = left else { return 0 };
        let now = clock::unix_time().as_secs().saturating_add_signed(self.skew);
        let counted = now.saturating_add(left);
        if listed != 0 && listed.abs_diff(counted) <= EXPTIME_SLACK { listed } else { counted }
    }

    /// Gives the right to make stale items anew back to whoever comes next.
    fn give_back(&mut self) -> Result<(), Failure> {
        for (spelled, base64, cas) in std::mem::take(&mut self.won) {
            let same = if self.knows_cas { format!(" E{cas}") } else { String::new() };
            let unchanged = if cas == 0 { String::new() } else { format!(" C{cas}") };
            let request = [b"md ", &spelled[..], format!("{base64} I{unchanged}{same}\r\n").as_bytes()].concat();
            // NF and EX: somebody has made it anew already.
            let answer = self.items.ask(&request)?;
            if !answer.starts_with(b"HD") && !answer.starts_with(b"NF") && !answer.starts_with(b"EX") {
                let answer = answer.to_vec();
                return Err(self.items.refused(&answer));
            }
        }
        Ok(())
    }

    fn fetch_binary(&mut self, key: &[u8], exptime: u64) -> Result<(), Failure> {
        if self.binary.is_none() {
            self.binary = Some(Link::open(self.server)?);
        }
        let Some(link) = &mut self.binary else { return Ok(()) };
        self.bar.inc(1);
        let Some((flags, cas)) = binary::get(link, key, &mut self.value)? else { return Ok(()) };
        let value = &self.value;
        let item = Item { key, value, flags, exptime, cas, base64: false, stale: false, sent: false };
        self.writer.push(&item).map_err(|error| failure(self.file, &error))
    }

    fn finish(self) -> Result<Totals, Failure> {
        let done = self.writer.finish().and_then(|(out, totals)| {
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            Ok(totals)
        });
        done.map_err(|error| failure(self.file, &error))
    }
}

/// The list of keys, a line each as `metadump` has it, in a file that has no name and is gone when we are.
struct Keys {
    lines: BufWriter<File>,
    count: u64,
    /// The dump beside which it was made, for messages.
    file: PathBuf,
}

impl Keys {
    fn create(dump: &Path) -> Result<Keys, Failure> {
        let mut path = dump.as_os_str().to_owned();
        path.push(".partial-keys");
        let path = PathBuf::from(path);
        // It could only be there from a dump that died between the next two steps: others are kept away by the lock.
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| failure(&path, &error))?;
        fs::remove_file(&path).map_err(|error| failure(&path, &error))?;
        Ok(Keys { lines: BufWriter::with_capacity(1 << 18, file), count: 0, file: path })
    }

    fn list_all(&mut self, server: &str, bar: &ProgressBar) -> Result<(), Failure> {
        let mut refusal = None;
        for list in LISTS {
            for _ in 0..BUSY_TRIES {
                match self.list(server, list, bar)? {
                    Listing::Complete => return Ok(()),
                    Listing::Busy => std::thread::park_timeout(BUSY_PAUSE),
                    Listing::Refused(failure) => {
                        refusal = Some(failure);
                        break;
                    }
                }
            }
        }
        Err(refusal.unwrap_or_else(|| Failure(format!("{server}: the server's crawler is busy: try again later"))))
    }

    /// Lists all keys anew.
    fn list(&mut self, server: &str, list: &str, bar: &ProgressBar) -> Result<Listing, Failure> {
        self.count = 0;
        bar.reset();
        let broken = |error: io::Error| failure(&self.file, &error);
        self.lines.rewind().map_err(broken)?;
        self.lines.get_ref().set_len(0).map_err(broken)?;
        let mut keys = Link::open(server)?;
        keys.send(format!("lru_crawler metadump {list}\r\n").as_bytes())?;
        loop {
            let line = keys.line()?;
            match line {
                b"OK" => {}
                b"END" => return Ok(Listing::Complete),
                // The server is empty.
                _ if line.starts_with(b"NOTSTARTED") => return Ok(Listing::Complete),
                _ if line.starts_with(b"BUSY") => return Ok(Listing::Busy),
                _ if listed(line).is_some() => {
                    // Key and expiry are all we want to know.
                    let end = memchr::memchr_iter(b' ', line).nth(1).unwrap_or(line.len());
                    let written = self.lines.write_all(&line[..end]).and_then(|()| self.lines.write_all(b"\n"));
                    written.map_err(|error| failure(&self.file, &error))?;
                    self.count += 1;
                    if self.count.is_multiple_of(BAR_STEP) {
                        bar.inc(BAR_STEP);
                    }
                }
                _ => {
                    let line = line.to_vec();
                    return Ok(Listing::Refused(keys.refused(&line)));
                }
            }
        }
    }

    /// From the beginning.
    fn lines(self) -> Result<BufReader<File>, Failure> {
        let rewound = self.lines.into_inner().map_err(io::IntoInnerError::into_error).and_then(|mut file| {
            file.rewind()?;
            Ok(BufReader::with_capacity(1 << 18, file))
        });
        rewound.map_err(|error| failure(&self.file, &error))
    }
}

/// Key and expiry of `key=<percent-encoded> exp=<unix time or -1> ...`.
fn listed(line: &[u8]) -> Option<(Vec<u8>, u64)> {
    let mut words = line.split(|byte| *byte == b' ');
    let mut key = Vec::new();
    if !spelling::percent_decode(words.next()?.strip_prefix(b"key=")?, &mut key) || key.is_empty() {
        return None;
    }
    let exptime: i64 = number(words.next()?.strip_prefix(b"exp=")?)?;
    Some((key, u64::try_from(exptime).unwrap_or(0)))
}

/// Length of the value and the rest of `VA <length> f<flags> t<seconds> c<cas> k<key> [b] [Z|W] [X]`.
fn answered(line: &[u8]) -> Option<(usize, Found)> {
    let mut words = line.strip_prefix(b"VA ")?.split(|byte| *byte == b' ');
    let length: i32 = number(words.next()?)?;
    let mut found = Found::default();
    for word in words {
        match word {
            b"b" => found.base64 = true,
            b"X" => found.stale = true,
            b"Z" => found.sent = true,
            b"W" => found.won = true,
            [b'f', digits @ ..] => found.flags = number(digits)?,
            [b'c', digits @ ..] => found.cas = number(digits)?,
            [b't', digits @ ..] => found.left = u64::try_from(number::<i64>(digits)?).ok(),
            _ => {}
        }
    }
    Some((usize::try_from(length).ok()?, found))
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn failure(file: &Path, error: &io::Error) -> Failure {
    Failure(format!("{}: {}", file.display(), reason(error)))
}

/// The file under a name of its own, until it is complete. Only its owner may read it: it holds everybody's sessions.
struct Target {
    file: File,
    path: PathBuf,
    partial: PathBuf,
    complete: bool,
}

impl Target {
    fn create(path: &Path, force: bool) -> Result<Target, Failure> {
        let failed = |why: &str| Failure(format!("{}: {why}", path.display()));
        if path.is_dir() {
            return Err(failed("is a directory"));
        }
        // A device has a name that others need: renaming a file to it would take it away from them.
        if path.metadata().is_ok_and(|facts| !facts.is_file()) {
            return Err(failed("is there, and no ordinary file: nothing replaces it"));
        }
        if !force && path.symlink_metadata().is_ok() {
            return Err(failed("there is such a file; --force replaces it"));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // What an interrupted dump left is taken over; what another is writing just now is not.
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&partial);
        let file = file.map_err(|error| failure(&partial, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure(format!("{}: another dump is being written there", partial.display())));
            }
            Err(TryLockError::Error(error)) => return Err(failure(&partial, &error)),
        }
        // Between our opening it and our locking it the other may have finished: then it is a dump that is complete, under its name.
        if !is_named(&partial, &file) {
            return Err(Failure(format!("{}: another dump has just ended there", partial.display())));
        }
        file.set_len(0).map_err(|error| failure(&partial, &error))?;
        Ok(Target { file, path: path.to_owned(), partial, complete: false })
    }

    fn failure(&self, error: &io::Error) -> Failure {
        failure(&self.partial, error)
    }

    /// Gives the file its name. Without `force` never to one that somebody else has made meanwhile.
    fn complete(mut self, force: bool) -> Result<(), Failure> {
        let named = if force {
            fs::rename(&self.partial, &self.path)
        } else {
            match fs::hard_link(&self.partial, &self.path) {
                Ok(()) => fs::remove_file(&self.partial),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
                // There are file systems without links.
                Err(_) if self.path.symlink_metadata().is_err() => fs::rename(&self.partial, &self.path),
                Err(error) => Err(error),
            }
        };
        named.map_err(|error| failure(&self.path, &error))?;
        self.complete = true;
        // The name, too, outlives a loss of power; where a folder cannot be opened, it is in good hands anyway.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// Whether `path` is the name of this very file.
fn is_named(path: &Path, file: &File) -> bool {
    let identity = |facts: fs::Metadata| (facts.dev(), facts.ino());
    path.symlink_metadata().map(identity).ok() == file.metadata().map(identity).ok()
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.complete {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_gives_key_and_expiry() {
        let line = b"key=a%20b exp=1800000000 la=1 cas=7 fetch=no cls=1 size=65 flags=3 ";
        assert_eq!(listed(line), Some((b"a b".to_vec(), 1_800_000_000)));
        assert_eq!(listed(b"key=k exp=-1 la=1"), Some((b"k".to_vec(), 0)));
        for wrong in [&b"key=k"[..], b"key= exp=1", b"key=%2 exp=1", b"key=k exp=x", b"k exp=1"] {
            assert_eq!(listed(wrong), None);
        }
    }

    #[test]
    fn an_answer_gives_length_facts_and_marks() {
        let (length, found) = answered(b"VA 5 f7 t-1 c9 kb b X W").unwrap();
        assert_eq!((length, found.flags, found.left, found.cas), (5, 7, None, 9));
        assert!(found.base64 && found.stale && found.won && !found.sent);
        let (_, found) = answered(b"VA 0 f0 t30 c9 kZ Z").unwrap();
        assert_eq!(found.left, Some(30));
        assert!(found.sent && !found.base64 && !found.stale && !found.won);
        assert!(answered(b"VA x f0").is_none() && answered(b"VA -1").is_none() && answered(b"HD").is_none());
    }

    #[test]
    fn a_file_is_named_when_it_is_complete_and_not_before() {
        let folder = std::env::temp_dir().join(format!("memhold-dump-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("dump");
        let names = || {
            let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let target = Target::create(&path, false).unwrap();
        assert_eq!(names(), ["dump.partial"]);
        assert!(Target::create(&path, false).is_err(), "two dumps never write one file");
        drop(target);
        assert!(names().is_empty(), "what was interrupted is gone");

        // Somebody makes the file while we write ours.
        let target = Target::create(&path, false).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(target.complete(false).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert!(Target::create(&path, false).is_err());
        Target::create(&path, true).unwrap().complete(true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        assert_eq!(names(), ["dump"]);

        // What is no file keeps its name, even if it is empty and nobody would miss what is in it.
        for name in ["/dev/null", "/"] {
            assert!(Target::create(Path::new(name), true).is_err(), "{name}");
        }
        let opened = File::open(&path).unwrap();
        assert!(is_named(&path, &opened));
        fs::rename(&path, folder.join("dump.partial")).unwrap();
        assert!(!is_named(&path, &opened), "it has another name now");
        fs::write(&path, "").unwrap();
        assert!(!is_named(&path, &opened), "and another has its name");
        fs::remove_dir_all(&folder).unwrap();
    }
}
