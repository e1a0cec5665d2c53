//! What is known of namespaces: where a cgroup namespace has its root, and where a pid namespace has its
//! init.
//!
//! Entries are keyed by the namespace's number, which the kernel gives away again once a namespace
//! is gone. So each entry holds its namespace open: while it is cached, its number is its own.

use super::caller::Caller;
use crate::error::{Error, escaped};
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::cgroup::paths::is_at_or_below;
use crate::kernel::procfs::{PATH_DIR, Procfs, READ, process_error, read_whole};
use crate::shares::excess;
use crate::sys;
use cgprocfs_core::parse::proc_status;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use rustix::fs::{Dir, Mode, OFlags, fstat, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How many namespaces of either kind are held at most: three files for each pair.
const CAPACITY: usize = 1024;
const FILES_A_PAIR: usize = 3;

/// The namespaces of recent readers.
pub(crate) struct NamespaceCache {
    capacity: usize,
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
    /// The cgroup of who has asked first.
    cgroup: Box<[u8]>,
    /// `/proc/INIT/cgroup` of its init: it answers ESRCH when that is dead, and with it the namespace.
    init: OwnedFd,
    init_pid: u32,
    /// Where init was last seen, and when.
    place: Mutex<Option<(Instant, Vec<u8>)>>,
}

impl Default for NamespaceCache {
    fn default() -> Self {
        Self { capacity: CAPACITY, cgroup: Mutex::default(), pid: Mutex::default() }
    }
}

impl NamespaceCache {
    /// Holds no more than about so many files open.
    pub(crate) fn bound(&mut self, most_files: usize) {
        self.capacity = (most_files / FILES_A_PAIR).clamp(1, CAPACITY);
    }

    /// Length of the prefix of `path` that is the root of the reader's cgroup namespace `id`; `None` if
    /// the reader is not inside it.
    ///
    /// # Errors
    /// [`Error::TakesLong`] where that is not known yet, unless whoever waits `may_take_long`.
    pub(crate) fn root_of(
        &self,
        id: u64,
        (pid, path): (u32, &[u8]),
        may_take_long: bool,
        procfs: &Procfs,
        memory: &Hierarchy,
    ) -> Result<Option<usize>, Error> {
        let known = self.cgroup.lock().get(&id).map(Arc::clone);
        let namespace = match known {
            Some(namespace) => namespace,
            // A tenant may make any number of them.
            None if !may_take_long => return Err(Error::TakesLong(escaped(path))),
            None => match CgroupNamespace::learn(id, pid, path, procfs, memory)? {
                Some(namespace) => {
                    let namespace = Arc::new(namespace);
                    let removed = insert(&mut self.cgroup.lock(), self.capacity, id, &namespace);
                    drop(removed);
                    namespace
                }
                None => return Ok(None),
            },
        };
        Ok(is_at_or_below(path, &namespace.root).then_some(namespace.root.len()))
    }

    /// Length of the prefix of the reader's path that is the cgroup of the init of its pid namespace `id`; `None` if
    /// the path is not below it.
    ///
    /// A look at init that is at most `max_age` old will do.
    ///
    /// # Errors
    /// [`Error::MayHang`] where it takes a search that may, unless the reader's thread [may](Caller::may_hang), too.
    pub(crate) fn init_of(
        &self,
        id: u64,
        reader: &Caller<'_>,
        max_age: Duration,
        procfs: &Procfs,
        memory: &Hierarchy,
    ) -> Result<Option<usize>, Error> {
        let Some(namespace) = self.pid_namespace(id, reader, procfs, memory)? else { return Ok(None) };
        let container = namespace.container_of(reader.memory, max_age, memory);
        if let Err(Error::ProcessGone(_)) = container {
            self.pid.lock().remove(&id);
            return Ok(None);
        }
        container
    }

    /// The init of the pid namespace `id`; `None` if it can't be seen, or is not in `container`.
    pub(crate) fn init_in(
        &self,
        container: &[u8],
        id: u64,
        reader: &Caller<'_>,
        procfs: &Procfs,
        memory: &Hierarchy,
    ) -> Result<Option<u32>, Error> {
        let Some(namespace) = self.pid_namespace(id, reader, procfs, memory)? else { return Ok(None) };
        let place = namespace.place(Duration::ZERO, memory);
        if let Err(Error::ProcessGone(_)) = place {
            self.pid.lock().remove(&id);
            return Ok(None);
        }
        Ok(is_at_or_below(&place?, container).then_some(namespace.init_pid))
    }

    fn pid_namespace(
        &self,
        id: u64,
        reader: &Caller<'_>,
        procfs: &Procfs,
        memory: &Hierarchy,
    ) -> Result<Option<Arc<PidNamespace>>, Error> {
        let known = self.pid.lock().get(&id).map(Arc::clone);
        if known.is_some() {
            return Ok(known);
        }
        let learnt = PidNamespace::learn(id, reader, procfs, memory)?.map(Arc::new);
        if let Some(namespace) = &learnt {
            let removed = insert(&mut self.pid.lock(), self.capacity, id, namespace);
            drop(removed);
        }
        Ok(learnt)
    }

    /// Lets go of half of them, of whoever has most.
    pub(crate) fn let_go_of_half(&self) {
        // Closing takes a while, and nobody should wait for it.
        let cgroup = remove_half(&mut self.cgroup.lock());
        let pid = remove_half(&mut self.pid.lock());
        drop((cgroup, pid));
    }

    /// Lets go of namespaces whose container is gone: an open cgroup namespace keeps the kernel from
    /// freeing its root cgroup.
    pub(crate) fn sweep(&self, memory: &Hierarchy) {
        let exists = |namespace: &CgroupNamespace| {
            let path = crate::kernel::cgroup::paths::relative(&namespace.root);
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

/// What is held of whom.
trait Held {
    /// The path of a cgroup whose tenant has made it, most likely.
    fn cgroup(&self) -> &[u8];
}

impl Held for CgroupNamespace {
    fn cgroup(&self) -> &[u8] {
        &self.root
    }
}

impl Held for PidNamespace {
    fn cgroup(&self) -> &[u8] {
        &self.cgroup
    }
}

/// Of too many an eighth goes, to be closed by the caller: any of those in the heaviest branch of the hierarchy, for their numbers
/// tell nothing of who asks next.
fn insert<T: Held>(
    cache: &mut HashMap<u64, Arc<T>>,
    capacity: usize,
    id: u64,
    namespace: &Arc<T>,
) -> Vec<Arc<T>> {
    let mut removed = Vec::new();
    if cache.len() >= capacity {
        removed = remove_excess(cache, capacity - capacity.div_ceil(8));
    }
    cache.insert(id, Arc::clone(namespace));
    removed
}

fn remove_excess<T: Held>(cache: &mut HashMap<u64, Arc<T>>, most: usize) -> Vec<Arc<T>> {
    let held = cache.iter().map(|(id, namespace)| (*id, namespace.cgroup(), 1));
    let excess = excess(held, most);
    excess.iter().filter_map(|id| cache.remove(id)).collect()
}

fn remove_half<T: Held>(cache: &mut HashMap<u64, Arc<T>>) -> Vec<Arc<T>> {
    let half = cache.len() / 2;
    remove_excess(cache, half)
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
    fn learn(
        id: u64,
        reader: &Caller<'_>,
        procfs: &Procfs,
        memory: &Hierarchy,
    ) -> Result<Option<Self>, Error> {
        let Some(held) = hold(id, reader.pid, "ns/pid", procfs)? else { return Ok(None) };
        let init_pid = match sys::init_of(held.as_fd()) {
            Ok(init) => Some(init),
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => {
                search_init(id, reader, procfs, memory)?
            }
            Err(_) => None,
        };
        let Some(init_pid) = init_pid else { return Ok(None) };
        match procfs.open_of(init_pid, "cgroup") {
            Ok(init) => {
                let cgroup = reader.memory.into();
                Ok(Some(Self { _held: held, cgroup, init, init_pid, place: Mutex::new(None) }))
            }
            Err(Error::ProcessGone(_)) => Ok(None),
            Err(error) => Err(error),
        }
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
fn search_init(
    id: u64,
    reader: &Caller<'_>,
    procfs: &Procfs,
    memory: &Hierarchy,
) -> Result<Option<u32>, Error> {
    let own = status(reader.pid, procfs).ok_or(Error::ProcessGone(reader.pid))?;
    match eldest_ancestor(reader.pid, own, procfs) {
        Some(init) => Ok(Some(init)),
        None if reader.may_hang => search_all(id, own.nesting, reader.memory, procfs, memory),
        None => Err(Error::MayHang(escaped(reader.memory))),
    }
}

fn status(pid: u32, procfs: &Procfs) -> Option<proc_status::Status> {
    let mut text = Vec::new();
    procfs.read_of(pid, "status", &mut text).ok()?;
    proc_status::parse(&text).ok()
}

/// So many ancestors are looked at.
const MOST_ANCESTORS: usize = 64;

/// The init of the namespace, if that is a near ancestor. On the way up from a process namespaces only get less deep, so those
/// that are nested as deeply are in the same.
fn eldest_ancestor(mut pid: u32, own: proc_status::Status, procfs: &Procfs) -> Option<u32> {
    let mut there = own;
    // A tenant may have each of any number of processes start the next.
    for _ in 0..MOST_ANCESTORS {
        if there.nesting != own.nesting {
            break;
        }
        if there.innermost_pid == 1 {
            return Some(pid);
        }
        pid = u32::try_from(there.parent).ok()?;
        there = status(pid, procfs)?;
    }
    None
}

/// Looks among all processes. To ask for the namespace of one that is in the middle of an exec takes until that is over, so only
/// those are asked that are in a cgroup on the reader's `path`: they are no other tenant's.
fn search_all(
    id: u64,
    nesting: usize,
    path: &[u8],
    procfs: &Procfs,
    memory: &Hierarchy,
) -> Result<Option<u32>, Error> {
    let unreadable = |e: rustix::io::Errno| Error::unreadable("/proc", e);
    // Anew, for a directory that is open for look-ups only can't be listed.
    let listed = openat(&procfs.dir, ".", READ | OFlags::DIRECTORY, Mode::empty()).map_err(unreadable)?;
    let mut membership = Vec::new();
    for entry in Dir::new(listed).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(pid) = entry.file_name().to_str().unwrap_or_default().parse() else { continue };
        let is_init = status(pid, procfs).is_some_and(|it| it.innermost_pid == 1 && it.nesting == nesting);
        if !is_init || procfs.read_of(pid, "cgroup", &mut membership).is_err() {
            continue;
        }
        let place = memory.path_in(&membership, pid);
        if place.is_ok_and(|place| is_at_or_below(path, container_around(place)))
            && procfs.namespace_id(pid, "ns/pid").is_ok_and(|namespace| namespace == id)
        {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::CgroupMounts;
    use std::path::Path;

    #[test]
    fn init_scope_is_cut_off_and_nothing_else() {
        assert_eq!(container_around(b"/lxc/c1/init.scope"), b"/lxc/c1");
        assert_eq!(container_around(b"/lxc/c1/init"), b"/lxc/c1/init");
        assert_eq!(container_around(b"/lxc/c1/xinit.scope"), b"/lxc/c1/xinit.scope");
        assert_eq!(container_around(b"/init.scope"), b"/");
    }

    /// To be slow is not to hang: who may be the one must not be kept by the other.
    #[test]
    fn a_search_that_may_hang_is_done_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        // It was put into a pid namespace from outside.
        for (pid, parent, ids) in [(100, 50, "100\t7"), (50, 0, "50")] {
            let process = dir.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&process).unwrap();
            std::fs::write(process.join("status"), format!("PPid:\t{parent}\nNSpid:\t{ids}\n")).unwrap();
        }
        let (procfs, memory) = (Procfs::open(dir.path()).unwrap(), Hierarchy::for_test("memory"));
        let search = |may_hang| {
            let reader = Caller { pid: 100, may_take_long: true, may_hang, ..Caller::of_memory(b"/a") };
            search_init(1, &reader, &procfs, &memory)
        };
        assert!(matches!(search(false), Err(Error::MayHang(_))));
        assert!(matches!(search(true), Ok(None)));
    }

    /// The ways for old kernels have to find what a new one says.
    #[test]
    fn search_finds_the_init_that_the_kernel_names() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let own = status(std::process::id(), &procfs).unwrap();
        assert_eq!(eldest_ancestor(std::process::id(), own, &procfs), Some(1));
        // Without root the namespaces of others can't be seen, pid 1's least of all.
        let (Ok(id), Ok(cgroup_mounts)) =
            (procfs.namespace_id(1, "ns/pid"), CgroupMounts::detect(Path::new("/")))
        else {
            return;
        };
        let mut text = Vec::new();
        procfs.read_of(1, "cgroup", &mut text).unwrap();
        let path = cgroup_mounts.memory.path_in(&text, 1).unwrap();
        assert_eq!(search_all(id, own.nesting, path, &procfs, &cgroup_mounts.memory).unwrap(), Some(1));
    }
    #[test]
    fn whoever_makes_many_leaves_room_for_others() {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let namespace =
            |cgroup: &str| Arc::new(CgroupNamespace { _held: null(), root: cgroup.as_bytes().to_vec() });
        let pid_namespace = |cgroup: &str| {
            let (cgroup, place) = (cgroup.as_bytes().into(), Mutex::new(None));
            Arc::new(PidNamespace { _held: null(), cgroup, init: null(), init_pid: 1, place })
        };
        fn fill<T: Held>(of: impl Fn(&str) -> Arc<T>) {
            const CAPACITY: usize = 64;
            let mut cache = HashMap::new();
            for id in 0..10 {
                insert(&mut cache, CAPACITY, id, &of(&format!("/pods/other/{id}")));
            }
            for id in 1000..1500 {
                insert(&mut cache, CAPACITY, id, &of(&format!("/pods/tenant/{id}")));
                assert!(cache.len() <= CAPACITY && cache.contains_key(&id));
            }
            assert!((0..10).all(|id| cache.contains_key(&id)));
        }
        fill(namespace);
        fill(pid_namespace);
    }
}
