//! What a container does with memory is what its files show: so much done, so much changed.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::cgroup::Cgroup;
use common::daemon::Daemon;
use common::disk::Disk;
use common::helper::{Actor, start};
use common::{MOUNT, Need, cgprocfs, field, main as run, output, test};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

const SWAP: &[Need] = &[Need::Root, Need::Fuse, Need::Swap];
const BPF: &[Need] = &[Need::Root, Need::Fuse, Need::Program("bpftool")];

fn main() -> ExitCode {
    run(vec![
        test("anonymous_memory", MOUNT, anonymous_memory),
        test("file_read_once", MOUNT, file_read_once),
        test("tmpfs", MOUNT, tmpfs),
        test("swap", SWAP, swap),
        test("bpf_map", BPF, bpf_map),
        test("block_devices", MOUNT, block_devices),
        test("working_set_is_the_formula_to_the_byte", MOUNT, working_set_is_the_formula_to_the_byte),
    ])
}

const MIB: i64 = 1 << 10;
/// How much of what is done is seen.
const N: i64 = 24;

/// Whose memory is looked at, by whom the files are read: its only process.
struct Subject {
    actor: Actor,
    daemon: Daemon,
    container: Cgroup,
}

/// What the files say, in KiB.
#[derive(Debug)]
struct Seen {
    free: i64,
    available: i64,
    cached: i64,
    shmem: i64,
    swap_free: i64,
    working_set: i64,
}

impl Subject {
    fn new() -> Self {
        let (daemon, container) = (Daemon::start(), Cgroup::new().limit(128));
        let mut actor = Actor::start(&container);
        // What reading itself needs is not to be counted.
        actor.tell(&format!("show {}", daemon.meminfo()));
        actor.tell(&format!("show {}", daemon.working_set()));
        Self { actor, daemon, container }
    }

    fn see(&mut self) -> Seen {
        // The kernel folds its counters together every two seconds.
        std::thread::sleep(Duration::from_millis(2500));
        let text = self.actor.tell(&format!("show {}", self.daemon.meminfo()));
        let working_set: i64 =
            self.actor.tell(&format!("show {}", self.daemon.working_set())).trim().parse().unwrap();
        let of = |key| i64::try_from(field(&text, key)).unwrap();
        Seen {
            free: of("MemFree"),
            available: of("MemAvailable"),
            cached: of("Cached"),
            shmem: of("Shmem"),
            swap_free: of("SwapFree"),
            working_set: working_set / 1024,
        }
    }

    /// What changes when the actor does something.
    fn change(&mut self, order: &str) -> Seen {
        let before = self.see();
        self.actor.tell(order);
        let change = self.see().less(&before);
        println!("response: {:24} {change:?}", order.split(" /").next().unwrap());
        change
    }
}

impl Seen {
    fn less(&self, before: &Self) -> Self {
        Self {
            free: self.free - before.free,
            available: self.available - before.available,
            cached: self.cached - before.cached,
            shmem: self.shmem - before.shmem,
            swap_free: self.swap_free - before.swap_free,
            working_set: self.working_set - before.working_set,
        }
    }
}

/// Each of two readings may be off by what each processor keeps back: 512 KiB each on two of them.
#[track_caller]
fn about(what: &str, change: i64, expected: i64) {
    assert!((change - expected).abs() <= 2 * MIB, "{what}: {change} kB, about {expected} expected");
}

fn anonymous_memory() {
    let change = Subject::new().change(&format!("anon {N}"));
    about("MemFree", change.free, -N * MIB);
    about("MemAvailable", change.available, -N * MIB);
    about("working_set", change.working_set, N * MIB);
    about("Cached", change.cached, 0);
}

fn file_read_once() {
    let disk = Disk::new();
    let file = disk.file("file", N.try_into().unwrap());
    let mut subject = Subject::new();
    let change = subject.change(&format!("read {file}"));
    about("Cached", change.cached, N * MIB);
    about("MemAvailable", change.available, 0);
    about("MemFree", change.free, -N * MIB);
    // Which list the pages are on is the kernel's decision, and MGLRU's is another.
    let inactive = subject.container.stat("total_inactive_file", "inactive_file");
    let expected = (subject.container.usage().saturating_sub(inactive)) / 1024;
    let now = subject.see().working_set;
    about("working_set", now, expected.try_into().unwrap());
}

fn tmpfs() {
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    let change = Subject::new().change(&format!("write {} {N}", shm.path().join("file").display()));
    about("Shmem", change.shmem, N * MIB);
    about("Cached", change.cached, N * MIB);
    about("MemAvailable", change.available, -N * MIB);
    about("MemFree", change.free, -N * MIB);
    about("working_set", change.working_set, N * MIB);
}

/// Memory above a limit that is lowered goes to swap.
fn swap() {
    let mut subject = Subject::new();
    subject.actor.tell("anon 64");
    let before = subject.see();
    subject.container.set_limit(40 << 20);
    let change = subject.see().less(&before);
    println!("response: {:24} {change:?}", "swap out");
    let swapped: i64 = i64::try_from(subject.container.swapped() / 1024).unwrap();
    assert!(swapped > 20 * MIB, "{swapped} kB swapped");
    about("SwapFree", change.swap_free, -swapped);
    about("working_set", change.working_set, -swapped);
}

/// A map belongs to no process: only the kernel's part of the usage shows it.
fn bpf_map() {
    let bpffs = tempfile::tempdir().unwrap();
    // The map goes with its mount, which goes with the mount namespace that the shell holds.
    let script = "mount -t bpf bpf $1 && (echo 0 > $0/cgroup.procs && exec bpftool map create $1/map type array \
        key 4 value $2 entries 1 name cgprocfs_test) && echo ready && exec cat";
    let mut subject = Subject::new();
    let before = subject.see();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&subject.container.dir);
    command.arg(bpffs.path()).arg((N << 20).to_string());
    let _holder = start(&mut command);
    let change = subject.see().less(&before);
    println!("response: {:24} {change:?}", "bpf map");
    about("working_set", change.working_set, N * MIB);
    about("MemAvailable", change.available, -N * MIB);
    about("MemFree", change.free, -N * MIB);
    about("Cached", change.cached, 0);
}

/// While nothing runs in the container, by the container's own files, read by another program.
/// What a program writes past the page cache is what its devices and its counters say.
fn block_devices() {
    let disk = Disk::new();
    let file = disk.file("written", 0);
    let device = std::fs::metadata(&file).unwrap().dev();
    // With cgroup v1 Linux 6.10 and newer count nothing until somebody throttles the device (block/blk-throttle.c).
    let script = "limit=/sys/fs/cgroup/blkio$(sed -n s/^.*:blkio://p /proc/self/cgroup)/blkio.throttle.write_bps_device; \
        [ ! -e $limit ] || echo $1 1000000000000 > $limit; \
        dd if=/dev/zero of=$0 bs=1M count=8 oflag=direct conv=notrunc 2>/dev/null && cat /proc/diskstats /proc/vmstat";
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let text = output(cgprocfs().args(["run", "--json", "--", "sh", "-c", script, &file, &device]));
    // Major, minor and name, four counters of reads, then requests, merged ones and sectors of writes.
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let devices: Vec<_> = lines.filter(|words| words.len() > 13).collect();
    let sum = |column: usize| devices.iter().map(|words| words[column].parse::<u64>().unwrap()).sum::<u64>();
    let (requests, sectors) = (sum(7), sum(9));
    assert!(requests >= 1 && (8 << 11..9 << 11).contains(&sectors), "{requests}, {sectors}: {text}");
    let paged_out = text.lines().find_map(|line| line.strip_prefix("pgpgout ")).unwrap();
    assert_eq!(paged_out.parse::<u64>().unwrap(), sectors / 2, "{text}");
}

fn working_set_is_the_formula_to_the_byte() {
    let disk = Disk::new();
    let file = disk.file("file", 20);
    let mut subject = Subject::new();
    subject.actor.tell("anon 10");
    subject.actor.tell(&format!("read {file}"));
    let pid = subject.actor.pid();
    let _stopped = common::Stopped::new(pid);
    for attempt in 0.. {
        std::thread::sleep(Duration::from_secs(4));
        let shown = output(common::cgprocfs().args(["show", "--pid", &pid.to_string(), "working_set"]));
        let shown: u64 = shown.trim().parse().unwrap();
        let inactive = subject.container.stat("total_inactive_file", "inactive_file");
        let expected = subject.container.usage() - inactive;
        println!("response: working_set {shown}, by the files {expected}");
        assert!(inactive > 10 << 20 || expected > 20 << 20, "nothing was cached");
        if shown == expected {
            break;
        }
        assert!(attempt < 3, "{shown} is not {expected}");
    }
}
