//! What was answered lately, by the readers' cgroup: its open files, its last snapshot, the texts made from
//! it.

use super::{MAX_AGE, Text, render};
use crate::error::Error;
use crate::snapshot::{Needs, Snapshot};
use crate::source::{Caller, CgroupPath};
use crate::view::{VIEWS, View};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// How often, in readings, those that are too old to be served again are looked for. A tenant can make many cgroups, each
/// with a reading of its own.
const READINGS: usize = 64;

/// A cache that is bounded by the files it keeps open; what was not used for the longest time goes first.
pub(super) struct Answers {
    most_files: usize,
    clock: AtomicU64,
    readings: AtomicUsize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    by_cgroup: HashMap<Vec<u8>, Arc<CgroupAnswers>>,
    open_files: usize,
}

/// The answers for the readers in one cgroup.
pub(super) struct CgroupAnswers {
    path: CgroupPath,
    last_used: AtomicU64,
    /// Readers in one cgroup may have containers of their own, by their namespaces.
    by_container: Mutex<Vec<Answer>>,
}

struct Answer {
    container_length: usize,
    /// Of all hierarchies.
    membership: Vec<u8>,
    pid_namespace: Option<u64>,
    taken: Instant,
    needs: Needs,
    snapshot: Snapshot,
    texts: Vec<Option<Arc<Text>>>,
}

impl Answers {
    /// A cache that keeps about `most_files` files open at most.
    pub(super) fn new(most_files: usize) -> Self {
        Self { most_files, clock: AtomicU64::new(0), readings: AtomicUsize::new(0), cache: Mutex::default() }
    }

    /// The answers for the readers in `cgroup`, which is opened if it is not yet.
    pub(super) fn of_cgroup(
        &self,
        cgroup: &[u8],
        open: impl FnOnce() -> Result<CgroupPath, Error>,
    ) -> Result<Arc<CgroupAnswers>, Error> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        if let Some(known) = self.cache.lock().by_cgroup.get(cgroup) {
            known.last_used.store(now, Ordering::Relaxed);
            return Ok(Arc::clone(known));
        }
        let opened = Arc::new(CgroupAnswers {
            path: open()?,
            last_used: AtomicU64::new(now),
            by_container: Mutex::default(),
        });
        let mut cache = self.cache.lock();
        let evicted = match cache.open_files > self.most_files {
            true => cache.remove_eldest(),
            false => Vec::new(),
        };
        cache.insert(cgroup, Arc::clone(&opened));
        drop(cache);
        // Closing takes a while, and nobody should wait for it.
        drop(evicted);
        Ok(opened)
    }

    /// To be called for each reading.
    pub(super) fn forget_now_and_then(&self) {
        if !self.readings.fetch_add(1, Ordering::Relaxed).is_multiple_of(READINGS) {
            return;
        }
        let all: Vec<_> = self.cache.lock().by_cgroup.values().map(Arc::clone).collect();
        // Where somebody reads at the moment nothing is old.
        for mut answers in all.iter().filter_map(|answers| answers.by_container.try_lock()) {
            answers.retain(Answer::is_fresh);
        }
    }

    /// Has `cgroup` opened anew by its next reader.
    pub(super) fn forget(&self, cgroup: &[u8]) {
        let removed = self.cache.lock().remove(cgroup);
        drop(removed);
    }

    /// Closes everything.
    pub(super) fn clear(&self) {
        let removed = std::mem::take(&mut *self.cache.lock());
        drop(removed);
    }

    /// Forgets the cgroups that `exists` denies, and the numbers that are too old to be served again.
    pub(super) fn sweep(&self, exists: impl Fn(&CgroupPath) -> bool) {
        let all: Vec<_> = self.cache.lock().by_cgroup.values().map(Arc::clone).collect();
        for answers in &all {
            answers.by_container.lock().retain(Answer::is_fresh);
        }
        let gone: Vec<_> = all.into_iter().filter(|answers| !exists(&answers.path)).collect();
        let mut cache = self.cache.lock();
        let is_gone = |answers: &Arc<CgroupAnswers>| gone.iter().any(|gone| Arc::ptr_eq(gone, answers));
        let names: Vec<_> = cache
            .by_cgroup
            .iter()
            .filter(|(_, answers)| is_gone(answers))
            .map(|(name, _)| name.clone())
            .collect();
        let removed: Vec<_> = names.iter().map(|name| cache.remove(name)).collect();
        let in_use = cache.by_cgroup.len();
        cache.by_cgroup.shrink_to(in_use * 2);
        drop(cache);
        drop(removed);
    }
}

impl Cache {
    fn insert(&mut self, cgroup: &[u8], answers: Arc<CgroupAnswers>) {
        self.remove(cgroup);
        self.open_files += answers.path.open_files();
        self.by_cgroup.insert(cgroup.to_vec(), answers);
    }

    fn remove(&mut self, cgroup: &[u8]) -> Option<Arc<CgroupAnswers>> {
        let removed = self.by_cgroup.remove(cgroup)?;
        self.open_files = self.open_files.saturating_sub(removed.path.open_files());
        Some(removed)
    }

    /// Removes the eighth that was not used for the longest time, so that the search for it is rare.
    fn remove_eldest(&mut self) -> Vec<Option<Arc<CgroupAnswers>>> {
        let last_used = |answers: &Arc<CgroupAnswers>| answers.last_used.load(Ordering::Relaxed);
        let mut ages: Vec<u64> = self.by_cgroup.values().map(last_used).collect();
        if ages.is_empty() {
            return Vec::new();
        }
        let eighth = ages.len() / 8;
        let (_, &mut limit, _) = ages.select_nth_unstable(eighth);
        let eldest = self.by_cgroup.iter().filter(|(_, answers)| last_used(answers) <= limit);
        let eldest: Vec<_> = eldest.map(|(cgroup, _)| cgroup.clone()).collect();
        eldest.iter().map(|cgroup| self.remove(cgroup)).collect()
    }
}

impl Answer {
    fn is_fresh(&self) -> bool {
        self.taken.elapsed() < MAX_AGE
    }
}

impl CgroupAnswers {
    pub(super) fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The text of `view`, made anew if the last one is too old. Readers of one cgroup wait for each other,
    /// so that it is read once for all of them.
    pub(super) fn text(
        &self,
        caller: &Caller<'_>,
        view: &'static dyn View,
        load: impl FnOnce(&CgroupPath) -> Result<Snapshot, Error>,
    ) -> Result<Arc<Text>, Error> {
        let mut answers = self.by_container.lock();
        answers.retain(Answer::is_fresh);
        let of_caller = |answer: &Answer| {
            answer.container_length == caller.container_length
                && answer.membership == caller.membership
                && answer.pid_namespace == caller.pid_namespace
                && answer.needs.covers(view.needs())
        };
        let index = match answers.iter().position(of_caller) {
            Some(index) => index,
            None => {
                let snapshot = load(&self.path)?;
                answers.push(Answer {
                    container_length: caller.container_length,
                    membership: caller.membership.to_vec(),
                    pid_namespace: caller.pid_namespace,
                    // The kernel may take longer over memory.stat than an answer lasts: those who waited
                    // for it meanwhile should have it.
                    taken: Instant::now(),
                    needs: view.needs(),
                    snapshot,
                    texts: vec![None; VIEWS.len()],
                });
                answers.len() - 1
            }
        };
        let answer = &mut answers[index];
        let slot = VIEWS.iter().position(|known| known.ino() == view.ino());
        if let Some(text) = slot.and_then(|slot| answer.texts[slot].as_ref()) {
            return Ok(Arc::clone(text));
        }
        let text = render(view, &answer.snapshot, answer.taken)?;
        if let Some(slot) = slot {
            answer.texts[slot] = Some(Arc::clone(&text));
        }
        Ok(text)
    }
}
