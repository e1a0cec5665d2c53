//! The workers of a service.

use super::dispatcher::Job;
use super::lane::Lane;
use super::owner::Owner;
use super::priority::LessImportant;
use super::worker_pool::WorkerPool;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// A pool of workers for each lane.
pub(in crate::service) struct Workers {
    fast: Arc<WorkerPool>,
    slow: Arc<WorkerPool>,
    blocking: Arc<WorkerPool>,
}

impl Workers {
    /// Workers of which those for the slow lane, and those that may hang, are less important.
    pub(in crate::service) fn new(priority: LessImportant) -> Self {
        Self {
            fast: Arc::new(WorkerPool::fast()),
            slow: Arc::new(WorkerPool::slow(priority)),
            blocking: Arc::new(WorkerPool::blocking(priority)),
        }
    }

    /// Starts the threads that take jobs in, which end when this is dropped. The first job of a lane does so
    /// too.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(in crate::service) fn start_dispatchers(&self) -> io::Result<()> {
        [&self.fast, &self.slow, &self.blocking].into_iter().try_for_each(|pool| pool.start_dispatcher())
    }

    /// Queues a job in `lane`, as [`WorkerPool::push`] does. Waits for nothing.
    pub(in crate::service) fn enqueue(&self, lane: Lane, owner: Owner, job: Job) {
        let pool = match lane {
            Lane::Fast => &self.fast,
            Lane::Slow => &self.slow,
            Lane::Blocking => &self.blocking,
        };
        pool.push(lane, owner, job);
    }

    /// Runs a short job at `at`, as [`WorkerPool::push_later`] does. Waits for nothing.
    pub(in crate::service) fn enqueue_at(&self, at: Instant, job: Job) {
        self.fast.push_later(at, job);
    }
}
