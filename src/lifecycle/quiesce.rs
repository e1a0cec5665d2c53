//! How a server stops fetching requests while its connection lives on.

use crate::fuse::QuiesceGate;
use crate::fuse::seams::{device_messages, wakeup};
use crate::state::in_flight::InFlightTable;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long the requests in flight may take.
const QUIESCE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a successor is kept waiting for what one container makes slow, where the kernel gives such
/// requests out again.
const RESEND_TIMEOUT: Duration = Duration::from_millis(50);
/// How often to look whether all is answered.
const POLL_INTERVAL: Duration = Duration::from_micros(100);

/// Answers what was fetched and fetches no more: brings every thread to park at the gate, and waits for the
/// requests that are answered on other threads, but only for a moment if there is a successor that gets them
/// again. Returns whether everything is answered, so that the end of this process takes no request with it.
#[must_use]
pub fn quiesce(
    gate: &Arc<QuiesceGate>,
    in_flight: &InFlightTable,
    mount_point: &Path,
    has_successor: bool,
) -> bool {
    gate.close();
    let closed = Arc::clone(gate);
    let is_done = move || !closed.is_closed() || closed.all_parked();
    if wakeup::wake_threads(mount_point.to_path_buf(), is_done).is_err() {
        return false;
    }
    let deadline = Instant::now() + QUIESCE_TIMEOUT;
    while !gate.all_parked() && Instant::now() < deadline {
        thread::sleep(POLL_INTERVAL);
    }
    let timeout = if has_successor && device_messages::resends() { RESEND_TIMEOUT } else { QUIESCE_TIMEOUT };
    let deadline = deadline.min(Instant::now() + timeout);
    while !in_flight.is_empty() && Instant::now() < deadline {
        thread::sleep(POLL_INTERVAL);
    }
    gate.all_parked() && in_flight.is_empty()
}
