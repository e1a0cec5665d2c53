//! Operation was answered lately, by the readers' cgroup: its open files, its last snapshot, the texts made from
//! it.

use super::aside::Owner;
use super::share::{Pace, Share};
use super::{Again, MAX_AGE, Text, render};
use crate::error::Error;
use crate::kernel::{Caller, CgroupAncestry};
use crate::shares::excess;
use cgprocfs_core::snapshot::{Needs, Scope, Snapshot};
use cgprocfs_core::topology::Topology;
use cgprocfs_core::view::ViewId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// How often, in readings, those that are too old to be served again are looked for. A tenant can make many cgroups, each
/// with a reading of its own.
const READINGS: usize = 64;

/// A cache that is bounded by the files it keeps open. Of what is in the heaviest branch of the hierarchy what was not used for
/// the longest time goes first.
pub(super) struct Answers {
    most_files: usize,
    clock: AtomicU64,
    readings: AtomicUsize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    by_cgroup: HashMap<Owner, Arc<CgroupAnswers>>,
    open_files: usize,
}

/// The answers for the readers in one cgroup.
pub(super) struct CgroupAnswers {
    cgroup: Owner,
    path: CgroupAncestry,
    last_used: AtomicU64,
    /// Of those for whom it is the container.
    share: Arc<Share>,
    pub(super) pace: Pace,
    /// Of files of the host that are read for it.
    pub(super) pace_of_files: Pace,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    /// Readers in one cgroup may have containers of their own, by their namespaces.
    answers: Vec<Answer>,
    /// Somebody reads the cgroup.
    is_read: bool,
    /// Operation is to be done once it is read.
    parked: Vec<Again>,
}

/// Operation was read for some of a cgroup's readers.
pub(super) struct Answer {
    cgroup: Owner,
    container_length: usize,
    /// Of all hierarchies.
    membership: Vec<u8>,
    pid_namespace: Option<u64>,
    boot_offset: i64,
    /// When it was begun to be read,
    began: Instant,
    /// and when that was done: the kernel may take long.
    taken: Instant,
    needs: Needs,
    pub(super) snapshot: Snapshot,
    texts: Vec<Option<Arc<Text>>>,
    topology: Option<Arc<Topology>>,
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
        open: impl FnOnce() -> Result<CgroupAncestry, Error>,
    ) -> Result<Arc<CgroupAnswers>, Error> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        if let Some(known) = self.cache.lock().by_cgroup.get(cgroup) {
            known.last_used.store(now, Ordering::Relaxed);
            return Ok(Arc::clone(known));
        }
        let opened = Arc::new(CgroupAnswers {
            cgroup: cgroup.into(),
            path: open()?,
            last_used: AtomicU64::new(now),
            share: Arc::default(),
            pace: Pace::default(),
            pace_of_files: Pace::default(),
            desk: Mutex::default(),
        });
        let mut cache = self.cache.lock();
        let evicted = match cache.open_files > self.most_files {
            true => cache.remove_excess(self.most_files - self.most_files / 8),
            false => Vec::new(),
        };
        cache.insert(Arc::clone(&opened));
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
        all.iter().for_each(|answers| answers.forget_old());
    }

    /// Has `cgroup` opened anew by its next reader.
    pub(super) fn forget(&self, cgroup: &[u8]) {
        let removed = self.cache.lock().remove(cgroup);
        drop(removed);
    }

    /// Closes half of what is open, of whoever has most.
    pub(super) fn close_half(&self) {
        let mut cache = self.cache.lock();
        let half = cache.open_files / 2;
        let removed = cache.remove_excess(half);
        drop(cache);
        drop(removed);
    }

    /// Forgets the cgroups that `exists` denies, and the numbers that are too old to be served again.
    pub(super) fn sweep(&self, exists: impl Fn(&CgroupAncestry) -> bool) {
        let all: Vec<_> = self.cache.lock().by_cgroup.values().map(Arc::clone).collect();
        all.iter().for_each(|answers| answers.forget_old());
        let gone: Vec<_> = all.into_iter().filter(|answers| !exists(&answers.path)).collect();
        let mut cache = self.cache.lock();
        let is_gone = |answers: &Arc<CgroupAnswers>| gone.iter().any(|gone| Arc::ptr_eq(gone, answers));
        let names: Vec<_> = cache
            .by_cgroup
            .iter()
            .filter(|(_, answers)| is_gone(answers))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        let removed: Vec<_> = names.iter().map(|name| cache.remove(name)).collect();
        let in_use = cache.by_cgroup.len();
        cache.by_cgroup.shrink_to(in_use * 2);
        drop(cache);
        drop(removed);
    }
}

impl Cache {
    fn insert(&mut self, answers: Arc<CgroupAnswers>) {
        self.remove(&answers.cgroup);
        self.open_files += answers.path.open_files();
        self.by_cgroup.insert(Arc::clone(&answers.cgroup), answers);
    }

    fn remove(&mut self, cgroup: &[u8]) -> Option<Arc<CgroupAnswers>> {
        let removed = self.by_cgroup.remove(cgroup)?;
        self.open_files = self.open_files.saturating_sub(removed.path.open_files());
        Some(removed)
    }

    /// Removes what has more than so many files open.
    fn remove_excess(&mut self, most_files: usize) -> Vec<Option<Arc<CgroupAnswers>>> {
        let last_used = |answers: &Arc<CgroupAnswers>| answers.last_used.load(Ordering::Relaxed);
        let mut all: Vec<_> = self.by_cgroup.values().map(|answers| (last_used(answers), answers)).collect();
        all.sort_unstable_by_key(|(last_used, _)| *last_used);
        let held = all
            .iter()
            .map(|(_, answers)| (Arc::clone(&answers.cgroup), &*answers.cgroup, answers.path.open_files()));
        let excess = excess(held, most_files);
        excess.iter().map(|cgroup| self.remove(cgroup)).collect()
    }
}

impl Answer {
    fn is_fresh(&self) -> bool {
        self.taken.elapsed() < MAX_AGE
    }

    /// Whether it is for such a caller, and no older than it may be for one who asked then.
    fn is_for(&self, caller: &Caller<'_>, needs: Needs, asked: Instant) -> bool {
        (self.began >= asked || self.began.elapsed() < MAX_AGE)
            && self.container_length == caller.container.len()
            && self.membership == caller.proc_cgroup
            && self.pid_namespace == caller.pid_namespace
            && self.boot_offset == caller.boot_offset
            && self.needs.covers(needs)
    }

    /// The text of `view`.
    pub(super) fn text(&mut self, view: ViewId) -> Result<Arc<Text>, Error> {
        let slot = view.index();
        if let Some(text) = self.texts[slot].as_ref() {
            return Ok(Arc::clone(text));
        }
        let text = render(view, &self.snapshot, self.taken, &self.cgroup)?;
        self.texts[slot] = Some(Arc::clone(&text));
        Ok(text)
    }
}

impl Answer {
    /// The processors and nodes of the reader's container; `None` for a reader in none.
    pub(super) fn topology(&mut self) -> Result<Option<Arc<Topology>>, Error> {
        if let Scope::Host(_) = self.snapshot.scope {
            return Ok(None);
        }
        if self.topology.is_none() {
            self.topology = Some(Arc::new(Topology::of(&self.snapshot)?));
        }
        Ok(self.topology.clone())
    }
}

/// Operation is found at a desk.
pub(super) enum Found<T> {
    /// Operation was asked for.
    Answer(T),
    /// Somebody reads the cgroup already.
    IsRead,
    /// Whoever has this has to read it.
    ToBeRead(Reading),
}

impl CgroupAnswers {
    /// The path of the cgroup.
    pub(super) fn cgroup(&self) -> &Owner {
        &self.cgroup
    }

    pub(super) fn path(&self) -> &CgroupAncestry {
        &self.path
    }

    pub(super) fn share(&self) -> &Arc<Share> {
        &self.share
    }

    fn forget_old(&self) {
        self.desk.lock().answers.retain(Answer::is_fresh);
    }

    /// Operation `take` makes of the last answer for such a caller, if that is not too old. If it is, one of those who ask reads
    /// for all of them.
    pub(super) fn find<T>(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        needs: Needs,
        asked: Instant,
        take: impl FnOnce(&mut Answer) -> T,
    ) -> Found<T> {
        let mut desk = self.desk.lock();
        desk.answers.retain(Answer::is_fresh);
        if let Some(answer) = desk.answers.iter_mut().find(|answer| answer.is_for(caller, needs, asked)) {
            return Found::Answer(take(answer));
        }
        if std::mem::replace(&mut desk.is_read, true) {
            return Found::IsRead;
        }
        Found::ToBeRead(Reading { answers: Arc::clone(self), began: Instant::now(), has_ended: false })
    }

    /// Has `job` done once the cgroup is read; gives it back if nobody reads.
    pub(super) fn park(&self, job: Again) -> Option<Again> {
        let mut desk = self.desk.lock();
        if !desk.is_read {
            return Some(job);
        }
        desk.parked.push(job);
        None
    }
}

/// That somebody reads a cgroup, and nobody else does meanwhile.
pub(super) struct Reading {
    answers: Arc<CgroupAnswers>,
    pub(super) began: Instant,
    has_ended: bool,
}

impl Reading {
    /// Operation `take` makes of what was read, which is kept for the next who ask.
    pub(super) fn done<T>(
        &self,
        caller: &Caller<'_>,
        needs: Needs,
        snapshot: Snapshot,
        take: impl FnOnce(&mut Answer) -> T,
    ) -> T {
        let mut answer = Answer {
            cgroup: Arc::clone(&self.answers.cgroup),
            container_length: caller.container.len(),
            membership: caller.proc_cgroup.to_vec(),
            pid_namespace: caller.pid_namespace,
            boot_offset: caller.boot_offset,
            began: self.began,
            taken: Instant::now(),
            needs,
            snapshot,
            texts: vec![None; ViewId::COUNT],
            topology: None,
        };
        let answered = take(&mut answer);
        self.answers.desk.lock().answers.push(answer);
        answered
    }

    /// Ends it, whatever came of it. Operation is to be done now by those who waited for it.
    pub(super) fn end(mut self) -> Vec<Again> {
        self.has_ended = true;
        self.release()
    }

    fn release(&self) -> Vec<Again> {
        let mut desk = self.answers.desk.lock();
        desk.is_read = false;
        std::mem::take(&mut desk.parked)
    }
}

impl Drop for Reading {
    /// After a panic: those who wait are dropped, which is an error to their readers.
    fn drop(&mut self) {
        if !self.has_ended {
            drop(self.release());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Source;
    use std::path::Path;

    #[test]
    fn whoever_opens_many_leaves_room_for_others() {
        let root = Path::new("tests/fixtures/v1-docker/root");
        let source = Source::open(root, None).unwrap();
        let files = source.ancestry(b"/docker").unwrap().open_files();
        let answers = Answers::new(100 * files);
        let ask = |cgroup: &str| {
            let mut is_opened = false;
            let open = || {
                is_opened = true;
                source.ancestry(b"/docker")
            };
            answers.of_cgroup(cgroup.as_bytes(), open).unwrap();
            is_opened
        };
        let others: Vec<_> = (0..5).map(|number| format!("/pods/other/{number}")).collect();
        assert!(others.iter().all(|other| ask(other)));
        for number in 0..1000 {
            assert!(ask(&format!("/pods/tenant/{number}/{number}")));
            let cache = answers.cache.lock();
            assert!(cache.open_files <= 101 * files);
            assert_eq!(cache.open_files, cache.by_cgroup.len() * files);
        }
        assert!(others.iter().all(|other| !ask(other)), "they are still open");
        // Of its own it loses what it has not used for the longest time.
        assert!(!ask("/pods/tenant/950/950") && ask("/pods/tenant/0/0"));
        // Nor does one lose more than it has who is alone.
        assert!(answers.cache.lock().by_cgroup.len() > 80);
    }
}
