//! What calls are answered.

use super::caller_memory::{CallerMemory, innermost_id};
use super::calls::{Call, call_of};
use super::listener::{Answer, Listener, WaitingCall};
use crate::service::Service;
use crate::sys;
use cgprocfs_core::snapshot::{Needs, Scope, Snapshot};
use cgprocfs_core::syscalls::WordSize;
use cgprocfs_core::syscalls::affinity::{of_mask, share, to_mask};
use cgprocfs_core::syscalls::sysinfo::{SysInfo, UptimeOf};
use std::io;
use std::sync::Arc;

/// Answers the calls of containers.
pub struct Answering {
    service: Arc<Service>,
    uptime: UptimeOf,
}

/// What a call returns, and what it writes to the caller's memory.
struct Reply {
    value: i64,
    address: u64,
    bytes: Vec<u8>,
}

/// No mask of processors is longer (`CONFIG_NR_CPUS` of any architecture).
const MAX_MASK: usize = 8192;

impl Answering {
    /// One that says what `service` does, and whose age sysinfo(2) says.
    #[must_use]
    pub fn new(service: Arc<Service>, uptime: UptimeOf) -> Self {
        Self { service, uptime }
    }

    /// Answers one call after the other, as long as there can be any.
    ///
    /// # Errors
    /// The error that the kernel returns for the listener.
    pub fn run(&self, listener: &Listener) -> io::Result<()> {
        while listener.wait()? {
            if let Some(call) = listener.receive()? {
                listener.answer(&call, self.answer(listener, &call).unwrap_or(Answer::Kernel));
            }
        }
        Ok(())
    }

    /// What one call is answered; `None` where the kernel is to.
    fn answer(&self, listener: &Listener, call: &WaitingCall) -> Option<Answer> {
        let reply = match call_of(call.architecture, call.number)? {
            (Call::SysInfo, words) => self.sys_info(call, words)?,
            (Call::GetAffinity, words) => self.affinity(call, words)?,
        };
        let memory = CallerMemory::open(call.thread).ok()?;
        // Only now is it certain whose memory that is, and whose numbers those are.
        let is_written = listener.is_waiting(call) && memory.write(reply.address, &reply.bytes).ok()?;
        is_written.then_some(Answer::Value(reply.value))
    }

    fn sys_info(&self, call: &WaitingCall, words: WordSize) -> Option<Reply> {
        let uptime = self.uptime;
        let take = move |snapshot: &Snapshot, _: &[u8]| SysInfo::of(snapshot, uptime);
        let info = self.service.value(call.thread, SysInfo::NEEDS, take);
        let info = info.inspect_err(|error| self.service.log(error)).ok()??;
        let page = self.service.source().machine().page.to_bytes();
        Some(Reply { value: 0, address: call.arguments[0], bytes: info.to_bytes(words, page) })
    }

    fn affinity(&self, call: &WaitingCall, words: WordSize) -> Option<Reply> {
        let [pid, length, address, ..] = call.arguments;
        // The kernel looks at 32 bits of both.
        let low_half = |argument: u64| u32::try_from(argument & u64::from(u32::MAX)).unwrap_or(0);
        let (pid, length) = (low_half(pid), usize::try_from(low_half(length)).ok()?);
        let is_own = pid == 0 || innermost_id(call.thread).ok()? == Some(pid.into());
        let word = if words == WordSize::Bits32 { 4 } else { 8 };
        if !is_own || length % word != 0 {
            return None;
        }
        let mut mask = vec![0; length.next_multiple_of(8).min(MAX_MASK)];
        let filled = sys::affinity_of(call.thread, &mut mask).ok()?;
        mask.truncate(filled);
        let take = |snapshot: &Snapshot, container: &[u8]| match snapshot.scope {
            Scope::Host(_) => Ok(None),
            Scope::Container(_) => Ok(snapshot.cpus.as_ref().map(|cpus| (cpus.count(), container.to_vec()))),
        };
        let found = self.service.value(call.thread, Needs::CPUS, take);
        let (count, container) = found.inspect_err(|error| self.service.log(error)).ok()??;
        let share = share(&of_mask(&mask), count, &container)?;
        let bytes = to_mask(&share, filled.min(length));
        Some(Reply { value: i64::try_from(bytes.len()).ok()?, address, bytes })
    }
}
