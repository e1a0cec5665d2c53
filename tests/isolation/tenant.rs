//! What a tenant does: helpers that go on until their stdin ends, whatever they are answered.

use crate::common::helper::{self, Running};
use crate::common::storm::{begin, goes_on};
use crate::{common::cgroup::Cgroup, hang};
use nix::mount::{MntFlags, umount2};
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom, openat, seek, stat};
use std::fs;
use std::hint::spin_loop;
use std::io::Read;
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Runs a helper of these if this process was started as one.
pub fn ran() -> bool {
    let Some((name, arguments)) = helper::asked_for() else { return false };
    let rest: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let threads = || rest[1].parse().unwrap();
    match name.as_str() {
        "poll" => many(threads(), |_| {
            let _ = fs::read(rest[0]);
            std::thread::sleep(Duration::from_millis(rest[2].parse().unwrap()));
        }),
        "list" => list(rest[0].as_ref(), threads()),
        "miss" => many(threads(), |number| {
            let _ = stat(&*Path::new(rest[0]).join(format!("missing-{number}")));
        }),
        "spin" => many(threads(), |_| spin_loop()),
        "abort" => many(1, |_| {
            let _ = umount2(rest[0], MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW);
            std::thread::sleep(Duration::from_millis(20));
        }),
        "namespaces" => namespaces(rest[0], threads()),
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

/// So many processes, each in a cgroup and a pid namespace of its own, that have read a file.
fn namespaces(path: &str, count: usize) {
    const SCRIPT: &str = "cat \"$0\" > /dev/null 2>&1; echo; read line";
    let enter = ["--cgroup", "--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT, path];
    let start = |_| {
        Command::new("unshare").args(enter).stdin(Stdio::inherit()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut all: Vec<_> = (0..count).map(start).collect();
    for process in &mut all {
        process.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    }
    helper::ready();
    // They end as this one does, when the stdin of all has ended.
    all.iter_mut().for_each(|process| drop(process.wait()));
}
