//! The file of a dump: items in blocks, each with a checksum, and a trailer that counts them.
//!
//! ```text
//! header    "MHDUMP\r\n"  version u32  zero u32  unix time u64                     checksum u64
//! block     kind u32  length u32  records, `length` bytes in all                   checksum u64
//! trailer   kind u32  length u32  blocks u64  items u64  bytes of keys and values  checksum u64
//! record    key length u8  marks u8  value length u32  flags u64  exptime u64  cas u64  key  value
//! ```
//!
//! Numbers are little-endian. A checksum is XXH3 of everything before it in its piece, with the checksum of the piece before as
//! seed: so a piece that is missing, doubled, in another place or from another file is noticed as a changed bit is. A file without
//! its trailer, or with anything behind it, is not complete. The CR LF of the magic shows transfers that change line ends.

use crate::sys::reason;
use std::fmt;
use std::io::{self, Read, Write};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const MAGIC: [u8; 8] = *b"MHDUMP\r\n";
const VERSION: u32 = 1;
/// Bytes of the header before its checksum.
const HEADER_LEN: usize = 24;
/// Kind and length.
const PIECE_HEAD_LEN: usize = 8;
const TRAILER_LEN: usize = 24;
const RECORD_HEAD_LEN: usize = 30;
const KIND_BLOCK: u32 = u32::from_le_bytes(*b"ITEM");
const KIND_TRAILER: u32 = u32::from_le_bytes(*b"LAST");
/// A block is written once it has this many bytes; only one of a single large item is longer.
const BLOCK_BYTES: usize = 1 << 20;

const MARK_BASE64: u8 = 1;
const MARK_STALE: u8 = 2;
const MARK_SENT: u8 = 4;

/// An item, as the file holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// 1 to 250 bytes, whatever they are.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Client flags.
    pub flags: u64,
    /// Unix time; 0 for never.
    pub exptime: u64,
    /// 0 where the server has none (`-C`).
    pub cas: u64,
    /// Whether clients know the key in base64.
    pub base64: bool,
    /// Whether the item is stale.
    pub stale: bool,
    /// Whether somebody was told to make it anew and has not done it yet.
    pub sent: bool,
}

/// What a file holds in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Blocks of items.
    pub blocks: u64,
    /// Items.
    pub items: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Broken {
    /// It does not begin as a dump does.
    Foreign,
    /// It was written by a later memhold.
    Version(u32),
    /// It ends before its trailer; how many bytes are there.
    Incomplete(u64),
    /// The piece that begins at this byte is not as it was written.
    Damaged(u64),
    /// There is something behind the trailer, which ends at this byte.
    Longer(u64),
    /// It cannot be read.
    Unreadable(io::Error),
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Foreign => write!(out, "not a dump of memhold"),
            Broken::Version(version) => {
                write!(out, "a dump of version {version}, or damaged; this memhold reads version {VERSION}")
            }
            Broken::Incomplete(length) => write!(out, "incomplete: it ends after {length} bytes, before its end mark"),
            Broken::Damaged(at) => write!(out, "damaged: what begins at byte {at} is not what was written"),
            Broken::Longer(end) => write!(out, "damaged: there is more behind its end at byte {end}"),
            Broken::Unreadable(error) => write!(out, "cannot be read: {}", reason(error)),
        }
    }
}

/// Writes a file, block by block.
pub struct Writer<W> {
    out: W,
    /// The block being filled, with room for its head in front.
    block: Vec<u8>,
    block_bytes: usize,
    /// Checksum of the piece before.
    chain: u64,
    totals: Totals,
}

impl<W: Write> Writer<W> {
    /// Begins a file, at the unix time `written`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(out: W, written: u64) -> io::Result<Writer<W>> {
        Writer::with_blocks_of(BLOCK_BYTES, out, written)
    }

    fn with_blocks_of(block_bytes: usize, mut out: W, written: u64) -> io::Result<Writer<W>> {
        let mut header = Vec::with_capacity(HEADER_LEN + 8);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&0_u32.to_le_bytes());
        header.extend_from_slice(&written.to_le_bytes());
        let chain = xxh3_64_with_seed(&header, 0);
        header.extend_from_slice(&chain.to_le_bytes());
        out.write_all(&header)?;
        Ok(Writer { out, block: vec![0; PIECE_HEAD_LEN], block_bytes, chain, totals: Totals::default() })
    }

    /// Adds an item. Its key has at most 255 bytes and its value less than 4 GiB less 1 KiB, or it is refused.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push(&mut self, item: &Item<'_>) -> io::Result<()> {
        let length = RECORD_HEAD_LEN + item.key.len() + item.value.len();
        let too_large = || io::Error::new(io::ErrorKind::InvalidData, "an item is too large for a dump");
        let key_len = u8::try_from(item.key.len()).map_err(|_| too_large())?;
        let value_len = u32::try_from(item.value.len()).map_err(|_| too_large())?;
        let payload = self.block.len() - PIECE_HEAD_LEN;
        if payload > 0 && payload + length > self.block_bytes {
            self.end_block()?;
        }
        u32::try_from(length).map_err(|_| too_large())?;
        let mark = |set: bool, mark: u8| if set { mark } else { 0 };
        let marks = mark(item.base64, MARK_BASE64) | mark(item.stale, MARK_STALE) | mark(item.sent, MARK_SENT);
        self.block.push(key_len);
        self.block.push(marks);
        self.block.extend_from_slice(&value_len.to_le_bytes());
        for number in [item.flags, item.exptime, item.cas] {
            self.block.extend_from_slice(&number.to_le_bytes());
        }
        self.block.extend_from_slice(item.key);
        self.block.extend_from_slice(item.value);
        self.totals.items += 1;
        self.totals.bytes += (item.key.len() + item.value.len()) as u64;
        Ok(())
    }

    /// What was added so far.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Writes the last block and the trailer, and gives back what was written to.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(mut self) -> io::Result<(W, Totals)> {
        self.end_block()?;
        for number in [self.totals.blocks, self.totals.items, self.totals.bytes] {
            self.block.extend_from_slice(&number.to_le_bytes());
        }
        self.end_piece(KIND_TRAILER)?;
        self.out.flush()?;
        Ok((self.out, self.totals))
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.len() == PIECE_HEAD_LEN {
            return Ok(());
        }
        self.totals.blocks += 1;
        self.end_piece(KIND_BLOCK)?;
        // What one large item needed is not kept for small ones.
        self.block.shrink_to(2 * self.block_bytes);
        Ok(())
    }

    fn end_piece(&mut self, kind: u32) -> io::Result<()> {
        // An item alone fits 32 bits, and several only up to the length of a block.
        let length = (self.block.len() - PIECE_HEAD_LEN) as u32;
        self.block[..4].copy_from_slice(&kind.to_le_bytes());
        self.block[4..PIECE_HEAD_LEN].copy_from_slice(&length.to_le_bytes());
        self.chain = xxh3_64_with_seed(&self.block, self.chain);
        self.block.extend_from_slice(&self.chain.to_le_bytes());
        self.out.write_all(&self.block)?;
        self.block.truncate(PIECE_HEAD_LEN);
        Ok(())
    }
}

/// Reads a file, block by block; what it gives is what was written.
pub struct Reader<R> {
    input: R,
    /// Bytes of the whole file.
    length: u64,
    /// Bytes read.
    at: u64,
    /// The block read last, with its head and without its checksum.
    block: Vec<u8>,
    chain: u64,
    totals: Totals,
}

impl<R: Read> Reader<R> {
    /// Begins to read a file of `length` bytes.
    ///
    /// # Errors
    /// When it is not a dump, or not one of this version.
    pub fn begin(input: R, length: u64) -> Result<Reader<R>, Broken> {
        let mut reader = Reader { input, length, at: 0, block: Vec::new(), chain: 0, totals: Totals::default() };
        if length < MAGIC.len() as u64 {
            return Err(Broken::Foreign);
        }
        let mut header = [0; HEADER_LEN + 8];
        reader.fill(&mut header[..MAGIC.len()])?;
        if header[..MAGIC.len()] != MAGIC {
            return Err(Broken::Foreign);
        }
        reader.fill(&mut header[MAGIC.len()..])?;
        let version = u32::from_le_bytes(piece(&header, 8));
        if version != VERSION {
            return Err(Broken::Version(version));
        }
        reader.chain = xxh3_64_with_seed(&header[..HEADER_LEN], 0);
        if reader.chain != u64::from_le_bytes(piece(&header, HEADER_LEN)) {
            return Err(Broken::Damaged(0));
        }
        Ok(reader)
    }

    /// The items of the next block; `None` at the end of a file that is whole.
    ///
    /// # Errors
    /// When it is not as it was written.
    pub fn next_block(&mut self) -> Result<Option<Vec<Item<'_>>>, Broken> {
        let begin = self.at;
        self.block.clear();
        self.block.resize(PIECE_HEAD_LEN, 0);
        let mut block = std::mem::take(&mut self.block);
        let read = self.read_piece(&mut block);
        self.block = block;
        read?;
        let kind = u32::from_le_bytes(piece(&self.block, 0));
        let payload = &self.block[PIECE_HEAD_LEN..];
        if kind == KIND_TRAILER {
            let mut said = [self.totals.blocks, self.totals.items, self.totals.bytes].map(u64::to_le_bytes).concat();
            said.truncate(TRAILER_LEN);
            if payload != said {
                return Err(Broken::Damaged(begin));
            }
            return if self.at == self.length { Ok(None) } else { Err(Broken::Longer(self.at)) };
        }
        let items = if kind == KIND_BLOCK { records(payload) } else { None };
        let items = items.ok_or(Broken::Damaged(begin))?;
        self.totals.blocks += 1;
        self.totals.items += items.len() as u64;
        self.totals.bytes += items.iter().map(|item| (item.key.len() + item.value.len()) as u64).sum::<u64>();
        Ok(Some(items))
    }

    /// What was read so far.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Bytes of the file read so far.
    pub const fn at(&self) -> u64 {
        self.at
    }

    fn read_piece(&mut self, block: &mut Vec<u8>) -> Result<(), Broken> {
        let begin = self.at;
        self.fill(block)?;
        let length = u32::from_le_bytes(piece(block, 4)) as usize;
        // Before any memory is taken for it.
        if (length as u64).saturating_add(8) > self.length.saturating_sub(self.at) {
            return Err(Broken::Incomplete(self.length));
        }
        block.resize(PIECE_HEAD_LEN + length, 0);
        self.fill(&mut block[PIECE_HEAD_LEN..])?;
        let mut checksum = [0; 8];
        self.fill(&mut checksum)?;
        self.chain = xxh3_64_with_seed(block, self.chain);
        if self.chain == u64::from_le_bytes(checksum) { Ok(()) } else { Err(Broken::Damaged(begin)) }
    }

    fn fill(&mut self, room: &mut [u8]) -> Result<(), Broken> {
        self.input.read_exact(room).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Broken::Incomplete(self.length),
            _ => Broken::Unreadable(error),
        })?;
        self.at += room.len() as u64;
        Ok(())
    }
}

/// The items of a block's payload; `None` when it is no sequence of records.
fn records(mut payload: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut items = Vec::new();
    while !payload.is_empty() {
        let (head, rest) = payload.split_at_checked(RECORD_HEAD_LEN)?;
        let number = |at| u64::from_le_bytes(piece(head, at));
        let (key, rest) = rest.split_at_checked(usize::from(head[0]))?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(piece(head, 2)) as usize)?;
        let marked = |mark| head[1] & mark != 0;
        items.push(Item {
            key,
            value,
            flags: number(6),
            exptime: number(14),
            cas: number(22),
            base64: marked(MARK_BASE64),
            stale: marked(MARK_STALE),
            sent: marked(MARK_SENT),
        });
        payload = rest;
    }
    Some(items)
}

/// `N` bytes of `bytes` from `at`, which holds them.
fn piece<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut piece = [0; N];
    piece.copy_from_slice(&bytes[at..at + N]);
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: Item<'_> =
        Item { key: b"k", value: b"value", flags: 7, exptime: 9, cas: 3, base64: false, stale: false, sent: false };

    /// Every kind of item.
    fn items() -> Vec<Item<'static>> {
        vec![
            ITEM,
            Item { key: b"\0 \r\n\xff", value: b"", flags: 0, exptime: 0, cas: 0, base64: true, ..ITEM },
            Item { key: &[b'x'; 250], value: &[0; 40], flags: u64::MAX, exptime: u64::MAX, cas: u64::MAX, ..ITEM },
            Item { key: b"stale", stale: true, ..ITEM },
            Item { key: b"sent", sent: true, stale: true, base64: true, ..ITEM },
        ]
    }

    fn written(block_bytes: usize, items: &[Item<'_>]) -> Vec<u8> {
        let mut writer = Writer::with_blocks_of(block_bytes, Vec::new(), 1_800_000_000).unwrap();
        items.iter().for_each(|item| writer.push(item).unwrap());
        let (bytes, totals) = writer.finish().unwrap();
        assert_eq!(totals.items, items.len() as u64);
        bytes
    }

    /// Lengths of the values of a whole file.
    fn read(bytes: &[u8]) -> Result<Vec<usize>, Broken> {
        let mut reader = Reader::begin(bytes, bytes.len() as u64)?;
        let mut found = Vec::new();
        while let Some(items) = reader.next_block()? {
            found.extend(items.iter().map(|item| item.value.len()));
        }
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = written(100, &items());
        let mut reader = Reader::begin(&bytes[..], bytes.len() as u64).unwrap();
        let mut expected = items().into_iter();
        while let Some(items) = reader.next_block().unwrap() {
            for item in items {
                assert_eq!(Some(item), expected.next());
            }
        }
        assert_eq!(expected.next(), None);
        assert!(reader.totals().blocks > 1 && reader.totals().items == 5);
        assert_eq!(reader.at(), bytes.len() as u64);
    }

    #[test]
    fn a_dump_of_nothing_is_whole() {
        assert_eq!(read(&written(100, &[])).unwrap(), []);
    }

    #[test]
    fn an_item_larger_than_a_block_is_a_block_of_its_own() {
        let large = vec![7; 1000];
        let bytes = written(100, &[ITEM, Item { value: &large, ..ITEM }, ITEM]);
        assert_eq!(read(&bytes).unwrap(), [5, 1000, 5]);
    }

    #[test]
    fn a_key_that_cannot_be_counted_is_refused() {
        let mut writer = Writer::begin(Vec::new(), 0).unwrap();
        assert!(writer.push(&Item { key: &[b'x'; 256], ..ITEM }).is_err());
    }

    #[test]
    fn every_truncation_is_noticed() {
        let bytes = written(100, &items());
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "cut after {length} of {}", bytes.len());
            // As if the file became shorter while it is read.
            let mut reader = Reader::begin(&bytes[..length], bytes.len() as u64);
            let broken = loop {
                match reader.as_mut().map(Reader::next_block) {
                    Ok(Ok(Some(_))) => {}
                    Ok(Ok(None)) => break false,
                    Ok(Err(_)) | Err(_) => break true,
                }
            };
            assert!(broken, "cut after {length} while it was read");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = written(100, &items());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&changed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn blocks_that_are_missing_doubled_or_in_another_place_are_noticed() {
        let items = [ITEM; 4];
        let bytes = written(1, &items);
        let (header, block) = (HEADER_LEN + 8, PIECE_HEAD_LEN + RECORD_HEAD_LEN + 6 + 8);
        let piece = |number: usize| &bytes[header + number * block..header + (number + 1) * block];
        let rest = &bytes[header + 4 * block..];
        let with = |blocks: &[usize]| {
            let blocks: Vec<&[u8]> = blocks.iter().map(|number| piece(*number)).collect();
            [&bytes[..header], &blocks.concat(), rest].concat()
        };
        assert_eq!(read(&with(&[0, 1, 2, 3])).unwrap().len(), 4);
        for blocks in [&[0, 1, 2][..], &[1, 2, 3], &[0, 1, 1, 2, 3], &[1, 0, 2, 3], &[]] {
            assert!(read(&with(blocks)).is_err(), "{blocks:?}");
        }
    }

    #[test]
    fn what_follows_the_end_is_noticed() {
        let bytes = written(100, &items());
        assert!(matches!(read(&[&bytes[..], b"\n"].concat()), Err(Broken::Longer(_))));
        assert!(read(&[&bytes[..], &bytes[..]].concat()).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_in_a_line() {
        let bytes = written(100, &items());
        let tell = |bytes: &[u8]| read(bytes).map_or_else(|broken| broken.to_string(), |_| "whole".to_owned());
        assert_eq!(tell(b""), "not a dump of memhold");
        assert_eq!(tell(b"something else, and longer than a header"), "not a dump of memhold");
        assert_eq!(tell(&bytes[..100]), "incomplete: it ends after 100 bytes, before its end mark");
        let mut later = bytes.clone();
        later[8] = 2;
        assert_eq!(tell(&later), "a dump of version 2, or damaged; this memhold reads version 1");
        let mut damaged = bytes;
        damaged[50] ^= 1;
        assert_eq!(tell(&damaged), "damaged: what begins at byte 32 is not what was written");
    }
}
