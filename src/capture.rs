//! A capture: a directory from which anybody can compute what a reader was told.
//!
//! `root/` looks like the `/` of the reader's host and has just the files that an answer reads; `reader`
//! holds the id of the process that reads, `boundary` the path of its container's cgroup, and `expected/`
//! what each view says. The trees in `tests/fixtures` have this form; only captured ones have `left-out` and
//! `page-size`.

mod error;
mod expected;
mod missing;
mod stored;
mod take;

pub use self::error::CaptureError;
pub use self::stored::{Capture, SYSTEM};
pub use self::take::capture;
