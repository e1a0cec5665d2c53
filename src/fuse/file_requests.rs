//! Requests about files: open, read and release.

use super::file::{File, OPEN_FLAGS};
use super::file_handles::ReadSource;
use super::served::Served;
use crate::error::Error;
use crate::service::ByThread;
use crate::state::OpenFile;
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::parse::pid::Pid;
use fuser::{Errno, FileHandle, INodeNo, OpenFlags, ReplyData, ReplyEmpty, ReplyOpen};
use std::sync::Arc;

/// A request about an open file.
pub(super) struct FileRequest {
    pub(super) in_flight: InFlightGuard,
    /// The process or thread that asks; 0 for one that can't be seen.
    pub(super) pid: Pid,
    pub(super) ino: INodeNo,
    pub(super) handle: FileHandle,
}

impl Served {
    pub(super) fn open(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        ino: INodeNo,
        flags: OpenFlags,
        reply: ReplyOpen,
    ) {
        let Some(file) = self.file(ino) else { return reply.error(Errno::EISDIR) };
        if !file.may_be_opened(flags) {
            return reply.error(Errno::EROFS);
        }
        // Rendering is put off to the first read: a text that is rendered now would be stale if the read
        // comes late, which it does when there is too much to do already. A reader in the slow lane opens
        // there, too.
        if file.can_always_be_opened() && !self.service.is_in_slow_lane(pid) {
            return reply.opened(self.files.open(None), OPEN_FLAGS);
        }
        let served = Arc::clone(self);
        if let File::ByThread(_) = file {
            return self.service.ask_for_permission(in_flight, pid, move |permitted| match permitted {
                Ok(()) => reply.opened(served.files.open(None), OPEN_FLAGS),
                Err(error) => reply.error(served.errno(&error)),
            });
        }
        file.ask(&self.service, in_flight, pid, move |text| match text {
            Ok(text) => reply.opened(served.files.open(Some(text)), OPEN_FLAGS),
            Err(error) => reply.error(served.errno(&error)),
        });
    }

    pub(super) fn read(self: &Arc<Self>, request: FileRequest, offset: u64, size: u32, reply: ReplyData) {
        let FileRequest { in_flight, pid, ino, handle } = request;
        let file = match self.files.read_source(handle, offset, || self.file(ino)) {
            Some(ReadSource::Text(text)) => return reply.data(range(&text.bytes, offset, size)),
            Some(ReadSource::Render(File::ByThread(what))) => {
                return self.read_by_thread(in_flight, what, (offset, size), reply);
            }
            Some(ReadSource::Render(file)) => file,
            Some(ReadSource::Lost(file)) => {
                return reply.error(self.errno(&Error::TextGone(file.path())));
            }
            None => return reply.error(Errno::EBADF),
        };
        let served = Arc::clone(self);
        file.ask(&self.service, in_flight, pid, move |text| match text {
            Ok(text) => {
                served.files.set_text(handle, &text);
                reply.data(range(&text.bytes, offset, size));
            }
            Err(error) => reply.error(served.errno(&error)),
        });
    }

    /// Whoever could open the file may read of any thread.
    fn read_by_thread(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        what: ByThread,
        (offset, size): (u64, u32),
        reply: ReplyData,
    ) {
        let thread = u32::try_from(offset).map(Pid::new);
        let Some(thread) = thread.ok().filter(|thread| *thread != Pid::UNSEEN) else {
            return reply.error(Errno::ESRCH);
        };
        let served = Arc::clone(self);
        self.service.ask_by_thread(in_flight, what, thread, move |answer| match answer {
            // A part of it would be no answer.
            Ok(answer) if answer.len() > size as usize => reply.error(Errno::EINVAL),
            Ok(answer) => reply.data(&answer),
            Err(error) => reply.error(served.errno(&error)),
        });
    }

    pub(super) fn release(&self, ino: INodeNo, handle: FileHandle, reply: ReplyEmpty) {
        if self.pressure(ino).is_some() {
            self.service.closed(OpenFile::new(handle.0));
        }
        self.files.release(handle);
        reply.ok();
    }
}

/// The part of a text that a read asks for: short at its end, empty beyond.
pub(super) fn range(text: &[u8], offset: u64, size: u32) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let end = start.saturating_add(size as usize).min(text.len());
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_end_with_the_text() {
        assert_eq!(range(b"hello", 1, 3), b"ell");
        assert_eq!(range(b"hello", 3, 100), b"lo");
        assert_eq!(range(b"hello", 5, 1), b"");
        assert_eq!(range(b"hello", u64::MAX, u32::MAX), b"");
    }
}
