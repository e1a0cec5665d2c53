//! What a tenant does: helpers that go on until their stdin ends, whatever they are answered.

use super::hang;
use crate::common::cgroup::Cgroup;
use crate::common::helper::{self, Running};
use crate::common::storm::{begin, goes_on};
use nix::mount::{MntFlags, umount2};
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom, openat, seek, stat};
use std::fs::{self, File};
use std::hint::spin_loop;
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Runs the helper of that name, if it is one of these.
pub fn ran(name: &str, rest: &[&str]) -> bool {
    let number = |place: usize| rest[place].parse().unwrap();
    match name {
        "poll" => many(number(1), |_| {
            let _ = fs::read(rest[0]);
            std::thread::sleep(Duration::from_millis(rest[2].parse().unwrap()));
        }),
        "list" => list(rest[0].as_ref(), number(1)),
        "miss" => many(number(1), |time| {
            let _ = stat(&*Path::new(rest[0]).join(format!("missing-{time}")));
        }),
        "spin" => many(number(0), |_| spin_loop()),
        "abort" => many(1, |_| abort(rest[0])),
        "namespaces" => namespaces(rest[0], number(1)),
        "hang" => hang::serve(rest[0].as_ref()),
        "exec" => hang::exec(rest[0].as_ref()),
        _ => return false,
    }
    true
}

/// Starts one in a cgroup.
pub fn start(cgroup: &Cgroup, name: &str, arguments: &[&str]) -> Running {
    start_by(cgroup, &[], name, arguments)
}

/// Starts one by another program, such as `unshare --mount`.
pub fn start_by(cgroup: &Cgroup, launcher: &[&str], name: &str, arguments: &[&str]) -> Running {
    let words = helper::command(name, arguments);
    let words: Vec<&str> = launcher.iter().copied().chain(words.iter().map(String::as_str)).collect();
    helper::start(&mut cgroup.command(&words))
}

/// So many threads do something again and again; they are told how often it was done.
fn many(threads: usize, what: impl Fn(u64) + Sync) {
    begin();
    let count = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while goes_on() {
                    what(count.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
    });
}

/// Aborts the connection of the view at a path. The mount stays, for a file there is open, so that whatever is laid on top
/// of it the next time comes to lie there, too.
fn abort(path: &str) {
    let open = File::open(path);
    let _ = umount2(path, MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW);
    drop(open);
    std::thread::sleep(Duration::from_millis(20));
}

/// So many threads list a directory, a few names at a time.
fn list(directory: &Path, threads: usize) {
    many(threads, |_| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(open) = openat(CWD, directory, flags, Mode::empty()) else { return };
        let mut buffer = [const { MaybeUninit::uninit() }; 512];
        for _ in 0..16 {
            let mut entries = RawDir::new(&open, &mut buffer);
            while entries.next().is_some_and(|entry| entry.is_ok()) {}
            let _ = seek(&open, SeekFrom::Start(0));
        }
    });
}

/// So many processes, each in a cgroup and a pid namespace of its own, that read a file twice a second.
fn namespaces(path: &str, count: usize) {
    begin();
    let words = helper::command("poll", &[path, "1", "500"]);
    let start = |_| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--cgroup", "--pid", "--fork", "--kill-child"]).args(&words);
        unshare.stdin(Stdio::inherit()).stdout(Stdio::null()).spawn().unwrap()
    };
    let all: Vec<_> = (0..count).map(start).collect();
    // They end as this one does, when the stdin of all has ended.
    all.into_iter().for_each(|mut process| drop(process.wait()));
}
