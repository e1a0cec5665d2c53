//! Threads apart from those that serve, for what may take long: a container that is slow to read, or has asked for more than
//! its share, waits here for itself alone.
//!
//! Each owner, which is a cgroup, has one thread at a time, and they take [turns](super::turns) with others of their [`Lane`]. Few threads work for all of a lane;
//! another one joins only where it seems stuck, since the kernel may keep it for as
//! long as a tenant likes. Nobody waits for any of them, and with nothing to do there are none.
//!
//! What may hang is bounded by tenant: at each level of the hierarchy a cgroup has half of what the one above it may have, of
//! threads that are stuck and of jobs that wait.

use super::turns::Turns;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// So many threads at most, those that are stuck counted in; and of those that look at what may hang.
const MOST: usize = 32;
const MOST_LOOKING: usize = 48;
/// So many looks wait for a thread at most; for one owner these may at any depth.
const MOST_WAITING: usize = 1024;
const WAITING: usize = 16;
/// Levels are told apart down to this depth: what is below has long come down to one thread.
const DEEPEST: usize = 16;
/// How often it is seen to whether a thread is stuck, and when that is so where nothing is slow.
const STUCK: Duration = Duration::from_millis(50);
/// A thread with nothing to do ends after so long.
const IDLE: Duration = Duration::from_secs(5);
/// The nice value of those that are less important, see setpriority(2).
pub(super) const NICE: i32 = 5;

/// Who waits for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Containers of which it is not known that they are slow.
    Quick,
    /// Those of which it is.
    Slow,
    /// Looks at what may hang.
    Looks,
}

/// Why a job was dropped.
#[derive(Debug)]
pub(super) enum Refused {
    /// No thread can be made.
    NoThread(io::Error),
    /// So many hang or wait already that there would be none left for other tenants.
    TooMany,
}

impl Lane {
    /// How many threads work for it at a time.
    const fn width(self) -> usize {
        match self {
            Self::Quick => 2,
            Self::Slow | Self::Looks => 1,
        }
    }

    /// A thread that has been at one thing for so long is stuck, and another one takes its place.
    const fn stuck(self) -> Duration {
        match self {
            Self::Quick | Self::Looks => STUCK,
            // What is slow takes its time, and others are to have theirs.
            Self::Slow => Duration::from_millis(500),
        }
    }
}

const LANES: [Lane; 3] = [Lane::Quick, Lane::Slow, Lane::Looks];

/// Something to do.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Who waits for what.
pub(super) struct Aside {
    most: usize,
    is_nice: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Owners in each lane with something to do for whom nobody works.
    turns: [Turns<Owner>; LANES.len()],
    waiting: HashMap<(Lane, Owner), VecDeque<Job>>,
    /// For whom somebody works, and since when.
    working: HashMap<(Lane, Owner), Instant>,
    /// What is to be done at a time, in its order.
    later: BTreeMap<(Instant, u64), Job>,
    numbered: u64,
    threads: usize,
    idle: usize,
}

/// The path of the cgroup on whose behalf something is done; of none where only a process is known.
pub(super) type Owner = Arc<[u8]>;

/// The names that a path is made of, as far as levels are told apart.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).take(DEEPEST)
}

/// Whether there are as many as may be in the cgroup at `path`, or in one above it, of these that are owned so. In all that is `most`,
/// and at each level half as many as at the one above, but at least `least`.
fn are_too_many<'o>(
    path: &[u8],
    (most, least): (usize, usize),
    owners: impl Iterator<Item = (&'o Owner, usize)>,
) -> bool {
    let mut counts = [0_usize; DEEPEST + 1];
    for (owner, count) in owners {
        let in_common = names(path).zip(names(owner)).take_while(|(one, other)| one == other).count();
        counts[..=in_common].iter_mut().for_each(|sum| *sum += count);
    }
    let levels = counts.iter().take(names(path).count() + 1).enumerate();
    levels.into_iter().any(|(depth, count)| *count >= (most >> depth).max(least))
}

impl State {
    /// Whether so many hang that belong to the same tenant as `owner`, at whatever level, that one more may not.
    fn hang_too_many(&self, (lane, owner): &(Lane, Owner), now: Instant) -> bool {
        let is_stuck = |of: Lane, since: Instant| of == Lane::Looks && now - since >= of.stuck();
        let stuck = self.working.iter().filter(|((of, _), since)| is_stuck(*of, **since));
        // One thread is always left.
        *lane == Lane::Looks
            && are_too_many(owner, (MOST_LOOKING - 1, 1), stuck.map(|((_, owner), _)| (owner, 1)))
    }

    /// Whether so many wait.
    fn wait_too_many(&self, (lane, owner): &(Lane, Owner)) -> bool {
        let waiting = self.waiting.iter().filter(|((of, _), _)| *of == Lane::Looks);
        *lane == Lane::Looks
            && are_too_many(
                owner,
                (MOST_WAITING, WAITING),
                waiting.map(|((_, owner), jobs)| (owner, jobs.len())),
            )
    }

    fn has_turns(&self) -> bool {
        self.turns.iter().any(|turns| !turns.is_empty())
    }

    fn has_turn(&mut self, (lane, owner): (Lane, Owner)) {
        self.turns[lane as usize].push(&Arc::clone(&owner), owner);
    }

    /// Whose turn it is, if anybody's.
    fn next(&mut self, now: Instant) -> Option<(Lane, Owner)> {
        LANES.into_iter().find_map(|lane| {
            let is_busy = |of: Lane, since: Instant| of == lane && now - since < lane.stuck();
            let busy = self.working.iter().filter(|((of, _), since)| is_busy(*of, **since)).count();
            if busy < lane.width() {
                self.turns[lane as usize].pop().map(|owner| (lane, owner))
            } else {
                None
            }
        })
    }
}

impl Aside {
    /// One for [`Lane::Quick`].
    pub(super) fn quick() -> Self {
        Self { most: MOST, is_nice: false, state: Mutex::default(), changed: Condvar::new() }
    }

    /// One for [`Lane::Slow`], whose threads are less important than others of this process.
    pub(super) fn slow() -> Self {
        Self { is_nice: true, ..Self::quick() }
    }

    /// One for [`Lane::Looks`]: whoever has many that hang leaves the threads of others alone.
    pub(super) fn looks() -> Self {
        Self { most: MOST_LOOKING, ..Self::slow() }
    }

    /// Has `job` done when it is the owner's turn in a lane. One that may hang is dropped then if too many others of its tenant do.
    ///
    /// # Errors
    /// Where no thread can be made, or there are too many of a tenant; the job is dropped then.
    pub(super) fn push(self: &Arc<Self>, lane: Lane, owner: Owner, job: Job) -> Result<(), Refused> {
        let owner = (lane, owner);
        // Declared after the job, it is unlocked before that is dropped.
        let mut state = self.state.lock();
        if state.hang_too_many(&owner, Instant::now()) || state.wait_too_many(&owner) {
            return Err(Refused::TooMany);
        }
        self.need_a_thread(&mut state).map_err(Refused::NoThread)?;
        let is_worked_for = state.working.contains_key(&owner);
        let jobs = state.waiting.entry(owner.clone()).or_default();
        let is_first = jobs.is_empty();
        jobs.push_back(job);
        if is_first && !is_worked_for {
            state.has_turn(owner);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Has `job`, which is short, done at a time.
    ///
    /// # Errors
    /// Where no thread can be made; the job is dropped then.
    pub(super) fn push_later(self: &Arc<Self>, at: Instant, job: Job) -> io::Result<()> {
        let mut state = self.state.lock();
        self.need_a_thread(&mut state)?;
        state.numbered += 1;
        let key = (at, state.numbered);
        state.later.insert(key, job);
        self.changed.notify_one();
        Ok(())
    }

    /// Makes a thread unless one is idle, or there are as many as may be.
    fn need_a_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.idle > 0 || state.threads >= self.most {
            return Ok(());
        }
        let aside = Arc::clone(self);
        let work = move || {
            if aside.is_nice {
                // What is not allowed to be less important is as important as it was.
                let _ = rustix::process::setpriority_process(None, NICE);
            }
            aside.work();
        };
        match thread::Builder::new().name("aside".into()).spawn(work) {
            Ok(_) => {
                state.threads += 1;
                state.idle += 1;
                Ok(())
            }
            // Those that there are will come to it.
            Err(_) if state.threads > 0 => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn work(self: &Arc<Self>) {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            if state.later.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
                if let Some((_, job)) = state.later.pop_first() {
                    state = self.unlocked(state, job);
                }
                continue;
            }
            if let Some(owner) = state.next(now) {
                if let Some(job) = state.waiting.get_mut(&owner).and_then(VecDeque::pop_front) {
                    let job = match state.hang_too_many(&owner, now) {
                        true => Box::new(move || drop(job)),
                        false => job,
                    };
                    state.working.insert(owner.clone(), now);
                    state = self.unlocked(state, job);
                    state.working.remove(&owner);
                }
                if state.waiting.get(&owner).is_some_and(|jobs| !jobs.is_empty()) {
                    state.has_turn(owner);
                } else {
                    state.waiting.remove(&owner);
                }
                continue;
            }
            let next = state.later.first_key_value().map(|((at, _), _)| *at - now);
            let stuck = state.has_turns().then_some(STUCK);
            let wait = next.into_iter().chain(stuck).min();
            let timed_out = self.changed.wait_for(&mut state, wait.unwrap_or(IDLE)).timed_out();
            if timed_out && !state.has_turns() && state.later.is_empty() {
                state.threads -= 1;
                state.idle -= 1;
                return;
            }
        }
    }

    /// Does a job with the state unlocked. A panic must not take the thread with it; it was logged where it happened.
    fn unlocked<'s>(
        self: &'s Arc<Self>,
        mut state: MutexGuard<'s, State>,
        job: Job,
    ) -> MutexGuard<'s, State> {
        state.idle -= 1;
        if state.has_turns() || !state.later.is_empty() {
            // It may be stuck with this. If there is no thread for the others they are come to afterwards.
            let _ = self.need_a_thread(&mut state);
        }
        drop(state);
        let _ = catch_unwind(AssertUnwindSafe(job));
        let mut state = self.state.lock();
        state.idle += 1;
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(10);

    fn owner(number: u64) -> Owner {
        number.to_string().as_bytes().into()
    }

    #[test]
    fn owners_take_turns_and_each_keeps_its_order() {
        let (aside, (sender, done)) = (Arc::new(Aside::quick()), mpsc::channel());
        let (go, gate) = mpsc::channel::<()>();
        aside.push(Lane::Slow, owner(0), Box::new(move || gate.recv().unwrap_or(()))).unwrap();
        for (owner, what) in [(1, "1a"), (1, "1b"), (1, "1c"), (2, "2a"), (2, "2b")] {
            let sender = sender.clone();
            aside.push(Lane::Slow, self::owner(owner), Box::new(move || sender.send(what).unwrap())).unwrap();
        }
        go.send(()).unwrap();
        let order: Vec<_> = (0..5).map(|_| done.recv_timeout(LONG).unwrap()).collect();
        assert_eq!(order, ["1a", "2a", "1b", "2b", "1c"]);
    }

    #[test]
    fn one_that_is_stuck_holds_up_its_owner_alone() {
        let (aside, (sender, done)) = (Arc::new(Aside::quick()), mpsc::channel());
        let (go, gate) = mpsc::channel::<()>();
        aside.push(Lane::Slow, owner(1), Box::new(move || gate.recv().unwrap_or(()))).unwrap();
        for owner in [1, 2] {
            let sender = sender.clone();
            aside
                .push(Lane::Slow, self::owner(owner), Box::new(move || sender.send(owner).unwrap()))
                .unwrap();
        }
        assert_eq!(done.recv_timeout(LONG), Ok(2));
        assert!(done.recv_timeout(2 * STUCK).is_err());
        go.send(()).unwrap();
        assert_eq!(done.recv_timeout(LONG), Ok(1));
    }

    #[test]
    fn lanes_do_not_wait_for_each_other() {
        let (aside, (sender, done)) = (Arc::new(Aside::quick()), mpsc::channel());
        let (go, gate) = mpsc::channel::<()>();
        for lane in [Lane::Slow, Lane::Looks] {
            aside.push(lane, owner(1), Box::new(|| thread::sleep(STUCK / 2))).unwrap();
        }
        aside.push(Lane::Slow, owner(2), Box::new(move || gate.recv().unwrap_or(()))).unwrap();
        let began = Instant::now();
        aside.push(Lane::Quick, owner(1), Box::new(move || sender.send(()).unwrap())).unwrap();
        done.recv_timeout(LONG).unwrap();
        assert!(began.elapsed() < LONG / 2);
        drop(go);
    }

    #[test]
    fn what_is_for_later_is_done_then_and_a_panic_ends_nothing() {
        let (aside, (sender, done)) = (Arc::new(Aside::quick()), mpsc::channel());
        let at = Instant::now() + Duration::from_millis(30);
        aside.push(Lane::Slow, owner(1), Box::new(|| panic!("on purpose"))).unwrap();
        aside.push_later(at, Box::new(move || sender.send(Instant::now()).unwrap())).unwrap();
        assert!(done.recv_timeout(LONG).unwrap() >= at);
    }

    /// Jobs that hang until `gate` is dropped, of so many owners below each of these cgroups. How many were refused.
    fn hang(aside: &Arc<Aside>, gate: &Arc<Mutex<mpsc::Receiver<()>>>, cgroup: &str, count: usize) -> usize {
        let push = |number| {
            let gate = Arc::clone(gate);
            // One by one, as threads that wait in the kernel are.
            let job = Box::new(move || gate.lock().recv().unwrap_or_default());
            aside.push(Lane::Looks, format!("{cgroup}/{number}").into_bytes().into(), job)
        };
        (0..count).filter(|number| push(*number).is_err()).count()
    }

    #[test]
    fn a_tenant_whose_looks_hang_leaves_threads_to_others() {
        let (aside, (sender, done)) = (Arc::new(Aside::looks()), mpsc::channel());
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        hang(&aside, &gate, "/tenant", 200);
        let wait = Instant::now();
        while !aside.state.lock().waiting.values().all(VecDeque::is_empty) {
            assert!(wait.elapsed() < LONG, "it is not known that they hang");
            thread::sleep(STUCK);
        }
        let working = |prefix: &str| {
            let state = aside.state.lock();
            state.working.keys().filter(|(_, owner)| owner.starts_with(prefix.as_bytes())).count()
        };
        assert!(working("/tenant/") < MOST_LOOKING / 2, "{}", working("/tenant/"));
        assert_eq!(hang(&aside, &gate, "/tenant", 1), 1, "it is refused at once");
        let began = Instant::now();
        for name in ["/other", "/another/1/2"] {
            let sender = sender.clone();
            aside
                .push(Lane::Looks, name.as_bytes().into(), Box::new(move || sender.send(()).unwrap()))
                .unwrap();
            done.recv_timeout(LONG).unwrap();
        }
        assert!(began.elapsed() < LONG / 2);
        drop(go);
    }

    #[test]
    fn a_job_that_is_not_done_is_dropped() {
        let (aside, (sender, done)) = (Arc::new(Aside::looks()), mpsc::channel());
        let (go, gate) = mpsc::channel::<()>();
        // At that depth one may hang.
        let push =
            |name: &str, job| aside.push(Lane::Looks, format!("/1/2/3/4/5/6/{name}").as_bytes().into(), job);
        push("a", Box::new(move || gate.recv().unwrap_or_default())).unwrap();
        struct Told(mpsc::Sender<bool>, bool);
        impl Told {
            fn done(mut self) {
                self.1 = true;
            }
        }
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.send(self.1).unwrap();
            }
        }
        let told = Told(sender, false);
        push("b", Box::new(move || told.done())).unwrap();
        assert_eq!(done.recv_timeout(LONG), Ok(false));
        drop(go);
    }

    #[test]
    fn what_waits_is_bounded_at_each_level() {
        let aside = Arc::new(Aside::looks());
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let waiting = || aside.state.lock().waiting.values().map(VecDeque::len).sum::<usize>();
        // Sooner than that they hang is known.
        assert!(hang(&aside, &gate, "/tenant", 2 * MOST_WAITING) > 0);
        assert!(waiting() <= MOST_WAITING / 2, "{}", waiting());
        assert_eq!(hang(&aside, &gate, "/other", 1), 0);
        drop(go);
    }

    #[test]
    fn all_levels_are_bounded() {
        let owner = |path: &str| Owner::from(path.as_bytes());
        let have = |path: &str, others: &[(&str, usize)]| {
            let others: Vec<_> = others.iter().map(|(path, count)| (owner(path), *count)).collect();
            are_too_many(path.as_bytes(), (48, 1), others.iter().map(|(path, count)| (path, *count)))
        };
        assert!(!have("/a/b", &[("/a/b", 11), ("/a", 12), ("/c", 24)]));
        assert!(have("/a/b", &[("/a/b/c", 12)]));
        assert!(have("/a/b", &[("/a/c", 24)]) && !have("/a", &[("/ab", 47)]));
        assert!(have("/a/b", &[("/c", 48)]) && have("/", &[("/c", 48)]));
        let deep = "/d".repeat(100);
        assert!(!have(&deep, &[("/d/d", 1)]) && have(&deep, &[(&deep, 1)]));
    }

    /// What the service manager would not let be made is missing to whoever needs it next.
    #[test]
    fn the_unit_has_room_for_all_threads() {
        let unit = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/cgprocfs.service"));
        let unit = unit.unwrap();
        let most = unit.lines().find_map(|line| line.strip_prefix("TasksMax=")).unwrap();
        // Those that follow loads and pressure, sweep, and so on; what looks into namespaces; what stops the unit.
        const OTHERS: usize = 32;
        let needed = MOST + MOST + MOST_LOOKING + crate::service::MOST_SERVING + OTHERS;
        assert!(most.parse::<usize>().unwrap() >= needed, "{most}, {needed} are needed");
    }

    #[test]
    fn there_are_no_more_threads_than_may_be() {
        let aside = Arc::new(Aside::quick());
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for owner in 0..2 * MOST as u64 {
            let gate = Arc::clone(&gate);
            aside
                .push(
                    Lane::Slow,
                    self::owner(owner),
                    Box::new(move || gate.lock().recv().unwrap_or_default()),
                )
                .unwrap();
            assert!(aside.state.lock().threads <= MOST);
        }
        drop(go);
    }
}
