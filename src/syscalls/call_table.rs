//! Which calls were received and are not answered yet, in memory that outlives the process. The kernel gives a
//! call out once: if whoever has received it ends, its caller waits for ever, unless the next process answers.

use super::waiting_call::WaitingCall;
use crate::sys::map_shared;
use cgprocfs_core::parse::pid::Pid;
use rustix::fs::ftruncate;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many calls are noted at a time. More are answered, too, and lost if the process ends meanwhile.
const SLOTS: usize = 1024;
/// The number of the listener and how many processes have had the call, the call's id, which is claimed first
/// and 0 for a free slot, and what is known of the call.
const WORDS_A_SLOT: usize = 8;
/// The last call of each listener, whose place goes by its number.
const LISTENERS: usize = 16_384;
const WORDS: usize = WORDS_A_SLOT * SLOTS + LISTENERS;
/// More listeners than that there are not.
const ATTEMPT: u64 = 1 << 48;

/// The table.
#[derive(Clone, Copy)]
pub struct CallTable(&'static [AtomicU64]);

/// A call that is in the table until this is dropped.
pub(super) struct NotedCall(&'static [AtomicU64]);

/// A call that the process before this one has received and not answered.
pub struct LeftCall {
    /// The number of its listener.
    pub listener: u64,
    pub(super) call: WaitingCall,
    /// How many processes have had it.
    pub(super) attempts: u64,
    /// It stays in the table until it is answered.
    pub(super) noted: NotedCall,
}

impl CallTable {
    /// The table in a file, which becomes as long as it has to be. It stays mapped until the process ends.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn open(file: BorrowedFd<'_>) -> io::Result<Self> {
        ftruncate(file, (WORDS * size_of::<AtomicU64>()) as u64)?;
        Ok(Self(map_shared(file, 0, WORDS)?))
    }

    /// Notes a call of a listener with a number above 0; `None` if the table is full.
    pub(super) fn note(self, listener: u64, call: &WaitingCall) -> Option<NotedCall> {
        let is_claimed = |slot: &&[AtomicU64]| {
            slot[1].compare_exchange(0, call.id, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        self.last_of(listener).store(call.id, Ordering::Relaxed);
        let slot = self.slots().find(is_claimed)?;
        let made = u64::from(call.architecture) << 32 | u64::from(call.number);
        let [first, second, third, ..] = call.arguments;
        for (word, value) in slot[2..].iter().zip([call.thread.get().into(), made, first, second, third]) {
            word.store(value, Ordering::Relaxed);
        }
        slot[0].store(listener, Ordering::Release);
        Some(NotedCall(slot))
    }

    /// The calls that the process before this one has left. To be called once, before any is noted.
    pub fn left(self) -> Vec<LeftCall> {
        let left = |slot: &'static [AtomicU64]| {
            let noted = NotedCall(slot);
            let listener = slot[0].load(Ordering::Acquire);
            let [thread, made, first, second, third] =
                [2, 3, 4, 5, 6].map(|index: usize| slot[index].load(Ordering::Relaxed));
            let low_half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
            let call = WaitingCall {
                id: slot[1].load(Ordering::Acquire),
                thread: Pid::new(low_half(thread)),
                architecture: low_half(made >> 32),
                number: low_half(made),
                arguments: [first, second, third, 0, 0, 0],
            };
            // What was not noted as a whole is taken out.
            let is_whole = listener != 0 && call.id != 0;
            is_whole.then(|| slot[0].store(listener.saturating_add(ATTEMPT), Ordering::Release))?;
            let (listener, attempts) = (listener % ATTEMPT, listener / ATTEMPT + 1);
            Some(LeftCall { listener, call, attempts, noted })
        };
        self.slots().filter_map(left).collect()
    }

    /// The last call of a listener that was noted; `None` if none was.
    pub(super) fn last(self, listener: u64) -> Option<u64> {
        Some(self.last_of(listener).load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    fn slots(self) -> impl Iterator<Item = &'static [AtomicU64]> {
        self.0[..WORDS_A_SLOT * SLOTS].chunks_exact(WORDS_A_SLOT)
    }

    fn last_of(self, listener: u64) -> &'static AtomicU64 {
        let index = usize::try_from(listener % LISTENERS as u64).unwrap_or(0);
        &self.0[WORDS_A_SLOT * SLOTS + index]
    }
}

impl Drop for NotedCall {
    fn drop(&mut self) {
        self.0[0].store(0, Ordering::Release);
        self.0[1].store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::os::fd::AsFd;

    fn call(id: u64) -> WaitingCall {
        let thread = Pid::new(4242);
        WaitingCall {
            id,
            thread,
            architecture: 0xc000_003e,
            number: 99,
            arguments: [u64::MAX, 2, 3, 0, 0, 0],
        }
    }

    #[test]
    fn what_was_received_and_not_answered_is_left() {
        let file = memfd_create("calls", MemfdFlags::CLOEXEC).unwrap();
        let table = CallTable::open(file.as_fd()).unwrap();
        let answered = table.note(7, &call(70)).unwrap();
        std::mem::forget(table.note(8, &call(80)));
        std::mem::forget(table.note(7, &call(71)));
        drop(answered);
        assert_eq!([7, 8, 9].map(|listener| table.last(listener)), [Some(71), Some(80), None]);
        for attempts in 1..3 {
            let mut left = CallTable::open(file.as_fd()).unwrap().left();
            left.sort_unstable_by_key(|left| left.listener);
            let shown: Vec<_> = left.iter().map(|left| (left.listener, left.call, left.attempts)).collect();
            assert_eq!(shown, [(7, call(71), attempts), (8, call(80), attempts)]);
            // This process ends, too.
            std::mem::forget(left);
        }
        drop(table.left());
        assert!(table.left().is_empty());
        let all: Vec<_> = (1..=SLOTS as u64).map(|id| table.note(1, &call(id)).unwrap()).collect();
        assert!(table.note(1, &call(1)).is_none());
        drop(all);
        assert!(table.note(1, &call(1)).is_some());
    }
}
