//! What it costs to parse the kernel's texts and to render views, without any file or FUSE: `cargo bench -p
//! cgprocfs-core`.
//!
//! Texts are those of a Kubernetes node in `tests/fixtures`. What a whole read costs, `cargo bench --bench
//! read` measures.
#![allow(clippy::unwrap_used)]

use cgprocfs_core::cpu::Cpus;
use cgprocfs_core::machine::Machine;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::meminfo::Meminfo;
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::parse::mountinfo::Mount;
use cgprocfs_core::parse::{counter, io_stat};
use cgprocfs_core::snapshot::{CgroupFile, Container, HostFile, Level, RawFile, Scope, Snapshot};
use cgprocfs_core::units::MilliCpus;
use cgprocfs_core::view::find;
use divan::{Bencher, black_box};
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    divan::main();
}

fn host(path: &str) -> Vec<u8> {
    read(root().join(path))
}

/// A file of the container.
fn container(file: &str) -> Vec<u8> {
    read(cgroups().pop().unwrap().join(file))
}

fn read(path: PathBuf) -> Vec<u8> {
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/v2-processors/root")
}

/// The cgroups from the one below the root to the container.
fn cgroups() -> Vec<PathBuf> {
    let own = String::from_utf8(host("proc/31337/cgroup")).unwrap();
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    let mut cgroups = vec![root().join("sys/fs/cgroup")];
    for name in path.split('/') {
        cgroups.push(cgroups.last().unwrap().join(name));
    }
    cgroups.split_off(1)
}

#[divan::bench]
fn parse_meminfo(bencher: Bencher<'_, '_>) {
    let text = host("proc/meminfo");
    bencher.with_inputs(|| text.clone()).bench_values(|text| Meminfo::parse(text).unwrap());
}

#[divan::bench]
fn parse_memory_stat(bencher: Bencher<'_, '_>) {
    let text = container("memory.stat");
    bencher.bench_local(|| MemoryStat::parse(CgroupVersion::V2, black_box(&text)).unwrap());
}

#[divan::bench]
fn parse_io_stat(bencher: Bencher<'_, '_>) {
    let text = container("io.stat");
    bencher.bench_local(|| io_stat::DeviceIo::parse_all(CgroupVersion::V2, black_box(&text)).unwrap());
}

#[divan::bench]
fn parse_mountinfo(bencher: Bencher<'_, '_>) {
    let text = host("proc/self/mountinfo");
    bencher.bench_local(|| Mount::parse_all(black_box(&text)).unwrap());
}

#[divan::bench(args = [1, 16, 512])]
fn parse_cpu_list(bencher: Bencher<'_, '_>, ranges: u32) {
    // Each second processor, so that each is a range of its own.
    let text = (0..ranges).map(|range| (range * 2).to_string()).collect::<Vec<_>>().join(",") + "\n";
    bencher.bench_local(|| CpuList::parse(black_box(text.as_bytes())).unwrap());
}

#[divan::bench(args = [
    "proc/meminfo", "working_set", "proc/swaps", "proc/vmstat", "proc/diskstats", "proc/cpuinfo", "proc/slabinfo",
    "proc/pressure/memory", "sys/devices/system/cpu/online",
])]
fn render(bencher: Bencher<'_, '_>, view: &str) {
    let (snapshot, view) = (snapshot(), find(view).unwrap());
    let mut text = Vec::new();
    bencher.bench_local(|| {
        text.clear();
        view.text(black_box(&snapshot), &mut text).unwrap();
        text.len()
    });
}

fn snapshot() -> Snapshot {
    let level = |directory: PathBuf| Level {
        limit: counter::limit(&read(directory.join("memory.max"))).unwrap(),
        usage: Some(counter::usage(&read(directory.join("memory.current"))).unwrap()),
        stat: Some(MemoryStat::parse(CgroupVersion::V2, &read(directory.join("memory.stat"))).unwrap()),
        ..Level::default()
    };
    let levels = cgroups().into_iter().rev().map(level).collect();
    let scope = Scope::Container(Container { levels, ..Container::default() });
    let meminfo = Meminfo::parse(host("proc/meminfo")).unwrap();
    let cgroup_files = [
        (CgroupFile::MemoryStat, "memory.stat"),
        (CgroupFile::MemoryEvents, "memory.events"),
        (CgroupFile::Io, "io.stat"),
        (CgroupFile::PressureMemory, "memory.pressure"),
    ];
    Snapshot {
        cpus: Some(Cpus { online: CpuList::first(4), quota: Some(MilliCpus::new(1500)), ..Cpus::default() }),
        cgroup_files: cgroup_files
            .map(|(file, name)| (file, Some(RawFile { version: CgroupVersion::V2, text: container(name) })))
            .into(),
        host_files: HostFile::ALL
            .into_iter()
            .filter_map(|file| Some((file, fs::read(root().join(file.path())).ok()?.into())))
            .collect(),
        ..Snapshot::of_memory(Some(meminfo.into()), Machine::USUAL, scope)
    }
}
