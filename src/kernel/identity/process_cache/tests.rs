use super::*;
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::process::own_pid;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_dead_reader_is_not_mistaken_for_a_living_one() {
    let procfs = Procfs::open(Path::new("/")).unwrap();
    let memory = Hierarchy::for_test("memory");
    let context = ProcContext { procfs: &procfs, hierarchy: &memory };
    let readers = ProcessCache::default();
    let mut text = Vec::new();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    readers.read(context, Pid::new(child.id()), &mut text, |_| true).unwrap();
    readers.read(context, Pid::new(child.id()), &mut text, |_| true).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(
        readers.read(context, Pid::new(child.id()), &mut text, |_| true),
        Err(Error::ProcessGone(_))
    ));
    assert!(readers.recent.lock().by_pid.is_empty());
}

#[test]
fn a_namespace_that_was_left_is_noticed() {
    let procfs = Procfs::open(Path::new("/")).unwrap();
    let memory = Hierarchy::for_test("memory");
    let context = ProcContext { procfs: &procfs, hierarchy: &memory };
    let readers = ProcessCache::default();
    let mut shell = Command::new("sh");
    shell.args(["-c", "read line; exec unshare --cgroup sleep 60"]).stdin(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let pid = Pid::new(child.id());
    let number = || readers.read(context, pid, &mut Vec::new(), |_| false).unwrap().cgroup;
    let before = number();
    assert!((0..3).all(|_| number() == before));
    assert!(readers.recent.lock().by_pid[&pid].namespace_link.get().is_some());
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while number() == before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_ne!(number(), before);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn reader(procfs: &Procfs, cgroup: &str) -> CachedProcess {
    CachedProcess {
        proc_cgroup: procfs.open_of(own_pid(), "cgroup").unwrap(),
        namespace_link: OnceLock::new(),
        cgroup: cgroup.as_bytes().into(),
        used: AtomicU64::new(0),
        reads_again: AtomicBool::new(false),
        pid_namespace: OnceLock::new(),
        innermost_pid: OnceLock::new(),
    }
}

#[test]
fn descriptors_are_bounded() {
    let procfs = Procfs::open(Path::new("/")).unwrap();
    for capacity in [2, 7, CAPACITY] {
        let readers = ProcessCache { capacity, recent: Mutex::default() };
        for pid in 0..3 * u32::try_from(CAPACITY).unwrap() {
            readers.remember(Pid::new(pid), reader(&procfs, "/"));
            assert!(readers.recent.lock().by_pid.len() <= capacity);
        }
    }
}

#[test]
fn as_many_pollers_as_there_is_room_for_stay() {
    let procfs = Procfs::open(Path::new("/")).unwrap();
    let readers = ProcessCache::default();
    let capacity = u32::try_from(CAPACITY).unwrap();
    for poller in 0..capacity / 2 {
        readers.remember(Pid::new(poller), reader(&procfs, "/"));
    }
    for other in 0..10 * capacity {
        readers.remember(Pid::new(20_000_000 + other), reader(&procfs, "/"));
        if other % (capacity / 4) == 0 {
            assert!((0..capacity / 2).all(|poller| readers.known(Pid::new(poller)).is_some()), "{other}");
        }
    }
}

/// Where a few more read in turn than there is room for, most are still known when their turn comes.
#[test]
fn of_too_many_pollers_most_stay() {
    let procfs = Procfs::open(Path::new("/")).unwrap();
    let readers = ProcessCache { capacity: 64, recent: Mutex::default() };
    let mut known = 0;
    for poll in 0..100 * 70 {
        match readers.known(Pid::new(poll % 70)) {
            Some(_) => known += 1,
            None => readers.remember(Pid::new(poll % 70), reader(&procfs, "/")),
        }
    }
    assert!(known > 100 * 70 / 2, "{known}");
}

#[test]
fn whoever_starts_many_leaves_room_for_others() {
    let procfs = Procfs::open(Path::new("/")).unwrap();
    let readers = ProcessCache::default();
    for other in 0..100 {
        readers.remember(Pid::new(other), reader(&procfs, "/pods/other"));
    }
    for pid in 1000..1000 + 3 * u32::try_from(CAPACITY).unwrap() {
        readers.remember(Pid::new(pid), reader(&procfs, &format!("/pods/tenant/{}", pid % 500)));
    }
    assert!((0..100).all(|other| readers.known(Pid::new(other)).is_some()));
}
