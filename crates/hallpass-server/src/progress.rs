//! Progress of long work, for people: on standard error, and only when that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar, or nothing when nobody looks.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Begins. `total` may be unknown.
    #[must_use]
    pub fn start(what: &'static str, total: Option<u64>) -> Self {
        // indicatif draws nothing when standard error is no terminal.
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let template = match total {
            Some(_) => "{msg} [{bar:30}] {human_pos} of {human_len}, {eta} left",
            None => "{msg} {spinner} {human_pos}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what);
        Self(bar)
    }

    /// So far.
    pub fn at(&self, position: u64) {
        self.0.set_position(position);
    }

    /// The total became known.
    pub fn total(&self, total: u64) {
        self.0.set_length(total);
    }

    /// Ends and clears the line, so that what follows stands alone.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
