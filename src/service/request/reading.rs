//! Reads a cgroup: one thread for all who ask about it.

use super::outcome::{FollowUp, Outcome, StartSearch};
use super::query::Query;
use super::start_search::NotRead;
use super::target::Target;
use crate::error::Error;
use crate::kernel::{Caller, CgroupAncestry};
use crate::service::accounts::cpu_accounts::CpuAccounts;
use crate::service::accounts::load_sampler::LoadRequest;
use crate::service::cache::cache_entry::CacheEntry;
use crate::service::cache::cached_cgroup::Reading;
use crate::service::engine::Service;
use crate::service::scheduling::lane::Lane;
use crate::service::scheduling::pending_request::ThreadRole;
use crate::service::scheduling::permits::Permit;
use crate::service::scheduling::thread_usage::ThreadUsage;
use cgprocfs_core::snapshot::{Needs, Scope, Snapshot};
use std::time::Instant;

impl Service {
    /// Reads the snapshot that `query` needs, caches it, and takes what the query needs from it.
    pub(super) fn read<Q: Query>(
        &self,
        role: ThreadRole,
        caller: &Caller<'_>,
        query: &Q,
        target: Target<'_>,
        mut reading: Reading,
    ) -> Outcome<Q::Extract> {
        let Target { cached, account, container } = target;
        let end = |reading: Reading| FollowUp {
            is_slow: account.is_slow(Instant::now()),
            owner: caller.cgroup.into(),
            again: reading.end(),
        };
        let Some(permit) = self.permit(role, container, cached.read_cost.is_quick()) else {
            return Outcome::Queue(Lane::Fast, caller.cgroup.into(), end(reading));
        };
        self.cache.evict_stale();
        let before = cached.read_cost.begin();
        let read = self.read_missing(cached.ancestry(), caller, query.needs(), &mut reading.earlier);
        crate::failpoint::slow_cgroup();
        let usage = before.map(ThreadUsage::since);
        if let Some(pause) = cached.read_cost.was_read(reading.began.elapsed(), usage, self.fairness.pace) {
            account.make_slow(Instant::now() + pause);
        }
        drop(permit);
        match read {
            Ok(snapshot) => {
                let answer = reading.publish(caller, query.needs(), snapshot, |entry| query.take_from(entry));
                Outcome::Done(answer, end(reading))
            }
            Err(NotRead::Start(container_id)) => {
                self.defer_all(end(reading));
                Outcome::NeedsStart(StartSearch {
                    container_id,
                    cgroup: caller.cgroup.into(),
                    container_path: caller.container.into(),
                    pid: caller.pid,
                    pid_namespace: caller.pid_namespace,
                })
            }
            Err(NotRead::Error(Error::TakesLong(_))) if !role.may_take_long() => {
                Outcome::Queue(Lane::Slow, caller.cgroup.into(), end(reading))
            }
            Err(NotRead::Error(error)) => {
                if error.is_race() {
                    self.forget(caller);
                }
                self.defer_all(end(reading));
                Outcome::Done(Err(error), FollowUp::default())
            }
        }
    }

    /// Permission to read for `container`; workers need none. `None` where others have to do it.
    pub(in crate::service) fn permit(
        &self,
        role: ThreadRole,
        container: &[u8],
        is_quick: bool,
    ) -> Option<Permit<'_>> {
        match role {
            ThreadRole::Helping => None,
            _ if role.is_worker() => Some(Permit::default()),
            _ => self.read_permits.permit(container, is_quick),
        }
    }

    /// Reads what `needs` covers and `earlier`, if it can be extended, has not.
    fn read_missing(
        &self,
        path: &CgroupAncestry,
        caller: &Caller<'_>,
        needs: Needs,
        earlier: &mut Option<CacheEntry>,
    ) -> Result<Snapshot, NotRead> {
        crate::failpoint::point(caller.pid);
        let known = earlier.as_ref().map_or(Needs::NOTHING, |earlier| earlier.needs);
        let lacks = |need: Needs| needs.covers(need) && !known.covers(need);
        let container = path.container(caller.container);
        let started = match container {
            Some(container) if lacks(Needs::COUNTERS) || lacks(Needs::START) => {
                Some(self.start_of(container.id)?)
            }
            _ => None,
        };
        let mut snapshot = match earlier {
            Some(known) => {
                let mut snapshot = (*known.snapshot).clone();
                if !self.source.extend_snapshot(&mut snapshot, known.needs, needs, path, caller)? {
                    *earlier = None;
                    return self.read_missing(path, caller, needs, earlier);
                }
                snapshot
            }
            None => self.source.read_snapshot(path, caller, needs)?,
        };
        let (Scope::Container(_), Some(container)) = (&snapshot.scope, container) else {
            if lacks(Needs::LOAD) && self.source.is_in_other_pid_namespace(caller) {
                snapshot.last_pid = Some(self.source.innermost_pid(caller.pid)?);
            }
            return Ok(snapshot);
        };
        if let Some(started) = &started {
            snapshot.start = Some(started.at);
            snapshot.start_is_certain = started.is_certain;
        }
        let start_is_certain = snapshot.start_is_certain;
        if lacks(Needs::COUNTERS) {
            let has_malformed_time = snapshot.cpus.as_ref().is_some_and(|cpus| cpus.has_malformed_time);
            let seen = started.as_ref().and_then(|started| started.seen.as_ref());
            let counters = match start_is_certain {
                // Views that show no time do without.
                _ if has_malformed_time => Ok(None),
                true => self.cpu_accounts.counters(container, &snapshot, seen).map(Some),
                false => CpuAccounts::provisional_counters(&snapshot).map(Some),
            };
            snapshot.counters = counters.map_err(Error::from)?;
        }
        if lacks(Needs::LOAD) {
            let request = LoadRequest { container, caller, snapshot: &snapshot, start_is_certain };
            snapshot.load = Some(self.load_sampler.load_average(&request, &self.source)?);
        }
        Ok(snapshot)
    }
}
