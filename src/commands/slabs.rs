//! `slabs reassign|automove` (section 13.3). Pages move by themselves, at once, to whoever needs memory and from whoever is older,
//! unless automove is 0; the other numbers of the automover are kept and shown. `reassign` moves one page more.

use super::Context;
use super::words::Words;
use crate::protocol::reply::{Error, Reply};
use crate::store::Reassign;
use crate::sync::Ordering::Relaxed;

const BAD_FORMAT: Reply<'static> = Reply::Error(Error::Client("bad command line format"));

pub(super) fn slabs(cx: &Context<'_>, line: &[u8]) -> Reply<'static> {
    let words = Words::of(line);
    match words.count() {
        3 if words.is(0, "reassign") => reassign(cx, &words),
        2.. if words.is(0, "automove") => automove(cx, &words),
        _ => Reply::Error(Error::Unknown),
    }
}

/// The page is moved by the next background step.
fn reassign(cx: &Context<'_>, words: &Words<'_>) -> Reply<'static> {
    if !cx.server.settings.slab_reassign {
        return Reply::Error(Error::Client("slab reassignment disabled"));
    }
    let (Some(source), Some(target)) = (words.signed(1), words.signed(2)) else { return BAD_FORMAT };
    let line = match cx.store.reassign(source, target) {
        Reassign::Started => return Reply::Ok,
        Reassign::Running => "BUSY currently processing reassign request",
        Reassign::BadClass => "BADCLASS invalid src or dst class id",
        Reassign::NoSpare => "NOSPARE source class has no spare pages",
        Reassign::Same => "SAME src and dst class are identical",
    };
    Reply::Error(Error::Line(line))
}

fn automove(cx: &Context<'_>, words: &Words<'_>) -> Reply<'static> {
    let live = &cx.server.live;
    let stored = if words.is(1, "ratio") {
        words.float(2).map(|ratio| live.slab_automove_ratio.store(ratio))
    } else if words.is(1, "freeratio") {
        words.float(2).map(|ratio| live.slab_automove_freeratio.store(ratio))
    } else if words.is(1, "window") {
        let Some(window) = words.whole(2) else { return BAD_FORMAT };
        if !(3..=1800).contains(&window) {
            return Reply::Error(Error::Client("automove window too low or too high"));
        }
        live.slab_automove_window.store(window, Relaxed);
        Some(())
    } else {
        let Some(mode) = words.whole(1) else { return BAD_FORMAT };
        (mode <= 2).then(|| {
            live.slab_automove.store(mode, Relaxed);
            cx.store.set_page_moves(cx.server.settings.slab_reassign && mode > 0);
        })
    };
    if stored.is_some() { Reply::Ok } else { Reply::Error(Error::Unknown) }
}
