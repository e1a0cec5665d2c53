//! What is known of namespaces: where a cgroup namespace has its root, and where a pid namespace has its
//! init.
//!
//! Entries are keyed by the namespace's number, which the kernel gives away again once a namespace
//! is gone. So each entry holds its namespace open: while it is cached, its number is its own.

use super::layout::{Hierarchy, is_at_or_below};
use super::procfs::{PATH_DIR, Procfs, READ, process_error, read_whole};
use crate::error::Error;
use crate::parse::proc_stat::start_time;
use crate::parse::proc_status;
use crate::sys;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use rustix::fs::{Dir, Mode, OFlags, fstat, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How many namespaces of either kind are held at most: three files for each pair.
pub(super) const CAPACITY: usize = 1024;

/// The namespaces of recent readers.
#[derive(Default)]
pub(super) struct NamespaceCache {
    cgroup: Mutex<HashMap<u64, Arc<CgroupNamespace>>>,
    pid: Mutex<HashMap<u64, Arc<PidNamespace>>>,
}

struct CgroupNamespace {
    _held: OwnedFd,
    /// Its root in the memory controller's hierarchy, which never changes.
    root: Vec<u8>,
}

struct PidNamespace {
    _held: OwnedFd,
    /// `/proc/INIT/cgroup` of its init: it answers ESRCH when that is dead, and with it the namespace.
    init: OwnedFd,
    init_pid: u32,
    /// When init started, in clock ticks after the boot, once that was asked for.
    start: OnceLock<u64>,
    /// Where init was last seen, and when.
    place: Mutex<Option<(Instant, Vec<u8>)>>,
}

impl NamespaceCache {
    /// Length of the prefix of `path` that is the root of the reader's cgroup namespace `id`; `None` if
    /// the reader is not inside it.
    pub(super) fn root_of(
        &self,
        id: u64,
        pid: u32,
        path: &[u8],
        procfs: &Procfs,
        memory: &Hierarchy,
    ) -> Result<Option<usize>, Error> {
        let known = self.cgroup.lock().get(&id).map(Arc::clone);
        let namespace = match known {
            Some(namespace) => namespace,
            None => match CgroupNamespace::learn(id, pid, path, procfs, memory)? {
                Some(namespace) => {
                    let namespace = Arc::new(namespace);
                    insert(&mut self.cgroup.lock(), id, &namespace);
                    namespace
                }
                None => return Ok(None),
            },
        };
        Ok(is_at_or_below(path, &namespace.root).then_some(namespace.root.len()))
    }

    /// Length of the prefix of `path` that is the cgroup of the init of the pid namespace `id`; `None` if
    /// `path` is not below it.
    ///
    /// A look at init that is at most `max_age` old will do.
    pub(super) fn init_of(
        &self,
        id: u64,
        pid: u32,
        path: &[u8],
        max_age: Duration,
        procfs: &Procfs,
        memory: &Hierarchy,
    ) -> Result<Option<usize>, Error> {
        let Some(namespace) = self.pid_namespace(id, pid, procfs)? else { return Ok(None) };
        let container = namespace.container_of(path, max_age, memory);
        if let Err(Error::ProcessGone(_)) = container {
            self.pid.lock().remove(&id);
            return Ok(None);
        }
        container
    }

    /// When the init of the pid namespace `id` started; `None` if it can't be seen, or is not in `container`.
    pub(super) fn start_in(
        &self,
        container: &[u8],
        id: u64,
        pid: u32,
        procfs: &Procfs,
        memory: &Hierarchy,
    ) -> Result<Option<u64>, Error> {
        let Some(namespace) = self.pid_namespace(id, pid, procfs)? else { return Ok(None) };
        let place = namespace.place(Duration::ZERO, memory)?;
        if is_at_or_below(&place, container) { namespace.start(procfs).map(Some) } else { Ok(None) }
    }

    fn pid_namespace(&self, id: u64, pid: u32, procfs: &Procfs) -> Result<Option<Arc<PidNamespace>>, Error> {
        let known = self.pid.lock().get(&id).map(Arc::clone);
        if known.is_some() {
            return Ok(known);
        }
        let learnt = PidNamespace::learn(id, pid, procfs)?.map(Arc::new);
        if let Some(namespace) = &learnt {
            insert(&mut self.pid.lock(), id, namespace);
        }
        Ok(learnt)
    }

    /// Lets go of namespaces whose container is gone: an open cgroup namespace keeps the kernel from
    /// freeing its root cgroup.
    pub(super) fn sweep(&self, memory: &Hierarchy) {
        let exists = |namespace: &CgroupNamespace| {
            let path = super::levels::relative(&namespace.root);
            openat(&memory.dir, path, PATH_DIR, Mode::empty()).is_ok()
        };
        retain(&self.cgroup, exists);
        let mut text = Vec::new();
        retain(&self.pid, |namespace| read_whole(&namespace.init, &mut text).is_ok());
    }
}

/// Drops what `keep` denies. It may take its time: the cache is not locked meanwhile.
fn retain<T>(cache: &Mutex<HashMap<u64, Arc<T>>>, mut keep: impl FnMut(&T) -> bool) {
    let all: Vec<_> = cache.lock().iter().map(|(id, namespace)| (*id, Arc::clone(namespace))).collect();
    let gone: Vec<_> = all.into_iter().filter(|(_, namespace)| !keep(namespace)).collect();
    let mut cache = cache.lock();
    for (id, namespace) in &gone {
        if cache.get(id).is_some_and(|now| Arc::ptr_eq(now, namespace)) {
            cache.remove(id);
        }
    }
}

fn insert<T>(cache: &mut HashMap<u64, Arc<T>>, id: u64, namespace: &Arc<T>) {
    if cache.len() >= CAPACITY {
        cache.clear();
    }
    cache.insert(id, Arc::clone(namespace));
}

/// Opens a namespace of a process, if it is still the one with number `id`.
fn hold(id: u64, pid: u32, file: &str, procfs: &Procfs) -> Result<Option<OwnedFd>, Error> {
    let held = procfs.open_of(pid, file)?;
    let number = fstat(&held).map_err(|e| process_error(pid, file, e.into()))?.st_ino;
    Ok((number == id).then_some(held))
}

impl CgroupNamespace {
    fn learn(
        id: u64,
        pid: u32,
        path: &[u8],
        procfs: &Procfs,
        memory: &Hierarchy,
    ) -> Result<Option<Self>, Error> {
        let Some(held) = hold(id, pid, "ns/cgroup", procfs)? else { return Ok(None) };
        let mut text = Vec::new();
        read_inside(held.as_fd(), pid, procfs, &mut text)?;
        let inside = match memory.path_in(&text, pid) {
            Ok(b"/") => &b""[..],
            Ok(inside) => inside,
            // The reader was moved out of its namespace's root.
            Err(Error::Outside(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(root) = path.strip_suffix(inside) else { return Ok(None) };
        let root = if root.is_empty() { b"/" } else { root }.to_vec();
        // A reader that moved between the two looks would leave a wrong root behind for all after it.
        procfs.read_of(pid, "cgroup", &mut text)?;
        let unmoved = memory.path_in(&text, pid)? == path;
        Ok(unmoved.then_some(Self { _held: held, root }))
    }
}

/// Reads a process's `/proc/PID/cgroup` as it looks from inside a cgroup namespace, by another process if there is
/// one for it, or on a thread of its own: a thread's namespaces are its own, and this process stays where it is.
fn read_inside(
    namespace: BorrowedFd<'_>,
    pid: u32,
    procfs: &Procfs,
    text: &mut Vec<u8>,
) -> Result<(), Error> {
    if let Some(reader) = &procfs.namespace_reader {
        let membership = procfs.open_of(pid, "cgroup")?;
        let read = reader.text(namespace, membership.as_fd());
        *text = read.map_err(|e| process_error(pid, "cgroup", e))?;
        return Ok(());
    }
    let enter_and_read = || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::ControlGroup))
            .map_err(|e| Error::unreadable(format!("/proc/{pid}/ns/cgroup"), e))?;
        procfs.read_of(pid, "cgroup", text)
    };
    thread::scope(|scope| {
        let thread =
            thread::Builder::new().name("cgroup-namespace".into()).spawn_scoped(scope, enter_and_read);
        let failed =
            || Error::unreadable(format!("/proc/{pid}/cgroup"), io::Error::from_raw_os_error(libc::EAGAIN));
        thread.map_err(|_| failed())?.join().map_err(|_| failed())?
    })
}

impl PidNamespace {
    fn learn(id: u64, pid: u32, procfs: &Procfs) -> Result<Option<Self>, Error> {
        let Some(held) = hold(id, pid, "ns/pid", procfs)? else { return Ok(None) };
        let init_pid = match sys::init_of(held.as_fd()) {
            Ok(init) => Some(init),
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => search_init(id, pid, procfs)?,
            Err(_) => None,
        };
        let Some(init_pid) = init_pid else { return Ok(None) };
        match procfs.open_of(init_pid, "cgroup") {
            Ok(init) => Ok(Some(Self {
                _held: held,
                init,
                init_pid,
                start: OnceLock::new(),
                place: Mutex::new(None),
            })),
            Err(Error::ProcessGone(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn start(&self, procfs: &Procfs) -> Result<u64, Error> {
        if let Some(start) = self.start.get() {
            return Ok(*start);
        }
        let mut text = Vec::new();
        procfs.read_of(self.init_pid, "stat", &mut text)?;
        // The pid is still init's if that lives.
        read_whole(&self.init, &mut Vec::new()).map_err(|e| process_error(self.init_pid, "cgroup", e))?;
        let start = start_time(&text);
        let start = start.map_err(|e| Error::malformed(format!("/proc/{}/stat", self.init_pid), e))?;
        Ok(*self.start.get_or_init(|| start))
    }

    fn container_of(
        &self,
        path: &[u8],
        max_age: Duration,
        memory: &Hierarchy,
    ) -> Result<Option<usize>, Error> {
        let container = self.place(max_age, memory)?;
        Ok(is_at_or_below(path, &container).then_some(container.len()))
    }

    /// The container that init says it is.
    fn place(&self, max_age: Duration, memory: &Hierarchy) -> Result<MappedMutexGuard<'_, Vec<u8>>, Error> {
        let mut place = self.place.lock();
        let fresh = |(at, _): &&(Instant, Vec<u8>)| at.elapsed() < max_age;
        if place.as_ref().filter(fresh).is_none() {
            let (now, mut text) = (Instant::now(), Vec::new());
            read_whole(&self.init, &mut text).map_err(|e| process_error(self.init_pid, "cgroup", e))?;
            let init = memory.path_in(&text, self.init_pid)?;
            *place = Some((now, container_around(init).to_vec()));
        }
        Ok(MutexGuard::map(place, |place| &mut place.get_or_insert_with(|| (Instant::now(), Vec::new())).1))
    }
}

/// systemd as init moves itself into a cgroup `init.scope` of its own, below the container's.
fn container_around(init: &[u8]) -> &[u8] {
    match init.strip_suffix(b"/init.scope") {
        Some(b"") => b"/",
        Some(container) => container,
        None => init,
    }
}

/// Finds the init of a reader's pid namespace, for kernels before 6.11 that can't be asked: it is the
/// eldest ancestor there, unless the reader was put into the namespace from outside, as by `docker exec`.
fn search_init(id: u64, reader: u32, procfs: &Procfs) -> Result<Option<u32>, Error> {
    let mut text = Vec::new();
    let mut inside = |pid: u32| -> Option<proc_status::Status> {
        let in_namespace = procfs.namespace_id(pid, "ns/pid").is_ok_and(|namespace| namespace == id);
        procfs.read_of(pid, "status", &mut text).ok().filter(|()| in_namespace)?;
        proc_status::parse(&text).ok()
    };
    let mut ancestor = reader;
    while let Some(status) = inside(ancestor) {
        if status.innermost_pid == 1 {
            return Ok(Some(ancestor));
        }
        ancestor = u32::try_from(status.parent).unwrap_or(0);
    }
    let unreadable = |e: rustix::io::Errno| Error::unreadable("/proc", e);
    // Anew, for a directory that is open for look-ups only can't be listed.
    let listed = openat(&procfs.dir, ".", READ | OFlags::DIRECTORY, Mode::empty()).map_err(unreadable)?;
    for entry in Dir::new(listed).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(pid) = entry.file_name().to_str().unwrap_or_default().parse() else { continue };
        if inside(pid).is_some_and(|status| status.innermost_pid == 1) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn init_scope_is_cut_off_and_nothing_else() {
        assert_eq!(container_around(b"/lxc/c1/init.scope"), b"/lxc/c1");
        assert_eq!(container_around(b"/lxc/c1/init"), b"/lxc/c1/init");
        assert_eq!(container_around(b"/lxc/c1/xinit.scope"), b"/lxc/c1/xinit.scope");
        assert_eq!(container_around(b"/init.scope"), b"/");
    }

    /// The way for old kernels has to find what a new one says.
    #[test]
    fn search_finds_the_init_that_the_kernel_names() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let own = procfs.namespace_id(std::process::id(), "ns/pid").unwrap();
        // Without root the namespaces of others can't be seen, pid 1's least of all.
        if procfs.namespace_id(1, "ns/pid").is_ok() {
            let nobody = 4_194_305;
            assert_eq!(search_init(own, std::process::id(), &procfs).unwrap(), Some(1), "by its descendants");
            assert_eq!(search_init(own, nobody, &procfs).unwrap(), Some(1), "among all processes");
        }
    }
}
