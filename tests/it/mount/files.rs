//! The files and directories: their attributes, and who may do what with them.

use super::read;
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::{MOUNT, field, output, test};
use cgprocfs_core::view::{ViewId, WHOLE_DIRECTORIES};
use libtest_mimic::Trial;
use std::fs::{self, File, OpenOptions};
use std::io::{self};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            stat_and_readdir,
            look_ups_that_fail,
            writes_are_refused,
            unprivileged_reader,
            chosen_views,
            slabinfo_is_for_root_alone,
        ],
    }
}

/// Listings and attributes are as the table of views says.
fn stat_and_readdir() {
    let daemon = Daemon::start();
    for view in ViewId::ALL {
        let metadata = fs::metadata(daemon.path(view.path())).unwrap();
        assert_eq!(
            (metadata.ino(), metadata.size(), metadata.nlink()),
            (view.ino(), view.claimed_size(), 1),
            "{}",
            view.path()
        );
        let mode = 0o100_000 | u32::from(view.mode());
        // Nobody owns them, so that nobody can take a lease on them.
        assert_eq!((metadata.mode(), metadata.uid(), metadata.gid()), (mode, 65534, 0));
        let directory = daemon.live().join(view.path());
        let entries = fs::read_dir(directory.parent().unwrap()).unwrap().map(Result::unwrap);
        let entry = entries.filter(|entry| entry.path() == directory).collect::<Vec<_>>();
        assert_eq!(entry.len(), 1, "listed once");
        assert!(entry[0].file_type().unwrap().is_file());
    }
    let root: Vec<_> = fs::read_dir(daemon.live()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(root, ["proc", "sys", "working_set"]);
    assert_eq!(fs::metadata(daemon.live().join("proc")).unwrap().mode(), 0o040_555);
    let listing = output(Command::new("find").arg(daemon.live()).args(["-type", "f"]));
    let is_view =
        |path: &&str| ViewId::ALL.iter().any(|view| daemon.live().join(view.path()) == Path::new(path));
    assert_eq!(listing.lines().filter(is_view).count(), ViewId::COUNT);
    let others = listing.lines().filter(|path| !is_view(path));
    let directories = WHOLE_DIRECTORIES.map(|path| daemon.live().join(path));
    assert!(others.map(Path::new).all(|path| directories.iter().any(|whole| path.starts_with(whole))));
    output(Command::new("stat").arg("-f").arg(daemon.path("proc/meminfo")));
}

/// What is not there is ENOENT, and what is no directory ENOTDIR.
fn look_ups_that_fail() {
    let daemon = Daemon::start();
    let missing = |path: &str| fs::metadata(daemon.live().join(path)).unwrap_err().raw_os_error();
    assert_eq!(missing("proc/nothing"), Some(libc::ENOENT));
    assert_eq!(missing("meminfo"), Some(libc::ENOENT));
    assert_eq!(missing("working_set/x"), Some(libc::ENOTDIR));
    assert_eq!(missing(&"x".repeat(255)), Some(libc::ENOENT));
}

/// Nobody writes, makes, renames or removes anything, not even root.
fn writes_are_refused() {
    let daemon = Daemon::start();
    for path in [daemon.live().join("proc/meminfo"), daemon.path("proc/meminfo")] {
        writes_to_are_refused(&daemon, &path);
    }
}

fn writes_to_are_refused(daemon: &Daemon, path: &Path) {
    let refused = |result: io::Result<()>, what: &str| {
        let errno = result.unwrap_err().raw_os_error();
        assert!(
            matches!(errno, Some(libc::EROFS | libc::EACCES | libc::EPERM | libc::EBUSY | libc::EXDEV)),
            "{what}: {errno:?}"
        );
    };
    refused(OpenOptions::new().write(true).open(path).map(drop), "open for writing");
    refused(OpenOptions::new().read(true).write(true).open(path).map(drop), "open for both");
    refused(OpenOptions::new().append(true).open(path).map(drop), "append");
    refused(File::create(path).map(drop), "truncate");
    refused(File::create(daemon.live().join("new")).map(drop), "create");
    refused(fs::create_dir(daemon.live().join("new")), "mkdir");
    refused(fs::remove_file(path), "unlink");
    refused(fs::rename(path, daemon.live().join("proc/other")), "rename");
    refused(fs::set_permissions(path, fs::Permissions::from_mode(0o666)), "chmod");
    refused(std::os::unix::fs::symlink("x", daemon.live().join("link")), "symlink");
    refused(std::os::unix::fs::chown(path, Some(1), None), "chown");
    assert!(read(path).starts_with("MemTotal:"), "and it is still served");
}

/// Any user may read what anybody may read in procfs.
fn unprivileged_reader() {
    let daemon = Daemon::start();
    // The temporary directory is its owner's; a container has the file bound elsewhere.
    fs::set_permissions(daemon.path("..").canonicalize().unwrap(), fs::Permissions::from_mode(0o1777))
        .unwrap();
    let container = Cgroup::new().limit(64);
    let script = format!("exec setpriv --reuid 65534 --regid 65534 --clear-groups cat {}", daemon.meminfo());
    let text = output(&mut container.command(&["sh", "-c", &script]));
    assert_eq!(field(&text, "MemTotal"), 64 << 10);
    let direct = Command::new("cat").arg(daemon.working_set()).uid(65534).gid(65534).output().unwrap();
    assert!(direct.status.success(), "{direct:?}");
}

/// What is not chosen stays the kernel's, and changes at once when a daemon takes over that was told another
/// choice.
fn chosen_views() {
    let daemon = Daemon::start_with(&[], &["--views", "meminfo,working_set"], &[]);
    let container = Cgroup::new().limit(64);
    let read = |daemon: &Daemon, path: &str| {
        output(&mut container.command(&["cat", daemon.path(path).to_str().unwrap()]))
    };
    let types = |daemon: &Daemon| {
        ["proc/meminfo", "working_set", "proc/cpuinfo", "proc/pressure/cpu"].map(|path| {
            let kind = output(Command::new("stat").args([
                "--file-system",
                "--format=%T",
                daemon.path(path).to_str().unwrap(),
            ]));
            kind.trim().to_string()
        })
    };
    assert_eq!(types(&daemon), ["fuseblk", "fuseblk", "proc", "proc"]);
    assert!(read(&daemon, "proc/meminfo").starts_with("MemTotal:          65536 kB\n"));
    assert_eq!(read(&daemon, "proc/swaps"), fs::read_to_string("/proc/swaps").unwrap());
    let successor = daemon.taken_over_with(&["--views=proc/cpuinfo"]);
    assert_eq!(types(&successor), ["proc", "tmpfs", "fuseblk", "proc"]);
    assert_eq!(types(&successor.taken_over()), ["fuseblk"; 4]);
}

/// As the kernel's own is: here by its group, because it has no owner.
fn slabinfo_is_for_root_alone() {
    let daemon = Daemon::start();
    let path = daemon.path("proc/slabinfo");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o440);
    let refused = crate::common::finish(Command::new("cat").arg(&path).uid(65534).gid(65534));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("Permission denied"));
    assert!(fs::read_to_string(&path).unwrap().starts_with("slabinfo - version: 2.1"));
}
