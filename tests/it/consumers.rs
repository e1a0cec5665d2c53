//! What the programs that people look at make of the view: each one runs, the real one, in a container whose
//! /proc/meminfo is the daemon's.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::disk::Disk;
use crate::common::helper::Actor;
use crate::common::{Need, PYTHON, field, finish, host_total, test, wait_for, wait_until};
use libtest_mimic::Trial;
use std::collections::HashMap;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const PROCPS: &[Need] =
    &[Need::Root, Need::Fuse, Need::Program("free"), Need::Program("top"), Need::Program("vmstat")];
const DISKS: &[Need] = &[Need::Root, Need::Fuse, Need::Disks, Need::PythonModule("psutil")];
const HTOP: &[Need] = &[Need::Root, Need::Fuse, Need::Program("htop"), Need::Program("script")];
const BTOP: &[Need] = &[Need::Root, Need::Fuse, Need::Program("btop"), Need::Program("script")];

pub fn tests() -> Vec<Trial> {
    tests! {
        test(PROCPS) => [
            free,
            top,
            vmstat,
            ps_percent_of_memory,
        ],
        test(HTOP) => [
            htop,
        ],
        test(BTOP) => [
            btop,
        ],
        test(&[Need::Root, Need::Fuse, Need::PythonModule("psutil")]) => [
            psutil,
        ],
        test(DISKS) => [
            psutil_disks,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("glances")]) => [
            glances,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("node")]) => [
            node,
        ],
    }
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

/// A container that holds so much memory, and has the daemon's view for its /proc/meminfo.
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
        actor.tell(&format!("read {file}"));
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

/// Numbers that are not negative, for they would not parse, nor above the limit.
#[track_caller]
fn numbers(line: &str) -> Vec<u64> {
    let numbers: Vec<u64> = line.split_whitespace().map(|word| parsed(word, line)).collect();
    assert!(numbers.iter().all(|number| *number <= LIMIT), "{line}");
    numbers
}

#[track_caller]
fn parsed<T: FromStr<Err: Debug>>(word: &str, text: &str) -> T {
    word.parse().unwrap_or_else(|e| panic!("{word:?}: {e:?}: {text}"))
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.strip_prefix(start));
    found.unwrap_or_else(|| panic!("no line {start:?} in:\n{text}"))
}

fn free() {
    let container = Container::start();
    for (option, unit) in [("-k", 1), ("-b", 1 << 10)] {
        let (file, text) = container.file_and_output(&["free", option]);
        let amounts = |start| {
            let words = line(&text, start).split_whitespace();
            words.map(|word| parsed::<u64>(word, &text) / unit).collect::<Vec<_>>()
        };
        let [total, used, free, shared, cached, available] = amounts("Mem:")[..] else { panic!("{text}") };
        assert_eq!(total, LIMIT, "{text}");
        assert_eq!(used, total - available, "{text}");
        assert!(free <= available && available <= total - ANON - SHMEM, "{text}");
        close("free", free, field(&file, "MemFree"));
        close("shared", shared, field(&file, "Shmem"));
        close("buff/cache", cached, field(&file, "Buffers") + cache(&file));
        close("available", available, field(&file, "MemAvailable"));
        let swap = amounts("Swap:");
        assert_eq!(swap[0], field(&file, "SwapTotal"), "{text}");
        assert_eq!(swap[0], swap[1] + swap[2], "{text}");
    }
    let (file, text) = container.file_and_output(&["free", "-k", "--wide"]);
    let wide = numbers(line(&text, "Mem:"));
    assert_eq!(wide[4], field(&file, "Buffers"), "{text}");
    close("cache", wide[5], cache(&file));
}

/// The numbers of a line of top, in KiB, by the word that follows each.
fn summary(line: &str) -> HashMap<&str, u64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let pairs = words.windows(2).filter_map(|pair| {
        let (mib, name) = (pair[0].parse::<f64>().ok()?, pair[1].trim_end_matches([',', '.']));
        assert!((0.0..=256.0).contains(&mib), "{line}");
        Some((name, kib(mib)))
    });
    pairs.collect()
}

/// Whole KiB of an amount that was printed with few digits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn kib(mib: f64) -> u64 {
    assert!((0.0..=1e9).contains(&mib), "{mib} MiB");
    (mib * 1024.0).round() as u64
}

fn top() {
    let container = Container::start();
    let pid = container.actor.pid().to_string();
    let (file, text) = container.file_and_output(&["top", "-b", "-n", "1", "-w", "120", "-p", &pid]);
    let (memory, swap) = (summary(line(&text, "MiB Mem :")), summary(line(&text, "MiB Swap:")));
    assert_eq!(memory["total"], LIMIT, "{text}");
    close("free", memory["free"], field(&file, "MemFree"));
    close("used", memory["used"], LIMIT - field(&file, "MemAvailable"));
    close("buff/cache", memory["buff/cache"], field(&file, "Buffers") + cache(&file));
    close("avail", swap["avail"], field(&file, "MemAvailable"));
    assert!((memory["used"] + swap["avail"]).abs_diff(LIMIT) <= MIB / 4, "one moment: {text}");
    // The graph draws this as a part of its own.
    let other = (swap["used"] + swap["avail"]).checked_sub(memory["free"]);
    assert!(other.is_some(), "available and less than free: {text}");
    close("total swap", swap["total"], field(&file, "SwapTotal"));
    let row: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row[0], pid, "{text}");
    check_percent(&container, row[9]);
}

fn vmstat() {
    let container = Container::start();
    let (file, text) = container.file_and_output(&["vmstat"]);
    let [_, names, values] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let shown: HashMap<_, u64> =
        names.split_whitespace().zip(values.split_whitespace().map(|word| parsed(word, &text))).collect();
    assert_eq!(shown["swpd"], field(&file, "SwapTotal") - field(&file, "SwapFree"), "{text}");
    assert_eq!(shown["buff"], field(&file, "Buffers"), "{text}");
    close("free", shown["free"], field(&file, "MemFree"));
    close("cache", shown["cache"], cache(&file));
    let (file, text) = container.file_and_output(&["vmstat", "--stats"]);
    let amount = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_suffix(&format!(" K {name}")));
        numbers(line.unwrap_or_else(|| panic!("no {name}: {text}")))[0]
    };
    assert_eq!(amount("total memory"), LIMIT);
    close("used memory", amount("used memory"), LIMIT - field(&file, "MemAvailable"));
    close("active memory", amount("active memory"), field(&file, "Active"));
    close("inactive memory", amount("inactive memory"), field(&file, "Inactive"));
    assert_eq!(amount("total swap"), field(&file, "SwapTotal"));
}

/// The actor's share of the limit, not of the host's memory.
#[track_caller]
fn check_percent(container: &Container, shown: &str) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", container.actor.pid())).unwrap();
    let per_mille = field(&status, "VmRSS") * 1000 / LIMIT;
    let shown: u64 = parsed(&shown.replace('.', ""), shown);
    assert!((ANON * 1000 / LIMIT..300).contains(&shown), "{shown} ‰");
    assert!(shown.abs_diff(per_mille) <= 10, "shown {shown} ‰, expected {per_mille} ‰");
}

fn ps_percent_of_memory() {
    let container = Container::start();
    let pid = container.actor.pid().to_string();
    check_percent(&container, container.output(&["ps", "-o", "pmem=", "-p", &pid]).trim());
}

/// A program that runs in a terminal, until it goes out of scope.
struct Terminal {
    process: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(container: &Container, program: &str) -> Self {
        let command = format!("stty rows 50 cols 140 && exec {program}");
        let mut command = container.command(&["script", "-q", "-e", "-c", &command, "/dev/null"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut stdout, collected) = (process.stdout.take().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 1 << 14];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                collected.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self { process, shown }
    }

    /// All that it has drawn so far.
    fn text(&self) -> String {
        without_escapes(&String::from_utf8_lossy(&self.shown.lock().unwrap()))
    }

    /// Waits until it has drawn something.
    fn wait<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let mut found = None;
        wait_until(what, || {
            found = find(&self.text());
            found.is_some()
        });
        found.unwrap()
    }

    /// Ends it by its key for that.
    fn quit(mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"q").unwrap();
        let status = wait_for(&mut self.process);
        assert!(status.success(), "{status}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the terminal showed:\n{}", self.text());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Puts a space for each escape sequence.
fn without_escapes(text: &str) -> String {
    let mut rest = text.chars();
    let mut plain = String::new();
    while let Some(character) = rest.next() {
        if character != '\x1b' {
            plain.push(character);
            continue;
        }
        plain.push(' ');
        match rest.next() {
            Some('[') => drop(rest.find(|end| ('@'..='~').contains(end))),
            Some('(') => drop(rest.next()),
            _ => {}
        }
    }
    plain
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

/// What a meter of htop says, as in `Mem[|||||   57.2M/256M]`.
fn meter(text: &str, name: &str) -> Option<(String, String)> {
    let (_, after) = text.split_once(name)?;
    let (meter, _) = after.split_once(']')?;
    let (used, total) = meter.trim_end().rsplit_once('/')?;
    let used = used.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '.').next()?;
    Some((used.to_string(), total.to_string()))
}

fn htop() {
    let container = Container::start();
    let terminal = Terminal::start(&container, "htop --no-color");
    let (used, total) = terminal.wait("htop draws the memory", |text| meter(text, "Mem"));
    assert_eq!(total, "256M");
    let (number, unit) = used.split_at(used.len() - 1);
    // It counts neither cache nor tmpfs as used.
    let used = amount(number, unit).unwrap();
    assert!((ANON..ANON + 16 * MIB).contains(&used), "{used} kB");
    let (used, total) = terminal.wait("htop draws the swap", |text| meter(text, "Swp"));
    for shown in [&used, &total] {
        let (number, unit) = shown.split_at(shown.len() - 1);
        assert!(amount(number, unit).unwrap() <= host_total(), "{shown}");
    }
    terminal.quit();
}

/// The amounts in btop's box of memory.
fn memory_box(text: &str) -> Option<[u64; 4]> {
    // Other boxes have totals too: this one's is the last before what only it has.
    let (before, _) = text.split_once("Available:")?;
    let text = &text[before.rfind("Total:")?..];
    let amounts = ["Total:", "Used:", "Available:", "Cached:"].map(|name| {
        let mut words = text.split_once(name)?.1.split_whitespace();
        let (number, unit) = (words.next()?, words.next()?);
        // Nothing comes next as long as the unit may not be all there.
        words.next()?;
        amount(number, unit)
    });
    let [Some(total), Some(used), Some(available), Some(cached)] = amounts else { return None };
    Some([total, used, available, cached])
}

fn btop() {
    let container = Container::start();
    let terminal = Terminal::start(&container, "btop --utf-force");
    let [total, used, available, cached] = terminal.wait("btop draws the memory", memory_box);
    assert_eq!(total, LIMIT);
    assert!((ANON + SHMEM..ANON + SHMEM + 24 * MIB).contains(&used), "used {used} kB");
    assert!((used + available).abs_diff(LIMIT) <= MIB, "used {used} kB, available {available} kB");
    assert!((SHMEM + FILE - MIB..SHMEM + FILE + 32 * MIB).contains(&cached), "cached {cached} kB");
    terminal.quit();
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

fn psutil() {
    const SCRIPT: &str = "
import psutil, sys
psutil.PROCFS_PATH = sys.argv[1]
memory = psutil.virtual_memory()
with open('/proc/meminfo') as meminfo:
    file = meminfo.read()
psutil.PROCFS_PATH = '/proc'
assert psutil.virtual_memory().total == memory.total
swap = psutil.swap_memory()
for name in memory._fields:
    print(name, getattr(memory, name))
for name in swap._fields:
    print('swap.' + name, getattr(swap, name))
print('---')
print(file)
";
    let container = Container::start();
    let proc = container.daemon.path("proc").to_str().unwrap().to_string();
    let text = container.output(&[PYTHON, "-W", "error", "-c", SCRIPT, &proc]);
    let (shown, file) = values(&text);
    let file = check_file(file);
    assert!(shown.values().all(|value| *value >= 0.0), "{text}");
    let shown_kib = |name: &str| from_bytes(shown[name]);
    assert_eq!(shown_kib("total"), LIMIT);
    for (name, expected) in [
        ("available", field(&file, "MemAvailable")),
        ("free", field(&file, "MemFree")),
        ("cached", cache(&file)),
        ("buffers", field(&file, "Buffers")),
        ("shared", field(&file, "Shmem")),
        ("slab", field(&file, "Slab")),
        ("active", field(&file, "Active")),
        ("inactive", field(&file, "Inactive")),
        ("swap.total", field(&file, "SwapTotal")),
        ("swap.free", field(&file, "SwapFree")),
    ] {
        close(name, shown_kib(name), expected);
    }
    for name in ["available", "free", "used", "cached", "buffers", "shared", "slab", "active", "inactive"] {
        assert!(shown_kib(name) <= LIMIT, "{name}: {text}");
    }
    assert_eq!(
        shown_kib("used") + shown_kib("free") + shown_kib("cached") + shown_kib("buffers"),
        LIMIT,
        "{text}"
    );
    let percent = (shown["total"] - shown["available"]) / shown["total"] * 100.0;
    assert!((shown["percent"] - percent).abs() < 0.06, "{text}");
    assert_eq!(shown["swap.used"], shown["swap.total"] - shown["swap.free"], "{text}");
}

fn glances() {
    let container = Container::start();
    let fields = "mem.total,mem.available,mem.used,mem.free,mem.cached,mem.percent";
    let text = container.output(&["glances", "--stdout", fields, "--stop-after", "1"]);
    let shown = |name: &str| parsed::<f64>(line(&text, &format!("mem.{name}: ")), &text);
    let shown_kib = |name: &str| from_bytes(shown(name));
    assert_eq!(shown_kib("total"), LIMIT, "{text}");
    // It is large itself, and counts as free all that is available.
    let available = shown_kib("available");
    assert!((64 * MIB..LIMIT - ANON - SHMEM).contains(&available), "{text}");
    assert_eq!(shown_kib("free"), available, "{text}");
    assert_eq!(shown_kib("used") + available, LIMIT, "{text}");
    assert!((SHMEM + FILE..LIMIT - ANON).contains(&shown_kib("cached")), "{text}");
    let percent = 100.0 - shown("available") / shown("total") * 100.0;
    assert!((shown("percent") - percent).abs() < 0.06, "{text}");
}

fn node() {
    const SCRIPT: &str = "
const os = require('os');
const file = require('fs').readFileSync('/proc/meminfo', 'utf8');
const free = os.freemem();
console.log('totalmem', os.totalmem());
console.log('freemem', free);
console.log('---');
console.log(file);
";
    let container = Container::start();
    let text = container.output(&["node", "-e", SCRIPT]);
    let (shown, file) = values(&text);
    let file = check_file(file);
    assert_eq!(from_bytes(shown["totalmem"]), LIMIT);
    close("freemem", from_bytes(shown["freemem"]), field(&file, "MemAvailable"));
}

/// A container that has not written to a disk is no system without disks.
fn psutil_disks() {
    let script = "import psutil, sys; psutil.PROCFS_PATH = sys.argv[1]; disks = psutil.disk_io_counters(True); \
        print(len(disks), sum(disk.write_bytes for disk in disks.values()))";
    let (daemon, container) = (Daemon::start(), Cgroup::new());
    let disks = |path: &str| {
        let said = crate::common::output(&mut container.command(&[PYTHON, "-c", script, path]));
        let mut words = said.split_whitespace().map(|word| word.parse::<u64>().unwrap());
        (words.next().unwrap(), words.next().unwrap())
    };
    let (ours, native) = (disks(daemon.path("proc").to_str().unwrap()), disks("/proc"));
    assert!(native.0 > 0, "psutil sees no disks of the host");
    assert_eq!(ours, (native.0, 0));
}
