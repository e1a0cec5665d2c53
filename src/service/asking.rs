//! From a reader and what it asks for to the answer, without anybody having to wait for it who is not of its container.

use super::answers::{Answer, CgroupAnswers, Found, Reading};
use super::aside::{Job, Lane, Owner, Refused};
use super::cpu_accounts::CpuAccounts;
use super::in_time::{InTime, Reply};
use super::load_sampler::LoadRequest;
use super::share::{Permit, Share};
use super::starts::{Known, PATIENCE, Waiting};
use super::{MAX_AGE, Service, Text, render};
use crate::error::Error;
use crate::kernel::{Caller, CgroupAncestry, Life, Reader};
use crate::state::in_flight::InFlightGuard;
use crate::sys;
use cgprocfs_core::machine::Ticks;
use cgprocfs_core::snapshot::{Needs, Scope, Snapshot};
use cgprocfs_core::topology::{MemoryByNode, Topology};
use cgprocfs_core::view::ViewId;
use log::Level;
use rustix::io::Errno;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// How often a cgroup that goes away while it is read is looked up again.
const ATTEMPTS: usize = 3;
/// A serving thread goes on with so many of those who waited for what it has read.
const TOGETHER: usize = 4;

/// So long a container is served aside after a server has ended over it.
const LEFT_ASIDE: Duration = Duration::from_secs(60);

/// To ask once more.
pub(super) type Again = Box<dyn FnOnce(Asker) + Send>;

/// The thread that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// It serves everybody.
    Serving,
    /// It serves everybody, and has done so much for one container already.
    Helping,
    /// Nobody else waits for it.
    Patient,
    /// Nobody waits for it at all: it may never come back.
    Looking,
}

impl Asker {
    /// Who works in a lane.
    const fn of(lane: Lane) -> Self {
        match lane {
            Lane::Quick | Lane::Slow => Self::Patient,
            Lane::Looks => Self::Looking,
        }
    }

    const fn may_take_long(self) -> bool {
        matches!(self, Self::Patient | Self::Looking)
    }
}

/// Who waits for the answer.
pub(super) struct Waiter {
    /// Process or thread; 0 for one that can't be seen.
    pub(super) pid: u32,
    pub(super) asked: Instant,
    /// That its request is not yet answered.
    pub(super) in_flight: InFlightGuard,
    /// How often it was left to be asked again.
    pub(super) rounds: u16,
}

/// Whoever was put off so often is told to ask again: each time something else was missing, and will be the next time.
const MAX_ROUNDS: u16 = 1000;

/// Operation can be asked of a container.
pub(super) trait Query: Clone + Send + 'static {
    /// Operation is taken from what was read of a container.
    type Found: Send;
    /// Operation the answer is.
    type Answer: Send;
    /// Whether making the one of the other takes files of the host.
    const READS_FILES: bool;

    fn needs(&self) -> Needs;

    /// For a reader in a container, or of the host, of which this was read.
    fn of(&self, answer: &mut Answer) -> Result<Self::Found, Error>;

    /// For a reader that can't be seen.
    fn of_unseen(&self, service: &Service) -> Result<Self::Found, Error>;

    /// The answer for a reader in such a cgroup.
    fn finish(&self, service: &Service, found: Self::Found, cgroup: &[u8]) -> Result<Self::Answer, Error>;
}

/// The text of a view.
#[derive(Clone)]
pub(super) struct TextOf(pub(super) ViewId);

impl Query for TextOf {
    type Found = Arc<Text>;
    type Answer = Arc<Text>;
    const READS_FILES: bool = false;

    fn needs(&self) -> Needs {
        self.0.needs()
    }

    fn of(&self, answer: &mut Answer) -> Result<Arc<Text>, Error> {
        answer.text(self.0)
    }

    fn of_unseen(&self, service: &Service) -> Result<Arc<Text>, Error> {
        service.warn_of_unseen();
        let snapshot = service.source.load_host(self.needs())?;
        render(self.0, &snapshot, Instant::now(), &Owner::default())
    }

    fn finish(&self, _: &Service, text: Arc<Text>, _: &[u8]) -> Result<Arc<Text>, Error> {
        Ok(text)
    }
}

/// Who reads files of the host.
pub struct Viewer<'v> {
    /// Operation its container has; `None` where it is in none, and has what the host has.
    pub topology: Option<&'v Topology>,
    /// How much memory of each node, where that was asked for.
    pub memory: Option<&'v MemoryByNode>,
    /// Its cgroup.
    pub cgroup: &'v [u8],
}

/// Operation a function makes of files of the host for somebody of whom something is read.
pub(super) struct FilesOf<F, T> {
    needs: Needs,
    make: Arc<F>,
    makes: PhantomData<fn() -> T>,
}

impl<F, T> FilesOf<F, T> {
    pub(super) fn new(needs: Needs, make: F) -> Self {
        Self { needs, make: Arc::new(make), makes: PhantomData }
    }
}

impl<F, T> Clone for FilesOf<F, T> {
    fn clone(&self) -> Self {
        Self { needs: self.needs, make: Arc::clone(&self.make), makes: PhantomData }
    }
}

impl<F, T: Send + 'static> Query for FilesOf<F, T>
where
    F: Fn(&Service, &Viewer<'_>) -> Result<T, Error> + Send + Sync + 'static,
{
    type Found = (Option<Arc<Topology>>, Option<MemoryByNode>);
    type Answer = T;
    const READS_FILES: bool = true;

    fn needs(&self) -> Needs {
        self.needs
    }

    fn of(&self, answer: &mut Answer) -> Result<Self::Found, Error> {
        let topology = answer.topology()?;
        let memory = topology.as_deref().filter(|_| self.needs.covers(Needs::NUMA_STAT));
        let memory = memory.map(|topology| MemoryByNode::of(&answer.snapshot, topology)).transpose()?;
        Ok((topology, memory))
    }

    fn of_unseen(&self, _: &Service) -> Result<Self::Found, Error> {
        Ok((None, None))
    }

    fn finish(&self, service: &Service, (topology, memory): Self::Found, cgroup: &[u8]) -> Result<T, Error> {
        let (topology, memory) = (topology.as_deref(), memory.as_ref());
        (self.make)(service, &Viewer { topology, memory, cgroup })
    }
}

/// Operation came of an attempt to answer.
enum Attempt<T> {
    /// The answer, and what is to be done next.
    Done(Result<T, Error>, Next),
    /// Somebody reads that cgroup already.
    IsRead(Arc<CgroupAnswers>),
    /// It is to be asked for aside, in that lane on behalf of that owner, and what is to be done next.
    Aside(Lane, Owner, Next),
    /// Likewise where that may hang.
    Look(Owner),
    /// When the container started has to be found out first.
    Start(Seeker),
}

/// Operation is to be done by those who waited for the same reading, on behalf of its owner.
#[derive(Default)]
struct Next {
    is_slow: bool,
    owner: Owner,
    again: Vec<Again>,
}

impl Next {
    const fn lane(&self) -> Lane {
        if self.is_slow { Lane::Slow } else { Lane::Quick }
    }
}

/// A reader for whose container that has to be found out.
struct Seeker {
    /// Of the container's cgroup.
    container: u64,
    memory: Owner,
    /// The container's path.
    place: Owner,
    pid: u32,
    pid_namespace: Option<u64>,
}

impl Seeker {
    /// As much of it as the search is told by.
    fn caller(&self) -> Caller<'_> {
        Caller {
            container_length: self.place.len(),
            pid: self.pid,
            pid_namespace: self.pid_namespace,
            ..Caller::of_memory(&self.memory)
        }
    }
}

/// A look at when a container started. However it ends, those who wait for it go on: also where it is given no turn.
struct Look {
    service: Arc<Service>,
    seeker: Seeker,
    so_far: Arc<AtomicU64>,
    life: Option<Life>,
}

impl Look {
    fn look(mut self) {
        let Seeker { container, place, .. } = &self.seeker;
        let life = self.service.source.life((*container, place), &self.seeker.caller(), &self.so_far);
        self.life = life.ok();
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let Self { service, seeker, life, .. } = self;
        for again in service.starts.found(seeker.container, life.take()) {
            service.put_aside(Lane::Quick, seeker.memory.clone(), again);
        }
    }
}

/// Why nothing was read.
enum NotRead {
    Error(Error),
    /// When the container of this number started is not known.
    Start(u64),
}

impl From<Error> for NotRead {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

thread_local! {
    /// `/proc/PID/cgroup` of the reader; kept for its allocation.
    static MEMBERSHIP: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Service {
    /// Has `reply` told the answer, on a thread that serves everybody.
    pub(super) fn ask_serving<Q: Query>(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: u32,
        query: Q,
        reply: impl FnOnce(Result<Q::Answer, Error>) + Send + 'static,
    ) {
        let waiter = Waiter { pid, asked: Instant::now(), in_flight, rounds: 0 };
        match self.known_aside.owner(pid) {
            Some(owner) => {
                let again = self.again(&owner, waiter, query, reply);
                self.put_aside(Lane::Slow, owner, again);
            }
            None => self.ask(Asker::Serving, waiter, query, reply),
        }
    }

    /// Has `reply` told the answer: now, or where that would have others wait, later by another thread.
    pub(super) fn ask<Q: Query>(
        self: &Arc<Self>,
        asker: Asker,
        waiter: Waiter,
        query: Q,
        reply: impl FnOnce(Result<Q::Answer, Error>) + Send + 'static,
    ) {
        if waiter.rounds > MAX_ROUNDS {
            self.log.message(
                "rounds",
                Level::Error,
                "a reader was put off a thousand times; please report it",
            );
            return reply(Err(Error::Errno(Errno::AGAIN)));
        }
        match self.attempt(asker, &waiter, &query) {
            Attempt::Done(answer, next) => {
                reply(answer);
                drop(waiter);
                self.go_on(asker, next);
            }
            Attempt::Aside(lane, owner, next) => {
                let again = self.again(&owner, waiter, query, reply);
                self.put_aside(lane, owner, again);
                self.put_all_aside(next);
            }
            Attempt::IsRead(answers) => {
                // It may have been read meanwhile.
                if let Some(again) = answers.park(self.again(answers.cgroup(), waiter, query, reply)) {
                    again(asker);
                }
            }
            Attempt::Look(owner) => self.look(owner, waiter, query, Box::new(reply)),
            Attempt::Start(seeker) => {
                let again = self.again(&Owner::from(&*seeker.memory), waiter, query, reply);
                self.seek_start(asker, seeker, again);
            }
        }
    }

    /// Has `reply` told by a thread that may hang, or else in time to ask again.
    fn look<Q: Query>(self: &Arc<Self>, owner: Owner, waiter: Waiter, query: Q, reply: Reply<Q::Answer>) {
        let Waiter { pid, asked, in_flight, rounds } = waiter;
        let (service, reply) = (Arc::clone(self), self.in_time(&owner, in_flight, reply));
        let look = move || {
            if reply.begin() {
                let waiter = Waiter { pid, asked, in_flight: InFlightGuard::nowhere(), rounds };
                let reply: Reply<_> = Box::new(move |answer| reply.tell(answer));
                service.ask(Asker::Looking, waiter, query, reply);
            }
        };
        self.push_aside(Lane::Looks, owner, Box::new(look));
    }

    /// A reply for what may hang: after [`PATIENCE`] it is EAGAIN.
    fn in_time<T: Send + 'static>(
        &self,
        owner: &Owner,
        in_flight: InFlightGuard,
        reply: Reply<T>,
    ) -> InTime<T> {
        let (reply, give_up) = InTime::new(owner, in_flight, reply);
        if let Err(error) = self.quick.push_later(Instant::now() + PATIENCE, give_up) {
            self.warn_of_no_thread(&error);
        }
        reply
    }

    /// Has `tell` told what `look` finds out about a process, by a thread that nobody else waits for, or where that may hang, by
    /// one that may, in time to ask again.
    pub(super) fn look_aside<T: Send + 'static>(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: u32,
        look: impl Fn(&Self, Asker) -> Result<T, Error> + Send + 'static,
        tell: impl FnOnce(&Self, Result<T, Error>) + Send + 'static,
    ) {
        self.do_aside(Lane::Slow, in_flight, pid, move |service, in_flight| {
            match look(service, Asker::Patient) {
                Err(Error::MayHang(path)) => {
                    let (told, looking) = (Arc::clone(service), Arc::clone(service));
                    let owner = of_path(&path);
                    let reply = service.in_time(&owner, in_flight, Box::new(move |found| tell(&told, found)));
                    let look = move || {
                        if reply.begin() {
                            reply.tell(look(&looking, Asker::Looking));
                        }
                    };
                    service.push_aside(Lane::Looks, owner, Box::new(look));
                }
                found => tell(service, found),
            }
        });
    }

    /// Has `work` done on a thread that nobody else waits for.
    pub(crate) fn do_aside(
        self: &Arc<Self>,
        lane: Lane,
        in_flight: InFlightGuard,
        pid: u32,
        work: impl FnOnce(&Arc<Self>, InFlightGuard) + Send + 'static,
    ) {
        let (service, owner) = (Arc::clone(self), self.owner_of(pid));
        in_flight.wait(&owner);
        let job = move || {
            in_flight.begin();
            work(&service, in_flight);
        };
        self.push_aside(lane, owner, Box::new(job));
    }

    /// On whose behalf something is done for a process.
    fn owner_of(&self, pid: u32) -> Owner {
        let place = if pid == 0 { None } else { self.source.place_of(pid).ok() };
        place.map_or_else(|| of_process(pid), Owner::from)
    }

    /// Finds the caller, and has `make` try again where its cgroup was removed meanwhile. It may take long.
    pub(super) fn for_caller<T>(
        &self,
        asker: Asker,
        pid: u32,
        make: impl Fn(&Caller<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (mut membership, mut attempt) = (Vec::new(), 1);
        loop {
            let may_hang = asker == Asker::Looking;
            let (max_age, needs) = (MAX_AGE, Needs::CPUS);
            let reader = Reader { pid, max_age, needs, may_take_long: true, may_hang };
            let caller = self.source.caller(reader, &mut membership)?;
            match make(&caller) {
                Err(error) if error.is_race() && attempt < ATTEMPTS => {
                    self.forget(&caller);
                    attempt += 1;
                }
                Err(error) if error.is_fd_exhaustion() && attempt < ATTEMPTS => {
                    self.close_half();
                    attempt += 1;
                }
                made => return made,
            }
        }
    }

    /// Serves the container of a process aside for a while: a server has ended while it had a request of it.
    pub fn leave_aside(self: &Arc<Self>, pid: u32) {
        let service = Arc::clone(self);
        let leave = move || {
            let leave = service.for_caller(Asker::Looking, pid, |caller| {
                let answers = service.answers_for(caller)?;
                service.share_of(caller, &answers).put_aside(Instant::now() + LEFT_ASIDE);
                Ok(())
            });
            if let Err(error) = leave {
                service.log(&error);
            }
        };
        self.push_aside(Lane::Looks, self.owner_of(pid), Box::new(leave));
    }

    fn again<Q: Query>(
        self: &Arc<Self>,
        owner: &Owner,
        mut waiter: Waiter,
        query: Q,
        reply: impl FnOnce(Result<Q::Answer, Error>) + Send + 'static,
    ) -> Again {
        let service = Arc::clone(self);
        waiter.rounds = waiter.rounds.saturating_add(1);
        waiter.in_flight.wait(owner);
        Box::new(move |asker| {
            waiter.in_flight.begin();
            service.ask(asker, waiter, query, reply);
        })
    }

    fn put_aside(&self, lane: Lane, owner: Owner, again: Again) {
        self.push_aside(lane, owner, Box::new(move || again(Asker::of(lane))));
    }

    /// A job that nobody can do is dropped, and its reader gets an error, or what is known.
    fn push_aside(&self, lane: Lane, owner: Owner, job: Job) {
        let aside = match lane {
            Lane::Quick => &self.quick,
            Lane::Slow => &self.slow,
            Lane::Looks => &self.looks,
        };
        match aside.push(lane, owner, job) {
            Ok(()) => {}
            Err(Refused::NoThread(error)) => self.warn_of_no_thread(&error),
            Err(Refused::TooMany) => self.warn_of_many_that_hang(),
        }
    }

    /// Goes on with those who waited for what was read.
    fn go_on(&self, asker: Asker, next: Next) {
        let lane = next.lane();
        for (index, again) in next.again.into_iter().enumerate() {
            match asker {
                Asker::Serving if index < TOGETHER && lane == Lane::Quick => again(Asker::Helping),
                _ => self.put_aside(lane, next.owner.clone(), again),
            }
        }
    }

    fn put_all_aside(&self, next: Next) {
        let lane = next.lane();
        next.again.into_iter().for_each(|again| self.put_aside(lane, next.owner.clone(), again));
    }

    fn attempt<Q: Query>(&self, asker: Asker, waiter: &Waiter, query: &Q) -> Attempt<Q::Answer> {
        if waiter.pid == 0 {
            let found = Attempt::Done(query.of_unseen(self), Next::default());
            return self.finish(asker, query, found, b"/", None);
        }
        MEMBERSHIP.with_borrow_mut(|membership| {
            let mut attempt = 1;
            loop {
                match self.attempt_once(asker, waiter, query, membership) {
                    Attempt::Done(Err(error), _) if attempt < ATTEMPTS && error.is_race() => attempt += 1,
                    Attempt::Done(Err(error), _) if attempt < ATTEMPTS && error.is_fd_exhaustion() => {
                        self.close_half();
                        attempt += 1;
                    }
                    done => return done,
                }
            }
        })
    }

    fn attempt_once<Q: Query>(
        &self,
        asker: Asker,
        waiter: &Waiter,
        query: &Q,
        membership: &mut Vec<u8>,
    ) -> Attempt<Q::Answer> {
        let (pid, began) = (waiter.pid, Instant::now());
        let (needs, is_patient) = (query.needs(), asker.may_take_long());
        let may_hang = asker == Asker::Looking;
        let reader = Reader { pid, max_age: MAX_AGE, needs, may_take_long: is_patient, may_hang };
        // Whose container it is is not known yet; all that are in one cgroup take turns as one.
        let caller = match self.source.caller(reader, membership) {
            Ok(caller) => caller,
            Err(Error::TakesLong(path)) => {
                return Attempt::Aside(Lane::Quick, of_path(&path), Next::default());
            }
            Err(Error::MayHang(path)) => return Attempt::Look(of_path(&path)),
            Err(error) => return Attempt::Done(Err(error), Next::default()),
        };
        let answers = match self.answers_for(&caller) {
            Ok(answers) => answers,
            Err(Error::TakesLong(path)) => {
                return Attempt::Aside(Lane::Slow, of_path(&path), Next::default());
            }
            Err(error) => return Attempt::Done(Err(error), Next::default()),
        };
        let share = self.share_of(&caller, &answers);
        if !is_patient && share.is_aside(began) {
            let owner = Owner::from(caller.memory);
            self.known_aside.add(pid, owner.clone());
            return Attempt::Aside(Lane::Slow, owner, Next::default());
        }
        let attempt = match answers.find(&caller, needs, waiter.asked, |answer| query.of(answer)) {
            Found::Answer(answer) => Attempt::Done(answer, Next::default()),
            Found::IsRead => return Attempt::IsRead(answers),
            Found::ToBeRead(reading) => self.read(asker, &caller, query, (&answers, &share), reading),
        };
        let of = Some((&*answers, &*share, container_of(&caller)));
        let attempt = self.finish(asker, query, attempt, caller.memory, of);
        share.charge(&self.busyness, pid, began, Instant::now());
        if is_patient && !share.is_aside(Instant::now()) {
            self.known_aside.remove(pid);
        }
        attempt
    }

    /// The answers for the readers in the caller's cgroup, which has to be the one that they are of.
    fn answers_for(&self, caller: &Caller<'_>) -> Result<Arc<CgroupAnswers>, Error> {
        let open = || self.source.path_of(caller);
        let answers = self.answers.of_cgroup(caller.memory, open)?;
        self.source.verify(answers.path()).inspect_err(|_| self.forget(caller))?;
        Ok(answers)
    }

    /// The share of a caller's container.
    fn share_of(&self, caller: &Caller<'_>, answers: &CgroupAnswers) -> Arc<Share> {
        match caller.memory.get(..caller.container_length) {
            Some(container) if container.len() < caller.memory.len() => self.shares.of(container),
            _ => Arc::clone(answers.share()),
        }
    }

    fn forget(&self, caller: &Caller<'_>) {
        self.answers.forget(caller.memory);
        self.source.forget(caller.memory);
    }

    /// Reads what a query is answered from.
    fn read<Q: Query>(
        &self,
        asker: Asker,
        caller: &Caller<'_>,
        query: &Q,
        (answers, share): (&Arc<CgroupAnswers>, &Share),
        reading: Reading,
    ) -> Attempt<Q::Found> {
        let end = |reading: Reading| Next {
            is_slow: share.is_aside(Instant::now()),
            owner: caller.memory.into(),
            again: reading.end(),
        };
        let Some(permit) = self.permit(asker, container_of(caller)) else {
            return Attempt::Aside(Lane::Quick, caller.memory.into(), end(reading));
        };
        self.answers.forget_now_and_then();
        let before = answers.pace.is_to_be_measured().then(sys::thread_time);
        let read = self.load(answers.path(), caller, query.needs());
        crate::failpoint::slow_cgroup();
        let ran = before.map(|before| sys::thread_time().saturating_sub(before));
        if let Some(aside) = answers.pace.was_read(reading.began.elapsed(), ran) {
            share.put_aside(Instant::now() + aside);
        }
        drop(permit);
        match read {
            Ok(snapshot) => {
                let answer = reading.done(caller, query.needs(), snapshot, |answer| query.of(answer));
                Attempt::Done(answer, end(reading))
            }
            Err(NotRead::Start(container)) => {
                self.put_all_aside(end(reading));
                Attempt::Start(Seeker {
                    container,
                    memory: caller.memory.into(),
                    place: container_of(caller).into(),
                    pid: caller.pid,
                    pid_namespace: caller.pid_namespace,
                })
            }
            Err(NotRead::Error(Error::TakesLong(_))) if !asker.may_take_long() => {
                Attempt::Aside(Lane::Slow, caller.memory.into(), end(reading))
            }
            Err(NotRead::Error(error)) => {
                if error.is_race() {
                    self.forget(caller);
                }
                self.put_all_aside(end(reading));
                Attempt::Done(Err(error), Next::default())
            }
        }
    }

    /// Makes the answer of what was found. Where that takes files of the host it is as with a reading of the cgroup, for with
    /// some of them the kernel asks the hardware, as often as a tenant likes.
    fn finish<Q: Query>(
        &self,
        asker: Asker,
        query: &Q,
        attempt: Attempt<Q::Found>,
        cgroup: &[u8],
        of: Option<(&CgroupAnswers, &Share, &[u8])>,
    ) -> Attempt<Q::Answer> {
        let (found, next) = match attempt {
            Attempt::Done(Ok(found), next) => (found, next),
            Attempt::Done(Err(error), next) => return Attempt::Done(Err(error), next),
            Attempt::IsRead(answers) => return Attempt::IsRead(answers),
            Attempt::Aside(lane, owner, next) => return Attempt::Aside(lane, owner, next),
            Attempt::Look(owner) => return Attempt::Look(owner),
            Attempt::Start(seeker) => return Attempt::Start(seeker),
        };
        if !Q::READS_FILES {
            return Attempt::Done(query.finish(self, found, cgroup), next);
        }
        let Some(permit) = self.permit(asker, of.map_or(b"", |(_, _, container)| container)) else {
            return Attempt::Aside(Lane::Quick, cgroup.into(), next);
        };
        let pace = of.map(|(answers, ..)| &answers.pace_of_files);
        let before = pace.filter(|pace| pace.is_to_be_measured()).map(|_| sys::thread_time());
        let began = Instant::now();
        let answer = query.finish(self, found, cgroup);
        let ran = before.map(|before| sys::thread_time().saturating_sub(before));
        drop(permit);
        if let Some((answers, share, _)) = of
            && let Some(aside) = answers.pace_of_files.was_read(began.elapsed(), ran)
        {
            share.put_aside(Instant::now() + aside);
        }
        if answer.is_ok() {
            return Attempt::Done(answer, next);
        }
        // It may be tried again.
        self.put_all_aside(next);
        Attempt::Done(answer, Next::default())
    }

    /// Whoever is patient needs none.
    fn permit(&self, asker: Asker, container: &[u8]) -> Option<Permit<'_>> {
        if asker.may_take_long() { Some(Permit::default()) } else { self.readings.permit(container) }
    }

    fn load(&self, path: &CgroupAncestry, caller: &Caller<'_>, needs: Needs) -> Result<Snapshot, NotRead> {
        crate::failpoint::point(caller.pid);
        let container = path.container(caller.container_length);
        let started = match container {
            Some((number, _)) if needs.covers(Needs::START) => Some(self.start_of(number)?),
            _ => None,
        };
        let mut snapshot = self.source.load(path, caller, needs)?;
        let (Scope::Container(_), Some(container)) = (&snapshot.scope, container) else {
            if needs.covers(Needs::LOAD) && self.source.is_in_other_pid_namespace(caller) {
                snapshot.last_pid = Some(self.source.innermost_pid(caller.pid)?);
            }
            return Ok(snapshot);
        };
        snapshot.start = started.as_ref().map(|started| started.at);
        let start_is_certain = started.as_ref().is_some_and(|started| started.is_certain);
        if needs.covers(Needs::COUNTERS) {
            let life = started.as_ref().and_then(|started| started.life.as_deref());
            let counters = match start_is_certain {
                true => self.cpu_accounts.counters(container, &snapshot, life),
                false => CpuAccounts::provisional_counters(&snapshot),
            };
            snapshot.counters = Some(counters.map_err(Error::from)?);
        }
        if needs.covers(Needs::LOAD) {
            let request = LoadRequest { container, caller, snapshot: &snapshot, start_is_certain };
            snapshot.load = Some(self.load_sampler.load(&request, &self.source)?);
        }
        Ok(snapshot)
    }

    /// When a container started. Operation was found out once stays, also over restarts, until its init has ended.
    fn start_of(&self, container: u64) -> Result<Started, NotRead> {
        if let Some(at) = self.cpu_accounts.start_without_init(container) {
            return Ok(Started { at, is_certain: true, life: None });
        }
        match self.starts.of(container) {
            Known::At(life) => {
                let at = self.cpu_accounts.start(container, Some(&life)).unwrap_or(life.start);
                Ok(Started { at, is_certain: true, life: Some(life) })
            }
            Known::SoFar(start) => {
                let known = self.cpu_accounts.start(container, None);
                Ok(Started { at: known.unwrap_or(start), is_certain: known.is_some(), life: None })
            }
            Known::Sought | Known::Nothing => Err(NotRead::Start(container)),
        }
    }

    /// Has `again` done once it is known when the container started.
    fn seek_start(self: &Arc<Self>, asker: Asker, seeker: Seeker, again: Again) {
        // It waits for us, and so is in no exec.
        let own = match self.source.start_of_reader(seeker.pid) {
            Ok(own) => own,
            // It is gone, and so is whoever would hear of it.
            Err(error) => return self.log(&error),
        };
        let (container, memory) = (seeker.container, seeker.memory.clone());
        let so_far = match self.starts.wait((container, &seeker.place), again, own) {
            Waiting::Waits => return,
            Waiting::NeedNot(again) => return again(asker),
            Waiting::HasToLook(so_far) => so_far,
        };
        let (service, this_look) = (Arc::clone(self), Arc::clone(&so_far));
        let give_up = move || {
            let waiting = service.starts.give_up(container, &this_look);
            waiting.into_iter().for_each(|again| service.put_aside(Lane::Quick, memory.clone(), again));
        };
        let later = self.quick.push_later(Instant::now() + PATIENCE, Box::new(give_up));
        let owner = seeker.place.clone();
        let look = Look { service: Arc::clone(self), seeker, so_far, life: None };
        match later {
            Ok(()) => self.push_aside(Lane::Looks, owner, Box::new(move || look.look())),
            // Nobody would tell them that it takes too long.
            Err(error) => self.warn_of_no_thread(&error),
        }
    }
}

/// Since when a container runs.
struct Started {
    /// After the boot.
    at: Ticks,
    /// Whether it can't be longer.
    is_certain: bool,
    /// Operation was seen of its processes, if nothing hangs that is in the way.
    life: Option<Arc<Life>>,
}

/// An owner of which no cgroup is known. None has such a name.
fn of_process(pid: u32) -> Owner {
    format!("\0/{pid}").into_bytes().into()
}

/// The path of a caller's container.
fn container_of<'t>(caller: &Caller<'t>) -> &'t [u8] {
    caller.memory.get(..caller.container_length).unwrap_or(caller.memory)
}

fn of_path(path: &str) -> Owner {
    path.as_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Source;
    use cgprocfs_core::psi::{Line, Trigger};
    use cgprocfs_core::view::find;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::mpsc;
    use tempfile::TempDir;

    const LONG: Duration = Duration::from_secs(20);
    /// A reader in the written system.
    const READER: u32 = 31337;

    fn system() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2-kubernetes/root");
        let status = Command::new("cp").arg("-r").arg(fixture).arg(directory.path()).status();
        assert!(status.unwrap().success());
        let root = directory.path().join("root");
        (directory, root)
    }

    /// The reader was put into a pid namespace from outside, the kernel does not say who is init there, and one of
    /// those who may be it can't be looked at.
    fn hang(root: &Path) {
        let process = |pid: u32, parent: u32, ids: &str| {
            let process = root.join(format!("proc/{pid}"));
            fs::create_dir_all(&process).unwrap();
            fs::write(process.join("status"), format!("PPid:\t{parent}\nNSpid:\t{ids}\n")).unwrap();
            process
        };
        process(50, 0, "50");
        let namespaces = process(READER, 50, "31337\t7").join("ns");
        let file = namespaces.join("namespace");
        fs::write(&file, "").unwrap();
        let name = format!("pid:[{}]", file.metadata().unwrap().ino());
        fs::rename(file, namespaces.join(&name)).unwrap();
        fs::remove_file(namespaces.join("pid")).unwrap();
        symlink(name, namespaces.join("pid")).unwrap();
        // To open it takes somebody who writes.
        let file = process(60, 50, "60\t1").join("cgroup");
        mknodat(CWD, file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    /// Whoever is patient is patient with what takes long.
    #[test]
    fn what_hangs_holds_up_nobody_else_and_is_answered() {
        let (_directory, root) = system();
        hang(&root);
        let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
        let (sender, told) = mpsc::channel();
        let errno = |error: Error| error.errno();
        for _ in 0..40 {
            let waiter =
                Waiter { pid: READER, asked: Instant::now(), in_flight: InFlightGuard::nowhere(), rounds: 0 };
            let (asking, sender, query) =
                (Arc::clone(&service), sender.clone(), TextOf(find("proc/meminfo").unwrap()));
            let ask = move |_: &Arc<Service>, _| {
                asking.ask(Asker::Patient, waiter, query, move |text| {
                    sender.send(text.map(drop).map_err(errno)).unwrap();
                });
            };
            service.do_aside(Lane::Quick, InFlightGuard::nowhere(), READER, ask);
        }
        let (handle, trigger) = (1, Trigger { line: Line::Some, threshold: 100_000, window: 1_000_000 });
        let (view, sender) = (find("proc/pressure/cpu").unwrap(), sender);
        service.ask_to_arm(InFlightGuard::nowhere(), (handle, READER), view, Some(trigger), move |armed| {
            sender.send(armed.map_err(errno)).unwrap();
        });
        for _ in 0..41 {
            assert_eq!(told.recv_timeout(LONG), Ok(Err(libc::EAGAIN)));
        }
        // It hangs, and nothing else does.
        for (lane, is_hanging) in [(Lane::Quick, false), (Lane::Slow, false), (Lane::Looks, true)] {
            let (sender, done) = mpsc::channel();
            let owner = service.owner_of(READER);
            let wait = if is_hanging { 4 * PATIENCE / 10 } else { LONG };
            service.push_aside(lane, owner, Box::new(move || sender.send(()).unwrap_or_default()));
            assert_eq!(done.recv_timeout(wait).is_err(), is_hanging, "{lane:?}");
        }
    }

    /// A tenant may have any number of them.
    #[test]
    fn processes_of_one_cgroup_take_turns_as_one() {
        let (_directory, root) = system();
        for (pid, cgroup) in [(7001, "/a"), (7002, "/a"), (7003, "/b")] {
            let process = root.join(format!("proc/{pid}"));
            fs::create_dir_all(&process).unwrap();
            fs::write(process.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
        }
        let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
        let ((sender, done), (go, gate)) = (mpsc::channel(), mpsc::channel::<()>());
        let wait = move |_: &Arc<Service>, _| gate.recv().unwrap_or_default();
        service.do_aside(Lane::Quick, InFlightGuard::nowhere(), 7001, wait);
        for pid in [7002, 7003] {
            let sender = sender.clone();
            service
                .do_aside(Lane::Quick, InFlightGuard::nowhere(), pid, move |_, _| sender.send(pid).unwrap());
        }
        assert_eq!(done.recv_timeout(LONG), Ok(7003));
        assert!(done.recv_timeout(Duration::from_millis(200)).is_err());
        drop(go);
        assert_eq!(done.recv_timeout(LONG), Ok(7002));
    }

    #[test]
    fn nobody_is_put_off_for_ever() {
        let (_directory, root) = system();
        let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
        let asked = |rounds| {
            let waiter =
                Waiter { pid: READER, asked: Instant::now(), in_flight: InFlightGuard::nowhere(), rounds };
            let (sender, told) = mpsc::channel();
            let query = TextOf(find("proc/meminfo").unwrap());
            let tell = move |text: Result<_, Error>| {
                sender.send(text.map(drop).map_err(|error| error.errno())).unwrap();
            };
            service.again(&of_path("/"), waiter, query, tell)(Asker::Patient);
            told.recv_timeout(LONG).unwrap()
        };
        assert_eq!(asked(MAX_ROUNDS - 1), Ok(()));
        assert_eq!(asked(MAX_ROUNDS), Err(libc::EAGAIN));
    }
}
