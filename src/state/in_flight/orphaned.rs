//! A request whose server has ended before it was answered.

use super::request::InFlightRequest;
use std::time::Duration;

/// A server that ended while it had a request for longer than this hung over it. An overloaded machine may
/// take a second or two; a watchdog has waited for longer.
pub(crate) const HANG_THRESHOLD: Duration = Duration::from_secs(3);
/// A request that this many servers have died over is what they died of.
pub(crate) const MAX_ATTEMPTS: u32 = 3;

/// A request that a server has left unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanedRequest {
    /// What is to be answered.
    pub request: InFlightRequest,
    /// How long that server's threads were busy with it, as far as is known.
    pub age: Duration,
    /// How many servers have ended while they had it.
    pub attempts: u32,
}

impl OrphanedRequest {
    /// Whether servers have most likely ended because of it, so that it must not be tried again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.age > HANG_THRESHOLD || self.attempts >= MAX_ATTEMPTS
    }
}
