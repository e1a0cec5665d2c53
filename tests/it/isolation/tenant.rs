//! What a tenant does: helpers that go on until their stdin ends, whatever they are answered, and then say
//! how often they asked and how often they were given what they asked for.

use super::hang;
use crate::common::cgroup::Cgroup;
use crate::common::helper::{self, Running};
use crate::common::storm::{begin, goes_on};
use nix::mount::{MntFlags, umount2};
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom, openat, seek, stat};
use rustix::io::Errno;
use rustix::thread::gettid;
use std::fs::{self, File};
use std::hint::spin_loop;
use std::iter::Sum;
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Runs the helper of that name, if it is one of these.
pub fn ran(name: &str, rest: &[&str]) -> bool {
    let number = |place: usize| rest[place].parse().unwrap();
    match name {
        "poll" => many(number(1), |_| {
            let is_answered = fs::read(rest[0]).is_ok_and(|text| !text.is_empty());
            std::thread::sleep(Duration::from_millis(rest[2].parse().unwrap()));
            is_answered
        }),
        "poll-with-few-ids" => {
            many_by(number(1), |id| id % 64 < 7, |_| fs::read(rest[0]).is_ok_and(|text| !text.is_empty()))
        }
        "open" => many(number(1), |_| File::open(rest[0]).is_ok()),
        "list" => list(rest[0].as_ref(), number(1)),
        "miss" => many(number(1), |time| {
            stat(&*Path::new(rest[0]).join(format!("missing-{time}"))).err() == Some(Errno::NOENT)
        }),
        "spin" => many(number(0), |_| {
            spin_loop();
            true
        }),
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

/// How often something was asked for, and how often it was given.
#[derive(Default)]
pub struct Answered {
    asked: u64,
    answered: u64,
}

impl Answered {
    fn parse(said: &str) -> Self {
        let (asked, answered) = said.trim().rsplit('\n').next().unwrap().split_once(' ').unwrap();
        Self { asked: asked.parse().unwrap(), answered: answered.parse().unwrap() }
    }

    fn say(&self) {
        println!("{} {}", self.asked, self.answered);
    }

    /// An attack that is refused is none: most of what they ask for they have been given.
    pub fn check(&self, row: &str) {
        let Self { asked, answered } = self;
        println!("isolation: {row}: asked {asked} times, answered {answered}");
        assert!(*asked > 0 && answered * 2 > *asked, "{row}: asked {asked} times, answered {answered}");
    }
}

impl Sum for Answered {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            asked: sum.asked + one.asked,
            answered: sum.answered + one.answered,
        })
    }
}

/// Ends helpers.
pub fn end(mut load: Vec<Running>) -> Answered {
    load.iter_mut().for_each(|helper| drop(helper.process.stdin.take()));
    load.iter_mut().map(|helper| Answered::parse(&helper.line())).sum()
}

/// So many threads do something again and again; they are told how often it was done, and tell whether it
/// worked.
fn many(threads: usize, what: impl Fn(u64) -> bool + Sync) {
    many_by(threads, |_| true, what);
}

/// The same by threads that have ids of some kind: others end at once.
fn many_by(threads: usize, is_wanted: impl Fn(i32) -> bool + Sync, what: impl Fn(u64) -> bool + Sync) {
    begin();
    let [asked, answered] = [const { AtomicU64::new(0) }; 2];
    std::thread::scope(|scope| {
        let mut started = 0;
        while started < threads {
            let (sender, is_started) = mpsc::channel();
            let (is_wanted, what, asked, answered) = (&is_wanted, &what, &asked, &answered);
            scope.spawn(move || {
                let is_wanted = is_wanted(gettid().as_raw_nonzero().get());
                let _ = sender.send(is_wanted);
                while is_wanted && goes_on() {
                    let is_answered = what(asked.fetch_add(1, Ordering::Relaxed));
                    answered.fetch_add(is_answered.into(), Ordering::Relaxed);
                }
            });
            started += usize::from(is_started.recv().unwrap());
        }
    });
    Answered { asked: asked.into_inner(), answered: answered.into_inner() }.say();
}

/// Aborts the connection of the view at a path. The mount stays, for a file there is open, so that whatever
/// is laid on top of it the next time comes to lie there, too.
fn abort(path: &str) -> bool {
    let open = File::open(path);
    let aborted = umount2(path, MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW);
    drop(open);
    std::thread::sleep(Duration::from_millis(20));
    aborted.is_ok()
}

/// So many threads list a directory, a few names at a time.
fn list(directory: &Path, threads: usize) {
    many(threads, |_| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(open) = openat(CWD, directory, flags, Mode::empty()) else { return false };
        let mut buffer = [const { MaybeUninit::uninit() }; 512];
        let list = |_| {
            let (mut entries, mut count) = (RawDir::new(&open, &mut buffer), 0);
            while entries.next().is_some_and(|entry| entry.is_ok()) {
                count += 1;
            }
            // Its own name, and that of the directory above, are not all.
            seek(&open, SeekFrom::Start(0)).is_ok() && count > 2
        };
        (0..16).map(list).filter(|is_listed| *is_listed).count() == 16
    });
}

/// So many processes, each in a cgroup and a pid namespace of its own, that read a file twice a second.
fn namespaces(path: &str, count: usize) {
    begin();
    let words = helper::command("poll", &[path, "1", "500"]);
    let start = |_| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--cgroup", "--pid", "--fork", "--kill-child"]).args(&words);
        unshare.stdin(Stdio::inherit()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<_> = (0..count).map(start).collect();
    // They end as this one does, when the stdin of all has ended.
    let said = all.into_iter().map(|process| process.wait_with_output().unwrap().stdout);
    said.map(|said| Answered::parse(std::str::from_utf8(&said).unwrap())).sum::<Answered>().say();
}
