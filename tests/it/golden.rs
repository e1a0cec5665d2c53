//! Every view of every tree in `tests/fixtures`, against what it is to say.
//!
//! A case is a directory as `cgprocfs capture` makes them. `UPDATE_GOLDEN=1 cargo test golden::` writes what
//! each view is to say anew; read the difference before you commit it.
mod altered;
mod lacking;
mod made;

use cgprocfs::capture::{Capture, capture};
use cgprocfs::kernel::{CgroupId, CgroupRef, ScanLimits, Source};
use cgprocfs::service::Service;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::view::{ViewId, find};
use libtest_mimic::{Failed, Trial};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

pub fn tests() -> Vec<Trial> {
    // A guest has no trees.
    if crate::common::is_emulated() {
        return Vec::new();
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let cases: Vec<_> = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    let captured = cases.clone().into_iter().map(|case| {
        let name = format!("golden::{}/captured", case.file_name().unwrap().to_string_lossy());
        Trial::test(name, move || check_capture(&case))
    });
    cases
        .into_iter()
        .flat_map(|case| ViewId::ALL.iter().map(move |view| (case.clone(), view)))
        // Of most views most trees lack the kernel's own file.
        .filter(|(case, view)| view.path() == "working_set" || case.join("root").join(view.path()).exists())
        .map(|(case, view)| {
            let name = format!("golden::{}/{}", case.file_name().unwrap().to_string_lossy(), view.path());
            Trial::test(name, move || check(&case, *view))
        })
        .chain(captured)
        .chain([
            Trial::test("golden::a_kernel_without_pressure", without_pressure),
            Trial::test("golden::a_cgroup_without_pressure", cgroup_without_pressure),
            Trial::test("golden::links_that_became_files", altered::links_became_files),
            Trial::test("golden::files_of_nodes_are_shown", show_of_nodes),
            Trial::test("golden::frozen_tasks_do_not_wait", frozen_tasks),
            Trial::test("golden::tasks_of_seven_hundred_cgroups", made::tasks_of_seven_hundred_cgroups),
        ])
        .chain(
            altered::CASES
                .iter()
                .chain(altered::BELOW)
                .map(|case| Trial::test(format!("golden::altered/{}", case.name), || case.check())),
        )
        .chain(
            lacking::BY_HAND
                .iter()
                .map(|case| Trial::test(format!("golden::{case}/lacking"), || lacking::check(case))),
        )
        .chain(
            OF_NODES
                .iter()
                .map(|file| Trial::test(format!("golden::v2-two-nodes/{file}"), || check_of_nodes(file))),
        )
        .collect()
}

/// Files that are no views, and which of a host's nodes are the container's.
const OF_NODES: [&str; 10] = [
    "node/has_normal_memory",
    "node/node0/cpulist",
    "node/node0/distance",
    "node/node0/meminfo",
    "node/node1/cpumap",
    "node/node1/distance",
    "node/node1/meminfo",
    "node/node1/numastat",
    "node/node1/vmstat",
    "node/node2/meminfo",
];

fn check_of_nodes(file: &str) -> Result<(), Failed> {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2-two-nodes");
    let pid = fs::read_to_string(case.join("reader"))?.trim().parse()?;
    let service = Arc::new(Service::new(Source::open(&case.join("root"), None)?, 1));
    let text = match service.system_text(pid, file) {
        Err(error) if file.starts_with("node/node2") && error.errno() == libc::ENOENT => return Ok(()),
        text => String::from_utf8(text?.bytes.clone())?,
    };
    compare(&case.join("expected/sys/devices/system").join(file), &text)
}

/// Of five tasks that seem to wait for a disk four are frozen, one of them elsewhere: so it is in a copy as
/// well.
fn frozen_tasks() -> Result<(), Failed> {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-frozen-tasks");
    let copy = tempfile::tempdir()?;
    let original = Capture::open(&case, None)?;
    capture(&original.source()?, original.pid, copy.path())?;
    for root in [case.join("root"), copy.path().join("root")] {
        let id = CgroupId::new(fs::metadata(root.join("sys/fs/cgroup/memory/ctr"))?.ino());
        let cgroup = CgroupRef { id, path: b"/ctr" };
        let depth = ScanLimits { cgroups: 9, tasks: 99, with_run_queue: false, asker: None };
        let tasks = Source::open(&root, None)?.tasks(cgroup, depth)?.tasks;
        assert_eq!((tasks.total, tasks.uninterruptible), (6, 1), "{}", root.display());
    }
    // Names of others' cgroups are nobody's business.
    assert!(!copy.path().join("root/sys/fs/cgroup/freezer/elsewhere").exists());
    Ok(())
}

/// Of the container's nodes; those that it has not are no fault of the capture's.
fn show_of_nodes() -> Result<(), Failed> {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2-two-nodes");
    let show = |path: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cgprocfs"));
        command.args(["show", path, "--root"]).arg(&case).output().unwrap()
    };
    let path = "sys/devices/system/node/node0/meminfo";
    assert_eq!(show(path).stdout, fs::read(case.join("expected").join(path))?);
    for (path, message) in [
        ("sys/devices/system/node/node2/meminfo", "No such file"),
        ("sys/devices/system/node/node7/meminfo", "lacks sys/devices/system/node/node7/meminfo"),
        ("sys/devices/system/memory/x", "there is no view"),
    ] {
        let output = show(path);
        let stderr = String::from_utf8(output.stderr)?;
        assert!(!output.status.success() && stderr.contains(message), "{path}: {stderr}");
    }
    Ok(())
}

/// A reader is told what the kernel says of its own file.
fn without_pressure() -> Result<(), Failed> {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2-kubernetes");
    let service = Arc::new(Service::new(Source::open(&case.join("root"), None)?, 1));
    let pid = fs::read_to_string(case.join("reader"))?.trim().parse()?;
    for name in ["cpu", "memory", "io"] {
        let view = find(&format!("proc/pressure/{name}")).unwrap();
        let error = service.text(pid, view).unwrap_err();
        assert_eq!(error.errno(), libc::ENOENT, "{error}");
    }
    Ok(())
}

/// The kernel keeps no account of this one (`cgroup.pressure`), and has no such files for it.
fn cgroup_without_pressure() -> Result<(), Failed> {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2-processors");
    let copy = tempfile::tempdir()?;
    let copied =
        std::process::Command::new("cp").arg("-r").arg(case.join("root")).arg(copy.path()).status()?;
    assert!(copied.success());
    let root = copy.path().join("root");
    let pid: u32 = fs::read_to_string(case.join("reader"))?.trim().parse()?;
    let cgroup = fs::read_to_string(root.join(format!("proc/{pid}/cgroup")))?;
    let cgroup = root.join("sys/fs/cgroup").join(cgroup.trim().trim_start_matches("0::/"));
    let view = find("proc/pressure/cpu").unwrap();
    let text = || Service::new(Source::open(&root, None).unwrap(), 1);
    let text = || Arc::new(text()).text(Pid::new(pid), view);
    assert!(text().is_ok());
    fs::remove_file(cgroup.join("cpu.pressure"))?;
    fs::write(cgroup.join("cgroup.pressure"), "0\n")?;
    assert_eq!(text().unwrap_err().errno(), libc::ENOENT);
    // Of no cgroup does this one keep an account: it is not known.
    fs::remove_file(cgroup.join("cgroup.pressure"))?;
    assert!(text()?.bytes.starts_with(b"some avg10=0.00 "));
    Ok(())
}

fn text(case: &Path, view: ViewId) -> Result<String, Failed> {
    let case = Capture::open(case, None)?;
    Ok(String::from_utf8(case.text(&service(&case)?, view)?)?)
}

fn service(case: &Capture) -> Result<Arc<Service>, Failed> {
    Ok(Arc::new(Service::new(case.source()?, 1)))
}

/// All that are there say what is expected.
fn check_views(case: &Path) -> Result<(), Failed> {
    for view in ViewId::ALL {
        let expected = case.join("expected").join(view.path());
        if expected.exists() {
            assert_eq!(text(case, view)?, fs::read_to_string(expected)?, "{}", view.path());
        }
    }
    Ok(())
}

/// What is copied of a tree says what the tree says, and notices if a file is taken away.
fn check_capture(case: &Path) -> Result<(), Failed> {
    let copy = tempfile::tempdir()?;
    let original = Capture::open(case, None)?;
    let left_out = capture(&original.source()?, original.pid, copy.path())?;
    assert!(left_out.is_empty(), "{left_out:?}");
    for view in ViewId::ALL {
        let Ok(expected) = text(case, view) else { continue };
        let captured = text(copy.path(), view)?;
        assert_eq!(captured, expected, "{}", view.path());
        assert_eq!(fs::read_to_string(copy.path().join("expected").join(view.path()))?, captured);
    }
    let of_nodes = original.of_nodes();
    let copied = Capture::open(copy.path(), None)?;
    let (before, after) = (service(&original)?, service(&copied)?);
    for file in of_nodes {
        let Ok(expected) = original.system_text(&before, &file) else { continue };
        let captured = copied.system_text(&after, &file)?;
        assert_eq!(String::from_utf8(captured)?, String::from_utf8(expected)?, "{file}");
    }
    lacking::check_in_place(copy.path())
}

fn check(case: &Path, view: ViewId) -> Result<(), Failed> {
    let text = text(case, view)?;
    compare(&case.join("expected").join(view.path()), &text)
}

fn compare(path: &Path, text: &str) -> Result<(), Failed> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap())?;
        fs::write(path, text)?;
    }
    let expected = fs::read_to_string(path)?;
    if text == expected {
        return Ok(());
    }
    let differing = expected.lines().zip(text.lines()).filter(|(expected, got)| expected != got);
    let lines: Vec<_> = differing.map(|(expected, got)| format!("-{expected}\n+{got}")).collect();
    Err(format!("{} differs:\n{}", path.display(), lines.join("\n")).into())
}
