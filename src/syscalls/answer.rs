//! What calls are answered.

use super::caller::{CallerMemory, binds_uptime, named_by};
use super::calls::{Call, call_of};
use super::listener::{Answer, Listener};
use super::numbers::Numbers;
use super::waiting_call::WaitingCall;
use crate::sys;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::syscalls::WordSize;
use cgprocfs_core::syscalls::affinity::{of_mask, to_mask};
use cgprocfs_core::syscalls::sysinfo::UptimeOf;
use cgprocfs_core::units::Bytes;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Answers the calls of containers.
pub struct Answering {
    numbers: Arc<dyn Numbers>,
    page: Bytes,
    uptime: Option<UptimeOf>,
}

/// What a call returns, and what it writes to the caller's memory.
struct Reply {
    value: i64,
    address: u64,
    bytes: Vec<u8>,
}

/// No mask of processors is longer, in bytes.
const MAX_MASK: usize = 8192;

/// So many processes try to answer a call. It need not be the one that has ended them.
const MAX_ATTEMPTS: u64 = 3;

/// How long a listener rests that failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Says what went wrong with a listener, and gives that time to pass.
pub(super) fn rest(error: &io::Error) {
    log::warn!("cannot receive a system call: {error}");
    thread::sleep(RETRY_INTERVAL);
}

impl Answering {
    /// One that tells what `numbers` knows. Whose age sysinfo(2) tells goes by what the caller reads in
    /// `/proc/uptime`, unless it is given.
    pub fn new(numbers: impl Numbers, uptime: Option<UptimeOf>) -> Self {
        let page = Bytes::new(u64::try_from(rustix::param::page_size()).unwrap_or(4096));
        Self { numbers: Arc::new(numbers), page, uptime }
    }

    /// Answers one call after the other, as long as there can be any. Whatever goes wrong, the listener stays:
    /// without it calls would fail.
    pub fn run(&self, listener: &Listener) {
        loop {
            match listener.wait().and_then(|may_call| self.answer_next(listener).map(|()| may_call)) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => rest(&error),
            }
        }
    }

    /// Answers a call that is there.
    ///
    /// # Errors
    /// The error that the kernel returns for the listener.
    pub(super) fn answer_next(&self, listener: &Listener) -> io::Result<()> {
        if !listener.has_call() {
            return Ok(());
        }
        if let Some(call) = listener.receive()? {
            let noted = listener.note(&call);
            self.answer_received(listener, &call, 0);
            drop(noted);
        }
        Ok(())
    }

    /// Answers a call that `attempts` processes have had before, which they did not survive. The kernel answers
    /// one that has ended several.
    pub(super) fn answer_received(&self, listener: &Listener, call: &WaitingCall, attempts: u64) {
        // A panic was logged where it happened, and is no reason for the call to fail.
        let answer = || catch_unwind(AssertUnwindSafe(|| self.answer(listener, call))).ok().flatten();
        let answer = (attempts < MAX_ATTEMPTS).then(answer).flatten();
        listener.answer(call, answer.unwrap_or(Answer::Kernel));
    }

    /// What one call is answered; `None` where the kernel is to.
    fn answer(&self, listener: &Listener, call: &WaitingCall) -> Option<Answer> {
        if call.thread == Pid::UNSEEN {
            return None;
        }
        let reply = match call_of(call.architecture, call.number)? {
            (Call::SysInfo, words) => self.sys_info(call, words)?,
            (Call::GetAffinity, words) => self.affinity(call, words)?,
        };
        let memory = CallerMemory::open(call.thread).ok()?;
        // Only then is it certain whose memory that is, and whose numbers those are.
        let may_write =
            memory.is_writable(reply.address, reply.bytes.len()).ok()? && listener.is_waiting(call);
        let written = may_write.then(|| memory.write(reply.address, &reply.bytes))?;
        written.is_ok().then_some(Answer::Value(reply.value))
    }

    fn sys_info(&self, call: &WaitingCall, words: WordSize) -> Option<Reply> {
        let info = self.numbers.sys_info(call.thread)?;
        let uptime = self.uptime.unwrap_or_else(|| match binds_uptime(call.thread) {
            Ok(true) => UptimeOf::Container,
            _ => UptimeOf::System,
        });
        Some(Reply { value: 0, address: call.arguments[0], bytes: info.to_bytes(words, self.page, uptime) })
    }

    fn affinity(&self, call: &WaitingCall, words: WordSize) -> Option<Reply> {
        let [pid, length, address, ..] = call.arguments;
        // The kernel looks at 32 bits of both.
        let low_half = |argument: u64| u32::try_from(argument & u64::from(u32::MAX)).unwrap_or(0);
        let (pid, length) = (low_half(pid), usize::try_from(low_half(length)).ok()?);
        let thread = if pid == 0 { call.thread } else { named_by(call.thread, pid).ok()?? };
        let word = if words == WordSize::Bits32 { 4 } else { 8 };
        let mut mask = vec![0; length.next_multiple_of(8).min(MAX_MASK)];
        let filled = sys::affinity_of(thread, &mut mask).ok()?;
        // A mask that is too short is the kernel's to refuse.
        if length % word != 0 || filled > length {
            return None;
        }
        mask.truncate(filled);
        let share = self.numbers.cpu_share(call.thread)?;
        let bytes = to_mask(&share.within(&of_mask(&mask))?, filled);
        Some(Reply { value: i64::try_from(bytes.len()).ok()?, address, bytes })
    }
}
