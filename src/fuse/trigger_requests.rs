//! Requests about pressure triggers, which programs write to a pressure file and then poll.

use super::directory_requests::ATTRIBUTE_TIMEOUT;
use super::file_requests::FileRequest;
use super::served::Served;
use crate::service::{PollState, PressureRequest};
use crate::state::{OpenFile, PollWaiter};
use cgprocfs_core::psi::Trigger;
use cgprocfs_core::view::ViewId;
use fuser::{Errno, INodeNo, Notifier, PollEvents, PollHandle, ReplyAttr, ReplyPoll};
use std::sync::Arc;

/// What procfs says of a file that can always be read and written (`DEFAULT_POLLMASK`, include/linux/poll.h).
const ALWAYS_READY: PollEvents =
    PollEvents::POLLIN.union(PollEvents::POLLOUT).union(PollEvents::POLLRDNORM).union(PollEvents::POLLWRNORM);

/// The service's request about the trigger of a file that shows `view`.
fn about(request: FileRequest, view: ViewId) -> PressureRequest {
    let FileRequest { in_flight, pid, handle, .. } = request;
    PressureRequest { in_flight, file: OpenFile::new(handle.0), pid, view }
}

impl Served {
    /// Arms the trigger that a program has written to an open pressure file.
    pub(super) fn arm_trigger(
        self: &Arc<Self>,
        request: FileRequest,
        trigger: Option<Trigger>,
        reply: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        let Some(view) = self.pressure(request.ino) else { return reply(Err(Errno::EROFS)) };
        let served = Arc::clone(self);
        self.service.ask_to_arm(about(request, view), trigger, move |armed| {
            reply(armed.map_err(|error| served.errno(&error)));
        });
    }

    /// Says what procfs says: that a file can always be read, and whether a trigger has fired
    /// (`psi_trigger_poll()`, kernel/sched/psi.c). Where there can be no triggers, "not implemented" makes
    /// the kernel say so by itself, and nobody's poll waits for the daemon. A later event wakes `waiter`.
    pub(super) fn poll(&self, request: FileRequest, waiter: Option<PollWaiter>, reply: ReplyPoll) {
        if self.is_read_only {
            return reply.error(Errno::ENOSYS);
        }
        let Some(view) = self.pressure(request.ino) else { return reply.poll(ALWAYS_READY) };
        self.service.ask_poll(about(request, view), waiter, move |polled| {
            reply.poll(match polled {
                PollState::Nothing => ALWAYS_READY,
                PollState::Event => ALWAYS_READY | PollEvents::POLLPRI,
                PollState::Error => ALWAYS_READY | PollEvents::POLLPRI | PollEvents::POLLERR,
            });
        });
    }

    /// Lets a program that opens a pressure file to write a trigger truncate it first, which changes nothing.
    pub(super) fn truncate(&self, ino: INodeNo, reply: ReplyAttr) {
        match self.find(ino) {
            Ok(node) if self.pressure(ino).is_some() => {
                reply.attr(&ATTRIBUTE_TIMEOUT, &self.attributes(&node));
            }
            _ => reply.error(Errno::EROFS),
        }
    }
}

/// Tells programs that wait for events that there is one. A program that does not wait any more needs no
/// notice.
pub(crate) fn waker(notifier: Notifier) -> impl Fn(PollWaiter) + Send + 'static {
    move |waiter| drop(notifier.poll(PollHandle(waiter.get())))
}
