//! What a program that polls is told.

use super::{Container, TRIGGER, VIEW, watchable};
use crate::common::daemon::Daemon;
use crate::common::{Need, finish, test};
use libtest_mimic::Trial;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    const NEEDS: &[Need] = &[Need::Root, Need::Fuse, Need::Pressure, Need::Program("taskset")];
    tests! {
        test(NEEDS) => [
            events_come_as_the_kernel_s,
            poll_without_a_trigger,
            what_is_no_trigger,
            nothing_is_written_otherwise,
        ],
        test(&[Need::Root, Need::Fuse, Need::Pressure]) => [
            no_account_is_kept,
        ],
    }
}

/// The view, and the kernel's own file of another cgroup with the same load. Of the same cgroup whoever reads
/// the file, as the daemon does, takes events from those that the kernel tells without CAP_SYS_RESOURCE
/// (`psi_show()` and `psi_avgs_work()`, kernel/sched/psi.c).
fn events_come_as_the_kernel_s() {
    let (daemon, container, other) = (watchable(&[]), Container::new(), Container::new());
    // Who has not CAP_SYS_RESOURCE, as root in a container, may ask the kernel for windows of two seconds.
    let trigger = "some 300000 2000000";
    let native = other.watch(&other.pressure.join("cpu.pressure"), 1, trigger);
    let mut both = [container.watch(&daemon.path(VIEW), 1, trigger), native];
    both.iter_mut().for_each(|watch| assert_eq!(watch.ask(), "1 []"));
    let spinners = [container.stall(), other.stall()];
    let mut events = |seconds| {
        let started = Instant::now();
        let mut counts = [0_u32; 2];
        std::thread::scope(|scope| {
            for (watch, count) in both.iter_mut().zip(&mut counts) {
                scope.spawn(move || {
                    while started.elapsed() < Duration::from_secs(seconds) {
                        *count += match watch.ask().as_str() {
                            "1 0" => 1,
                            "0 0" => 0,
                            said => panic!("{said}"),
                        };
                    }
                });
            }
        });
        counts
    };
    let [ours, kernel] = events(20);
    println!("triggers: {ours} events in twenty seconds, the kernel's own {kernel}");
    // For who may not ask for less the kernel looks every two seconds, and tells every other time.
    assert!((9..=11).contains(&ours) && (1..=ours).contains(&kernel), "{ours}, {kernel}");
    drop(spinners);
    // What was still to be told.
    events(3);
    assert_eq!(events(3)[0], 0, "no pressure, no events");
}

/// Nothing was written to it: what the kernel says of its own file is said.
fn poll_without_a_trigger() {
    let daemon = watchable(&[]);
    let polled = |path: &Path| {
        let file = fs::File::open(path).unwrap();
        let all = PollFlags::POLLIN | PollFlags::POLLOUT | PollFlags::POLLPRI;
        let mut polled = [PollFd::new(file.as_fd(), all)];
        poll(&mut polled, PollTimeout::ZERO).unwrap();
        polled[0].revents()
    };
    assert_eq!(polled(&daemon.path(VIEW)), polled(&Path::new("/").join(VIEW)));
}

/// What is no trigger is refused with the errors of the kernel.
fn what_is_no_trigger() {
    let daemon = watchable(&[]);
    let open = || OpenOptions::new().read(true).write(true).open(daemon.path(VIEW)).unwrap();
    for text in ["", "some", "some 1 100\n", "most 150000 1000000\n", "some 2000000 1000000\n", "\u{e9}"] {
        let written = open().write(text.as_bytes());
        let is_refused = written.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL));
        assert!(is_refused || text.is_empty(), "{text:?}: {written:?}");
    }
    let mut file = open();
    let text = format!("{TRIGGER}\n");
    assert_eq!(file.write(text.as_bytes()).unwrap(), text.len());
    assert_eq!(file.write(text.as_bytes()).unwrap_err().raw_os_error(), Some(libc::EBUSY));
    // It can still be read, and be truncated by whoever opens it.
    assert!(fs::read_to_string(daemon.path(VIEW)).unwrap().starts_with("some avg10="));
    fs::File::create(daemon.path(VIEW)).unwrap().write_all(text.as_bytes()).unwrap();
    for other in ["proc/meminfo", "proc/stat", "working_set"] {
        let refused = OpenOptions::new().write(true).open(daemon.path(other)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EACCES), "{other}");
    }
    assert_eq!(daemon.log().lines().count(), 1, "{}", daemon.log());
}

/// Without the option, and everywhere but in files of pressure.
fn nothing_is_written_otherwise() {
    let daemon = Daemon::start();
    let refused = OpenOptions::new().write(true).open(daemon.path(VIEW)).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    let daemon = watchable(&[]);
    let live = |path: &str| daemon.live().join(path);
    let new = live("proc/new");
    for (what, result) in [
        ("create", fs::File::create(&new).map(drop)),
        ("mkdir", fs::create_dir(&new)),
        ("symlink", std::os::unix::fs::symlink("x", &new)),
        ("link", fs::hard_link(live("proc/stat"), &new)),
        ("unlink", fs::remove_file(live("proc/stat"))),
        ("rmdir", fs::remove_dir(live("proc/pressure"))),
        ("rename", fs::rename(live("proc/stat"), &new)),
        ("chmod", fs::set_permissions(live(VIEW), std::os::unix::fs::PermissionsExt::from_mode(0o600))),
        ("chown", std::os::unix::fs::chown(live(VIEW), Some(1), None)),
        ("truncate", OpenOptions::new().write(true).truncate(true).open(live("proc/stat")).map(drop)),
        ("write", OpenOptions::new().write(true).open(live("sys/devices/system/cpu/online")).map(drop)),
    ] {
        // The kernel itself refuses what has no owner, and the daemon what would change a pressure file.
        let expected = match what {
            "chmod" | "chown" => libc::EROFS,
            "link" | "unlink" | "rmdir" | "rename" => libc::EOVERFLOW,
            _ => libc::EACCES,
        };
        assert_eq!(result.unwrap_err().raw_os_error(), Some(expected), "{what}");
    }
}

/// Of a cgroup whose account is switched off there is no file of pressure, and a reader is told so of the
/// view, too.
fn no_account_is_kept() {
    let (daemon, container) = (Daemon::start(), Container::new());
    let switch = container.pressure.join("cgroup.pressure");
    // Since Linux 6.1.
    if !switch.exists() {
        return;
    }
    let view = daemon.path(VIEW);
    let read = |path: &Path| {
        let output = finish(container.command(&["cat", path.to_str().unwrap()]).env("LC_ALL", "C"));
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), error.trim().rsplit(": ").next().unwrap_or_default().to_string())
    };
    let own = container.pressure.join("cpu.pressure");
    assert_eq!((read(&view).0, read(&own).0), (true, true));
    fs::write(&switch, "0").unwrap();
    // The last answer may still be given.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(read(&view), read(&own));
    assert_eq!(read(&view), (false, "No such file or directory".to_string()));
    fs::write(&switch, "1").unwrap();
    assert!(read(&view).0);
}
