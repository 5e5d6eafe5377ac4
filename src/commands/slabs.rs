//! `slabs reassign|automove` (section 13.3). Pages move by themselves, to whoever needs memory and from whoever is older, so
//! `reassign` is checked and acknowledged; the automover's numbers are kept and shown.

use super::Context;
use super::words::Words;
use crate::protocol::reply::{Error, Reply};
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

fn reassign(cx: &Context<'_>, words: &Words<'_>) -> Reply<'static> {
    let (Some(source), Some(target)) = (words.signed(1), words.signed(2)) else { return BAD_FORMAT };
    if !cx.server.settings.slab_reassign {
        return Reply::Error(Error::Client("slab reassignment disabled"));
    }
    if source == target {
        return Reply::Error(Error::Line("SAME src and dst class are identical"));
    }
    let classes = cx.store.classes(cx.now);
    let pages_of = |class: i32| {
        let found = classes.iter().find(|row| i64::from(row.class) == i64::from(class));
        found.map_or(0, |row| row.total_pages)
    };
    let valid = |class: i32| u32::try_from(class).is_ok_and(|class| class < cx.store.class_limit());
    if (source != -1 && !valid(source)) || !valid(target) {
        return Reply::Error(Error::Line("BADCLASS invalid src or dst class id"));
    }
    let spare = match source {
        -1 => classes.iter().any(|row| row.total_pages >= 2),
        0 => cx.store.totals().slab_global_page_pool > 0,
        class => pages_of(class) >= 2,
    };
    if spare { Reply::Ok } else { Reply::Error(Error::Line("NOSPARE source class has no spare pages")) }
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
        (mode <= 2).then(|| live.slab_automove.store(mode, Relaxed))
    };
    if stored.is_some() { Reply::Ok } else { Reply::Error(Error::Unknown) }
}
