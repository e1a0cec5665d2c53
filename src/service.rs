//! Answers readers: who asks, for which view, and what the text is. Knows nothing of FUSE.

mod answers;
mod aside;
mod asking;
mod beat;
mod boot_clock;
mod cpu_accounts;
mod in_time;
mod known_aside;
mod load_estimate;
mod load_sampler;
mod places;
mod psi_monitor;
mod share;
mod starts;
mod tracked_cgroups;
mod turns;

use self::answers::Answers;
use self::aside::Aside;
pub(crate) use self::aside::Lane;
pub(crate) use self::asking::Asker;
pub use self::asking::Viewer;
use self::asking::{Again, FilesOf, TextOf, Waiter};
use self::known_aside::KnownAside;
pub use self::psi_monitor::PollState;
use self::share::{Busyness, ContainerShares, Readings};
pub use self::starts::PATIENCE as PATIENCE_FOR_AGE;
use self::starts::Starts;

use self::cpu_accounts::CpuAccounts;
use self::load_sampler::LoadSampler;
use self::psi_monitor::PsiMonitor;
use crate::error::Error;
use crate::kernel::{Caller, PressureFile, Source};
use crate::rate_limited_log::RateLimitedLog;
use crate::state::PersistentState;
use crate::state::in_flight::InFlightGuard;
use crate::sys;
use cgprocfs_core::psi::Trigger;
use cgprocfs_core::snapshot::{Needs, Scope, Snapshot};
use cgprocfs_core::topology::Topology;
use cgprocfs_core::view::ViewId;
use log::Level;
use rustix::io::Errno;
use rustix::process::setpriority_process;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How old a number may be when it is served. The promise is 100 ms; the rest is for a reader
/// that waits for a processor after the text was chosen.
pub const MAX_AGE: Duration = Duration::from_millis(50);

/// How often the files of containers that are gone are closed.
const SWEEP: Duration = Duration::from_secs(10);

/// How many threads serve: as many as processors, from two to four. A second one doubles what two readers get. Idle ones take
/// turns, so that each more than needed makes a single reader slower.
#[must_use]
pub fn serving_threads() -> usize {
    thread::available_parallelism().map_or(2, NonZero::get).clamp(2, MOST_SERVING)
}

/// As many as that at most.
const MOST_SERVING: usize = 4;

/// The text of one view for one container at one moment.
#[derive(Debug)]
pub struct Text {
    /// When its numbers had been read. They are of then, or, where the kernel takes long over them, of when somebody had asked.
    pub taken: Instant,
    /// Operation the file says.
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

/// Whose pressure it is, the container's number and path, or 0 for the host; and where that is told, if it is.
type Pressure = (u64, Vec<u8>, Option<PressureFile>);

/// Computes views for readers.
pub struct Service {
    source: Source,
    answers: Answers,
    cpu_accounts: CpuAccounts,
    load_sampler: LoadSampler,
    psi_monitor: Arc<PsiMonitor>,
    starts: Starts,
    /// Those who are not known to be slow wait here,
    quick: Arc<Aside>,
    /// those who are here,
    slow: Arc<Aside>,
    /// and looks at what may hang here.
    looks: Arc<Aside>,
    known_aside: KnownAside,
    busyness: Busyness,
    shares: ContainerShares,
    /// So many serving threads may begin to read a cgroup: another one is always left for who needs none to be read.
    readings: Readings,
    log: RateLimitedLog,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.psi_monitor.end();
    }
}

impl Service {
    /// A service that reads `source` and keeps about `most_files` files of cgroups open at most.
    #[must_use]
    pub fn new(source: Source, most_files: usize) -> Self {
        let tick_rate = source.machine().tick_rate;
        Self {
            // As much again, for who asks.
            source: source.keeping(most_files / 2),
            answers: Answers::new(most_files),
            cpu_accounts: CpuAccounts::new(tick_rate),
            load_sampler: LoadSampler::new(),
            psi_monitor: Arc::new(PsiMonitor::new(most_files)),
            starts: Starts::new(most_files / 8),
            quick: Arc::new(Aside::quick()),
            slow: Arc::new(Aside::slow()),
            looks: Arc::new(Aside::looks()),
            known_aside: KnownAside::default(),
            busyness: Busyness::default(),
            shares: ContainerShares::default(),
            readings: Readings::new(serving_threads() - 1),
            log: RateLimitedLog::new(),
        }
    }

    /// Operation is read.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The text of `view` for the process or thread `pid`, which is 0 for one that can't be seen. It is
    /// at most [`MAX_AGE`] old, and all of it is of one moment. For who can wait: a serving thread [asks](Self::ask_text).
    ///
    /// # Errors
    /// Where the reader or its cgroup is gone, or the kernel's files can't be read.
    pub fn text(self: &Arc<Self>, pid: u32, view: ViewId) -> Result<Arc<Text>, Error> {
        let (sender, answer) = mpsc::channel();
        let query = TextOf(view);
        let waiter = Waiter { pid, asked: Instant::now(), in_flight: InFlightGuard::nowhere(), rounds: 0 };
        // Nobody waits any more if that fails.
        self.ask(Asker::Patient, waiter, query, move |text| drop(sender.send(text)));
        answer.recv().unwrap_or(Err(Error::Errno(Errno::IO)))
    }

    /// Has `reply` told the text of `view`, as [`text`](Self::text) has it: at once, or by another thread where it takes
    /// longer or others would have to wait for it. The request stays in_flight until then.
    pub fn ask_text(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: u32,
        view: ViewId,
        reply: impl FnOnce(Result<Arc<Text>, Error>) + Send + 'static,
    ) {
        self.ask_serving(in_flight, pid, TextOf(view), reply);
    }

    /// Likewise what `make` makes of files of the host for the reader, of whom `needs` is read: [`Topology::needs`], or more.
    pub fn ask_files<T: Send + 'static>(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: u32,
        needs: Needs,
        make: impl Fn(&Self, &Viewer<'_>) -> Result<T, Error> + Send + Sync + 'static,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        self.ask_serving(in_flight, pid, FilesOf::new(needs, make), reply);
    }

    /// Likewise the text of the file at `path` below `sys/devices/system`, as `pid` has it; ENOENT where that is of a
    /// processor or a node that it has not.
    pub fn ask_system_file(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: u32,
        path: Vec<u8>,
        reply: impl FnOnce(Result<Arc<Text>, Error>) + Send + 'static,
    ) {
        let needs = Topology::needs(&path);
        let make = move |service: &Self, viewer: &Viewer<'_>| {
            let taken = Instant::now();
            let read = |path: &[u8]| Ok::<_, Error>(service.source.system_directory().text(path)?);
            let bytes = match viewer.topology {
                None => read(&path)?,
                Some(topology) => {
                    let native = topology.native_path(&path).ok_or(Errno::NOENT)?;
                    topology.text(&path, read(&native)?, viewer.memory, read)?
                }
            };
            Ok(Arc::new(Text { taken, bytes, cgroup: viewer.cgroup.into() }))
        };
        self.ask_files(in_flight, pid, needs, make, reply);
    }

    /// The text of such a file, for who can wait.
    ///
    /// # Errors
    /// As [`text`](Self::text), and ENOENT where the reader has none there.
    pub fn system_text(self: &Arc<Self>, pid: u32, path: &str) -> Result<Arc<Text>, Error> {
        let (sender, answer) = mpsc::channel();
        // Nobody waits any more if that fails.
        self.ask_system_file(InFlightGuard::nowhere(), pid, path.into(), move |text| drop(sender.send(text)));
        answer.recv().unwrap_or(Err(Error::Errno(Errno::IO)))
    }

    /// Notes that a serving thread has fetched a request, while many of the others were about one or few.
    pub fn fetched(&self, are_many: bool) {
        self.busyness.note(are_many);
    }

    /// Logs an error that a reader gets, if it is anybody else's business and was not logged just before.
    pub fn log(&self, error: &Error) {
        self.log.error(error);
    }

    /// Keeps what has to outlive this process, and goes on with what is there. Returns those who wait for a predecessor
    /// and have to be woken.
    pub fn keep_in(&self, kept: &PersistentState) -> Vec<u64> {
        self.cpu_accounts.keep(kept.cpu_accounts());
        self.load_sampler.keep(kept.loads());
        self.psi_monitor.keep(kept.psi_triggers())
    }

    /// Follows the load of containers, on a thread of its own that ends with this service, and that is less important than those
    /// that answer.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn follow_loads(self: &Arc<Self>) -> io::Result<()> {
        let service = Arc::downgrade(self);
        let follow = move || {
            // Operation is not allowed to be less important is as important as it was.
            let _ = setpriority_process(None, aside::NICE);
            while let Some(service) = service.upgrade() {
                let pause = service.load_sampler.sample_due(&service.source);
                drop(service);
                thread::sleep(pause);
            }
        };
        thread::Builder::new().name("load".into()).spawn(follow).map(drop)
    }

    /// Takes a pressure trigger that `pid` has written to an open file of a view, and has `reply` told: EINVAL for what is no
    /// trigger, EBUSY where the file has one, ENOSPC where the container has too many.
    pub fn ask_to_arm(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        (handle, pid): (u64, u32),
        view: ViewId,
        trigger: Option<Trigger>,
        reply: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        match trigger {
            None => reply(Err(Error::Errno(Errno::INVAL))),
            Some(trigger) => {
                let find = move |service: &Self, asker| service.pressure_for(asker, pid, view);
                // Who is told that it took too long has no trigger.
                self.look_aside(in_flight, pid, find, move |service, found| {
                    reply(service.watch(handle, found, trigger, None));
                });
            }
        }
    }

    /// Watches what was found, which has to be of `owner`, if that is known.
    fn watch(
        &self,
        handle: u64,
        found: Result<Pressure, Error>,
        trigger: Trigger,
        owner: Option<u64>,
    ) -> Result<(), Error> {
        let (found, path, file) = found?;
        if owner.is_some_and(|owner| owner != found) {
            return Err(Error::Errno(Errno::NODEV));
        }
        self.psi_monitor.arm(handle, (found, &path), trigger, file).map_err(Error::Errno)
    }

    /// The pressure that a view shows a reader.
    fn pressure_for(&self, asker: Asker, pid: u32, view: ViewId) -> Result<Pressure, Error> {
        let (file, native) = view.pressure().zip(view.host_file()).ok_or(Error::Errno(Errno::ROFS))?;
        let of_container = |caller: &Caller<'_>| {
            let path = self.source.path(caller.memory)?;
            // Whose pressure it is has to be whose text it reads.
            if let Scope::Host(_) = self.source.load(&path, caller, Needs::CPUS)?.scope {
                return Ok(None);
            }
            let container = path.container(caller.container_length);
            container
                .map(|(number, path)| Ok((number, path.to_vec(), self.source.pressure_of(caller, file)?)))
                .transpose()
        };
        let found = if pid == 0 { None } else { self.for_caller(asker, pid, of_container)? };
        match found {
            Some(found) => Ok(found),
            None => Ok((0, b"/".to_vec(), Some(self.source.pressure_of_host(native)?))),
        }
    }

    /// Has `reply` told what a program is told that polls an open file of a view of pressure. Who waits is told later, by the
    /// number `waiter`.
    pub fn ask_poll(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        (handle, pid): (u64, u32),
        view: ViewId,
        waiter: u64,
        reply: impl FnOnce(PollState) + Send + 'static,
    ) {
        match self.psi_monitor.orphaned(handle) {
            None => reply(self.psi_monitor.poll(handle, waiter)),
            Some(left) => {
                let find = move |service: &Self, asker| service.pressure_for(asker, pid, view);
                self.look_aside(in_flight, pid, find, move |service, found| {
                    if let Err(error) = service.watch(handle, found, left.trigger, Some(left.owner)) {
                        service.log(&error);
                    }
                    reply(service.psi_monitor.poll(handle, waiter));
                });
            }
        }
    }

    /// An open file was closed.
    pub fn closed(&self, handle: u64) {
        self.psi_monitor.release(handle);
    }

    /// Looks after triggers on a thread of its own that ends with this service. `wake` has the kernel ask again for whoever
    /// waits by that number.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn follow_triggers(self: &Arc<Self>, wake: impl Fn(u64) + Send + 'static) -> io::Result<()> {
        // Not the service: while nothing is armed this waits without end.
        let monitor = Arc::clone(&self.psi_monitor);
        let follow = move || while monitor.watch(&wake) {};
        thread::Builder::new().name("pressure".into()).spawn(follow).map(drop)
    }

    /// The container of such a reader can't be found, and nobody else's numbers may be given out for its
    /// own: the host's are what it would see without us.
    fn warn_of_unseen(&self) {
        self.log.message(
            "unseen reader",
            Level::Warn,
            "a reader is in a pid namespace that cannot be seen from here and gets the host's values; \
             start cgprocfs in the host's pid namespace",
        );
    }

    /// That requests are left unanswered.
    fn warn_of_no_thread(&self, error: &io::Error) {
        let message =
            format!("cannot start a thread for a slow container: {error}; raise the limit on tasks");
        self.log.message("no thread", Level::Error, message);
    }

    /// That it was not looked how old a container is.
    fn warn_of_many_that_hang(&self) {
        self.log.message(
            "many hang",
            Level::Warn,
            "too many processes of one tenant hang in the middle of an exec to look at more of its containers: their age \
             may be too low",
        );
    }

    /// Closes half of the files that are kept for the next who ask: there are too many. Whoever has most gives, so that a tenant can't
    /// have others' be looked for anew again and again.
    fn close_half(&self) {
        self.answers.close_half();
        self.starts.close_half();
        self.source.close_half();
    }

    /// Sweeps now and then, on a thread of its own that ends with this service.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn sweep_now_and_then(self: &Arc<Self>) -> io::Result<()> {
        let service = Arc::downgrade(self);
        let sweep = move || {
            while let Some(service) = service.upgrade() {
                service.sweep();
                drop(service);
                thread::sleep(SWEEP);
            }
        };
        thread::Builder::new().name("sweep".into()).spawn(sweep).map(drop)
    }

    /// Closes the files of containers that are gone, and gives back the memory of what they once asked for.
    /// To be called now and then.
    pub fn sweep(&self) {
        self.answers.sweep(|path| self.source.verify(path).is_ok());
        self.cpu_accounts.sweep(|number, path| self.source.is_cgroup(number, path));
        self.load_sampler.sweep(|number, path| self.source.is_cgroup(number, path));
        let exists = |number, path: &[u8]| self.source.is_cgroup(number, path);
        self.starts.sweep(exists, |container| self.cpu_accounts.is_seen(container));
        self.source.sweep();
        self.known_aside.clear();
        self.shares.sweep();
        sys::release_free_memory();
    }
}

fn render(view: ViewId, snapshot: &Snapshot, taken: Instant, cgroup: &Arc<[u8]>) -> Result<Arc<Text>, Error> {
    let mut bytes = Vec::with_capacity(2048);
    view.text(snapshot, &mut bytes)?;
    bytes.shrink_to_fit();
    Ok(Arc::new(Text { taken, bytes, cgroup: Arc::clone(cgroup) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, getpriority_process};
    use std::fs;
    use std::path::Path;

    #[test]
    fn who_follows_loads_is_less_important() {
        let source = Source::open(Path::new("tests/fixtures/v1-docker/root"), None).unwrap();
        let service = Arc::new(Service::new(source, 100));
        service.follow_loads().unwrap();
        let nice = || {
            let threads = fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
            let is_it = |thread: &fs::DirEntry| {
                fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name == "load\n")
            };
            let thread = threads.into_iter().find(is_it)?;
            let number = thread.file_name().to_str().unwrap().parse().unwrap();
            getpriority_process(Pid::from_raw(number)).ok()
        };
        let own = getpriority_process(None).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while nice().is_none_or(|nice| nice <= own && nice < 19) {
            assert!(Instant::now() < until, "{:?} is as important as {own}", nice());
            thread::sleep(Duration::from_millis(5));
        }
    }
}
