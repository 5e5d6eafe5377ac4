//! Random commands: mostly what clients send, a third of it wrong in some way.
//!
//! Few keys, so that commands meet each other's items. Each command is whole in itself: a data block that is too short
//! brings along what it eats. Left out is what 1.6.18 and 1.6.45 do differently to the items (section 17): the meta flags
//! `E` and `x`, `mg C`, `ms N` with append, words beyond the needed ones, plus signs, NUL in stored keys.

use super::compare::{Ids, Rule};
use super::support::random::Random;

/// One command, as each server gets it (they differ in CAS ids only).
pub struct Command {
    /// For our server.
    pub ours: Vec<u8>,
    /// For the other.
    pub theirs: Vec<u8>,
    /// Must not share a burst with others: it closes, or 1.6.18 drops its neighbours' replies (section 19).
    pub alone: bool,
    /// The servers close the connection.
    pub closes: bool,
    /// The row of section 17 that it touches.
    pub rule: Option<Rule>,
}

const FORMAT: &str = "CLIENT_ERROR bad command line format";
const EITHER: &str = "CLIENT_ERROR invalid or duplicate flag";

/// Keys without base64 and with.
const KEYS: [&str; 6] = ["a", "b", "key:1", "n", "counter", "\u{1}\u{7f}~"];
const BASE64_KEYS: [&str; 4] = ["YQ==", "Yg==", "a2V5OjE=", "AAAgCgH/"];
/// None from 2^63 up, nor any that gets there by addition: those are [`big`]'s.
const NUMBERS: [&str; 8] = ["0", "1", "5", "99", "100", "1000000", "9", "007"];
const TEXTS: [&str; 10] = ["", "x", "abc", "5 abc", " 7", "-5", "5x", "1.5", "value with spaces", "\r\n\u{1}"];
const EXPTIMES: [&str; 7] = ["0", "0", "0", "100", "2592000", "-1", "1893456000"];
const BAD_NUMBERS: [&str; 5] = ["abc", "1x", "--1", "0x10", "1.5"];

/// What the generator remembers: nothing but the size of the next large value.
#[derive(Default)]
pub struct Generator {
    large: usize,
}

impl Generator {
    /// The next command.
    pub fn next(&mut self, random: &mut Random, ids: &Ids) -> Command {
        match random.below(100) {
            0..=21 => self.store(random, ids),
            22..=36 => get(random),
            37..=40 => get_and_touch(random),
            41..=44 => plain(format!("touch {} {}{}", key(random), exptime(random), noreply(random))),
            45..=49 => plain(format!("delete {}{}{}", key(random), random.pick(&["", "", " 0"]), noreply(random))),
            50 if random.chance(50) => big(random),
            50..=56 => arithmetic(random),
            57..=68 => meta_get(random),
            69..=78 => self.meta_store(random, ids),
            79..=82 => meta_delete(random, ids),
            83..=88 => meta_arithmetic(random, ids),
            89 => plain(random.pick(&["me a", "me n", "me key:1", "me missing", "me counter"]).to_owned()),
            90 if random.chance(10) => {
                plain(format!("flush_all{}{}", random.pick(&["", " 0", " -1"]), noreply(random)))
            }
            91..=92 => administration(random),
            93..=95 => too_little(random),
            96..=97 => refused_store(random),
            98 => alone(random),
            _ => wrong(random),
        }
    }

    fn value(&mut self, random: &mut Random) -> Vec<u8> {
        match random.below(200) {
            0..=79 => random.pick(&NUMBERS).as_bytes().to_vec(),
            80..=149 => random.pick(&TEXTS).as_bytes().to_vec(),
            150..=189 => filled(random, 300),
            190..=197 => filled(random, 20_000),
            _ => {
                self.large += 1;
                // Below the limit in chunks, at it, and over it.
                let size = [600_000, 1_048_400, 1_048_577, 70_000][self.large % 4];
                vec![b'L'; size]
            }
        }
    }

    fn store(&mut self, random: &mut Random, ids: &Ids) -> Command {
        let verb = random.pick(&["set", "set", "set", "add", "replace", "append", "prepend", "cas"]);
        let value = self.value(random);
        let flags = random.pick(&["0", "0", "5", "4294967295", "4294967301"]);
        let exptime = random.pick(&["0", "0", "0", "100", "2592000", "-1", "2592001", "1893456000", "4294967296"]);
        let start = format!("{verb} {} {flags} {exptime} {}", key(random), value.len());
        let quiet = noreply(random);
        let (ours, theirs) = if verb == "cas" { id(random, ids) } else { (String::new(), String::new()) };
        let gap = if verb == "cas" { " " } else { "" };
        let data = [
            &value[..],
            random.pick::<[u8]>(&[
                b"\r\n",
                b"\r\n",
                b"\r\n",
                b"\r\n",
                b"\r\n",
                b"\r\n",
                b"\r\n",
                b"XYzzzz\r\n",
                b"zzzzzz\r\n",
            ]),
        ]
        .concat();
        both(format!("{start}{gap}{ours}{quiet}\r\n"), format!("{start}{gap}{theirs}{quiet}\r\n"), &data)
    }

    fn meta_store(&mut self, random: &mut Random, ids: &Ids) -> Command {
        let value = self.value(random);
        let mut flags = Flags::default();
        let mode = random.pick(&["", "", "", "ME", "MA", "MP", "MR", "MS", "MX", "Ma"]);
        flags.word(mode);
        for letter in ["c", "k", "q", "I", "Oabc", "v", "h", "F7", "F4294967295", "f", "P", "s"] {
            flags.maybe(random, 12, letter);
        }
        flags.word_if(random.chance(30), format!("T{}", exptime(random)));
        flags.word_if(random.chance(3), format!("T{}", random.pick(&BAD_NUMBERS)));
        flags.maybe(random, 2, "c");
        flags.maybe(random, 2, "z");
        flags.word_if(random.chance(2), format!("O{}", "o".repeat(31 + random.below(3))));
        if random.chance(20) {
            flags.id(random, ids);
        }
        let size = flags.text.contains(" s").then_some(Rule::SizeOfStored);
        let (key, base64) = meta_key(random);
        flags.word_if(base64, "b".to_owned());
        let start = format!("ms {key} {}", value.len());
        let end: &[u8] = if random.chance(5) { b"??zzzz\r\n" } else { b"\r\n" };
        let (ours, theirs) = flags.both(random);
        let mut command =
            both(format!("{start}{ours}\r\n"), format!("{start}{theirs}\r\n"), &[&value[..], end].concat());
        command.rule = size;
        command
    }
}

fn filled(random: &mut Random, most: usize) -> Vec<u8> {
    let byte = b'a' + (random.below(26) as u8);
    vec![byte; random.below(most)]
}

fn both(ours: String, theirs: String, data: &[u8]) -> Command {
    let whole = |line: String| [line.as_bytes(), data].concat();
    Command { ours: whole(ours), theirs: whole(theirs), alone: false, closes: false, rule: None }
}

/// A line that is the same for both.
fn plain(line: String) -> Command {
    both(format!("{line}\r\n"), format!("{line}\r\n"), b"")
}

/// A line to which 1.6.18 answers otherwise.
fn ruled(line: String, rule: Rule) -> Command {
    Command { rule: Some(rule), ..plain(line) }
}

fn key(random: &mut Random) -> String {
    match random.below(40) {
        0 => "k".repeat(250),
        1 => "missing".to_owned(),
        _ => random.pick(&KEYS).to_owned(),
    }
}

fn noreply(random: &mut Random) -> &'static str {
    if random.chance(12) { " noreply" } else { "" }
}

fn exptime(random: &mut Random) -> &'static str {
    random.pick(&EXPTIMES)
}

/// A CAS id as each server knows it: one seen lately, none, or one that nobody has.
fn id(random: &mut Random, ids: &Ids) -> (String, String) {
    let recent = ids.recent();
    match random.below(10) {
        0 => ("0".to_owned(), "0".to_owned()),
        1 => ("18446744073709551613".to_owned(), "18446744073709551613".to_owned()),
        _ if recent.is_empty() => ("0".to_owned(), "0".to_owned()),
        _ => {
            let (ours, theirs) = recent[recent.len() - 1 - random.below(recent.len().min(6))];
            (ours.to_string(), theirs.to_string())
        }
    }
}

fn get(random: &mut Random) -> Command {
    let verb = random.pick(&["get", "get", "gets", "gets"]);
    let count = if random.chance(5) { 20 + random.below(40) } else { 1 + random.below(4) };
    let keys: Vec<String> = (0..count).map(|_| key(random)).collect();
    let end = random.pick(&["\r\n", "\r\n", "\n", " \r\n"]);
    let line = format!("{verb} {}{end}", keys.join(random.pick(&[" ", " ", "  "])));
    both(line.clone(), line, b"")
}

fn get_and_touch(random: &mut Random) -> Command {
    let verb = random.pick(&["gat", "gats"]);
    let time = if random.chance(8) { random.pick(&BAD_NUMBERS) } else { exptime(random) };
    plain(format!("{verb} {time} {} {}", key(random), key(random)))
}

fn arithmetic(random: &mut Random) -> Command {
    let verb = random.pick(&["incr", "decr"]);
    let delta = match random.below(12) {
        0 => random.pick(&BAD_NUMBERS),
        1 => random.pick(&["-1", "18446744073709551616", "99999999999999999999999"]),
        _ => random.pick(&NUMBERS),
    };
    plain(format!("{verb} {} {delta}{}", random.pick(&["n", "counter", "a", "missing"]), noreply(random)))
}

/// Arithmetic on a number from 2^63 up, on a key that nothing else uses: there 1.6.18 looks for a minus sign behind the number, beyond
/// the value's end (the items beside it hold pointers), and at random takes it for negative.
fn big(random: &mut Random) -> Command {
    let number =
        random.pick(&["9223372036854775808", "18446744073709551615", "18446744073709551615 ", "09999999999999999999"]);
    let change = match random.below(4) {
        0 => format!("decr big {}", random.pick(&NUMBERS)),
        1 => format!("incr big {}", random.pick(&["1", "18446744073709551615", "9223372036854775808"])),
        2 => format!("ma big MI v D{}", random.pick(&NUMBERS)),
        _ => "ma big MD v D18446744073709551615".to_owned(),
    };
    let line = format!("set big 0 0 {}\r\n{number}\r\n{change}\r\nget big\r\n", number.len());
    Command { rule: Some(Rule::MinusBeyondTheEnd), ..both(line.clone(), line, b"") }
}

/// Flags of a meta command, gathered and then shuffled; the two texts differ in CAS ids only.
#[derive(Default)]
struct Flags {
    words: Vec<(String, String)>,
    text: String,
}

impl Flags {
    fn word(&mut self, word: &str) {
        if !word.is_empty() {
            self.text.push(' ');
            self.text.push_str(word);
            self.words.push((word.to_owned(), word.to_owned()));
        }
    }

    fn word_if(&mut self, wanted: bool, word: String) {
        if wanted {
            self.word(&word);
        }
    }

    fn maybe(&mut self, random: &mut Random, percent: usize, word: &str) {
        self.word_if(random.chance(percent), word.to_owned());
    }

    fn id(&mut self, random: &mut Random, ids: &Ids) {
        let (ours, theirs) = id(random, ids);
        self.words.push((format!("C{ours}"), format!("C{theirs}")));
    }

    /// Both texts, each word behind a space, in one random order.
    fn both(mut self, random: &mut Random) -> (String, String) {
        for last in (1..self.words.len()).rev() {
            self.words.swap(last, random.below(last + 1));
        }
        let text = |side: fn(&(String, String)) -> &String| -> String {
            self.words.iter().map(|word| format!(" {}", side(word))).collect()
        };
        (text(|word| &word.0), text(|word| &word.1))
    }
}

/// A key for a meta command, and whether it is base64.
fn meta_key(random: &mut Random) -> (String, bool) {
    match random.below(20) {
        0 => (random.pick(&["Zm9", "%%%%", "====", "Y%Q=="]).to_owned(), true),
        1..=4 => (random.pick(&BASE64_KEYS).to_owned(), true),
        _ => (key(random), false),
    }
}

/// A time flag; a negative one never beside `t`, whose number is then a defect of memcached (section 19).
fn time_flag(flags: &mut Flags, random: &mut Random, letter: &str) {
    let negative = random.chance(10) && !flags.words.iter().any(|(word, _)| word == "t");
    let time = if negative { "-1" } else { random.pick(&["0", "100", "30", "2592000"]) };
    flags.word(&format!("{letter}{time}"));
}

fn meta_get(random: &mut Random) -> Command {
    let mut flags = Flags::default();
    for letter in ["v", "c", "s", "f", "t", "h", "k", "l", "Oq1", "q"] {
        flags.maybe(random, 30, letter);
    }
    for letter in ["u", "I", "F5", "P", "Lx", "D5", "J7", "v"] {
        flags.maybe(random, 3, letter);
    }
    flags.maybe(random, 2, random.clone().pick(&["z", "A", "1", "Tabc", "N", "Rx", "Jx", "Dx"]));
    if random.chance(2) {
        // memcached has counted the read by the time it sees that the opaque is too long (section 19, 8): no item to see it by.
        flags.word(&format!("O{}", "o".repeat(31 + random.below(3))));
        return plain(format!("mg never{}", flags.both(random).0));
    }
    if random.chance(10) {
        time_flag(&mut flags, random, "T");
    }
    if random.chance(12) {
        time_flag(&mut flags, random, "N");
    }
    // Far from the times in use, since the two clocks tick apart. Not beside a negative time, after which the seconds left
    // are a huge number in memcached (section 19).
    let over = flags.words.iter().any(|(word, _)| word == "T-1" || word == "N-1");
    if !over && random.chance(10) {
        flags.word(&format!("R{}", random.pick(&["5", "200", "3000000"])));
    }
    let (key, base64) = meta_key(random);
    flags.word_if(base64, "b".to_owned());
    let (text, _) = flags.both(random);
    plain(format!("mg {key}{text}"))
}

fn meta_delete(random: &mut Random, ids: &Ids) -> Command {
    if random.chance(10) {
        let (flag, now) = [
            ("Cx", "CLIENT_ERROR bad token in command line format"),
            ("T", "CLIENT_ERROR bad token in command line format"),
            ("q q", "CLIENT_ERROR duplicate flag"),
            ("z", "CLIENT_ERROR invalid flag"),
            ("Fx", FORMAT),
            // The last of several is named, but a duplicate or unknown flag ends the search (section 5.1, checks 5 to 7).
            ("Cx Dx", "CLIENT_ERROR invalid numeric delta value"),
            ("Dx Fx T", "CLIENT_ERROR bad token in command line format"),
            ("Cx q q Fx", "CLIENT_ERROR duplicate flag"),
            ("z Fx", "CLIENT_ERROR invalid flag"),
        ][random.below(9)];
        return ruled(format!("md {} {flag}", random.pick(&KEYS)), Rule::says(now, EITHER));
    }
    let mut flags = Flags::default();
    for letter in ["q", "I", "k", "Oabc", "v", "t"] {
        flags.maybe(random, 25, letter);
    }
    if random.chance(30) {
        flags.word(&format!("T{}", exptime(random)));
    }
    if random.chance(30) {
        flags.id(random, ids);
    }
    let (ours, theirs) = flags.both(random);
    let key = key(random);
    both(format!("md {key}{ours}\r\n"), format!("md {key}{theirs}\r\n"), b"")
}

fn meta_arithmetic(random: &mut Random, ids: &Ids) -> Command {
    if random.chance(8) {
        let flag = random.pick(&["Cx", "T", "v v", "z", "Fx", "Nx", "Jx", "D", "Rx"]);
        return plain(format!("ma {} {flag}", random.pick(&KEYS)));
    }
    let mut flags = Flags::default();
    for letter in ["v", "t", "c", "k", "Oabc"] {
        flags.maybe(random, 30, letter);
    }
    for letter in ["s", "f", "h", "u", "l"] {
        flags.maybe(random, 4, letter);
    }
    let quiet = random.chance(15);
    flags.word_if(quiet, "q".to_owned());
    let mode = random.pick(&["", "", "", "I", "D", "+", "-", "X"]);
    flags.word_if(!mode.is_empty(), format!("M{mode}"));
    flags.word_if(random.chance(40), format!("D{}", random.pick(&NUMBERS)));
    flags.word_if(random.chance(15), format!("J{}", random.pick(&NUMBERS)));
    // memcached sets `T` on the old item when a number that has become longer takes a new one, and so loses it (the
    // reference, section 5.5, has it work): only with numbers that do not grow.
    if matches!(mode, "D" | "-") && random.chance(30) {
        time_flag(&mut flags, random, "T");
    }
    let creates = random.chance(20);
    if creates {
        time_flag(&mut flags, random, "N");
    }
    if random.chance(20) {
        flags.id(random, ids);
    }
    let (ours, theirs) = flags.both(random);
    let key = random.pick(&["n", "counter", "a", "missing", "m2"]);
    let mut command = both(format!("ma {key}{ours}\r\n"), format!("ma {key}{theirs}\r\n"), b"");
    command.rule = (quiet && creates).then_some(Rule::QuietCreate);
    command
}

/// Lines about the server to which both versions answer alike.
fn administration(random: &mut Random) -> Command {
    let line = random.pick(&[
        "version",
        "verbosity 0",
        "verbosity 0 noreply",
        "verbosity abc",
        "stats bogus",
        "stats detail",
        "stats detail bogus",
        "stats detail on",
        "stats detail dump",
        "stats detail off",
        "stats reset",
        "stats sizes",
        "stats cachedump 1",
        "stats cachedump a b",
        "stats cachedump 1000 0",
        "lru",
        "lru bogus",
        "lru tune 50 40 0.2 2.0",
        "lru tune 20 40 0 2.0",
        "lru tune 20",
        "lru_crawler",
        "lru_crawler sleep 1000001",
        "lru_crawler sleep abc",
        "lru_crawler tocrawl abc",
        "slabs",
        "slabs reassign 1",
        "slabs reassign a b",
        "slabs reassign 1 1",
        "slabs automove",
        "slabs automove 3",
        "slabs automove abc",
        "slabs automove 0",
        "slabs automove 1 noreply",
        "cache_memlimit",
        "cache_memlimit abc",
        "cache_memlimit 7",
        "cache_memlimit 1000000001",
        "misbehave",
        "extstore",
        "flush_all abc",
        "flush_all abc noreply",
        "flush_all noreply noreply",
        "stats reset",
        "stats extstore",
    ]);
    plain(line.to_owned())
}

/// Lines with too few words or characters: the rows "empty line", "get, gets, ... alone" and "gat 10" of section 17.
fn too_little(random: &mut Random) -> Command {
    match random.below(10) {
        0 => ruled(random.pick(&["", "x"]).to_owned(), Rule::says(FORMAT, "ERROR")),
        1 => ruled("gat 10".to_owned(), Rule::says(FORMAT, "END")),
        2 => ruled("gats 10".to_owned(), Rule::says(FORMAT, "END")),
        _ => {
            let line = random.pick(&[
                "get",
                "gets",
                "gat",
                "set",
                "set k",
                "set k 0",
                "set k 0 0",
                "add k 0",
                "cas k 0 0",
                "delete",
                "touch",
                "touch k",
                "incr",
                "incr k",
                "decr k",
                "mg",
                "ms",
                "md",
                "ma",
                "verbosity",
                "append k 0 0",
            ]);
            ruled(line.to_owned(), Rule::says(FORMAT, "ERROR"))
        }
    }
}

/// Storage lines refused for a word of theirs: 1.6.18 reads the data as a command (row "set k -1 0 1 + data").
fn refused_store(random: &mut Random) -> Command {
    let long = "k".repeat(251);
    let bad = random.pick(&BAD_NUMBERS);
    let verb = random.pick(&["set", "add", "append", "replace"]);
    let line = match random.below(4) {
        0 => format!("{verb} {long} 0 0 4"),
        1 => format!("{verb} a {bad} 0 4"),
        2 => format!("{verb} a 0 {bad} 4"),
        _ => format!("cas a 0 0 4 {bad}"),
    };
    let quiet = noreply(random);
    let error = if quiet.is_empty() { FORMAT } else { "" };
    let then = if quiet.is_empty() { format!("{FORMAT}\r\nERROR") } else { "ERROR".to_owned() };
    let line = format!("{line}{quiet}\r\n");
    Command { rule: Some(Rule::says(error, &then)), ..both(line.clone(), line, b"zzzz\r\n") }
}

/// What must not have neighbours.
fn alone(random: &mut Random) -> Command {
    let long = "k".repeat(251 + random.below(300));
    let mut command = match random.below(9) {
        0 => plain(format!("get a {long}")),
        1 => plain(format!("gets {long} a")),
        2 => plain(format!("gat 0 {long}")),
        3 => plain(format!("get {}", vec!["k".repeat(200); 30].join(" "))),
        4 => plain("get missing".to_owned()),
        5 => Command { closes: true, ..plain("quit".to_owned()) },
        6 => Command { closes: true, ..plain("GET / HTTP/1.1".to_owned()) },
        7 => {
            let line = format!("set {}", "k".repeat(2100));
            Command { closes: true, ..both(line.clone(), line, b"") }
        }
        _ => Command { closes: true, ..plain("quit now".to_owned()) },
    };
    command.alone = true;
    command
}

/// Everything else that is wrong.
fn wrong(random: &mut Random) -> Command {
    match random.below(17) {
        // Words beyond the needed ones are ignored since 1.6.40, numbers are strict since 1.6.45.
        16 if random.chance(50) => ruled("verbosity 0 1 2".to_owned(), Rule::says("OK", "ERROR")),
        16 => ruled("verbosity 5000000000".to_owned(), Rule::says(FORMAT, "OK")),
        0 => plain(random.pick(&["bogus", "ms k", "me"]).to_owned()),
        1 => ruled(random.pick(&["bogus noreply", "noreply"]).to_owned(), Rule::says("", "ERROR")),
        2 => ruled(" get never".to_owned(), Rule::Refuses("ERROR")),
        3 => ruled("mg a !".to_owned(), Rule::says(FORMAT, "CLIENT_ERROR invalid flag")),
        4 => ruled(
            "shutdown".to_owned(),
            Rule::says("SERVER_ERROR: shutdown not enabled", "ERROR: shutdown not enabled"),
        ),
        5 => {
            ruled("touch never 4294967296".to_owned(), Rule::says("CLIENT_ERROR invalid exptime argument", "NOT_FOUND"))
        }
        6 => ruled("incr never +1".to_owned(), Rule::says("CLIENT_ERROR invalid numeric delta argument", "NOT_FOUND")),
        7 => ruled(format!("ma {}", "k".repeat(251)), Rule::says(EITHER, FORMAT)),
        8 => ruled("ma a M".to_owned(), Rule::says("CLIENT_ERROR invalid mode for ma M token", EITHER)),
        9 => ruled(
            "delete never 1 2".to_owned(),
            Rule::says("NOT_FOUND", "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"),
        ),
        10 => plain(format!("mg a{}", " v".repeat(20))),
        11 => plain(
            random.pick(&["set a 0 0 abc", "set a 0 0 -1", "ms a abc", "ms a -1", "set a 0 0 2147483646"]).to_owned(),
        ),
        12 => plain(random.pick(&["GET a", "gett a", "mgx a", "getsx a", "xy", "stat"]).to_owned()),
        13 => plain(format!("{} {} 1", random.pick(&["touch", "incr", "decr"]), "k".repeat(251))),
        14 => plain(format!("{} {}", random.pick(&["delete", "mg", "md", "me"]), "k".repeat(251))),
        _ => {
            let line = "set a 0 0 6\r\nabc\r\nget a\r\n".to_owned();
            both(line.clone(), line, b"")
        }
    }
}
