//! How every request is answered: counted, charged to whoever has sent it, and without harm to the thread.

use super::filesystem::{ViewFs, pid_of};
use super::served::Served;
use super::tree::is_by_thread;
use crate::service::{Lane, Service};
use crate::state::in_flight::{InFlightGuard, InFlightRequest, Ino, Operation, Unique};
use cgprocfs_core::parse::pid::Pid;
use fuser::{INodeNo, Request};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

impl ViewFs {
    /// Answers a request, which counts as in flight meanwhile.
    ///
    /// A panic must not take the serving thread with it. It was logged where it happened, and the reply that
    /// was not sent is dropped while the stack unwinds, which answers EIO. A request that several servers
    /// have died over gets the same error: its handler is dropped without being called.
    pub(super) fn answer(
        &self,
        request: &Request,
        ino: INodeNo,
        operation: Operation,
        handler: impl FnOnce(&Arc<Served>, InFlightGuard) + Send + 'static,
    ) {
        let unique = Unique::new(request.unique().0);
        let pid = on_account_of(request, ino, operation);
        let fetched = InFlightRequest { unique, pid, ino: Ino::new(ino.0), operation };
        self.served.service.note_request(self.gate.enter());
        let in_flight = self.served.in_flight.track(fetched);
        let handle = || {
            if in_flight.is_poisoned() {
                drop(handler);
            } else if operation == Operation::Release || self.served.knows(ino) {
                // Before the answer: once it is there, the process may be in an exec, for which a look at it
                // would wait.
                if !matches!(operation, Operation::Read { .. } | Operation::Release) {
                    self.served.service.charge_small_request(pid_of(request));
                }
                handler(&self.served, in_flight);
            } else {
                let served = Arc::clone(&self.served);
                let after_indexing = move |service: &Arc<Service>, in_flight| {
                    service.source().system_directory().index_all();
                    handler(&served, in_flight);
                };
                self.served.service.dispatch(Lane::Slow, in_flight, pid_of(request), after_indexing);
            }
        };
        let _ = catch_unwind(AssertUnwindSafe(handle));
        self.gate.leave();
    }
}

/// Whom a request is held against if it does harm: what a thread is told by a system call is read on behalf of
/// that thread.
fn on_account_of(request: &Request, ino: INodeNo, operation: Operation) -> Pid {
    match operation {
        Operation::Read { offset, .. } if is_by_thread(ino) => Pid::new(u32::try_from(offset).unwrap_or(0)),
        _ => pid_of(request),
    }
}

#[cfg(test)]
mod tests;
