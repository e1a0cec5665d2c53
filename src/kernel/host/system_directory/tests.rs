//! A host's directories, and a container's.

use super::*;
use crate::kernel::host::sysfs_index::SERVED;
use cgprocfs_core::cpu::Cpus;
use cgprocfs_core::machine::Machine;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::snapshot::{Container, HostNode, Nodes, Scope, Snapshot};
use cgprocfs_core::units::Kib;
use rustix::fs::FileType;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::symlink;

/// A host of four processors, of which two are offline, on two nodes.
struct Host {
    root: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let system = root.path().join("devices/system");
        let write = |path: String, text: &str| {
            let path = system.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("cpu/online".into(), "0,2\n");
        write("cpu/cpufreq/boost".into(), "1\n");
        for cpu in 0..4 {
            write(format!("cpu/cpu{cpu}/uevent"), "");
            let node = cpu / 2;
            fs::create_dir_all(system.join(format!("node/node{node}"))).unwrap();
            symlink(format!("../../cpu/cpu{cpu}"), system.join(format!("node/node{node}/cpu{cpu}"))).unwrap();
            symlink(format!("../../node/node{node}"), system.join(format!("cpu/cpu{cpu}/node{node}")))
                .unwrap();
            if cpu % 2 == 0 {
                write(format!("cpu/cpu{cpu}/topology/core_id"), &format!("{cpu}\n"));
                write(format!("cpu/cpu{cpu}/thermal_throttle/count"), "0\n");
            }
        }
        write("cpu/cpu2/online".into(), "1\n");
        for node in 0..2 {
            write(format!("node/node{node}/meminfo"), "");
        }
        write("node/online".into(), "0-1\n");
        Self { root }
    }

    fn open(&self) -> SystemDirectory {
        SystemDirectory::open(Some(&KernelDir::unattached(File::open(self.root.path()).unwrap().into())))
    }

    /// Of a container with some of its processors.
    fn topology(allowed: &str) -> Topology {
        let list = |text: &str| CpuList::parse(format!("{text}\n").as_bytes()).unwrap();
        let container = Container::default();
        let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, Scope::Container(container));
        snapshot.cpus = Some(Cpus { online: list("0,2"), allowed: Some(list(allowed)), ..Cpus::default() });
        let node = |number, cpus| HostNode { number, cpus: list(cpus), total: Kib::new(1) };
        snapshot.nodes =
            Some(Nodes { host: vec![node(0, "0"), node(1, "2")].into(), allowed: Some(list("1")) });
        Topology::of(&snapshot).unwrap()
    }
}

/// All that can be found by listing, with its number.
fn found(directory: &SystemDirectory, topology: Option<&Topology>) -> BTreeMap<String, SysfsIno> {
    let mut found = BTreeMap::new();
    let mut left: Vec<Vec<u8>> = SERVED.map(<[u8]>::to_vec).into();
    while let Some(path) = left.pop() {
        for (name, entry) in directory.list(&path, topology).unwrap() {
            let path = join(&path, &name);
            assert_eq!(directory.entry(&path).unwrap(), entry, "{}", path.escape_ascii());
            found.insert(String::from_utf8(path.clone()).unwrap(), entry.ino);
            if entry.kind == FileType::Directory {
                left.push(path);
            }
        }
    }
    found
}

#[test]
fn the_host_has_what_the_kernel_has_but_what_is_masked() {
    let host = Host::new();
    let shown = found(&host.open(), None);
    for path in ["cpu/cpu1/uevent", "cpu/cpu3/node1", "node/node0/cpu1", "cpu/cpu2/online"] {
        assert!(shown.contains_key(path), "{path}");
    }
    assert!(!shown.keys().any(|path| path.contains("thermal")), "{shown:?}");
}

#[test]
fn a_container_has_its_processors_whatever_is_at_their_numbers() {
    let (host, topology) = (Host::new(), Host::topology("0,2"));
    let directory = host.open();
    let shown = found(&directory, Some(&topology));
    let expected = [
        "cpu/cpu0",
        "cpu/cpu0/node0",
        "cpu/cpu0/topology",
        "cpu/cpu0/topology/core_id",
        "cpu/cpu0/uevent",
        "cpu/cpu1",
        "cpu/cpu1/node1",
        "cpu/cpu1/online",
        "cpu/cpu1/topology",
        "cpu/cpu1/topology/core_id",
        "cpu/cpu1/uevent",
        "cpu/cpufreq",
        "cpu/cpufreq/boost",
        "cpu/online",
        "node/node0",
        "node/node0/cpu0",
        "node/node0/meminfo",
        "node/node1",
        "node/node1/cpu1",
        "node/node1/meminfo",
        "node/online",
    ];
    assert_eq!(shown.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(shown.values().collect::<BTreeSet<_>>().len(), shown.len(), "each has its own number");

    let target = |path: &str| directory.target(path.as_bytes(), Some(&topology));
    assert_eq!(target("cpu/cpu1/node1").unwrap(), b"../../node/node1");
    assert_eq!(target("node/node1/cpu1").unwrap(), b"../../cpu/cpu1");
    assert_eq!(target("node/node0/cpu1"), Err(Errno::NOENT), "it is in the other one");
    assert_eq!(directory.target(b"node/node0/cpu1", None).unwrap(), b"../../cpu/cpu1");

    // Its only processor is the host's cpu2.
    let one = Host::topology("2");
    let shown = found(&directory, Some(&one));
    assert!(shown.contains_key("cpu/cpu0/online") && shown.contains_key("cpu/cpu0/node1"), "{shown:?}");
    assert!(!shown.keys().any(|path| path.starts_with("cpu/cpu1") || path.contains("node0")), "{shown:?}");
}

#[test]
fn names_that_no_processor_can_have_are_not_there() {
    let host = Host::new();
    let directory = host.open();
    for path in [
        "cpu/cpu4",
        "cpu/cpu3/topology",
        "cpu/cpu0/node2",
        "node/node2",
        "node/node0/cpu9",
        "cpu/cpu0/nothing",
        "x",
    ] {
        assert_eq!(directory.entry(path.as_bytes()), Err(Errno::NOENT), "{path}");
    }
}

#[test]
fn numbers_of_a_predecessor_are_learnt() {
    let (host, topology) = (Host::new(), Host::topology("0,2"));
    let (before, after) = (host.open(), host.open());
    let shown = found(&before, Some(&topology));
    let (links, others): (Vec<_>, Vec<_>) =
        shown.iter().partition(|(path, _)| Link::at(path.as_bytes()).is_some());
    for (path, ino) in links {
        assert!(after.knows(*ino) && after.find(*ino).unwrap().0 == path.as_bytes(), "{path}");
    }
    for (path, ino) in &others {
        assert!(before.knows(**ino) && before.find(**ino).unwrap().0 == path.as_bytes(), "{path}");
        assert!(!after.knows(**ino) && after.find(**ino).err() == Some(Errno::STALE), "{path}");
    }
    after.index_all();
    for (path, ino) in &others {
        assert!(after.find(**ino).is_ok_and(|(found, _)| found == path.as_bytes()), "{path}");
    }
    // Nobody goes through all of it for what was not there a moment ago.
    assert!(after.knows(SysfsIno(u64::MAX)) && after.find(SysfsIno(u64::MAX)).err() == Some(Errno::STALE));
    let core_id = shown["cpu/cpu0/topology/core_id"];
    fs::remove_file(host.root.path().join("devices/system/cpu/cpu0/topology/core_id")).unwrap();
    assert!(after.find(core_id).is_err());
}
