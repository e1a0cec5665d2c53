//! Containers that are known by their cgroup, whatever happens to that.

use super::{MIB, hog, meminfo};
use crate::common::cgroup::{Cgroup, name, shown};
use crate::common::daemon::Daemon;
use crate::common::helper::{self, start};
use crate::common::{MOUNT, Need, field, host_total, output, test};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::process::Command;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            plain_container,
            process_of_the_root_cgroup,
            limits_of_all_levels_bind,
            subgroup_that_crun_makes,
            cgroup_removed_while_a_file_is_open,
            cgroup_made_again_under_the_same_name,
            odd_names,
            removed_cgroups_leave_the_cache,
        ],
        test(&[Need::Root, Need::Fuse, Need::CgroupV2]) => [
            level_without_the_controller,
            threaded_cgroup,
            controller_enabled_later,
        ],
        test(&[Need::Root, Need::Fuse, Need::CgroupV1]) => [
            cgroup_renamed,
        ],
    }
}

/// A process in a cgroup with a limit has that limit.
fn plain_container() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit(64));
    for launcher in [
        &["unshare", "--pid", "--fork"][..],
        &["unshare", "--cgroup"],
        &["unshare", "--cgroup", "--pid", "--fork"],
    ] {
        let text = meminfo(&daemon, &container, launcher);
        assert_eq!(field(&text, "MemTotal"), 64 * MIB, "{launcher:?}");
        assert!(field(&text, "MemAvailable") > 50 * MIB && field(&text, "Cached") < 8 * MIB, "{text}");
    }
}

/// A process of the root cgroup gets the host's own file.
fn process_of_the_root_cgroup() {
    let daemon = Daemon::start();
    let container = Cgroup::new();
    let root = container.dir.parent().unwrap().join("cgroup.procs");
    let script = "echo 0 > \"$0\" && cat \"$1\" && cat \"$2\"";
    let text = output(
        Command::new("sh").args(["-c", script]).arg(root).args([daemon.meminfo(), daemon.working_set()]),
    );
    assert_eq!(field(&text, "MemTotal"), host_total());
    assert_eq!(
        field(&text, "DirectMap4k"),
        field(&std::fs::read_to_string("/proc/meminfo").unwrap(), "DirectMap4k")
    );
    let host = field(&std::fs::read_to_string("/proc/meminfo").unwrap(), "Buffers");
    assert!(field(&text, "Buffers").abs_diff(host) < 64 * MIB, "the host's own file, unchanged");
    let working_set: u64 = text.lines().last().unwrap().parse().unwrap();
    assert!(working_set > 0 && working_set < host_total() << 10, "{working_set}");
}

/// The least limit of all levels is the total.
fn limits_of_all_levels_bind() {
    let daemon = Daemon::start();
    let pod = Cgroup::new().limit(64);
    let (container, sibling) = (pod.child("container").limit(128), pod.child("sibling"));
    let reader = container.child("inner").limit(96);
    let before = meminfo(&daemon, &reader, &[]);
    assert_eq!(field(&before, "MemTotal"), 64 * MIB);
    let hog = helper::command("hog", &["30"]);
    let hog: Vec<&str> = hog.iter().map(String::as_str).collect();
    let _hog = start(&mut sibling.command(&hog));
    std::thread::sleep(std::time::Duration::from_millis(100));
    let after = meminfo(&daemon, &reader, &[]);
    let lost = field(&before, "MemAvailable") - field(&after, "MemAvailable");
    assert!((29 * MIB..33 * MIB).contains(&lost), "a sibling's 30 MiB below the pod's limit: {lost} kB lost");
}

/// A level without the memory controller is passed over.
fn level_without_the_controller() {
    let daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let leaf = container.bare_child("leaf");
    let text = meminfo(&daemon, &leaf, &[]);
    assert_eq!(field(&text, "MemTotal"), 64 * MIB);
    assert!(field(&text, "AnonPages") < 16 * MIB, "{text}");
}

/// Threads of one process may be in cgroups of their own, which have no memory controller.
fn threaded_cgroup() {
    let daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let threaded = container.bare_child("threaded");
    threaded.write("cgroup.type", "threaded");
    let script = format!(
        "echo $$ > {}/cgroup.threads && cat /proc/self/cgroup && exec cat {}",
        threaded.dir.display(),
        daemon.meminfo()
    );
    let text = output(&mut container.command(&["sh", "-c", &script]));
    assert!(text.lines().next().unwrap().ends_with("/threaded"), "{text}");
    assert_eq!(field(&text, "MemTotal"), 64 * MIB);
    assert!(field(&text, "AnonPages") < 16 * MIB, "{text}");
}

/// crun puts a container's processes one level below the cgroup that has its limits, and that is what podman,
/// CRI-O and Kubernetes measure.
fn subgroup_that_crun_makes() {
    let daemon = Daemon::start();
    let parent = Cgroup::new();
    for prefix in ["libpod", "crio"] {
        let scope = parent.child(format!("{prefix}-{}.scope", "0123456789abcdef".repeat(4))).limit(64);
        let (container, beside) = (scope.child("container"), scope.child("beside"));
        let _hog = hog(&beside, "20");
        let text = meminfo(&daemon, &container, &[]);
        assert_eq!(field(&text, "MemTotal"), 64 * MIB);
        assert!(field(&text, "AnonPages") >= 20 * MIB, "usage is the scope's: {text}");
    }
    // By any other name it is a cgroup like others.
    let scope = parent.child("other.scope").limit(64);
    let (container, beside) = (scope.child("container"), scope.child("beside"));
    let _hog = hog(&beside, "20");
    assert!(field(&meminfo(&daemon, &container, &[]), "AnonPages") < 16 * MIB);
}

/// A controller that is enabled later is noticed.
fn controller_enabled_later() {
    let daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let leaf = container.bare_child("leaf");
    assert_eq!(field(&meminfo(&daemon, &leaf, &[]), "MemTotal"), 64 * MIB);
    std::fs::write(container.dir.join("cgroup.subtree_control"), "+memory").unwrap();
    leaf.set_limit(32 << 20);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(field(&meminfo(&daemon, &leaf, &[]), "MemTotal"), 32 * MIB);
}

/// A reader that moves away while its old cgroup is removed gets the numbers of its new one.
fn cgroup_removed_while_a_file_is_open() {
    let daemon = Daemon::start();
    let (first, second) = (Cgroup::new().limit(64), Cgroup::new().limit(96));
    let words = helper::command("reread", &[&daemon.meminfo()]);
    let mut reader = start(&mut first.command(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(reader.ask(), "MemTotal:          65536 kB");
    std::fs::write(second.dir.join("cgroup.procs"), reader.process.id().to_string()).unwrap();
    first.remove();
    assert_eq!(reader.ask(), "MemTotal:          98304 kB");
    assert_eq!(reader.ask(), "MemTotal:          98304 kB");
    assert!(!daemon.log().contains("cannot"), "nobody's fault, nothing to log: {}", daemon.log());
}

/// A cgroup that is removed and made again is another one.
fn cgroup_made_again_under_the_same_name() {
    let daemon = Daemon::start();
    let parent = Cgroup::new();
    for mib in [64, 96, 32] {
        let container = parent.child("again").limit(mib);
        for _ in 0..3 {
            assert_eq!(field(&meminfo(&daemon, &container, &[]), "MemTotal"), mib * MIB);
        }
        container.remove();
    }
}

/// cgroup v1 lets a cgroup be renamed; what was kept open under the name is then another one's.
fn cgroup_renamed() {
    let daemon = Daemon::start();
    let parent = Cgroup::new();
    let first = parent.child("first").limit(64);
    let inner = first.child("inner");
    assert_eq!(field(&meminfo(&daemon, &inner, &[]), "MemTotal"), 64 * MIB);
    std::fs::rename(&first.dir, parent.dir.join("renamed")).unwrap();
    let second = parent.child("first").limit(96);
    let inner = second.child("inner");
    assert_eq!(field(&meminfo(&daemon, &inner, &[]), "MemTotal"), 96 * MIB);
}

/// Whatever bytes a cgroup's name has, its readers get its numbers.
fn odd_names() {
    let daemon = Daemon::start();
    let parent = Cgroup::new();
    let names: [&[u8]; 7] = [
        b"with space",
        b"back\\slash",
        b"was (deleted)",
        b"pod.slice:cri-containerd:ee4b",
        b"\\040octal",
        b"not utf8 \xff\xfe",
        b"..dots",
    ];
    for (index, bytes) in names.iter().enumerate() {
        let mib = 32 + index as u64;
        let container = parent.child(name(bytes)).limit(mib);
        let text = meminfo(&daemon, &container, &[]);
        assert_eq!(field(&text, "MemTotal"), mib * MIB, "{}", shown(&name(bytes)));
    }
}

/// The daemon keeps no files of cgroups that are gone.
fn removed_cgroups_leave_the_cache() {
    let daemon = Daemon::start();
    let first = Cgroup::new().limit(64);
    meminfo(&daemon, &first, &[]);
    std::thread::sleep(std::time::Duration::from_secs(11));
    let before = daemon.descriptors();
    for _ in 0..50 {
        let container = Cgroup::new().limit(64);
        meminfo(&daemon, &container, &["unshare", "--cgroup", "--pid", "--fork"]);
        container.remove();
    }
    assert!(daemon.descriptors() > before);
    wait_until_longer(|| daemon.descriptors() <= before);
    daemon.signal(Signal::TERM);
}

/// The daemon looks every ten seconds.
fn wait_until_longer(mut done: impl FnMut() -> bool) {
    for _ in 0..250 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("files of removed cgroups are still open");
}
