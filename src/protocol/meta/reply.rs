//! How the meta commands are answered: a return code, the flags that return something in the order in which the client
//! wrote them, and for `mg` the marks Z, X, W. Which codes `q` keeps back differs by command; errors are always sent.

use crate::protocol::base64;
use crate::protocol::command::MetaVerb;
use crate::protocol::encode::{Body, push_number};
use crate::protocol::reply::{Hit, Inspected, Reply, Written};
use crate::protocol::request::Key;
use crate::protocol::text;
use crate::protocol::token::Words;

/// Spells a reply to a meta command.
#[inline]
pub(in crate::protocol) fn encode(
    out: &mut Vec<u8>,
    verb: MetaVerb,
    flags: &[u8],
    quiet: bool,
    value: bool,
    key: Key<'_>,
    reply: &Reply<'_>,
) -> Body {
    match (verb, reply) {
        (MetaVerb::Get, Reply::Hit(hit)) => return got(out, flags, key, hit),
        (MetaVerb::Arith, Reply::Hit(hit)) if !quiet => counted(out, flags, value, key, hit),
        (MetaVerb::Get | MetaVerb::Inspect, Reply::Miss | Reply::NotFound(_)) if !quiet => {
            code(out, b"EN", flags, key, None);
        }
        (MetaVerb::Arith, Reply::Hit(_)) | (MetaVerb::Get | MetaVerb::Inspect, Reply::Miss | Reply::NotFound(_)) => {}
        (_, Reply::Stored(written)) if !quiet => code(out, b"HD", flags, key, of_set(verb, written)),
        (_, Reply::Deleted | Reply::Touched) if !quiet => code(out, b"HD", flags, key, None),
        (_, Reply::Stored(_) | Reply::Deleted | Reply::Touched) => {}
        (_, Reply::NotStored(written)) => code(out, b"NS", flags, key, of_set(verb, written)),
        (_, Reply::Exists(written)) => code(out, b"EX", flags, key, of_set(verb, written)),
        (_, Reply::NotFound(written)) => code(out, b"NF", flags, key, of_set(verb, written)),
        (_, Reply::Miss) => code(out, b"NF", flags, key, None),
        (_, Reply::Inspected(item)) => inspected(out, key, item),
        (_, reply) => text::line(out, reply),
    }
    Body::None
}

/// `HD` or `VA` of `mg`.
#[inline]
fn got(out: &mut Vec<u8>, flags: &[u8], key: Key<'_>, hit: &Hit) -> Body {
    begin(out, hit.value.then_some(hit.size));
    let mut ttl = Ttl::of(hit);
    // Fewer words than a line may have, which is what `Words` would count.
    for word in flags.split(|&byte| byte == b' ') {
        match *word {
            [b's', ..] => push_flag(out, b's', hit.size),
            [b'c', ..] => push_flag(out, b'c', hit.cas),
            [b'f', ..] => push_flag(out, b'f', hit.flags),
            [b'l', ..] => push_flag(out, b'l', hit.idle),
            [b'h', ..] => push_flag(out, b'h', u8::from(hit.fetched)),
            // What was stored under a base64 key comes back in base64, however it was asked for.
            [b'k', ..] => push_key(out, key, hit.base64_key),
            [b'O', ..] => push_word(out, word),
            [letter, ..] => ttl.pass(out, letter),
            [] => {}
        }
    }
    for (mark, shown) in [(b" Z", hit.token_sent), (b" X", hit.stale), (b" W", hit.won)] {
        if shown {
            out.extend_from_slice(mark);
        }
    }
    out.extend_from_slice(b"\r\n");
    if hit.value { Body::Value } else { Body::None }
}

/// `HD` or `VA` of `ma`, with the number, which is not padded even if the stored value is.
fn counted(out: &mut Vec<u8>, flags: &[u8], value: bool, key: Key<'_>, hit: &Hit) {
    let mut digits = itoa::Buffer::new();
    let number = digits.format(hit.number.unwrap_or(0)).as_bytes();
    begin(out, value.then_some(number.len()));
    let mut ttl = Ttl::of(hit);
    for word in Words::of(flags) {
        match *word {
            [b'c', ..] => push_flag(out, b'c', hit.cas),
            // Unlike `mg`, and like the other commands, as the key was written in this request.
            [b'k', ..] => push_key(out, key, key.was_base64()),
            [b'O', ..] => push_word(out, word),
            [letter, ..] => ttl.pass(out, letter),
            [] => {}
        }
    }
    out.extend_from_slice(b"\r\n");
    if value {
        out.extend_from_slice(number);
        out.extend_from_slice(b"\r\n");
    }
}

/// A return code with opaque and key, and for `ms` what was written.
fn code(out: &mut Vec<u8>, code: &[u8; 2], flags: &[u8], key: Key<'_>, written: Option<&Written>) {
    out.extend_from_slice(code);
    for word in Words::of(flags) {
        match (word, written) {
            ([b'O', ..], _) => push_word(out, word),
            ([b'k', ..], _) => push_key(out, key, key.was_base64()),
            ([b'c', ..], Some(written)) => push_flag(out, b'c', written.cas),
            ([b's', ..], Some(written)) => push_flag(out, b's', written.size),
            _ => {}
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Only `ms` returns `c` and `s`.
fn of_set(verb: MetaVerb, written: &Written) -> Option<&Written> {
    (verb == MetaVerb::Set).then_some(written)
}

/// `ME <key> <facts>` (section 5.6). Base64 keys without the ` b` that `k` would add.
fn inspected(out: &mut Vec<u8>, key: Key<'_>, item: &Inspected) {
    out.extend_from_slice(b"ME ");
    if item.base64_key {
        base64::encode(out, key.bytes());
    } else {
        out.extend_from_slice(key.bytes());
    }
    out.extend_from_slice(b" exp=");
    push_number(out, item.ttl);
    out.extend_from_slice(b" la=");
    push_number(out, item.idle);
    out.extend_from_slice(b" cas=");
    push_number(out, item.cas);
    out.extend_from_slice(if item.fetched { b" fetch=yes" } else { b" fetch=no" });
    out.extend_from_slice(b" cls=");
    push_number(out, item.class);
    out.extend_from_slice(b" size=");
    push_number(out, item.size);
    out.extend_from_slice(b"\r\n");
}

/// What `t` shows at the present place among the flags: flags act in order (section 5.2).
struct Ttl<'a> {
    hit: &'a Hit,
    shown: i64,
}

impl Ttl<'_> {
    /// Before any flag has acted. An item that `N` is about to make does not expire yet.
    fn of(hit: &Hit) -> Ttl<'_> {
        Ttl { hit, shown: if hit.created { -1 } else { hit.ttl_before } }
    }

    /// Goes past a flag: shows the time left if it is `t`, and lets `T` and `N` act.
    fn pass(&mut self, out: &mut Vec<u8>, letter: u8) {
        match letter {
            b't' => push_flag(out, b't', self.shown),
            b'T' => self.shown = self.hit.ttl_after,
            b'N' if self.hit.created => self.shown = self.hit.ttl_created,
            _ => {}
        }
    }
}

/// `VA <size>` or, without a value, `HD`.
#[inline]
fn begin(out: &mut Vec<u8>, size: Option<usize>) {
    if let Some(size) = size {
        out.extend_from_slice(b"VA ");
        push_number(out, size);
    } else {
        out.extend_from_slice(b"HD");
    }
}

/// ` <letter><number>`
fn push_flag(out: &mut Vec<u8>, letter: u8, number: impl itoa::Integer) {
    out.extend_from_slice(&[b' ', letter]);
    push_number(out, number);
}

/// ` <word>` as the client wrote it.
fn push_word(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b' ');
    out.extend_from_slice(word);
}

/// ` k<key>`, or ` k<key in base64> b`.
fn push_key(out: &mut Vec<u8>, key: Key<'_>, in_base64: bool) {
    out.extend_from_slice(b" k");
    if in_base64 {
        base64::encode(out, key.bytes());
        out.extend_from_slice(b" b");
    } else {
        out.extend_from_slice(key.bytes());
    }
}
