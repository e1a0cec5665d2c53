//! The priority of threads that do not serve.

use rustix::process::{getpriority_process, setpriority_process};

/// How nice they are at least, see setpriority(2), and how much nicer than the process: beside a usual program
/// they have a tenth of a processor. A crowd that the slow lane answers would otherwise have as much of the
/// processors as everybody else; with much less, a slow container would get no answer in time beside a program
/// that never sleeps.
const NICE: i32 = 10;

/// The nice value of a less important thread, which is relative to that of the process.
#[derive(Clone, Copy)]
pub(in crate::service) struct LessImportant(Option<i32>);

impl LessImportant {
    /// Looked up before the process is confined.
    pub(in crate::service) fn than_this_process() -> Self {
        Self(getpriority_process(None).ok().map(|nice| (nice + NICE).max(NICE)))
    }

    /// Makes the calling thread less important. Where setpriority(2) is not allowed the thread keeps its
    /// priority.
    pub(in crate::service) fn apply(self) {
        if let Some(nice) = self.0 {
            let _ = setpriority_process(None, nice);
        }
    }
}
