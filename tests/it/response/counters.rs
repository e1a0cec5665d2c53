//! Memory of the kernel and huge pages, devices, and kills.

use super::{MIB, N, Subject, about};
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

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            block_devices,
            kills_below,
        ],
        test(BPF) => [
            bpf_map,
        ],
        test(HUGE) => [
            huge_pages,
        ],
    }
}

const HUGE: &[Need] = &[Need::Root, Need::Fuse, Need::HugePages];

const BPF: &[Need] = &[Need::Root, Need::Fuse, Need::Program("bpftool")];

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

/// What is killed in a cgroup below the container is killed in the container; also where a cgroup of v2 is
/// mounted to count its own kills alone, which nothing but a guest is to try.
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

/// Kills a process below the container, and finds that in the container's count.
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

/// Some are promised to a program, of which it uses a few; and there is a limit on what may be promised, and
/// none on what may be used.
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
        let change = i128::from(field(&after, line)) - i128::from(field(&before, line));
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

/// What a program writes past the page cache is what its devices and its counters say.
fn block_devices() {
    let disk = Disk::new();
    let file = disk.file("written", 0);
    let device = std::fs::metadata(&file).unwrap().dev();
    // With cgroup v1 some kernels (6.1, and 6.10 and newer) count only for a cgroup that has a limit itself
    // (block/blk-throttle.c).
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
