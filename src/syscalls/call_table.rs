//! Which calls were received and are not answered yet, in memory that outlives the process. The kernel gives a
//! call out once: if whoever has received it ends, its caller waits for ever, unless somebody else answers.

use crate::sys::map_shared;
use rustix::fs::ftruncate;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many calls are noted at a time. More are answered, too, and lost if the process ends meanwhile.
const SLOTS: usize = 2048;
/// The number of the listener, and the call's id there; 0 is none.
const WORDS: usize = 2 * SLOTS;

/// The table.
#[derive(Clone, Copy)]
pub struct CallTable(&'static [AtomicU64]);

/// A call that is in the table until this is dropped.
pub struct ReceivedCall(&'static [AtomicU64]);

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
    pub(super) fn begin(self, listener: u64, id: u64) -> Option<ReceivedCall> {
        let is_taken = |slot: &&[AtomicU64]| {
            slot[1].compare_exchange(0, id, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let slot = self.0.chunks_exact(2).find(is_taken)?;
        slot[0].store(listener, Ordering::Release);
        Some(ReceivedCall(slot))
    }

    /// Takes out the calls that a predecessor has left: the numbers of their listeners, and their ids.
    pub fn take_left(self) -> Vec<(u64, u64)> {
        let take =
            |slot: &[AtomicU64]| (slot[0].swap(0, Ordering::AcqRel), slot[1].swap(0, Ordering::AcqRel));
        self.0.chunks_exact(2).map(take).filter(|(listener, id)| *listener != 0 && *id != 0).collect()
    }
}

impl Drop for ReceivedCall {
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

    #[test]
    fn what_was_received_and_not_answered_is_left() {
        let file = memfd_create("calls", MemfdFlags::CLOEXEC).unwrap();
        let table = CallTable::open(file.as_fd()).unwrap();
        let answered = table.begin(7, 70).unwrap();
        std::mem::forget(table.begin(8, 80));
        std::mem::forget(table.begin(7, 71));
        drop(answered);
        let successor = CallTable::open(file.as_fd()).unwrap();
        let mut left = successor.take_left();
        left.sort_unstable();
        assert_eq!(left, [(7, 71), (8, 80)]);
        assert!(successor.take_left().is_empty());
        let all: Vec<_> = (1..=SLOTS as u64).map(|id| table.begin(1, id).unwrap()).collect();
        assert!(table.begin(1, 1).is_none());
        drop(all);
        assert!(table.begin(1, 1).is_some());
    }
}
