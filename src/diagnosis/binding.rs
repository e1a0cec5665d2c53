//! Who has bound our files, by the mount tables of all mount namespaces.

use crate::containers::inventory::Aliases;
use crate::containers::name::ContainerName;
use crate::error::escaped;
use crate::mount::{MountTables, is_view, mount_tables, receivers};
use cgprocfs_core::parse::mountinfo::{Mount, uppermost};
use cgprocfs_core::parse::pid::Pid;
use serde::Serialize;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A mount namespace that has some of our files.
#[derive(Debug, Clone, Serialize)]
pub struct Binding {
    /// One of its processes.
    pub pid: Pid,
    /// The runtime that has made the container, where that is known.
    pub runtime: Option<&'static str>,
    /// The runtime's id of it, in full.
    pub id: Option<String>,
    /// Runtime and id as people shorten them; else the name of the process.
    pub name: String,
    /// What people call the container, where that is known.
    pub alias: Option<String>,
    /// Our files there.
    pub files: Vec<BoundFile>,
    /// Files over which lxcfs lies.
    pub of_lxcfs: Vec<String>,
}

/// A file of ours in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoundFile {
    /// Its path there.
    pub path: String,
    /// Whether what is mounted on the host appears there, too: the kernel's own file when the daemon is lost,
    /// and the next daemon's.
    pub follows: bool,
    /// Whether it is of a connection that is over, so that whoever reads it gets an error.
    pub is_lost: bool,
}

impl Binding {
    fn of(pid: Pid, files: Vec<BoundFile>, of_lxcfs: Vec<String>, aliases: &Aliases) -> Self {
        let name = container_of(pid);
        Self {
            pid,
            runtime: name.as_ref().map(|name| name.runtime),
            id: name.as_ref().map(|name| escaped(name.id.as_bytes())),
            alias: name.as_ref().and_then(|name| aliases.of(name)).map(|alias| escaped(alias.as_bytes())),
            name: name.map_or_else(|| process_name(pid), |name| escaped(name.to_string().as_bytes())),
            files,
            of_lxcfs,
        }
    }

    /// How it is called in a line.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.alias {
            Some(alias) => format!("{} ({alias})", self.name),
            None => self.name.clone(),
        }
    }
}

/// Who has bound files, as far as that can be told.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Bindings {
    /// The namespaces that have bound anchors, or views of whatever daemon.
    pub namespaces: Vec<Binding>,
    /// Processes in namespaces whose mount tables can't be read.
    pub unread: Vec<Pid>,
    /// Whether there was time for all namespaces.
    pub is_complete: bool,
}

impl Bindings {
    /// Looks into the mount tables of all namespaces.
    ///
    /// # Errors
    /// Where procfs can't be listed.
    pub fn of_host() -> io::Result<Self> {
        let MountTables { tables, unread, is_complete } = mount_tables()?;
        let own = own_table(&tables);
        let (host, aliases) = (Host::of(own, &tables), Aliases::of_podman());
        let binding = |(pid, table): &(Pid, Vec<Mount>)| {
            let (files, of_lxcfs) = (host.files_in(table), files_of_lxcfs(table));
            // In this namespace lxcfs is where it was mounted.
            let has_any = !files.is_empty() || !of_lxcfs.is_empty() && !std::ptr::eq(own, table.as_slice());
            has_any.then(|| Binding::of(*pid, files, of_lxcfs, &aliases))
        };
        Ok(Self { namespaces: tables.iter().filter_map(binding).collect(), unread, is_complete })
    }
}

fn own_table(tables: &[(Pid, Vec<Mount>)]) -> &[Mount] {
    let own = fs::read("/proc/self/mountinfo").ok().and_then(|text| Mount::parse_all(&text).ok());
    let first = own.and_then(|own| own.first().map(|mount| mount.id));
    let is_own = |table: &&(Pid, Vec<Mount>)| table.1.first().map(|mount| mount.id) == first;
    tables.iter().find(is_own).map_or(&[], |(_, table)| table)
}

/// What the host has, of however many daemons.
struct Host<'t> {
    /// The devices of the tmpfs that anchors are in.
    anchors: BTreeSet<&'t [u8]>,
    /// The devices of the file systems that are mounted as a whole in this namespace.
    served_here: BTreeSet<&'t [u8]>,
    /// The devices of those that daemons have mounted as a whole in other namespaces.
    served_elsewhere: BTreeSet<&'t [u8]>,
    /// The peer groups of anchors, and of those that get from them and pass on.
    groups: BTreeSet<u64>,
}

impl<'t> Host<'t> {
    fn of(own: &'t [Mount], tables: &'t [(Pid, Vec<Mount>)]) -> Self {
        let directories: Vec<_> =
            own.iter().filter(|mount| is_anchors(mount)).map(|mount| path(&mount.mount_point)).collect();
        let anchors: BTreeSet<_> =
            own.iter().filter(|mount| is_anchors(mount)).map(|mount| &*mount.device).collect();
        let served_here = own.iter().filter(is_whole).map(|mount| &*mount.device).collect();
        let served_elsewhere = tables
            .iter()
            .flat_map(|(_, table)| served_in(table, &anchors))
            .map(|mount| &*mount.device)
            .collect();
        let is_anchor = |mount: &&Mount| is_below(mount, &directories);
        let shared = own.iter().filter(is_anchor).filter_map(|mount| mount.shared).collect();
        let groups = receivers(shared, tables.iter().flat_map(|(_, table)| table));
        Self { anchors, served_here, served_elsewhere, groups }
    }

    fn gets(&self, mount: &Mount) -> bool {
        [mount.master, mount.shared].into_iter().flatten().any(|group| self.groups.contains(&group))
    }

    /// Our files in a namespace, but for anchors in their place.
    fn files_in(&self, table: &[Mount]) -> Vec<BoundFile> {
        // A namespace that was cloned from this one has the anchors in their place.
        let in_place: Vec<&Path> =
            table.iter().filter(|mount| is_anchors(mount)).map(|mount| path(&mount.mount_point)).collect();
        // What `cgprocfs run` serves it serves within, and there it goes with the command.
        let is_served_within =
            |mount: &Mount| served_in(table, &self.anchors).any(|whole| whole.device == mount.device);
        let is_ours = |mount: &&Mount| {
            let is_file = is_view(mount) && !is_whole(mount) && !is_served_within(mount);
            (is_file || self.gets(mount)) && !is_anchors(mount) && !is_below(mount, &in_place)
        };
        let places: BTreeSet<&[u8]> = table.iter().filter(is_ours).map(|mount| &*mount.mount_point).collect();
        let file = |place: &[u8]| {
            let top = uppermost(table, place)?;
            // Something else that lies on top is that container's business.
            (is_view(top) || self.gets(top)).then(|| BoundFile {
                path: escaped(place),
                follows: table.iter().any(|mount| mount.mount_point == place && self.gets(mount)),
                is_lost: is_view(top)
                    && !self.served_here.contains(&*top.device)
                    && !self.served_elsewhere.contains(&*top.device),
            })
        };
        places.into_iter().filter_map(file).collect()
    }
}

/// The whole file systems that are mounted in a namespace, but for copies of what this one had among its
/// `anchors`: these stay when it is unmounted here.
fn served_in<'t>(table: &'t [Mount], anchors: &BTreeSet<&[u8]>) -> impl Iterator<Item = &'t Mount> {
    let is_copy = |whole: &&Mount| {
        let directory = path(&whole.mount_point).parent();
        let around =
            table.iter().filter(|mount| is_anchors(mount) && Some(path(&mount.mount_point)) == directory);
        around.into_iter().any(|around| anchors.contains(&*around.device))
    };
    table.iter().filter(is_whole).filter(move |whole| !is_copy(whole))
}

/// Whether it is a whole file system of ours.
fn is_whole(mount: &&Mount) -> bool {
    is_view(mount) && mount.root == b"/"
}

fn is_anchors(mount: &Mount) -> bool {
    mount.fs_type == b"tmpfs" && mount.source == b"cgprocfs" && mount.root == b"/"
}

fn is_below(mount: &Mount, directories: &[&Path]) -> bool {
    directories.iter().any(|directory| path(&mount.mount_point).starts_with(directory))
}

fn files_of_lxcfs(table: &[Mount]) -> Vec<String> {
    let is_of_lxcfs =
        |mount: &&Mount| mount.fs_type == b"fuse.lxcfs" && !is_view(mount) && mount.root != b"/";
    table.iter().filter(is_of_lxcfs).map(|mount| escaped(&mount.mount_point)).collect()
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn container_of(pid: Pid) -> Option<ContainerName> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(ContainerName::of_cgroup)
}

fn process_name(pid: Pid) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("process {pid} ({})", escaped(name.trim_ascii_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Anchors at /run/c, whose meminfo is in peer group 7, and the device that is served.
    const OWN: &str = "20 1 8:1 / / rw shared:1 - ext4 /dev/vda rw\n\
        50 20 0:50 / /run/c ro shared:5 - tmpfs cgprocfs ro\n\
        51 50 0:51 / /run/c/live ro - fuse.cgprocfs cgprocfs ro\n\
        52 50 0:4 /meminfo /run/c/proc/meminfo ro shared:6 - proc proc rw\n\
        53 52 0:51 /proc/meminfo /run/c/proc/meminfo ro shared:7 - fuse.cgprocfs cgprocfs ro\n";

    fn files(container: &str) -> Vec<BoundFile> {
        let table = |text: &str| Mount::parse_all(text.as_bytes()).unwrap();
        let tables = [(Pid::new(1), table(OWN)), (Pid::new(2), table(container))];
        Host::of(&tables[0].1, &tables).files_in(&tables[1].1)
    }

    #[test]
    fn slaves_copies_and_the_dead_are_told_apart() {
        let root = "70 60 8:1 / / rw - ext4 /dev/vda rw\n71 70 0:4 / /proc rw - proc proc rw\n";
        let of = |lines: &str| files(&format!("{root}{lines}"));
        let file = |follows, is_lost| vec![BoundFile { path: "/proc/meminfo".into(), follows, is_lost }];
        assert_eq!(of(""), []);
        let slave = "72 71 0:51 /proc/meminfo /proc/meminfo ro master:7 - fuse.cgprocfs cgprocfs ro\n";
        assert_eq!(of(slave), file(true, false));
        let private = "72 71 0:51 /proc/meminfo /proc/meminfo ro - fuse.cgprocfs cgprocfs ro\n";
        assert_eq!(of(private), file(false, false));
        let dead = "72 71 0:49 /proc/meminfo /proc/meminfo ro - fuse.cgprocfs cgprocfs ro\n";
        assert_eq!(of(dead), file(false, true));
        let native = "72 71 0:4 /meminfo /proc/meminfo ro master:6 - proc proc rw\n";
        assert_eq!(of(native), file(true, false));
        let covered = format!("{slave}73 72 0:90 / /proc/meminfo rw - tmpfs none rw\n");
        assert_eq!(of(&covered), []);
        // The working set, where devices have it, and a command of `cgprocfs run`.
        let own_place =
            "72 70 0:51 /working_set /run/c/working_set ro master:9 - fuse.cgprocfs cgprocfs ro\n";
        assert_eq!(of(own_place)[0].path, "/run/c/working_set");
        let run = "72 71 0:66 / /run/live ro - fuse.cgprocfs cgprocfs ro\n\
            73 71 0:66 /proc/meminfo /proc/meminfo ro - fuse.cgprocfs cgprocfs ro\n";
        assert_eq!(of(run), []);
        // A copy of all mounts of the host, of a connection that is over there.
        let copy = OWN.replace("shared:", "propagate_from:").replace("0:51", "0:49");
        let copy = format!("{copy}71 20 0:4 / /proc rw - proc proc rw\n{dead}");
        assert_eq!(files(&copy), file(false, true));
        // A service of the host's, which has a copy of all its mounts.
        assert_eq!(files(&OWN.replace("shared:", "master:")), []);
        let lxcfs = "72 71 0:80 /proc/meminfo /proc/meminfo rw - fuse.lxcfs lxcfs rw\n";
        assert_eq!(of(lxcfs), []);
        let table = Mount::parse_all(lxcfs.as_bytes()).unwrap();
        assert_eq!(files_of_lxcfs(&table), ["/proc/meminfo"]);
    }
}
