//! Answers readers: who asks, for which view, and what the text is. Knows nothing of FUSE.

mod answers;
mod ledgers;
mod loads;
mod places;
mod triggers;

use self::answers::Answers;
pub use self::ledgers::{LEDGERS, StartedLedger};
pub use self::loads::LOADS;
pub use self::triggers::{KeptTrigger, Polled, TRIGGERS};

use self::ledgers::Ledgers;
use self::loads::Loads;
use self::triggers::Triggers;
use crate::error::Error;
use crate::load::Averages;
use crate::log_limit::LogLimit;
use crate::shared::Table;
use crate::snapshot::{Cpus, Needs, Scope, Snapshot};
use crate::source::{Caller, CgroupPath, Source};
use crate::sys;
use crate::trigger::Trigger;
use crate::view::{View, topology};
use log::Level;
use rustix::io::Errno;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How old a number may be when it is served. The promise is 100 ms; the rest is for a reader
/// that waits for a processor after the text was chosen.
pub const MAX_AGE: Duration = Duration::from_millis(50);

/// How often a cgroup that goes away while it is read is looked up again.
const ATTEMPTS: usize = 3;

/// The text of one view for one container at one moment.
#[derive(Debug)]
pub struct Text {
    /// When its numbers had been read.
    pub taken: Instant,
    /// What the file says.
    pub bytes: Vec<u8>,
}

impl Text {
    /// Whether its numbers may still be served.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.taken.elapsed() < MAX_AGE
    }
}

/// Memory that outlives this process; tables with room for nothing where there is none.
pub struct Kept {
    /// Of [`LEDGERS`].
    pub ledgers: Table<StartedLedger>,
    /// Of [`TRIGGERS`], by the open file's number and 1.
    pub triggers: Table<KeptTrigger>,
    /// Of [`LOADS`].
    pub loads: Table<Averages>,
}

/// Computes views for readers.
pub struct Service {
    source: Source,
    answers: Answers,
    ledgers: Ledgers,
    loads: Loads,
    triggers: Triggers,
    log: LogLimit,
}

thread_local! {
    /// `/proc/PID/cgroup` of the reader; kept for its allocation.
    static MEMBERSHIP: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Service {
    /// A service that reads `source` and keeps about `most_files` files of cgroups open at most.
    #[must_use]
    pub fn new(source: Source, most_files: usize) -> Self {
        Self {
            source,
            answers: Answers::new(most_files),
            ledgers: Ledgers::new(),
            loads: Loads::new(),
            triggers: Triggers::new(most_files),
            log: LogLimit::new(),
        }
    }

    /// What is read.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The text of `view` for the process or thread `pid`, which is 0 for one that can't be seen. It is
    /// at most [`MAX_AGE`] old, and all of it is of one moment.
    ///
    /// # Errors
    /// Where the reader or its cgroup is gone, or the kernel's files can't be read.
    pub fn text(&self, pid: u32, view: &'static dyn View) -> Result<Arc<Text>, Error> {
        crate::fault::point(pid);
        if pid == 0 { self.text_for_unseen(view) } else { self.text_for(pid, view) }
    }

    /// Logs an error that a reader gets, if it is anybody else's business and was not logged just before.
    pub fn log(&self, error: &Error) {
        self.log.error(error);
    }

    /// The processors of the container of `pid`; `None` where that is in none, and has the host's.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn cpus(&self, pid: u32) -> Result<Option<Cpus>, Error> {
        if pid == 0 {
            return Ok(None);
        }
        self.for_caller(pid, Needs::CPUS, |caller| {
            let path = self.source.path(caller.memory)?;
            Ok(self.source.load(&path, caller, Needs::CPUS)?.cpus)
        })
    }

    /// The text of the file at `path` below `/sys/devices/system/cpu`, as `pid` has it.
    ///
    /// # Errors
    /// ENOENT where that is of a processor that it has not, others as [`text`](Self::text).
    pub fn cpu_file(&self, pid: u32, path: &[u8]) -> Result<Arc<Text>, Error> {
        let directory = self.source.cpu_directory();
        let taken = Instant::now();
        let bytes = match self.cpus(pid)? {
            None => directory.text(path),
            Some(cpus) => {
                let native = topology::native_path(path, &cpus).ok_or(Errno::NOENT);
                native.and_then(|native| Ok(topology::text(path, directory.text(&native)?, &cpus)))
            }
        };
        Ok(Arc::new(Text { taken, bytes: bytes.map_err(Error::OfKernel)? }))
    }

    fn text_for(&self, pid: u32, view: &'static dyn View) -> Result<Arc<Text>, Error> {
        self.for_caller(pid, view.needs(), |caller| self.text_of(caller, view))
    }

    /// Finds the caller, and has `make` try again where its cgroup was removed meanwhile.
    fn for_caller<T>(
        &self,
        pid: u32,
        needs: Needs,
        make: impl Fn(&Caller<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        MEMBERSHIP.with_borrow_mut(|membership| {
            let mut attempt = 1;
            loop {
                let answer = self.source.caller(pid, MAX_AGE, needs, membership).and_then(|caller| {
                    let answer = make(&caller);
                    if matches!(&answer, Err(error) if error.is_race()) {
                        self.answers.forget(caller.memory);
                        self.source.forget(caller.memory);
                    }
                    answer
                });
                match answer {
                    Err(error) if error.is_race() && attempt < ATTEMPTS => attempt += 1,
                    Err(error) if error.wants_files() && attempt < ATTEMPTS => {
                        self.answers.clear();
                        self.source.sweep();
                        attempt += 1;
                    }
                    answer => return answer,
                }
            }
        })
    }

    fn text_of(&self, caller: &Caller<'_>, view: &'static dyn View) -> Result<Arc<Text>, Error> {
        let answers = self.answers.of_cgroup(caller.memory, || self.source.path(caller.memory))?;
        self.source.verify(answers.path())?;
        answers.text(caller, view, |path| {
            self.answers.forget_now_and_then();
            self.load(path, caller, view.needs())
        })
    }

    fn load(&self, path: &CgroupPath, caller: &Caller<'_>, needs: Needs) -> Result<Snapshot, Error> {
        // To find it out takes many a look, and what was found stays.
        let container = path.container(caller.container_length).map(|(number, _)| number);
        let start = container.and_then(|number| self.ledgers.start(number));
        let unknown = if start.is_some() { needs.without(Needs::START) } else { needs };
        let mut snapshot = self.source.load(path, caller, unknown)?;
        snapshot.start = start.or(snapshot.start);
        if let Scope::Container(_) = snapshot.scope
            && let Some(container) = path.container(caller.container_length)
        {
            if needs.covers(Needs::COUNTERS) {
                snapshot.counters = Some(self.ledgers.counters(container, &snapshot)?);
            }
            if needs.covers(Needs::LOAD) {
                let last_pid = self.source.innermost_pid(caller.pid)?;
                snapshot.load = Some(self.loads.load(container, &self.source, &snapshot, last_pid)?);
            }
        }
        Ok(snapshot)
    }

    /// Keeps what has to outlive this process, and goes on with what is there. Returns those who wait for a predecessor
    /// and have to be woken.
    pub fn keep_in(&self, kept: &Kept) -> Vec<u64> {
        self.ledgers.keep(kept.ledgers);
        self.loads.keep(kept.loads);
        self.triggers.keep(kept.triggers)
    }

    /// Follows the load of containers, on a thread of its own that ends with this service.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn follow_loads(self: &Arc<Self>) -> io::Result<()> {
        let service = Arc::downgrade(self);
        let follow = move || {
            while let Some(service) = service.upgrade() {
                let pause = service.loads.look(&service.source);
                drop(service);
                thread::sleep(pause);
            }
        };
        thread::Builder::new().name("load".into()).spawn(follow).map(drop)
    }

    /// Takes a pressure trigger that `pid` has written to an open file of a view.
    ///
    /// # Errors
    /// EINVAL for what is no trigger, EBUSY where the file has one, ENOSPC where the container has too many.
    pub fn arm(&self, handle: u64, pid: u32, view: &dyn View, text: &[u8]) -> Result<(), Error> {
        let trigger = Trigger::parse(text).ok_or(Error::OfKernel(Errno::INVAL))?;
        self.watch(handle, pid, view, trigger, None)
    }

    /// It has to be of `owner`, if that is known.
    fn watch(
        &self,
        handle: u64,
        pid: u32,
        view: &dyn View,
        trigger: Trigger,
        owner: Option<u64>,
    ) -> Result<(), Error> {
        let (file, native) = view.pressure().zip(view.native()).ok_or(Error::OfKernel(Errno::ROFS))?;
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
        let found = if pid == 0 { None } else { self.for_caller(pid, Needs::CPUS, of_container)? };
        let (found, path, file) = match found {
            Some(found) => found,
            None => (0, b"/".to_vec(), Some(self.source.pressure_of_host(native)?)),
        };
        if owner.is_some_and(|owner| owner != found) {
            return Err(Error::OfKernel(Errno::NODEV));
        }
        self.triggers.arm(handle, (found, &path), trigger, file).map_err(Error::OfKernel)
    }

    /// What a program is told that polls an open file of a view of pressure. Who waits is told later, by the number `waiter`.
    pub fn poll(&self, handle: u64, pid: u32, view: &dyn View, waiter: u64) -> Polled {
        if let Some(left) = self.triggers.left(handle)
            && let Err(error) = self.watch(handle, pid, view, left.trigger, Some(left.owner))
        {
            self.log(&error);
        }
        self.triggers.poll(handle, waiter)
    }

    /// An open file was closed.
    pub fn closed(&self, handle: u64) {
        self.triggers.release(handle);
    }

    /// Looks after triggers on a thread of its own that ends with this service. `wake` has the kernel ask again for whoever
    /// waits by that number.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn follow_triggers(self: &Arc<Self>, wake: impl Fn(u64) + Send + 'static) -> io::Result<()> {
        let service = Arc::downgrade(self);
        let follow = move || {
            while let Some(service) = service.upgrade() {
                service.triggers.look(&wake);
            }
        };
        thread::Builder::new().name("pressure".into()).spawn(follow).map(drop)
    }

    /// The container of such a reader can't be found, and nobody else's numbers may be given out for its
    /// own: the host's are what it would see without us.
    fn text_for_unseen(&self, view: &'static dyn View) -> Result<Arc<Text>, Error> {
        self.log.message(
            "unseen reader",
            Level::Warn,
            "a reader is in a pid namespace that cannot be seen from here and gets the host's values; \
             start cgprocfs in the host's pid namespace",
        );
        let snapshot = self.source.load_host(view.needs())?;
        render(view, &snapshot, Instant::now())
    }

    /// Closes the files of containers that are gone, and gives back the memory of what they once asked for.
    /// To be called now and then.
    pub fn sweep(&self) {
        self.answers.sweep(|path| self.source.verify(path).is_ok());
        self.ledgers.sweep(|number, path| self.source.is_cgroup(number, path));
        self.source.sweep();
        sys::release_free_memory();
    }
}

fn render(view: &dyn View, snapshot: &Snapshot, taken: Instant) -> Result<Arc<Text>, Error> {
    let mut bytes = Vec::with_capacity(2048);
    view.text(snapshot, &mut bytes)?;
    bytes.shrink_to_fit();
    Ok(Arc::new(Text { taken, bytes }))
}
