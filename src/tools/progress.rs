//! A progress bar on standard error, if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar up to `total`, counted in items or, with `in_bytes`, in bytes.
pub fn bar(what: &'static str, total: u64, in_bytes: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let counts = if in_bytes { "{bytes}/{total_bytes}, {bytes_per_sec}" } else { "{human_pos}/{human_len}, {per_sec}" };
    if let Ok(style) = ProgressStyle::with_template(&format!("{{msg}} {{wide_bar}} {counts}, {{eta}} left")) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
