//! What the programs that people look at make of the view: each one runs, the real one, in a container whose
//! /proc/meminfo is the daemon's.

mod libraries;
mod monitors;
mod procps;

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::disk::Disk;
use crate::common::helper::Actor;
use crate::common::{field, finish, output, wait_until};
use libtest_mimic::Trial;
use std::collections::HashMap;
use std::fmt::Debug;
use std::process::Command;
use std::str::FromStr;
use tempfile::TempDir;

pub fn tests() -> Vec<Trial> {
    [procps::tests(), monitors::tests(), libraries::tests()].into_iter().flatten().collect()
}

/// All amounts are in KiB.
const MIB: u64 = 1 << 10;

const LIMIT: u64 = 256 * MIB;

/// What the container holds beside the program: anonymous memory, tmpfs and page cache.
const ANON: u64 = 50 * MIB;

const SHMEM: u64 = 20 * MIB;

const FILE: u64 = 40 * MIB;

/// A program does not read the file in the same moment as the test.
const TOLERANCE: u64 = 2 * MIB;

/// A container that holds an amount of memory, and has the daemon's view for its /proc/meminfo.
struct Container {
    actor: Actor,
    cgroup: Cgroup,
    daemon: Daemon,
    /// Programs keep their settings here: nobody's own ones count.
    home: TempDir,
    _shm: TempDir,
    _disk: Disk,
}

impl Container {
    fn start() -> Self {
        let (daemon, cgroup) = (Daemon::start(), Cgroup::new().limit(LIMIT / MIB).no_swap());
        let (home, shm) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let disk = Disk::new();
        let file = disk.file("file", usize::try_from(FILE / MIB).unwrap());
        let mut actor = Actor::start(&cgroup);
        actor.tell(&format!("anon {}", ANON / MIB));
        actor.tell(&format!("write {}/file {}", shm.path().display(), SHMEM / MIB));
        // A count of another processor may be left out of the sum until the next one is made there
        // (`css_rstat_updated()`, kernel/cgroup/rstat.c).
        wait_until("the kernel has counted what was read", || {
            // And what it has reclaimed since (DAMON does before memory is short) is read again.
            actor.tell(&format!("read {file}"));
            output(&mut cgroup.command(&["true"]));
            cgroup.stat("total_cache", "file") >= (SHMEM + FILE) << 10
        });
        Self { actor, cgroup, daemon, home, _shm: shm, _disk: disk }
    }

    /// A command that runs a program in here.
    fn command(&self, program: &[&str]) -> Command {
        const BIND: &str = "mount --bind \"$0\" /proc/meminfo && exec \"$@\"";
        let meminfo = self.daemon.meminfo();
        let words = [&["unshare", "--mount", "sh", "-c", BIND, &meminfo], program].concat();
        let mut command = self.cgroup.command(&words);
        command.env("HOME", self.home.path()).env_remove("XDG_CONFIG_HOME").env("SHELL", "/bin/sh");
        command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
        command
    }

    /// What a program prints that ends by itself. It has nothing to complain about.
    fn output(&self, program: &[&str]) -> String {
        let output = finish(&mut self.command(program));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{program:?}");
        assert!(output.status.success(), "{program:?}: {}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The file, and what a program prints that runs right after. It has run once before: its own pages are
    /// in memory.
    fn file_and_output(&self, program: &[&str]) -> (String, String) {
        const TWICE: &str = "\"$@\" > /dev/null && cat /proc/meminfo && echo --- && exec \"$@\"";
        let text = self.output(&[&["sh", "-c", TWICE, "sh"], program].concat());
        let (file, printed) = text.split_once("---\n").unwrap();
        (check_file(file), printed.to_string())
    }
}

/// What is to be shown has to be there, or the comparisons mean little.
fn check_file(file: &str) -> String {
    assert_eq!(field(file, "MemTotal"), LIMIT, "{file}");
    assert!(field(file, "AnonPages") >= ANON, "{file}");
    assert!(field(file, "Shmem") >= SHMEM, "{file}");
    assert!(field(file, "Cached") >= SHMEM + FILE, "{file}");
    assert!(field(file, "MemAvailable") <= LIMIT - ANON - SHMEM, "{file}");
    file.to_string()
}

/// Page cache that can be had back, as procps counts it.
fn cache(file: &str) -> u64 {
    field(file, "Cached") + field(file, "SReclaimable")
}

#[track_caller]
fn close(what: &str, shown: u64, expected: u64) {
    assert!(shown.abs_diff(expected) <= TOLERANCE, "{what}: shown {shown} kB, expected {expected} kB");
}

#[track_caller]
fn parsed<T: FromStr<Err: Debug>>(word: &str, text: &str) -> T {
    word.parse().unwrap_or_else(|e| panic!("{word:?}: {e:?}: {text}"))
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.strip_prefix(start));
    found.unwrap_or_else(|| panic!("no line {start:?} in:\n{text}"))
}

/// Whole KiB of an amount that was printed with few digits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn kib(mib: f64) -> u64 {
    assert!((0.0..=1e9).contains(&mib), "{mib} MiB");
    (mib * 1024.0).round() as u64
}

/// A number with a unit, in KiB.
fn amount(number: &str, unit: &str) -> Option<u64> {
    let mib: f64 = number.parse().ok()?;
    match unit {
        "B" | "Byte" => Some(kib(mib / 1024.0 / 1024.0)),
        "K" | "KiB" => Some(kib(mib / 1024.0)),
        "M" | "MiB" => Some(kib(mib)),
        "G" | "GiB" => Some(kib(mib * 1024.0)),
        // No machine has more, but an unsigned difference below zero has.
        _ => panic!("{number} {unit}"),
    }
}

/// What `key value` lines say, and what follows after a line of dashes.
fn values(text: &str) -> (HashMap<&str, f64>, &str) {
    let (values, file) = text.split_once("---\n").unwrap();
    let pairs = values.lines().map(|line| line.split_once(' ').unwrap());
    (pairs.map(|(name, value)| (name, parsed(value, text))).collect(), file)
}

/// A number of bytes, in KiB, that has to be one of the file's.
fn from_bytes(bytes: f64) -> u64 {
    kib(bytes / 1024.0 / 1024.0)
}
