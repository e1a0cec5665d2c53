//! What a container does with memory is what its files show: so much done, so much changed.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::disk::Disk;
use crate::common::helper::{self, Actor, start};
use crate::common::{MOUNT, Need, cgprocfs, field, output, test};
use cgprocfs_core::parse::CgroupVersion;
use libtest_mimic::Trial;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

const SWAP: &[Need] = &[Need::Root, Need::Fuse, Need::Swap];
const HUGE: &[Need] = &[Need::Root, Need::Fuse, Need::HugePages];
const BPF: &[Need] = &[Need::Root, Need::Fuse, Need::Program("bpftool")];

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            anonymous_memory,
            file_read_once,
            tmpfs,
            block_devices,
            kills_below,
            working_set_is_the_formula_to_the_byte,
        ],
        test(SWAP) => [
            swap,
        ],
        test(BPF) => [
            bpf_map,
        ],
        test(HUGE) => [
            huge_pages,
        ],
    }
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

/// What is killed in a cgroup below the container is killed in the container; also where a cgroup of v2 is mounted to count
/// its own kills alone, which nothing but a guest is to try.
fn kills_below() {
    count_a_kill_below();
    if crate::common::cgroup::version() == Some(2) && crate::common::is_emulated() {
        let remount = |option: &str| {
            output(Command::new("mount").args([
                "-o",
                &format!("remount,{option}"),
                "none",
                "/sys/fs/cgroup",
            ]));
        };
        remount("memory_localevents");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(mounts.contains("memory_localevents"), "{mounts}");
        count_a_kill_below();
        remount("rw");
    }
}

fn count_a_kill_below() {
    let (daemon, container) = (Daemon::start(), Cgroup::new());
    let [first, second] = ["first", "second"].map(|name| container.bare_child(name));
    let words = helper::command("actor", &[]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let script = "echo 0 > $0/cgroup.procs && d=$1 && shift && exec unshare --cgroup sh -c \
        'echo 0 > $0/cgroup.procs && exec \"$@\"' $d \"$@\"";
    let start_in = |cgroup: &Cgroup| {
        let mut command = Command::new("sh");
        Actor::spawn(command.args(["-c", script]).args([&container.dir, &cgroup.dir]).args(&words))
    };
    let (mut witness, victim) = (start_in(&first), start_in(&second));
    let control = container.dir.join("cgroup.subtree_control");
    if control.exists() {
        std::fs::write(control, "+memory").unwrap();
    }
    let show = format!("show {}", daemon.path("proc/vmstat").display());
    let mut kills = || {
        std::thread::sleep(Duration::from_millis(200));
        let text = witness.tell(&show);
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse::<u64>().ok()).unwrap()
    };
    assert_eq!(kills(), 0);
    let second = second.limit(16).no_swap();
    victim.grow(&daemon.meminfo());
    assert_eq!(kills(), 1);
    drop(second);
}

/// As many more huge pages as a host has, until this goes out of scope.
struct HugePool(u64);

impl HugePool {
    const FILE: &'static str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

    fn grown_by(pages: u64) -> Self {
        let count = || std::fs::read_to_string(Self::FILE).unwrap().trim().parse::<u64>().unwrap();
        let pool = Self(count());
        std::fs::write(Self::FILE, (pool.0 + pages).to_string()).unwrap();
        assert_eq!(count(), pool.0 + pages, "no room for huge pages");
        pool
    }
}

impl Drop for HugePool {
    fn drop(&mut self) {
        std::fs::write(Self::FILE, self.0.to_string()).unwrap();
    }
}

/// Some are promised to a program, of which it uses a few; and there is a limit on what may be promised, and none on what may
/// be used.
fn huge_pages() {
    let (daemon, container, pool) = (Daemon::start(), Cgroup::new(), HugePool::grown_by(16));
    let hugetlb = HugetlbCgroup::of(&container);
    let show = format!("show {}", daemon.meminfo());
    let enter = ["sh", "-c", "echo 0 > \"$0\" && exec \"$@\"", hugetlb.0.to_str().unwrap()];
    let words = helper::command("actor", &[]);
    let words: Vec<&str> = enter.into_iter().chain(words.iter().map(String::as_str)).collect();
    let mut actor = Actor::spawn(&mut container.command(&words));
    let host = || std::fs::read_to_string("/proc/meminfo").unwrap();
    let shown = |text: &str| {
        ["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "Hugetlb"].map(|line| field(text, line))
    };

    let (before, text) = (host(), actor.tell(&show));
    let all = field(&before, "HugePages_Total");
    assert_eq!(all, pool.0 + 16);
    assert_eq!(shown(&text)[..2], [all, field(&before, "HugePages_Free")]);
    assert_eq!(field(&text, "HugePages_Rsvd"), 0);
    hugetlb.limit_reservations(12);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(shown(&actor.tell(&show)), [12, 12, 0, 12 * 2048]);
    actor.tell("huge 8 3");
    std::thread::sleep(Duration::from_millis(200));
    let text = actor.tell(&show);
    println!("response: huge pages, 8 promised, 3 used  {:?}", shown(&text));
    assert_eq!(shown(&text), [12, 9, 5, 12 * 2048]);
    // The kernel's own words for it.
    let after = host();
    for line in ["HugePages_Free", "HugePages_Rsvd"] {
        let change = field(&after, line).wrapping_sub(field(&before, line)).cast_signed();
        assert_eq!(change, if line == "HugePages_Rsvd" { 5 } else { -3 }, "{line}");
    }
}

/// The cgroup of the hugetlb controller that has the same name; its `cgroup.procs`.
struct HugetlbCgroup(std::path::PathBuf);

impl HugetlbCgroup {
    fn of(container: &Cgroup) -> Self {
        let hierarchy = crate::common::cgroup::layout().unwrap().hugetlb.unwrap();
        let directory = hierarchy.mount_point.join(container.dir.file_name().unwrap());
        if hierarchy.version == CgroupVersion::V2 {
            std::fs::write(hierarchy.mount_point.join("cgroup.subtree_control"), "+hugetlb").unwrap();
        }
        if !directory.exists() {
            std::fs::create_dir(&directory).unwrap();
        }
        Self(directory.join("cgroup.procs"))
    }

    fn limit_reservations(&self, pages: u64) {
        let files = ["hugetlb.2MB.rsvd.max", "hugetlb.2MB.rsvd.limit_in_bytes"]
            .map(|name| self.0.with_file_name(name));
        let file = files.into_iter().find(|file| file.exists()).unwrap();
        std::fs::write(file, (pages << 21).to_string()).unwrap();
    }
}

impl Drop for HugetlbCgroup {
    fn drop(&mut self) {
        let directory = self.0.parent().unwrap();
        crate::common::wait_until("the hugetlb cgroup can be removed", || {
            !directory.exists() || cgprocfs::run::remove_cgroup(directory).is_ok()
        });
    }
}

/// While nothing runs in the container, by the container's own files, read by another program.
/// What a program writes past the page cache is what its devices and its counters say.
fn block_devices() {
    let disk = Disk::new();
    let file = disk.file("written", 0);
    let device = std::fs::metadata(&file).unwrap().dev();
    // With cgroup v1 some kernels (6.1, and 6.10 and newer) count only for a cgroup that has a limit itself (block/blk-throttle.c).
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
    let _stopped = crate::common::Stopped::new(pid);
    for attempt in 0.. {
        std::thread::sleep(Duration::from_secs(4));
        let shown =
            output(crate::common::cgprocfs().args(["show", "--pid", &pid.to_string(), "working_set"]));
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
