//! Who has bound our files, by the mount tables of all mount namespaces.

use crate::containers::inventory;
use crate::containers::name::ContainerName;
use crate::mount::{is_view, mount_tables};
use cgprocfs_core::parse::mountinfo::{Mount, uppermost};
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
    pub pid: u32,
    /// The runtime and its id of the container, where a runtime has made it; else the name of the process.
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
    /// Whether what is mounted on the host appears there, too: the kernel's own file when the daemon is lost, and the next
    /// daemon's.
    pub follows: bool,
    /// Whether it is of a connection that is over, so that whoever reads it gets an error.
    pub is_lost: bool,
}

impl Binding {
    /// How it is called in a line.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.alias {
            Some(alias) => format!("{} ({alias})", self.name),
            None => self.name.clone(),
        }
    }
}

/// The namespaces that have bound anchors, or views of whatever daemon.
///
/// # Errors
/// Where the mount tables can't be read in time.
pub fn all() -> io::Result<Vec<Binding>> {
    let tables = mount_tables()?;
    let own = own_table(&tables);
    let host = Host::of(own, &tables);
    let mut bindings = Vec::new();
    for (pid, table) in &tables {
        let files = host.files_in(table);
        let of_lxcfs = files_of_lxcfs(table);
        // In this namespace lxcfs is where it was mounted.
        if files.is_empty() && (of_lxcfs.is_empty() || std::ptr::eq(own, table.as_slice())) {
            continue;
        }
        let name = container_of(*pid);
        let alias = name.as_ref().and_then(inventory::alias);
        let name = name.map_or_else(|| process_name(*pid), |name| name.to_string());
        bindings.push(Binding { pid: *pid, name, alias, files, of_lxcfs });
    }
    Ok(bindings)
}

fn own_table(tables: &[(u32, Vec<Mount>)]) -> &[Mount] {
    let own = fs::read("/proc/self/mountinfo").ok().and_then(|text| Mount::parse_table(&text).ok());
    let first = own.and_then(|own| own.first().map(|mount| mount.id));
    let is_own = |table: &&(u32, Vec<Mount>)| table.1.first().map(|mount| mount.id) == first;
    tables.iter().find(is_own).map_or(&[], |(_, table)| table)
}

/// What the host has, of however many daemons.
struct Host<'t> {
    /// The directories of anchors. A namespace that was cloned from this one has them in their place.
    directories: Vec<&'t Path>,
    /// The devices of the file systems that are mounted there.
    served: BTreeSet<&'t [u8]>,
    /// The peer groups of anchors, and of those that get from them and pass on.
    groups: BTreeSet<u64>,
}

impl<'t> Host<'t> {
    fn of(own: &'t [Mount], tables: &[(u32, Vec<Mount>)]) -> Self {
        let directories: Vec<_> =
            own.iter().filter(|mount| is_anchors(mount)).map(|mount| path(&mount.mount_point)).collect();
        let live = directories.iter().filter_map(|directory| {
            let live = directory.join("live");
            uppermost(own, live.as_os_str().as_bytes()).filter(|live| is_view(live))
        });
        let served = live.map(|live| &*live.device).collect();
        let is_anchor = |mount: &&Mount| is_below(mount, &directories);
        let mut groups: BTreeSet<u64> =
            own.iter().filter(is_anchor).filter_map(|mount| mount.shared).collect();
        loop {
            let all = tables.iter().flat_map(|(_, table)| table);
            let gets = all.filter(|mount| mount.master.is_some_and(|master| groups.contains(&master)));
            let more: Vec<u64> =
                gets.filter_map(|mount| mount.shared).filter(|of| !groups.contains(of)).collect();
            if more.is_empty() {
                return Self { directories, served, groups };
            }
            groups.extend(more);
        }
    }

    fn gets(&self, mount: &Mount) -> bool {
        [mount.master, mount.shared].into_iter().flatten().any(|group| self.groups.contains(&group))
    }

    /// Our files in a namespace, but for anchors in their place.
    fn files_in(&self, table: &[Mount]) -> Vec<BoundFile> {
        let is_ours = |mount: &&Mount| {
            let is_file = is_view(mount) && mount.root != b"/";
            (is_file || self.gets(mount)) && !is_anchors(mount) && !is_below(mount, &self.directories)
        };
        let places: BTreeSet<&[u8]> = table.iter().filter(is_ours).map(|mount| &*mount.mount_point).collect();
        let file = |place: &[u8]| {
            let top = uppermost(table, place)?;
            // Something else that lies on top is that container's business.
            (is_view(top) || self.gets(top)).then(|| BoundFile {
                path: String::from_utf8_lossy(place).into_owned(),
                follows: table.iter().any(|mount| mount.mount_point == place && self.gets(mount)),
                is_lost: is_view(top) && !self.served.contains(&*top.device),
            })
        };
        places.into_iter().filter_map(file).collect()
    }
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
    table
        .iter()
        .filter(is_of_lxcfs)
        .map(|mount| String::from_utf8_lossy(&mount.mount_point).into_owned())
        .collect()
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn container_of(pid: u32) -> Option<ContainerName> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(ContainerName::of_cgroup)
}

fn process_name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("process {pid} ({})", name.trim_end())
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
        let table = |text: &str| Mount::parse_table(text.as_bytes()).unwrap();
        let own = table(OWN);
        let tables = [(1, own.clone()), (2, table(container))];
        Host::of(&own, &tables).files_in(&tables[1].1)
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
        // A service of the host's, which has a copy of all its mounts.
        assert_eq!(files(&OWN.replace("shared:", "master:")), []);
        let lxcfs = "72 71 0:80 /proc/meminfo /proc/meminfo rw - fuse.lxcfs lxcfs rw\n";
        assert_eq!(of(lxcfs), []);
        let table = Mount::parse_table(lxcfs.as_bytes()).unwrap();
        assert_eq!(files_of_lxcfs(&table), ["/proc/meminfo"]);
    }
}
