//! The end of a server whose connection lives on.

use crate::fuse::Gate;
use crate::journal::Journal;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long what is being answered may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers what was fetched, and fetches no more: every thread is brought to wait at the gate, and what waits aside is
/// waited for. Whether all is answered; the end of this process then takes no request with it.
///
/// A thread that waits for a request is woken by one: somebody asks, on a thread of its own, how full the file
/// system is, until nobody answers that any more.
#[must_use]
pub fn drain(gate: &Arc<Gate>, journal: &Journal, mount_point: &Path) -> bool {
    gate.close();
    let (closed, path) = (Arc::clone(gate), mount_point.to_path_buf());
    let wake = move || while closed.is_closed() && !closed.all_wait() && rustix::fs::statfs(&path).is_ok() {};
    if thread::Builder::new().name("drain".into()).spawn(wake).is_err() {
        return false;
    }
    let deadline = Instant::now() + PATIENCE;
    let is_done = || gate.all_wait() && journal.is_empty();
    while !is_done() && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(100));
    }
    is_done()
}
