//! What `cgprocfs show` says of captures that lack something.

use super::fails;
use crate::common::{cgprocfs, is_emulated, output, test};
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn tests() -> Vec<Trial> {
    // A guest has no trees.
    if is_emulated() {
        return Vec::new();
    }
    tests! {
        test(&[]) => [
            captures_that_lack_something,
        ],
    }
}

/// Of a capture that lacks a file, `show` says which.
fn captures_that_lack_something() {
    let empty = tempfile::tempdir().unwrap();
    fails(
        cgprocfs().args(["show", "--root"]).arg(empty.path()),
        1,
        "has no directory `proc`, nor one `root`",
    );
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-processors");
    let pid = fs::read_to_string(fixture.join("reader")).unwrap().trim().to_string();
    for (file, message) in [
        ("reader", "does not say which process reads; name one with --pid"),
        ("root/proc/meminfo", "lacks proc/meminfo; add it, or capture it again"),
        ("root/proc/self/mountinfo", "lacks proc/self/mountinfo"),
        ("root/proc/PID/cgroup", "lacks proc/PID/cgroup"),
        ("root/proc/PID/ns/pid", "lacks proc/PID/ns/pid"),
        ("root/proc/stat", "lacks proc/stat"),
        ("root/proc/PID/stat", "lacks proc/PID/stat"),
        ("root/sys/fs/cgroup/memory/cgroup.procs", "lacks sys/fs/cgroup/memory/cgroup.procs"),
        ("root/sys/devices/system/cpu/online", "lacks sys/devices/system/cpu/online"),
    ] {
        let copy = tempfile::tempdir().unwrap();
        output(Command::new("cp").arg("-a").arg(fixture.join(".")).arg(copy.path()));
        output(cgprocfs().args(["show", "stat", "--root"]).arg(copy.path()));
        fs::remove_file(copy.path().join(file.replace("PID", &pid))).unwrap();
        let message = message.replace("PID", &pid);
        fails(cgprocfs().args(["show", "stat", "--root"]).arg(copy.path()), 1, &message);
    }
    let swap = fixture.parent().unwrap().join("v2-swap-taken-by-sibling");
    for (tree, file) in [
        ("v1-processors", "sys/fs/cgroup/cpu,cpuacct/pod/ctr/cpuacct.usage"),
        ("v1-processors", "sys/fs/cgroup/cpu,cpuacct/pod/ctr/cpuacct.stat"),
        ("v2-swap-taken-by-sibling", "proc/sys/vm/swappiness"),
        ("v1-swappiness-0", "sys/fs/cgroup/memory/ctr/memory.swappiness"),
        ("v1-processors", "sys/fs/cgroup/cpu,cpuacct/pod/ctr/cpu.cfs_quota_us"),
        ("v1-processors", "sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us"),
        ("v1-processors", "sys/fs/cgroup/cpuset/pod/ctr/cpuset.effective_cpus"),
    ] {
        let copy = tempfile::tempdir().unwrap();
        output(Command::new("cp").arg("-a").arg(fixture.with_file_name(tree).join(".")).arg(copy.path()));
        let _ = fs::remove_file(copy.path().join("root").join(file));
        let view = if file.ends_with("swappiness") { "meminfo" } else { "stat" };
        let shown = cgprocfs().args(["show", view, "--root"]).arg(copy.path()).output().unwrap();
        let said = String::from_utf8_lossy(&shown.stderr);
        let message = format!("{view} may be wrong: the capture lacks {file}; add it, or capture it again\n");
        assert!(shown.status.success() && said.ends_with(&message), "{said}");
    }
    let cgroup = "root/sys/fs/cgroup/ctr";
    for (controller, file) in [("cpu", "cpu.max"), ("cpuset", "cpuset.cpus.effective")] {
        let copy = tempfile::tempdir().unwrap();
        let tree = fixture.with_file_name("v2-processors-given-to-partition");
        output(Command::new("cp").arg("-a").arg(tree.join(".")).arg(copy.path()));
        let shown = || {
            let shown = cgprocfs().args(["show", "cpuinfo", "--root"]).arg(copy.path()).output().unwrap();
            String::from_utf8(shown.stderr).unwrap()
        };
        let own = format!("{controller}.");
        for entry in fs::read_dir(copy.path().join(cgroup)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with(&own) && !name.starts_with("cpu.stat") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        assert_eq!(shown(), "", "the container may have no such controller");
        fs::write(copy.path().join(cgroup).join("cgroup.controllers"), format!("{controller} memory\n"))
            .unwrap();
        let lacks = format!("the capture lacks {}/{file};", cgroup.trim_start_matches("root/"));
        assert!(shown().contains(&lacks), "{}", shown());
    }
    let container = Path::new("root/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice");
    for (tree, file, view) in [
        ("v2-processors", "memory.events", "vmstat"),
        ("v2-processors", "io.stat", "diskstats"),
        ("v2-processors", "cgroup.threads", "loadavg"),
        ("v2-processors", "cpu.pressure", "pressure/cpu"),
        ("v2-two-nodes", "cpuset.mems.effective", "sys/devices/system/node/online"),
        ("v2-huge-pages", "hugetlb.2MB.max", "meminfo"),
    ] {
        let copy = tempfile::tempdir().unwrap();
        output(Command::new("cp").arg("-a").arg(fixture.with_file_name(tree).join(".")).arg(copy.path()));
        let cgroup = match tree {
            "v2-huge-pages" => copy.path().join(cgroup).with_file_name("pod").join("ctr"),
            // The pod, and its only container.
            _ => only_directory(&only_directory(&copy.path().join(container))),
        };
        fs::write(cgroup.join("cgroup.controllers"), "cpuset cpu io memory hugetlb\n").unwrap();
        fs::write(cgroup.join("cgroup.pressure"), "1\n").unwrap();
        fs::remove_file(cgroup.join(file)).unwrap();
        let shown = cgprocfs().args(["show", view, "--root"]).arg(copy.path()).output().unwrap();
        let said = String::from_utf8_lossy(&shown.stderr);
        assert!(
            shown.status.success() && said.contains("may be wrong") && said.contains(file),
            "{tree}: {said}"
        );
    }
    for level in ["pod", "pod/ctr"] {
        let at = format!("sys/fs/cgroup/{level}");
        for (file, message) in [
            ("memory.current", format!("lacks {at}/memory.current; add it, or capture it again")),
            ("memory.max", format!("lacks {at}/memory.max")),
            ("memory.stat", format!("lacks {at}/memory.stat")),
            ("memory.swap.current", format!("lacks the cgroup's file {level}/memory.swap.current")),
            ("memory.swap.max", format!("lacks the cgroup's file {level}/memory.swap.max")),
        ] {
            let copy = tempfile::tempdir().unwrap();
            output(Command::new("cp").arg("-a").arg(swap.join(".")).arg(copy.path()));
            fs::remove_file(copy.path().join("root").join(&at).join(file)).unwrap();
            fails(cgprocfs().args(["show", "meminfo", "--root"]).arg(copy.path()), 1, &message);
        }
    }
    let copy = tempfile::tempdir().unwrap();
    output(Command::new("cp").arg("-a").arg(fixture.join(".")).arg(copy.path()));
    fs::write(copy.path().join("page-size"), "12345\n").unwrap();
    fails(
        cgprocfs().args(["show", "--root"]).arg(copy.path()),
        1,
        "is of a machine with pages of 12345 bytes",
    );
}

fn only_directory(parent: &Path) -> PathBuf {
    let entries = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|entry| entry.is_dir()).unwrap()
}
