//! The text of a view.

use super::owner::Owner;
use crate::error::Error;
use cgprocfs_core::snapshot::Snapshot;
use cgprocfs_core::view::ViewId;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How old a number may be when it is served. The promise is 100 ms; the rest is for a reader
/// that waits for a processor after the text was chosen.
pub const MAX_AGE: Duration = Duration::from_millis(50);

/// The text of one view for one container at one moment.
#[derive(Debug)]
pub struct Text {
    /// When its numbers had been read. They are of then, or, where the kernel takes long over them, of when somebody had asked.
    pub taken: Instant,
    /// What the file says.
    pub bytes: Vec<u8>,
    /// The cgroup of who reads it.
    pub cgroup: Arc<[u8]>,
}

impl Text {
    /// Whether its numbers may still be served.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.taken.elapsed() < MAX_AGE
    }
}

pub(super) fn render(
    view: ViewId,
    snapshot: &Snapshot,
    taken: Instant,
    cgroup: &Owner,
) -> Result<Arc<Text>, Error> {
    let mut bytes = Vec::with_capacity(2048);
    view.text(snapshot, &mut bytes)?;
    bytes.shrink_to_fit();
    Ok(Arc::new(Text { taken, bytes, cgroup: Arc::clone(cgroup) }))
}
