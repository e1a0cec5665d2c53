//! The connection that a service answers for, as far as its status tells of it.

use crate::state::PersistentState;
use crate::state::in_flight::InFlightTable;
use parking_lot::Mutex;
use std::time::Instant;

/// Since when which connection is served.
pub(super) struct ConnectionStats {
    pub(super) in_flight: InFlightTable,
    pub(super) restarts: u32,
    pub(super) since: Instant,
    /// Who has the connection if this process ends, where that is known.
    pub(super) kept_by: Mutex<Option<&'static str>>,
}

impl ConnectionStats {
    pub(super) fn now(state: &PersistentState) -> Self {
        Self {
            in_flight: state.in_flight(),
            restarts: state.generation(),
            since: Instant::now(),
            kept_by: Mutex::default(),
        }
    }
}
