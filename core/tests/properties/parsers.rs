//! Parsers take whatever they are given.

use super::invariants::*;
use super::strategies::*;
use cgprocfs_core::machine::Machine;
use cgprocfs_core::parse::meminfo::Meminfo as HostMeminfo;
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::parse::{
    CgroupVersion, arcstats, counter, cpu_list, cpu_quota, cpu_stat, flat_keyed, io_stat, mountinfo,
    proc_cgroup, proc_stat, proc_status, schedstat, time_offsets, uptime,
};
use cgprocfs_core::snapshot::{Container, Level, Scope, Snapshot};
use cgprocfs_core::units::{Bytes, MAX};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes give a value or an error.
    #[test]
    fn parsers_take_any_bytes(text in vec(any::<u8>(), 0..400)) {
        parse_with_everything(&text);
    }

    /// So does what looks like the kernel's text and is damaged.
    #[test]
    fn parsers_take_damaged_files(text in prop::sample::select(samples()), at in any::<prop::sample::Index>(), with in vec(any::<u8>(), 0..4), cut in any::<bool>()) {
        let mut text = text;
        let at = at.index(text.len());
        let end = if cut { text.len() } else { (at + with.len()).min(text.len()) };
        text.splice(at..end, with);
        parse_with_everything(&text);
    }
}

fn samples() -> Vec<Vec<u8>> {
    vec![
        KERNEL_LINES.into(),
        include_bytes!("../../../tests/fixtures/v2-kubernetes/root/sys/fs/cgroup/memory.stat").to_vec(),
        include_bytes!("../../../tests/fixtures/v1-docker/root/sys/fs/cgroup/memory/memory.stat").to_vec(),
        include_bytes!("../../../tests/fixtures/v1-docker/root/proc/self/mountinfo").to_vec(),
        include_bytes!("../../../tests/fixtures/v1-docker/root/proc/4242/cgroup").to_vec(),
        include_bytes!("../../../tests/fixtures/v1-docker/root/proc/4242/status").to_vec(),
        b"9223372036854771712\n".to_vec(),
    ]
}

fn parse_with_everything(text: &[u8]) {
    if let Ok(meminfo) = HostMeminfo::parse(text.to_vec()) {
        assert!(meminfo.lines().iter().all(|line| line.value.is_none_or(|value| value <= MAX)));
        let level = Level { usage: Some(Bytes::ZERO), stat: Some(MemoryStat::default()), ..Level::default() };
        let scope = Scope::Container(Container { levels: vec![level], ..Container::default() });
        let snapshot = Snapshot::of_memory(Some(meminfo.into()), Machine::USUAL, scope);
        render("proc/meminfo", &snapshot);
    }
    for version in [CgroupVersion::V1, CgroupVersion::V2] {
        let _ = MemoryStat::parse(version, text);
    }
    let _ = counter::number(text);
    let _ = counter::usage(text);
    let _ = counter::limit(text);
    let _ = mountinfo::Mount::parse_all(text);
    let _ = proc_cgroup::Membership::parse_all(text).map(|lines| lines.collect::<Vec<_>>());
    let _ = (proc_stat::ProcStat::parse(text), schedstat::Schedstat::parse(text));
    let _ = (proc_status::TaskState::parse(text), time_offsets::TimeOffsets::parse(text));
    let _ = (arcstats::Arcstats::parse(text), cpu_stat::CpuStat::parse(text));
    let _ = (
        cpu_list::CpuList::parse(text),
        cpu_quota::CpuQuota::parse(text),
        cpu_quota::CpuQuota::parse_v1(text, text),
    );
    let _ = flat_keyed::flat_keyed(text).map(Iterator::count);
    let _ = (
        io_stat::DeviceIo::parse_all(CgroupVersion::V1, text),
        io_stat::DeviceIo::parse_all(CgroupVersion::V2, text),
        uptime::Uptime::parse(text),
    );
    let _ = proc_status::Status::parse(text);
}
