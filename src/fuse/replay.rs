//! Answers of requests that a predecessor had fetched and left unanswered, where the kernel does not give
//! them out again.

use super::file::{File, OPEN_FLAGS, sysfs_ino};
use super::file_requests::range;
use super::seams::device_messages;
use crate::error::Error;
use crate::service::{Lane, Service};
use crate::state::in_flight::{InFlightGuard, InFlightRequest, Operation, Unique};
use cgprocfs_core::view::ViewId;
use fuser::{Errno, INodeNo, OpenFlags};
use std::sync::Arc;

/// Passes to `reply` the answer of a read or an open that a predecessor had fetched, or the errno. Another
/// thread makes it, because a server that starts must not wait for a tenant.
///
/// The text from which the predecessor had answered earlier reads is gone, so it is made anew.
pub(crate) fn replay_request(
    service: &Arc<Service>,
    views: &[ViewId],
    fetched: InFlightRequest,
    in_flight: Arc<InFlightGuard>,
    reply: impl FnOnce(Result<Vec<u8>, Errno>) + Send + 'static,
) {
    let ino = INodeNo(fetched.ino.get());
    let view = || views.iter().find(|view| view.ino() == ino.0).copied().map(File::View);
    let Some(file) = sysfs_ino(ino).map(File::Sysfs).or_else(view) else {
        return reply(Err(Errno::EBADF));
    };
    let (offset, size) = match fetched.operation {
        Operation::Read { offset, size, .. } => (offset, size),
        Operation::Open { flags } => return reply(replay_open(file, OpenFlags(flags), fetched.unique)),
        _ => return reply(Err(Errno::EIO)),
    };
    if offset != 0 && !file.fits_one_read() {
        return reply(Err(errno(&Error::TextGone(file.path()))));
    }
    // As far as is known this reader's container was served quickly before.
    service.dispatch(Lane::Fast, InFlightGuard::untracked(), fetched.pid, move |service, _in_flight| {
        in_flight.begin();
        if sysfs_ino(ino).is_some() {
            service.source().system_directory().index_all();
        }
        let log = Arc::clone(service);
        file.ask(service, InFlightGuard::untracked(), fetched.pid, move |text| match text {
            Ok(text) => reply(Ok(range(&text.bytes, offset, size).to_vec())),
            Err(error) => {
                log.log(&error);
                reply(Err(errno(&error)));
            }
        });
    });
}

fn errno(error: &Error) -> Errno {
    Errno::from_i32(error.errno())
}

/// Opens a file under a handle that no server gives out. Its text is made by the first read, as for any file
/// that a predecessor has opened.
fn replay_open(file: File, flags: OpenFlags, unique: Unique) -> Result<Vec<u8>, Errno> {
    const NOBODYS_HANDLE: u64 = 1 << 63;
    if !file.may_be_opened(flags) {
        return Err(Errno::EROFS);
    }
    Ok(device_messages::open_reply(NOBODYS_HANDLE | unique.get(), OPEN_FLAGS))
}
