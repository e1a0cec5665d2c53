//! A copy of what the answers to one reader are made from, small enough to be sent to somebody else.
//!
//! Every list below says what is read somewhere in [`source`](super). A golden test copies each tree of `tests/fixtures` and
//! has the copy say the same, so that what is missing here is seen there.

mod process;
mod tree;

use self::process::Processes;
use self::tree::Directory;
use super::Source;
use super::caller::{Caller, Reader};
use super::descent::{Descent, downward};
use super::host::open_bare;
use super::huge_pages::size_name;
use super::layout::Hierarchy;
use super::procfs::{PATH_DIR, READ, read_whole};
use crate::error::{Error, printable};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::decimal;
use cgprocfs_core::parse::mountinfo::mounts;
use cgprocfs_core::snapshot::{HostFile, Needs};
use cgprocfs_core::units::Kib;
use rustix::fs::{Dir, FileType, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Files of a cgroup on the reader's path, of both versions.
const OF_CGROUP: &[&str] = &[
    "blkio.throttle.io_service_bytes_recursive",
    "blkio.throttle.io_serviced_recursive",
    "cgroup.controllers",
    "cgroup.pressure",
    "cgroup.type",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.max",
    "cpu.pressure",
    "cpu.stat",
    "cpuacct.stat",
    "cpuacct.usage",
    "cpuacct.usage_sys",
    "cpuacct.usage_user",
    "cpuset.cpus",
    "cpuset.cpus.effective",
    "cpuset.cpus.exclusive.effective",
    "cpuset.cpus.partition",
    "cpuset.effective_cpus",
    "cpuset.effective_mems",
    "cpuset.mems.effective",
    "io.pressure",
    "io.stat",
    "memory.events",
    "memory.limit_in_bytes",
    "memory.max",
    "memory.memsw.limit_in_bytes",
    "memory.memsw.usage_in_bytes",
    "memory.oom_control",
    "memory.pressure",
    "memory.stat",
    "memory.current",
    "memory.swap.current",
    "memory.swap.max",
    "memory.swappiness",
    "memory.usage_in_bytes",
];
/// Of these, with the size of a page between.
const OF_HUGE_PAGES: &[&str] = &[
    "current",
    "limit_in_bytes",
    "max",
    "rsvd.current",
    "rsvd.limit_in_bytes",
    "rsvd.max",
    "rsvd.usage_in_bytes",
    "usage_in_bytes",
];
/// Of a cgroup below the container,
const BELOW: &[&str] = &["memory.events", "memory.oom_control"];
/// and of any beside the path whose memory is protected.
const OF_PROTECTED: &[&str] = &["memory.min", "memory.stat", "memory.current"];
/// Of the host, besides those of [`HostFile`].
const OF_HOST: &[&str] = &["meminfo", "spl/kstat/zfs/arcstats", "sys/vm/swappiness"];
/// Of its memory nodes.
const OF_NODES: &[&str] = &["has_memory", "online", "possible"];
/// Links to namespaces, which readers of time look at as they are.
const CLOCKS: &[&str] = &["ns/time", "ns/time_for_children"];

/// To list a directory.
const LIST: OFlags = READ.union(OFlags::DIRECTORY);

/// So many cgroups below and beside the reader's path are looked at: a tenant may make any number.
const MOST_CGROUPS: u32 = 4096;
/// No deeper, as the answers have it.
const DEPTH: usize = 64;

/// What was copied.
#[derive(Debug, Default)]
pub struct Copied {
    /// The reader's container, in the memory controller's hierarchy; `None` for a process of the host.
    pub container: Option<Vec<u8>>,
    /// What is not in the copy, though an answer might read it: a line each.
    pub left_out: Vec<String>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The reader or its cgroup can't be read.
    #[error(transparent)]
    Read(#[from] Error),
    /// The copy can't be written.
    #[error("cannot write {0}: {1}; name a directory where there is room and you may write")]
    Write(String, io::Error),
}

/// A copy in the making.
struct Copy<'s> {
    source: &'s Source,
    root: Directory,
    huge_pages: Vec<String>,
    processes: Processes,
    cgroups_left: u32,
    /// How many cgroups got a name of their own in the copy.
    renamed: u32,
    copied: Copied,
}

impl Source {
    /// Copies below `root` what the answers to `pid` are made from.
    ///
    /// # Errors
    /// Where the reader is gone or can't be looked at, or the copy can't be written.
    pub fn copy(&self, pid: u32, root: &Path) -> Result<Copied, CopyError> {
        let mut text = Vec::new();
        let (max_age, needs) = (Duration::ZERO, Needs::START);
        let reader = Reader { pid, max_age, needs, may_take_long: true, may_hang: true };
        let caller = self.caller(reader, &mut text)?;
        let mut copy = Copy {
            source: self,
            root: Directory::open(root)?,
            huge_pages: Vec::new(),
            processes: Processes::new(pid),
            cgroups_left: MOST_CGROUPS,
            renamed: 0,
            copied: Copied::default(),
        };
        let container = &caller.memory[..caller.container_length];
        copy.copied.container = (container != b"/").then(|| container.to_vec());
        copy.host()?;
        copy.namespaces(&caller)?;
        copy.cgroups(&caller)?;
        copy.processes(&caller)?;
        let mut now = Vec::new();
        self.procfs.read_of(pid, "cgroup", &mut now)?;
        if now != caller.membership {
            return Err(Error::CgroupGone(printable(caller.memory)).into());
        }
        Ok(copy.copied)
    }
}

impl Copy<'_> {
    fn host(&mut self) -> Result<(), CopyError> {
        let host = &self.source.host;
        let proc = self.root.below("proc")?;
        for name in OF_HOST {
            let opened = open_bare(&host.proc, name, READ);
            copy_path(&proc, name, opened.map_err(Into::into).and_then(read))?;
        }
        for native in HostFile::ALL {
            match host.host_file(native) {
                Ok(text) => self.root.write_path(native.path(), &text)?,
                // Nothing of it is shown in a container.
                Err(error) if error.is_denied() && native == HostFile::Slabinfo => {
                    if self.copied.container.is_some() {
                        self.root.write_path(native.path(), b"")?;
                    }
                }
                Err(Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                // Of a kernel that was told at the start to keep no account of pressure (`psi=0`).
                Err(Error::Unreadable { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(error) => self.copied.left_out.push(format!("{}: {error}", native.path())),
            }
        }
        let Some(sys) = &host.sys else { return Ok(()) };
        let to = self.root.below("sys")?;
        if let Ok(pools) = openat(sys, "kernel/mm/hugepages", LIST, Mode::empty()) {
            self.huge_pages = copy_pools(&pools, &to.below("kernel/mm/hugepages")?)?;
        }
        let Ok(nodes) = openat(sys, "devices/system/node", LIST, Mode::empty()) else { return Ok(()) };
        let to = to.below("devices/system/node")?;
        copy_files(&nodes, &to, OF_NODES)?;
        for name in directories(&nodes).filter(|name| name.starts_with(b"node")) {
            let Ok(node) = openat(&nodes, OsStr::from_bytes(&name), PATH_DIR, Mode::empty()) else {
                continue;
            };
            let to = to.child(&name)?;
            copy_files(&node, &to, &["cpulist", "meminfo"])?;
            if let Ok(pools) = openat(&node, "hugepages", LIST, Mode::empty()) {
                copy_pools(&pools, &to.below("hugepages")?)?;
            }
        }
        Ok(())
    }

    /// The copy has the reader in this process's own namespaces, because a copied namespace can't be entered: where its
    /// container begins is written down beside the tree.
    fn namespaces(&mut self, caller: &Caller<'_>) -> Result<(), CopyError> {
        let procfs = &self.source.procfs;
        let proc = self.root.below("proc")?;
        let (own, reader) = (proc.below("self")?, proc.below(caller.pid.to_string())?);
        let link = |path: &str| readlinkat(&procfs.dir, path, Vec::new()).ok();
        for name in ["ns/cgroup", "ns/pid"] {
            let of_self = link(&format!("self/{name}"));
            let target = of_self.clone().or_else(|| link(&format!("{}/{name}", caller.pid)));
            if let Some(target) = of_self {
                own.link(name, &target)?;
            }
            if let Some(target) = target {
                reader.link(name, &target)?;
            }
        }
        for (directory, who) in [(&own, "self".to_string()), (&reader, caller.pid.to_string())] {
            for name in CLOCKS {
                if let Some(target) = link(&format!("{who}/{name}")) {
                    directory.link(name, &target)?;
                }
            }
            let offsets = openat(&procfs.dir, format!("{who}/timens_offsets"), READ, Mode::empty());
            copy_path(directory, "timens_offsets", offsets.map_err(Into::into).and_then(read))?;
        }
        reader.write("cgroup", caller.membership)?;
        let table = procfs.read("self/mountinfo")?;
        let layout = &self.source.layout;
        let is_read = |line: &&[u8]| {
            let mount = mounts(line).ok().and_then(|mounts| mounts.into_iter().next());
            mount.is_some_and(|mount| {
                mount.fs_type.starts_with(b"cgroup")
                    && layout.all().any(|hierarchy| {
                        hierarchy.mount_point.as_os_str().as_bytes() == mount.mount_point
                            && hierarchy.mount_root == mount.root
                    })
            })
        };
        let lines: Vec<_> = table.split_inclusive(|&b| b == b'\n').filter(is_read).collect();
        own.write("mountinfo", &lines.concat())
    }

    fn cgroups(&mut self, caller: &Caller<'_>) -> Result<(), CopyError> {
        let layout = &self.source.layout;
        let mut seen: Vec<&Path> = Vec::new();
        for hierarchy in layout.all() {
            if seen.contains(&hierarchy.mount_point.as_path()) {
                continue;
            }
            seen.push(&hierarchy.mount_point);
            let is_of_memory = hierarchy.mount_point == layout.memory.mount_point;
            self.hierarchy(hierarchy, caller, is_of_memory)?;
        }
        Ok(())
    }

    fn hierarchy(
        &mut self,
        hierarchy: &Hierarchy,
        caller: &Caller<'_>,
        is_of_memory: bool,
    ) -> Result<(), CopyError> {
        let mut to = self.root.below(&hierarchy.mount_point)?;
        // Who is outside of it is so in the copy, too.
        let own = caller.own_in(hierarchy).unwrap_or(b"/");
        let mut descent = Descent::new(hierarchy);
        let names = self.names();
        let levels: Vec<_> = downward(own).collect();
        for (index, level) in levels.iter().enumerate() {
            let opened =
                descent.to(level).and_then(|place| openat(place.0, place.1, PATH_DIR, Mode::empty()));
            let from = match opened {
                // The answers that need it find that out in the copy, too.
                Err(Errno::NOENT) if !is_of_memory => break,
                opened => opened.map_err(|e| Error::of_cgroup(level, e))?,
            };
            if *level != b"/" {
                to = to.child(last_name(level))?;
            }
            copy_files(&from, &to, &names)?;
            let in_container =
                is_of_memory && caller.container_length > 1 && level.len() >= caller.container_length;
            if let Ok(file) = openat(&from, "cgroup.procs", READ, Mode::empty()) {
                let is_start = level.len() == caller.container_length;
                let text = if in_container { read(file).unwrap_or_default() } else { Vec::new() };
                let listed = self.processes.listed(&text, in_container && is_start);
                if !(in_container && is_start) {
                    to.write("cgroup.procs", &listed)?;
                }
            }
            if in_container {
                self.tasks(hierarchy, &from, &to)?;
            }
            if is_of_memory && !(*level == b"/" && hierarchy.top_is_host) {
                let next = levels.get(index + 1).map_or(&b""[..], |next| last_name(next));
                self.children(hierarchy, &from, &to, next, in_container, 0)?;
            }
        }
        Ok(())
    }

    /// The cgroups below one, but for `next` on the reader's path, under other names.
    fn children(
        &mut self,
        hierarchy: &Hierarchy,
        from: &OwnedFd,
        to: &Directory,
        next: &[u8],
        in_container: bool,
        depth: usize,
    ) -> Result<(), CopyError> {
        let is_v2 = hierarchy.version == CgroupVersion::V2;
        if depth == DEPTH || !(in_container || is_v2) {
            return Ok(());
        }
        let Ok(listed) = openat(from, ".", LIST, Mode::empty()) else { return Ok(()) };
        for name in directories(&listed).filter(|name| name != next) {
            if self.cgroups_left == 0 {
                let line = format!("cgroups: those beside and below the reader's beyond {MOST_CGROUPS}");
                if !self.copied.left_out.contains(&line) {
                    self.copied.left_out.push(line);
                }
                break;
            }
            self.cgroups_left -= 1;
            // What goes meanwhile is not there.
            let Ok(child) = openat(from, OsStr::from_bytes(&name), PATH_DIR, Mode::empty()) else { continue };
            let minimum = read_file(&child, "memory.min").ok().filter(|_| is_v2 && depth == 0);
            let is_protected = minimum.is_some_and(|text| text.trim_ascii() != b"0");
            if !is_protected && !in_container {
                continue;
            }
            self.renamed += 1;
            let to = to.child(format!("other-{}", self.renamed).as_bytes())?;
            if is_protected {
                copy_files(&child, &to, OF_PROTECTED)?;
            }
            if in_container {
                copy_files(&child, &to, BELOW)?;
                if let Ok(file) = openat(&child, "cgroup.procs", READ, Mode::empty()) {
                    let listed = self.processes.listed(&read(file).unwrap_or_default(), false);
                    to.write("cgroup.procs", &listed)?;
                }
                self.tasks(hierarchy, &child, &to)?;
                self.children(hierarchy, &child, &to, b"", true, depth + 1)?;
            }
        }
        Ok(())
    }

    fn tasks(&mut self, hierarchy: &Hierarchy, from: &OwnedFd, to: &Directory) -> Result<(), CopyError> {
        let name = match hierarchy.version {
            CgroupVersion::V1 => "tasks",
            CgroupVersion::V2 => "cgroup.threads",
        };
        // The kernel gives out a list page by page.
        let text = openat(from, name, READ, Mode::empty()).map_err(Into::into).and_then(read);
        let Ok(text) = text else { return Ok(()) };
        self.processes.add_tasks(&text);
        to.write(name, &text)
    }

    fn processes(&mut self, caller: &Caller<'_>) -> Result<(), CopyError> {
        let proc = self.root.below("proc")?;
        let left_out = self.processes.copy(&self.source.procfs, &proc)?;
        self.copied.left_out.extend(left_out);
        if caller.container_length > 1 {
            let mut container = self.root.below(&self.source.layout.memory.mount_point)?;
            for level in downward(&caller.memory[..caller.container_length]).skip(1) {
                container = container.child(last_name(level))?;
            }
            container.write("cgroup.procs", &self.processes.of_container())?;
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let sizes = self.huge_pages.iter();
        let huge =
            sizes.flat_map(|size| OF_HUGE_PAGES.iter().map(move |name| format!("hugetlb.{size}.{name}")));
        OF_CGROUP.iter().map(ToString::to_string).chain(huge).collect()
    }
}

/// The pools of huge pages of a machine or a node, and how the hugetlb controller names their sizes.
fn copy_pools(from: &OwnedFd, to: &Directory) -> Result<Vec<String>, CopyError> {
    let mut sizes = Vec::new();
    for name in directories(from) {
        let kib = name.strip_prefix(b"hugepages-").and_then(|size| decimal(size.strip_suffix(b"kB")?).ok());
        let Some(kib) = kib else { continue };
        sizes.push(size_name(Kib::new(kib)));
        if let Ok(pool) = openat(from, OsStr::from_bytes(&name), PATH_DIR, Mode::empty()) {
            copy_files(&pool, &to.child(&name)?, &["nr_hugepages", "free_hugepages"])?;
        }
    }
    Ok(sizes)
}

fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or_default()
}

/// The directories in one that is open for listing.
fn directories(listed: &OwnedFd) -> impl Iterator<Item = Vec<u8>> + use<> {
    let entries = Dir::read_from(listed).into_iter().flatten().filter_map(Result::ok);
    let directories = entries.filter(|entry| entry.file_type() == FileType::Directory);
    let names = directories.map(|entry| entry.file_name().to_bytes().to_vec());
    names.filter(|name| name != b"." && name != b"..")
}

fn read(file: OwnedFd) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::from(file).read_to_end(&mut text)?;
    Ok(text)
}

fn read_file(directory: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    read_whole(openat(directory, name, READ, Mode::empty())?, &mut text)?;
    Ok(text)
}

/// Copies those that are there.
fn copy_files(from: &OwnedFd, to: &Directory, names: &[impl AsRef<str>]) -> Result<(), CopyError> {
    for name in names {
        copy_path(to, name.as_ref(), read_file(from, name.as_ref()))?;
    }
    Ok(())
}

/// What can't be read is not there in the copy: who reads the copy finds that out, as the answers do.
fn copy_path(to: &Directory, path: &str, text: io::Result<Vec<u8>>) -> Result<(), CopyError> {
    match text {
        Ok(text) => to.write_path(path, &text),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => {
            Err(Error::CgroupGone(path.to_string()).into())
        }
        Err(_) => Ok(()),
    }
}
