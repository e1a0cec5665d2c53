//! The texts of open files, and which of them are dropped to save memory.

use crate::service::Rendered;
use crate::shares::excess;
use fuser::FileHandle;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A search for texts that nobody needs any more is due once so many were given to open files.
pub(super) const EVICTION_INTERVAL_TEXTS: usize = 4096;
/// It is due, too, once so many bytes of text were given out.
pub(super) const EVICTION_INTERVAL_BYTES: usize = 16 << 20;
/// Where very many files are open, it takes so many bytes for each of them: a search goes through all files.
const EVICTION_INTERVAL_BYTES_PER_FILE: usize = 256;
/// How long a reader may take over one text. One that reads on after that reads a newer text.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Where all texts together are larger than this, those tenants that have most of it get less time: a tenant
/// can begin many texts and never go on.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// Texts of one cgroup whose ages differ by less than this are evicted together.
const AGE_STEP: Duration = Duration::from_secs(15);
/// About so many bytes of text are evicted together.
const GROUP_BYTES: usize = 256 << 10;

/// About how many bytes an entry takes besides its text.
pub(super) const ENTRY_BYTES: usize = 64;

/// The open files that hold a text, by their handles.
#[derive(Default)]
pub(super) struct HandleTable {
    by_handle: HashMap<FileHandle, Handle>,
    texts_since_eviction: usize,
    bytes_since_eviction: usize,
}

pub(super) struct Handle {
    pub(super) text: Arc<Rendered>,
    /// Whether some of `text` was given out already, so that the rest has to come from it too.
    pub(super) is_partly_read: bool,
}

impl HandleTable {
    pub(super) fn get_mut(&mut self, handle: FileHandle) -> Option<&mut Handle> {
        self.by_handle.get_mut(&handle)
    }

    /// Gives a file its text.
    pub(super) fn put(&mut self, handle: FileHandle, text: Arc<Rendered>, is_partly_read: bool) {
        let bytes = text.bytes.len();
        self.by_handle.insert(handle, Handle { text, is_partly_read });
        self.evict_if_due(bytes);
    }

    pub(super) fn remove(&mut self, handle: FileHandle) {
        self.by_handle.remove(&handle);
        if self.by_handle.is_empty() && self.by_handle.capacity() > EVICTION_INTERVAL_TEXTS {
            self.by_handle.shrink_to_fit();
        }
    }

    /// Counts a text that a file was given, and evicts texts once there were enough of them. A file that
    /// stays open costs us the size of its text, which its owner must not choose.
    fn evict_if_due(&mut self, bytes: usize) {
        self.texts_since_eviction += 1;
        self.bytes_since_eviction += bytes;
        let held = self.by_handle.len();
        let enough_texts = self.texts_since_eviction >= EVICTION_INTERVAL_TEXTS.max(held / 2);
        let interval = EVICTION_INTERVAL_BYTES.max(held * EVICTION_INTERVAL_BYTES_PER_FILE);
        if enough_texts || self.bytes_since_eviction >= interval {
            (self.texts_since_eviction, self.bytes_since_eviction) = (0, 0);
            if self.evict_stale(READ_TIMEOUT) > MAX_BYTES {
                self.evict_excess(MAX_BYTES);
            }
        }
    }

    /// Drops the texts that would be made anew anyway, and those of which the first part was read and that
    /// are older than `timeout`. Returns about how many bytes are left.
    pub(super) fn evict_stale(&mut self, timeout: Duration) -> usize {
        self.by_handle.retain(|_, Handle { text, is_partly_read }| match is_partly_read {
            true => text.sampled_at.elapsed() < timeout,
            false => text.is_fresh(),
        });
        self.texts().map(weight).sum()
    }

    /// Drops texts until no more than `max_bytes` are left: the oldest ones of the heaviest branch of the
    /// cgroup hierarchy, so that no reader has to go on in another text because of what other containers have
    /// begun.
    pub(super) fn evict_excess(&mut self, max_bytes: usize) {
        // There may be very many texts, and others wait for the table meanwhile: so those of the same cgroup
        // and about the same age are handled as one.
        let mut groups: Vec<TextGroup> = Vec::new();
        let mut latest: HashMap<(*const u8, u64), usize> = HashMap::new();
        let (mut group_of, now) = (HashMap::with_capacity(self.by_handle.len()), Instant::now());
        for (&handle, Handle { text, .. }) in &self.by_handle {
            let age = now.saturating_duration_since(text.sampled_at).as_secs() / AGE_STEP.as_secs();
            let group = latest.entry((text.cgroup.as_ptr(), age)).or_insert(usize::MAX);
            if groups.get(*group).is_none_or(|group| group.weight >= GROUP_BYTES) {
                *group = groups.len();
                groups.push(TextGroup { cgroup: Arc::clone(&text.cgroup), age, weight: 0 });
            }
            groups[*group].weight += weight(text);
            group_of.insert(handle, *group);
        }
        let mut by_age: Vec<_> = groups.iter().enumerate().collect();
        by_age.sort_by_key(|(_, group)| Reverse(group.age));
        let held = by_age.into_iter().map(|(number, group)| (number, &*group.cgroup, group.weight));
        let excess: HashSet<usize> = excess(held, max_bytes).into_iter().collect();
        self.by_handle.retain(|handle, _| !group_of.get(handle).is_some_and(|group| excess.contains(group)));
    }

    /// The texts that are held, once for each file that holds one.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Arc<Rendered>> {
        self.by_handle.values().map(|handle| &handle.text)
    }
}

/// Texts of one cgroup and about one age.
struct TextGroup {
    cgroup: Arc<[u8]>,
    /// In units of [`AGE_STEP`].
    age: u64,
    weight: usize,
}

/// How many bytes a file takes with its text and the path of its cgroup. A text that several files share
/// counts in parts.
fn weight(text: &Arc<Rendered>) -> usize {
    ENTRY_BYTES + (text.bytes.len() + text.cgroup.len()) / Arc::strong_count(text)
}
