//! A host for the tests of this module.

use super::layout::Topology;
use crate::cpu::Cpus;
use crate::machine::Machine;
use crate::parse::cpu_list::CpuList;
use crate::snapshot::{Container, HostNode, Nodes, Scope, Snapshot};
use crate::units::{Kib, MilliCpus};

/// A host of two nodes with four processors each, and one of memory alone.
pub(super) fn snapshot(allowed: &str, quota: Option<u64>, mems: Option<&str>) -> Snapshot {
    let list = |text: &str| CpuList::parse(format!("{text}\n").as_bytes()).unwrap();
    let node = |number, cpus: &str, kib| HostNode { number, cpus: list(cpus), total: Kib::new(kib) };
    let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, Scope::Container(Container::default()));
    let allowed = Some(list(allowed));
    snapshot.cpus =
        Some(Cpus { online: list("0-7"), allowed, quota: quota.map(MilliCpus::new), ..Cpus::default() });
    let host = vec![node(0, "0-3", 1 << 20), node(1, "4-7", 3 << 20), node(3, "", 1 << 20)];
    snapshot.nodes = Some(Nodes { host: host.into(), allowed: mems.map(list) });
    snapshot
}

pub(super) fn topology(allowed: &str, quota: Option<u64>, mems: Option<&str>) -> Topology {
    Topology::of(&snapshot(allowed, quota, mems)).unwrap()
}
