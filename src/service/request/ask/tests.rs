use super::*;
use crate::kernel::Source;
use crate::service::accounts::start_times::START_SEARCH_TIMEOUT;
use crate::service::cache::rendered::MAX_AGE;
use crate::service::request::pressure::PressureRequest;
use crate::service::request::query::TextOf;
use crate::service::scheduling::pending_request::Deadline;
use crate::state::OpenFile;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::psi::{Line, Trigger};
use cgprocfs_core::view::find;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(20);
/// A reader in the written system.
const READER: Pid = Pid::new(31337);

fn system() -> (TempDir, PathBuf) {
    copy_of("v2-kubernetes")
}

fn copy_of(fixture: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture).join("root");
    let status = Command::new("cp").arg("-r").arg(fixture).arg(directory.path()).status();
    assert!(status.unwrap().success());
    let root = directory.path().join("root");
    (directory, root)
}

/// The reader was put into a pid namespace from outside, the kernel does not say who is init there, and one
/// of those who may be it can't be looked at.
fn hang(root: &Path) {
    let process = |pid: Pid, parent: u32, ids: &str| {
        let process = root.join(format!("proc/{pid}"));
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("status"), format!("PPid:\t{parent}\nNSpid:\t{ids}\n")).unwrap();
        process
    };
    process(Pid::new(50), 0, "50");
    let namespaces = process(READER, 50, "31337\t7").join("ns");
    let file = namespaces.join("namespace");
    fs::write(&file, "").unwrap();
    let name = format!("pid:[{}]", file.metadata().unwrap().ino());
    fs::rename(file, namespaces.join(&name)).unwrap();
    fs::remove_file(namespaces.join("pid")).unwrap();
    symlink(name, namespaces.join("pid")).unwrap();
    // To open it takes somebody who writes.
    let file = process(Pid::new(60), 50, "60\t1").join("cgroup");
    mknodat(CWD, file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Whoever is patient is patient with what takes long.
#[test]
fn what_hangs_holds_up_nobody_else_and_is_answered() {
    let (_directory, root) = system();
    hang(&root);
    let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
    let (sender, told) = mpsc::channel();
    let errno = |error: Error| error.errno();
    for _ in 0..40 {
        let request = PendingRequest::new(READER, InFlightGuard::untracked());
        let (asking, sender, query) =
            (Arc::clone(&service), sender.clone(), TextOf(find("proc/meminfo").unwrap()));
        let ask = move |_: &Arc<Service>, _| {
            asking.ask(ThreadRole::Worker, request, query, move |text| {
                sender.send(text.map(drop).map_err(errno)).unwrap();
            });
        };
        service.dispatch(Lane::Fast, InFlightGuard::untracked(), READER, ask);
    }
    let (file, trigger) = (
        OpenFile::new(1),
        Trigger { line: Line::Some, threshold: Duration::from_millis(100), window: Duration::from_secs(1) },
    );
    let (view, sender) = (find("proc/pressure/cpu").unwrap(), sender);
    let request = PressureRequest { in_flight: InFlightGuard::untracked(), file, pid: READER, view };
    service.ask_to_arm(request, Some(trigger), move |armed| {
        sender.send(armed.map_err(errno)).unwrap();
    });
    for _ in 0..41 {
        assert_eq!(told.recv_timeout(LONG), Ok(Err(libc::EAGAIN)));
    }
    // It hangs, and nothing else does.
    for (lane, is_hanging) in [(Lane::Fast, false), (Lane::Slow, false), (Lane::Blocking, true)] {
        let (sender, done) = mpsc::channel();
        let owner = service.owner_of(READER);
        let wait = if is_hanging { 4 * START_SEARCH_TIMEOUT / 10 } else { LONG };
        service.workers.enqueue(lane, owner, Box::new(move || sender.send(()).unwrap_or_default()));
        assert_eq!(done.recv_timeout(wait).is_err(), is_hanging, "{lane:?}");
    }
}

/// Whoever reads the status of a task may have to give back the memory of its process.
#[test]
fn tasks_are_looked_at_by_no_thread_that_all_need() {
    [ThreadRole::Serving, ThreadRole::FastWorker].into_iter().for_each(leaves_tasks_to_others);
}

fn leaves_tasks_to_others(role: ThreadRole) {
    let (_directory, root) = copy_of("v2-processors");
    let cgroup = fs::read_to_string(root.join(format!("proc/{READER}/cgroup"))).unwrap();
    let cgroup = root.join("sys/fs/cgroup").join(cgroup.trim_end().trim_start_matches("0::/"));
    fs::write(cgroup.join("cgroup.threads"), "7\n").unwrap();
    let task = root.join("proc/7");
    fs::create_dir(&task).unwrap();
    let [status, fifo, running] = ["status", "fifo", "running"].map(|name| task.join(name));
    // To open it takes somebody who writes.
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::hard_link(&fifo, &status).unwrap();
    let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
    let (sender, told) = mpsc::channel();
    let (returned, returns) = mpsc::channel();
    // Its start is known from now on, and no number is fresh.
    service.text(READER, find("proc/uptime").unwrap()).unwrap();
    std::thread::sleep(2 * MAX_AGE);
    std::thread::spawn(move || {
        let request = PendingRequest::new(READER, InFlightGuard::untracked());
        let view = find("proc/loadavg").unwrap();
        service.ask(role, request, TextOf(view), move |text| {
            sender.send(text.map(|text| text.bytes.clone()).map_err(|error| error.errno())).unwrap();
        });
        returned.send(()).unwrap();
    });
    let has_returned = returns.recv_timeout(LONG);
    let is_told = told.recv_timeout(Duration::from_millis(300));
    // Whoever has opened it by now finds a task that runs, and so does whoever comes later.
    fs::write(&running, "State:\tR (running)\n").unwrap();
    fs::rename(&running, &status).unwrap();
    let opened = fs::File::options().read(true).write(true).open(&fifo);
    opened.unwrap().write_all(b"State:\tR (running)\n").unwrap();
    assert!(has_returned.is_ok() && is_told.is_err(), "{role:?}: {has_returned:?}, {is_told:?}");
    let text = told.recv_timeout(LONG).unwrap().unwrap();
    assert!(String::from_utf8_lossy(&text).contains(" 1/1 "), "{role:?}: {text:?}");
}

/// A tenant may have any number of them.
#[test]
fn processes_of_one_cgroup_take_turns_as_one() {
    let (_directory, root) = system();
    for (pid, cgroup) in [(7001, "/a"), (7002, "/a"), (7003, "/b")] {
        let process = root.join(format!("proc/{pid}"));
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
    }
    let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
    let ((sender, done), (go, gate)) = (mpsc::channel(), mpsc::channel::<()>());
    let wait = move |_: &Arc<Service>, _| gate.recv().unwrap_or_default();
    service.dispatch(Lane::Fast, InFlightGuard::untracked(), Pid::new(7001), wait);
    for pid in [7002, 7003] {
        let sender = sender.clone();
        service.dispatch(Lane::Fast, InFlightGuard::untracked(), Pid::new(pid), move |_, _| {
            sender.send(pid).unwrap()
        });
    }
    assert_eq!(done.recv_timeout(LONG), Ok(7003));
    assert!(done.recv_timeout(Duration::from_millis(200)).is_err());
    drop(go);
    assert_eq!(done.recv_timeout(LONG), Ok(7002));
}

/// It may be gone before anybody knows which of the cgroups above is its container.
#[test]
fn whoever_is_left_aside_may_have_ended() {
    let (_directory, root) = system();
    let process = root.join("proc/7001");
    fs::create_dir(&process).unwrap();
    fs::write(process.join("cgroup"), "0::/lxc/a/init.scope\n").unwrap();
    let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
    service.quarantine(Pid::new(7001));
    let is_slow = |container: &[u8]| service.fairness.accounts.of(container).is_slow(Instant::now());
    assert!(is_slow(b"/lxc/a") && is_slow(b"/lxc/a/init.scope") && !is_slow(b"/lxc/b") && !is_slow(b"/"));
}

#[test]
fn nobody_is_put_off_for_ever() {
    let (_directory, root) = system();
    let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
    let asked = |rounds| {
        let request = PendingRequest { rounds, ..PendingRequest::new(READER, InFlightGuard::untracked()) };
        let (sender, told) = mpsc::channel();
        let query = TextOf(find("proc/meminfo").unwrap());
        let tell = move |text: Result<_, Error>| {
            sender.send(text.map(drop).map_err(|error| error.errno())).unwrap();
        };
        service.continuation(&Owner::from(&b"/"[..]), request, query, tell)(ThreadRole::Worker);
        told.recv_timeout(LONG).unwrap()
    };
    assert_eq!(asked(MAX_ROUNDS - 1), Ok(()));
    assert_eq!(asked(MAX_ROUNDS), Err(libc::EAGAIN));
}

/// Its reader may be in the middle of an exec by then, and no thread that serves may look at it.
#[test]
fn what_was_given_to_a_thread_that_may_hang_stays_there() {
    let (_directory, root) = system();
    let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
    let (sender, told) = mpsc::channel();
    let again = |deadline: &Deadline| {
        let request = PendingRequest {
            deadline: Some(deadline.clone()),
            ..PendingRequest::new(READER, InFlightGuard::untracked())
        };
        let sender = sender.clone();
        let tell = move |text: Result<_, Error>| {
            sender.send((text.is_ok(), std::thread::current().id())).unwrap();
        };
        service.continuation(&Owner::from(&b"/"[..]), request, TextOf(find("proc/meminfo").unwrap()), tell)
    };
    for role in [ThreadRole::Serving, ThreadRole::Helping, ThreadRole::Worker] {
        again(&Deadline::default())(role);
        let (is_answered, thread) = told.recv_timeout(LONG).unwrap();
        assert!(is_answered && thread != std::thread::current().id(), "{role:?}");
    }
    again(&Deadline::default())(ThreadRole::Blocking);
    assert_eq!(told.recv_timeout(LONG), Ok((true, std::thread::current().id())));
    // Nobody waits for it any more.
    let over = Deadline::default();
    over.pass();
    again(&over)(ThreadRole::Serving);
    again(&over)(ThreadRole::Blocking);
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err());
}
