//! A request that is not answered yet, and how it is asked again.

use super::lane::Lane;
use crate::state::in_flight::InFlightGuard;
use std::time::Instant;

/// To ask once more.
pub(super) type Continuation = Box<dyn FnOnce(ThreadRole) + Send>;

/// The thread that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadRole {
    /// It serves everybody.
    Serving,
    /// It serves everybody, and has done so much for one container already.
    Helping,
    /// Nobody else waits for it.
    Patient,
    /// Nobody waits for it at all: it may never come back.
    Looking,
}

impl ThreadRole {
    /// Who works in a lane.
    pub(super) const fn of(lane: Lane) -> Self {
        match lane {
            Lane::Quick | Lane::Slow => Self::Patient,
            Lane::Looks => Self::Looking,
        }
    }

    pub(super) const fn may_take_long(self) -> bool {
        matches!(self, Self::Patient | Self::Looking)
    }
}

/// Who waits for the answer.
pub(super) struct PendingRequest {
    /// Process or thread; 0 for one that can't be seen.
    pub(super) pid: u32,
    pub(super) asked: Instant,
    /// That its request is not yet answered.
    pub(super) in_flight: InFlightGuard,
    /// How often it was left to be asked again.
    pub(super) rounds: u16,
}

/// Whoever was put off so often is told to ask again: each time something else was missing, and will be the next time.
pub(super) const MAX_ROUNDS: u16 = 1000;
