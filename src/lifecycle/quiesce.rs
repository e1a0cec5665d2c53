//! The end of a server whose connection lives on.

use super::recovery::is_given_out_again;
use crate::fuse::QuiesceGate;
use crate::state::in_flight::InFlightTable;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long what is being answered may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a successor is kept waiting for what one container makes take long: the kernel gives it out again then, if it is one that does.
const A_MOMENT: Duration = Duration::from_millis(50);

/// Answers what was fetched, and fetches no more: every thread is brought to wait at the gate, and what waits aside is
/// waited for, if there is a successor only for a moment. Whether all is answered; the end of this process then takes no request with it.
///
/// A thread that waits for a request is woken by one: somebody asks, on a thread of its own, how full the file
/// system is, until nobody answers that any more.
#[must_use]
pub fn drain(
    gate: &Arc<QuiesceGate>,
    in_flight: &InFlightTable,
    mount_point: &Path,
    has_successor: bool,
) -> bool {
    gate.close();
    let (closed, path) = (Arc::clone(gate), mount_point.to_path_buf());
    let wake = move || while closed.is_closed() && !closed.all_wait() && rustix::fs::statfs(&path).is_ok() {};
    if thread::Builder::new().name("drain".into()).spawn(wake).is_err() {
        return false;
    }
    let deadline = Instant::now() + PATIENCE;
    while !gate.all_wait() && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(100));
    }
    let patience = if has_successor && is_given_out_again() { A_MOMENT } else { PATIENCE };
    let deadline = deadline.min(Instant::now() + patience);
    while !in_flight.is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(100));
    }
    gate.all_wait() && in_flight.is_empty()
}
