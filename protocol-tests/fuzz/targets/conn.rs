//! A conversation on a fresh server, held twice: in one piece, and cut where the input says. The answers must be the
//! same, the store must be sound afterwards, and nothing may panic.

use memhold::clock::{Clock, Now};
use memhold::commands::{Context, Server};
use memhold::conn::{Conn, Next, Output};
use memhold::protocol::binary::REQUEST_MAGIC;
use memhold::protocol::limits::LINE_MAX;
use memhold::settings::Settings;
use memhold::store::{Config, Store};
use std::io::Write as _;

/// The first byte seeds the places of the cuts; the rest is what the client sends.
pub fn run(bytes: &[u8]) {
    let Some((&seed, conversation)) = bytes.split_first() else { return };
    let whole = hold(conversation, usize::MAX, 0);
    let cut = hold(conversation, 1 + usize::from(seed & 31), u64::from(seed));
    if !depends_on_timing(conversation) {
        let [whole, cut] = [&whole, &cut].map(|answer| String::from_utf8_lossy(answer));
        assert_eq!(whole, cut, "the answer depends on how the input was cut");
    }
}

/// Header, extras and key of a binary frame are waited for up to this many bytes (section 6.2).
const FRAME_HEAD_MAX: usize = 16 << 10;

/// The opcode of statistics.
const STAT: u8 = 0x10;

/// What may be answered differently in pieces: lines too long to be true (section 2.1 of the reference), dumps and watchers behind
/// replies that are not yet sent (12, 13.1), and statistics, which tell the time and count turns.
fn depends_on_timing(conversation: &[u8]) -> bool {
    if conversation.first() == Some(&REQUEST_MAGIC) {
        return conversation.windows(2).any(|two| two == [REQUEST_MAGIC, STAT]);
    }
    let has = |word: &[u8]| conversation.windows(word.len()).any(|window| window == word);
    has(b"stats")
        || has(b"lru_crawler")
        || has(b"watch")
        || conversation.split(|&byte| byte == b'\n').any(|line| line.len() >= LINE_MAX)
}

/// The answer to a conversation whose pieces are at most `piece_max` bytes.
fn hold(conversation: &[u8], piece_max: usize, mut seed: u64) -> Vec<u8> {
    let store = Store::open(&Config::with_memory(16 << 20, 1)).expect("address space for a small store");
    let settings = Settings { num_threads: 1, ..Settings::default() };
    let server = Server::new(settings, Clock::start());
    let mut cx = Context::new(&store, &server, &server.threads[0], Now::at(1_700_000_000, 0), -1);
    let (mut conn, mut out) = (Conn::new(), Output::new());
    let (mut unread, mut answer) = (Vec::new(), Vec::new());
    let mut rest = conversation;
    'conversation: while !rest.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let len = rest.len().min(1 + (seed >> 33) as usize % piece_max);
        let (mut piece, after) = if piece_max == usize::MAX { (rest, &rest[..0]) } else { rest.split_at(len) };
        rest = after;
        // As net does: what is announced goes straight into item memory.
        while unread.is_empty()
            && !piece.is_empty()
            && let Some(place) = conn.upload(&mut cx)
        {
            let len = place.len().min(piece.len());
            place[..len].copy_from_slice(&piece[..len]);
            conn.uploaded(len);
            piece = &piece[len..];
        }
        unread.extend_from_slice(piece);
        loop {
            let progress = conn.process(&unread, &mut out, &mut cx);
            unread.drain(..progress.consumed);
            send(&mut out, &mut answer);
            match progress.next {
                Next::Read | Next::Watch => break,
                // Later: what is sent above lets go of what was in the way.
                Next::Again | Next::Later => {}
                Next::Close | Next::Shutdown { .. } => break 'conversation,
            }
        }
        let held_max = if conversation[0] == REQUEST_MAGIC { FRAME_HEAD_MAX } else { LINE_MAX + 2 };
        assert!(unread.len() <= held_max || piece_max == usize::MAX, "{} bytes are held back", unread.len());
    }
    drop((conn, out));
    store.maintain(cx.now);
    store.check(cx.now).expect("a sound store");
    answer
}

fn send(out: &mut Output, answer: &mut Vec<u8>) {
    while !out.is_empty() {
        out.send(usize::MAX, |slices| answer.write_vectored(slices)).expect("memory");
    }
}
