//! A rendered view, and how old it may be.

use crate::error::Error;
use crate::service::scheduling::owner::Owner;
use cgprocfs_core::snapshot::Snapshot;
use cgprocfs_core::view::ViewId;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How old a number may be when it is served. The promise to readers is 100 ms; the rest is for a reader that
/// waits for a processor after its text was chosen.
pub const MAX_AGE: Duration = Duration::from_millis(50);

/// The text of one view for one container at one moment.
#[derive(Debug)]
pub struct Rendered {
    /// When the snapshot was complete. Where the kernel took long over it, its numbers are no older than the
    /// request.
    pub sampled_at: Instant,
    /// The contents of the file.
    pub bytes: Vec<u8>,
    /// The reader's cgroup.
    pub cgroup: Arc<[u8]>,
}

impl Rendered {
    /// Whether its numbers may still be served.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.sampled_at.elapsed() < MAX_AGE
    }
}

pub(in crate::service) fn render(
    view: ViewId,
    snapshot: &Snapshot,
    sampled_at: Instant,
    cgroup: &Owner,
) -> Result<Arc<Rendered>, Error> {
    let mut bytes = Vec::with_capacity(2048);
    view.text(snapshot, &mut bytes)?;
    bytes.shrink_to_fit();
    Ok(Arc::new(Rendered { sampled_at, bytes, cgroup: Arc::clone(cgroup) }))
}
