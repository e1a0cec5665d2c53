//! The table of open files, and which of their texts are dropped to save memory.

use crate::fuse::file::File;
use crate::service::Rendered;
use crate::shares::excess;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many opens there are between two searches for texts that nobody needs any more.
pub(super) const EVICTION_INTERVAL_OPENS: usize = 4096;
/// How many bytes of text are given to open files between two searches,
pub(super) const EVICTION_INTERVAL_BYTES: usize = 16 << 20;
/// or, where very many files are open, how many bytes for each of them: a search goes through all files.
const EVICTION_INTERVAL_BYTES_PER_FILE: usize = 256;
/// How long a reader may take over one text. One that reads on after that reads a newer text.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Where all texts together are larger than this, those tenants that have most of it get less time: a tenant can begin many
/// texts and never go on.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// Texts of one cgroup whose ages differ by less than this are evicted together,
const AGE_STEP: Duration = Duration::from_secs(15);
/// in groups of about this many bytes.
const GROUP_BYTES: usize = 256 << 10;

#[derive(Default)]
pub(super) struct HandleTable {
    /// The files that this server opened, by their index.
    pub(super) own: Slab<Handle>,
    /// The files that predecessors opened and that were read from since, by their whole handle.
    pub(super) inherited: HashMap<u64, Handle>,
    opens_since_eviction: usize,
    bytes_since_eviction: usize,
}

/// Where a handle is found.
#[derive(Clone, Copy)]
pub(super) enum Key {
    /// An index among this server's own files.
    Own(usize),
    /// A handle that a predecessor gave out.
    Inherited(u64),
}

pub(super) struct Handle {
    pub(super) file: File,
    /// `None` before the first read, and once it was dropped to save memory.
    pub(super) text: Option<Arc<Rendered>>,
    /// Whether some of `text` was given out already, so that the rest has to come from it too.
    pub(super) is_partly_read: bool,
}

impl HandleTable {
    /// The file of a handle. One that a predecessor opened is entered when it is first asked for.
    pub(super) fn find(&mut self, key: Key, inherited: impl FnOnce() -> Option<File>) -> Option<&mut Handle> {
        match key {
            Key::Own(index) => self.own.get_mut(index),
            Key::Inherited(handle) => match self.inherited.entry(handle) {
                Entry::Occupied(handle) => Some(handle.into_mut()),
                Entry::Vacant(vacant) => {
                    Some(vacant.insert(Handle { file: inherited()?, text: None, is_partly_read: false }))
                }
            },
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        match key {
            Key::Own(index) => drop(self.own.try_remove(index)),
            Key::Inherited(handle) => drop(self.inherited.remove(&handle)),
        }
        if self.own.is_empty() && self.own.capacity() > EVICTION_INTERVAL_OPENS {
            self.own.shrink_to_fit();
        }
    }

    /// Counts opened files and the text that one was given, and evicts texts once there were enough of either. A file that
    /// stays open costs us the size of its text, which its owner must not choose.
    pub(super) fn evict_if_due(&mut self, opens: usize, given: Option<&Rendered>) {
        self.opens_since_eviction += opens;
        self.bytes_since_eviction += given.map_or(0, |text| text.bytes.len());
        let enough_opens = self.opens_since_eviction >= EVICTION_INTERVAL_OPENS.max(self.own.len() / 2);
        let interval = EVICTION_INTERVAL_BYTES.max(self.own.len() * EVICTION_INTERVAL_BYTES_PER_FILE);
        if enough_opens || self.bytes_since_eviction >= interval {
            (self.opens_since_eviction, self.bytes_since_eviction) = (0, 0);
            if self.evict_stale(READ_TIMEOUT) > MAX_BYTES {
                self.evict_excess(MAX_BYTES);
            }
        }
    }

    /// Drops the texts that would be made anew anyway, and those of which the first part was read and that are older than
    /// `timeout`. Returns about how many bytes are left.
    pub(super) fn evict_stale(&mut self, timeout: Duration) -> usize {
        let mut left = 0;
        for handle in self.all() {
            let is_needed = |text: &Arc<Rendered>| match handle.is_partly_read {
                true => text.sampled_at.elapsed() < timeout,
                false => text.is_fresh(),
            };
            handle.text.take_if(|text| !is_needed(text));
            left += handle.text.as_ref().map_or(0, weight);
        }
        left
    }

    /// Drops texts until no more than `max_bytes` are left: the oldest ones of the heaviest branch of the cgroup hierarchy, so
    /// that no reader has to go on in another text because of what other containers have begun.
    pub(super) fn evict_excess(&mut self, max_bytes: usize) {
        // There may be very many files, and others wait for the table meanwhile: so texts of the same cgroup and about the
        // same age are handled as one.
        let mut groups: Vec<TextGroup> = Vec::new();
        let mut latest: HashMap<(*const u8, u64), usize> = HashMap::new();
        let (mut group_of, now) = (Vec::with_capacity(self.own.len()), Instant::now());
        for text in self.all().map(|handle| handle.text.as_ref()) {
            group_of.push(text.map(|text| {
                let age = now.saturating_duration_since(text.sampled_at).as_secs() / AGE_STEP.as_secs();
                let group = latest.entry((text.cgroup.as_ptr(), age)).or_insert(usize::MAX);
                if groups.get(*group).is_none_or(|group| group.weight >= GROUP_BYTES) {
                    *group = groups.len();
                    groups.push(TextGroup { cgroup: Arc::clone(&text.cgroup), age, weight: 0 });
                }
                groups[*group].weight += weight(text);
                *group
            }));
        }
        let mut by_age: Vec<_> = groups.iter().enumerate().collect();
        by_age.sort_by_key(|(_, group)| Reverse(group.age));
        let held = by_age.into_iter().map(|(number, group)| (number, &*group.cgroup, group.weight));
        let excess: HashSet<usize> = excess(held, max_bytes).into_iter().collect();
        for (handle, group) in self.all().zip(group_of) {
            if group.is_some_and(|group| excess.contains(&group)) {
                handle.text = None;
            }
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Handle> {
        self.own.iter_mut().map(|(_, handle)| handle).chain(self.inherited.values_mut())
    }
}

/// Texts of one cgroup and about one age.
struct TextGroup {
    cgroup: Arc<[u8]>,
    /// In units of [`AGE_STEP`].
    age: u64,
    weight: usize,
}

/// How many bytes a text takes, with the path of its cgroup. A text that several files share counts in parts.
fn weight(text: &Arc<Rendered>) -> usize {
    (text.bytes.len() + text.cgroup.len()) / Arc::strong_count(text)
}
