//! A progress bar on standard error, if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for something that takes `millis` milliseconds; what came of it so far is its message.
pub fn timed(millis: u64) -> ProgressBar {
    styled(millis, "{wide_bar} {msg}, {eta} left")
}

/// A bar up to `total`, counted in items or, with `in_bytes`, in bytes.
pub fn bar(what: &'static str, total: u64, in_bytes: bool) -> ProgressBar {
    let counts = if in_bytes { "{bytes}/{total_bytes}, {bytes_per_sec}" } else { "{human_pos}/{human_len}, {per_sec}" };
    let bar = styled(total, &format!("{{msg}} {{wide_bar}} {counts}, {{eta}} left"));
    bar.set_message(what);
    bar
}

fn styled(total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
