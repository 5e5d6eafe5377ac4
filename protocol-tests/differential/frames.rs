//! The same in the binary protocol: random frames, on a connection of their own beside the text one, over the same items.
//!
//! Left out is what 1.6.18 reads wrongly (section 6's DEFECTs): unknown opcodes with extras or key, values behind touch, gat and
//! stat; and a body beyond a GiB, which it waits for.

use super::compare::Ids;
use super::support::random::Random;

/// One frame, as each server gets it (they differ in CAS ids only).
pub struct Frame {
    /// For our server.
    pub ours: Vec<u8>,
    /// For the other.
    pub theirs: Vec<u8>,
    /// The servers close the connection.
    pub closes: bool,
}

/// What is sent behind each frame, so that its replies end visibly: noop, with an opaque of its own.
pub const FENCE: [u8; 24] = header(0x80);
/// The answer to that.
pub const FENCE_ANSWER: [u8; 24] = header(0x81);

const fn header(magic: u8) -> [u8; 24] {
    [magic, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xdc, 0xba, 0x98, 0, 0, 0, 0, 0, 0, 0, 0]
}

const KEYS: [&[u8]; 8] = [b"a", b"b", b"key:1", b"n", b"counter", b"\x01\x7f~", b"\0\0 \n\x01\xff", b"with spaces\r\n"];
const VALUES: [&[u8]; 12] =
    [b"", b"x", b"abc", b"5 abc", b" 7", b"-5", b"5x", b"0", b"99", b"1000000", b"\r\n\x01", b"value with spaces"];
const EXPTIMES: [u32; 7] = [0, 0, 0, 100, 2_592_000, 1_893_456_000, 2_592_001];

/// Opcodes and how often each is drawn.
const OPCODES: [(u8, usize); 40] = [
    (0x00, 8),
    (0x09, 6),
    (0x0c, 5),
    (0x0d, 5),
    (0x01, 9),
    (0x11, 6),
    (0x02, 3),
    (0x12, 3),
    (0x03, 3),
    (0x13, 3),
    (0x04, 3),
    (0x14, 3),
    (0x05, 4),
    (0x15, 3),
    (0x06, 4),
    (0x16, 3),
    (0x08, 0),
    (0x18, 0),
    (0x0a, 1),
    (0x0b, 1),
    (0x0e, 3),
    (0x19, 3),
    (0x0f, 3),
    (0x1a, 3),
    (0x10, 1),
    (0x1c, 4),
    (0x1d, 4),
    (0x1e, 3),
    (0x23, 3),
    (0x24, 3),
    (0x1b, 1),
    (0x1f, 1),
    (0x25, 1),
    (0x30, 1),
    (0x3c, 1),
    (0xff, 1),
    (0x20, 1),
    (0x21, 1),
    (0x22, 1),
    (0x40, 1),
];

/// The next frame.
pub fn next(random: &mut Random, ids: &Ids) -> Frame {
    let mut draw = random.below(OPCODES.iter().map(|(_, weight)| weight).sum());
    let mut opcode = 0;
    for (each, weight) in OPCODES {
        if draw < weight {
            opcode = each;
            break;
        }
        draw -= weight;
    }
    if random.chance(1) && random.chance(20) {
        opcode = [0x08, 0x18][random.below(2)];
    }
    let exptime = EXPTIMES[random.below(EXPTIMES.len())].to_be_bytes();
    let (extras, key, value) = parts(opcode, exptime, random);
    let mut frame = Frame { ours: Vec::new(), theirs: Vec::new(), closes: false };
    let (ours, theirs) = if random.chance(15) { id(random, ids) } else { (0, 0) };
    for (bytes, cas) in [(&mut frame.ours, ours), (&mut frame.theirs, theirs)] {
        bytes.extend([0x80, opcode]);
        bytes.extend((key.len() as u16).to_be_bytes());
        bytes.extend([extras.len() as u8, 0, 0, 0]);
        bytes.extend(((extras.len() + key.len() + value.len()) as u32).to_be_bytes());
        bytes.extend([opcode, 1, 2, 3]);
        bytes.extend(cas.to_be_bytes());
        bytes.extend([&extras[..], &key, &value].concat());
    }
    frame
}

/// Extras, key and value in the opcode's shape.
fn parts(opcode: u8, exptime: [u8; 4], random: &mut Random) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let key = random.pick(&KEYS).to_vec();
    match opcode {
        0x01..=0x03 | 0x11..=0x13 => {
            let flags = [0_u32, 0, 5, u32::MAX][random.below(4)].to_be_bytes();
            ([flags, exptime].concat(), key, value(random))
        }
        0x0e | 0x0f | 0x19 | 0x1a => (Vec::new(), key, value(random)),
        0x05 | 0x06 | 0x15 | 0x16 => {
            let number = |random: &mut Random| [0_u64, 1, 5, 1000, 999_999][random.below(5)].to_be_bytes();
            let exptime = if random.chance(40) { [0xff; 4] } else { exptime };
            ([&number(random)[..], &number(random), &exptime].concat(), key, Vec::new())
        }
        0x00 | 0x04 | 0x09 | 0x0c | 0x0d | 0x14 => (Vec::new(), key, Vec::new()),
        0x1c..=0x1e | 0x23 | 0x24 => (exptime.to_vec(), key, Vec::new()),
        0x10 => {
            let words: [&[u8]; 6] = [b"conns", b"bogus", b"detail", b"detail x", b"cachedump 1 1", b"detail off"];
            (Vec::new(), random.pick(&words).to_vec(), Vec::new())
        }
        0x21 | 0x22 => (Vec::new(), b"PLAIN".to_vec(), value(random)),
        0x08 | 0x18 | 0x0a | 0x0b | 0x20 => (Vec::new(), Vec::new(), Vec::new()),
        // Unknown.
        _ => (Vec::new(), Vec::new(), value(random)),
    }
}

fn value(random: &mut Random) -> Vec<u8> {
    match random.below(200) {
        0..=149 => random.pick(&VALUES).to_vec(),
        150..=194 => vec![b'a' + random.below(26) as u8; random.below(300)],
        195..=198 => vec![b'm'; random.below(20_000)],
        _ => vec![b'L'; [600_000, 1_048_400, 1_048_577, 70_000][random.below(4)]],
    }
}

/// A CAS that both know, or that neither does.
fn id(random: &mut Random, ids: &Ids) -> (u64, u64) {
    let recent = ids.recent();
    if recent.is_empty() || random.chance(20) {
        return (987_654_321_987, 987_654_321_987);
    }
    recent[recent.len() - 1 - random.below(recent.len().min(8))]
}

/// A frame that is refused, after which the servers hang up.
pub fn malformed(random: &mut Random) -> Frame {
    let opcode = OPCODES[random.below(30)].0;
    let kind = random.below(5);
    let (extras, key): (u8, u16) = match kind {
        // To be longer than its body.
        0 => (random.below(30) as u8, 1 + random.below(300) as u16),
        1 => (4, 251 + random.below(300) as u16),
        // Extras of a length that no opcode has.
        2 => (1 + random.below(3) as u8, 3),
        3 => (5, 0),
        _ => (21 + random.below(200) as u8, random.below(250) as u16),
    };
    let whole = u32::from(extras) + u32::from(key);
    let body = if kind == 0 || random.chance(20) { whole - 1 } else { whole };
    let mut bytes = vec![0x80, opcode];
    bytes.extend(key.to_be_bytes());
    bytes.extend([extras, 0, 0, 0]);
    bytes.extend(body.to_be_bytes());
    bytes.extend([opcode, 1, 2, 3]);
    bytes.extend([0; 8]);
    bytes.extend(std::iter::repeat_n(b'k', whole as usize));
    Frame { ours: bytes.clone(), theirs: bytes, closes: true }
}

/// Whether two series of responses say the same. CAS ids are pairs; the version is each server's own.
pub fn same(ours: &[u8], theirs: &[u8], ids: &mut Ids) -> bool {
    if ours.len() != theirs.len() {
        return false;
    }
    let (mut left, mut right) = (ours, theirs);
    while let (Some(one), Some(other)) = (len(left), len(right)) {
        if one != other || one > left.len() {
            return false;
        }
        let cas = |bytes: &[u8]| bytes[16..24].iter().fold(0_u64, |n, &byte| n << 8 | u64::from(byte)).to_string();
        let version = left[1] == 0x0b;
        if left[..16] != right[..16]
            || !ids.pair(cas(left).as_bytes(), cas(right).as_bytes())
            || !version && left[24..one] != right[24..one]
        {
            return false;
        }
        (left, right) = (&left[one..], &right[one..]);
    }
    left == right
}

/// Length of the response that `bytes` begin with.
pub fn len(bytes: &[u8]) -> Option<usize> {
    let body = bytes.get(8..12)?.iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
    Some(24 + body)
}
