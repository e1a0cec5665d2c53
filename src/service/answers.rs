//! What was answered lately, by container: its open files, its last snapshot, the texts made from it.

use super::{Text, render};
use crate::error::Error;
use crate::service::MAX_AGE;
use crate::snapshot::{Needs, Snapshot};
use crate::source::{Caller, CgroupPath};
use crate::view::{VIEWS, View};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A bounded cache; what was not used for the longest time goes first.
pub(super) struct Answers {
    capacity: usize,
    clock: AtomicU64,
    by_cgroup: Mutex<HashMap<Vec<u8>, Arc<CgroupAnswers>>>,
}

/// The answers for the readers in one cgroup.
pub(super) struct CgroupAnswers {
    path: CgroupPath,
    last_used: AtomicU64,
    /// Readers in one cgroup may have containers of their own, by their namespaces.
    by_container: Mutex<Vec<Answer>>,
}

struct Answer {
    container: usize,
    hugetlb: Option<Vec<u8>>,
    taken: Instant,
    needs: Needs,
    snapshot: Snapshot,
    texts: Vec<Option<Arc<Text>>>,
}

impl Answers {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), clock: AtomicU64::new(0), by_cgroup: Mutex::default() }
    }

    /// The answers for the readers in `cgroup`, which is opened if it is not yet.
    pub(super) fn container(
        &self,
        cgroup: &[u8],
        open: impl FnOnce() -> Result<CgroupPath, Error>,
    ) -> Result<Arc<CgroupAnswers>, Error> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        if let Some(known) = self.by_cgroup.lock().get(cgroup) {
            known.last_used.store(now, Ordering::Relaxed);
            return Ok(Arc::clone(known));
        }
        let opened = Arc::new(CgroupAnswers {
            path: open()?,
            last_used: AtomicU64::new(now),
            by_container: Mutex::default(),
        });
        let mut by_cgroup = self.by_cgroup.lock();
        if by_cgroup.len() >= self.capacity {
            evict(&mut by_cgroup);
        }
        by_cgroup.insert(cgroup.to_vec(), Arc::clone(&opened));
        Ok(opened)
    }

    pub(super) fn forget(&self, cgroup: &[u8]) {
        self.by_cgroup.lock().remove(cgroup);
    }

    pub(super) fn sweep(&self, exists: impl Fn(&CgroupPath) -> bool) {
        self.by_cgroup.lock().retain(|_, answers| exists(&answers.path));
    }

    pub(super) fn len(&self) -> usize {
        self.by_cgroup.lock().len()
    }
}

/// Drops the eighth that was not used for the longest time, so that the search for it is rare.
fn evict(by_cgroup: &mut HashMap<Vec<u8>, Arc<CgroupAnswers>>) {
    let mut ages: Vec<u64> = by_cgroup.values().map(|a| a.last_used.load(Ordering::Relaxed)).collect();
    let oldest = ages.len() / 8;
    let (_, &mut limit, _) = ages.select_nth_unstable(oldest);
    by_cgroup.retain(|_, answers| answers.last_used.load(Ordering::Relaxed) > limit);
}

impl CgroupAnswers {
    pub(super) fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The text of `view`, made anew if the last one is too old. Readers of one cgroup wait for each other, so that it
    /// is read once for all of them.
    pub(super) fn text(
        &self,
        caller: &Caller<'_>,
        view: &'static dyn View,
        load: impl FnOnce(&CgroupPath) -> Result<Snapshot, Error>,
    ) -> Result<Arc<Text>, Error> {
        let mut answers = self.by_container.lock();
        answers.retain(|answer| answer.taken.elapsed() < MAX_AGE);
        let of_caller = |answer: &Answer| {
            answer.container == caller.container
                && answer.hugetlb.as_deref() == caller.hugetlb
                && answer.needs.covers(view.needs())
        };
        let index = match answers.iter().position(of_caller) {
            Some(index) => index,
            None => {
                let taken = Instant::now();
                let snapshot = load(&self.path)?;
                answers.push(Answer {
                    container: caller.container,
                    hugetlb: caller.hugetlb.map(<[u8]>::to_vec),
                    taken,
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
