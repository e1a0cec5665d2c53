//! Programs that tests run inside containers: this very test program, started with a helper's name.

use super::{cgroup::Cgroup, storm, trigger, victim};
use crate::fleet::reader;
use crate::isolation::tenant;
use crate::lifecycle::keeping;
use crate::processors;
use memmap2::{MmapMut, MmapOptions};
use nix::sys::mman::{MlockAllFlags, mlockall};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

const MARK: &str = "--as-helper";

/// The words that start a helper.
pub fn command(name: &str, arguments: &[&str]) -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_string();
    let words = [program.as_str(), MARK, name].into_iter().chain(arguments.iter().copied());
    words.map(str::to_string).collect()
}

/// The name and the arguments of the helper that this process was started as, if it was.
fn asked_for() -> Option<(String, Vec<String>)> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == MARK).then(|| (arguments.next().unwrap(), arguments.collect()))
}

/// Runs a helper if this process was started as one, and says how it ended.
pub fn run() -> Option<ExitCode> {
    let (name, arguments) = asked_for()?;
    let rest: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match name.as_str() {
        "hog" => hog(rest[0].parse().unwrap()),
        "expect" => expect(rest[0], rest[1], rest[2].parse().unwrap()),
        "actor" => actor(),
        "reopen" => reopen(rest[0]),
        "reread" => reread(rest[0]),
        "readers" => storm::readers(rest[0], rest[1].parse().unwrap()),
        "descriptors" => storm::descriptors(rest[0], rest[1].parse().unwrap()),
        "cgroups" => storm::cgroups(rest[0].as_ref(), rest[1]),
        "enduring" => storm::enduring(rest[0], rest[1]),
        "watch" => trigger::watch(rest[0], rest[1].parse().unwrap(), rest[2]),
        "victim" => victim::victim(rest[0], &rest[1..]),
        "read-when-told" => reader::read_when_told(&rest),
        "visit" => reader::visit(rest[0], rest[1].parse().unwrap(), &rest[2..]),
        "read-load" => processors::read_load(rest[0]),
        "cannot-be-kept" => keeping::cannot_be_kept(rest[0]),
        name => assert!(tenant::ran(name, &rest), "no helper {name}"),
    }
    Some(ExitCode::SUCCESS)
}

/// Touches that many MiB of anonymous memory, says so, and holds it until stdin ends.
fn hog(mib: usize) {
    let memory = touched(mib << 20);
    ready();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    // To the very end: whoever samples this program should not see it give the memory back.
    std::mem::forget(memory);
}

/// Opens and reads a file that often; each time it has to begin with a line.
fn expect(path: &str, line: &str, times: usize) {
    for time in 0..times {
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().next(), Some(line), "read {time} of {path}");
    }
}

/// Does what stdin says, line by line, and says `ready` after each.
fn actor() {
    let mut memory: Vec<Vec<u8>> = Vec::new();
    let mut huge = Vec::new();
    ready();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["anon", mib] => memory.push(touched(mib.parse::<usize>().unwrap() << 20)),
            ["huge", mapped, used] => huge.push(huge_pages(mapped.parse().unwrap(), used.parse().unwrap())),
            ["free"] => memory.clear(),
            ["read", path] => read(path),
            ["write", path, mib] => write(path, mib.parse().unwrap()),
            ["show", path] => print!("{}", std::fs::read_to_string(path).unwrap()),
            ["lock"] => mlockall(MlockAllFlags::MCL_CURRENT).unwrap(),
            ["grow", path] => grow(path, &["MemAvailable"]),
            ["grow-with-swap", path] => grow(path, &["MemAvailable", "SwapFree"]),
            _ => panic!("no command {line}"),
        }
        ready();
    }
}

fn read(path: &str) {
    std::io::copy(&mut File::open(path).unwrap(), &mut std::io::sink()).unwrap();
}

fn touched(bytes: usize) -> Vec<u8> {
    let mut memory = vec![0u8; bytes];
    memory.chunks_mut(4096).for_each(|page| page[0] = 1);
    memory
}

/// Maps a number of huge pages, which the kernel reserves for that, and uses some of them.
fn huge_pages(mapped: usize, used: usize) -> MmapMut {
    const SIZE: usize = 2 << 20;
    let mut memory = MmapOptions::new().len(mapped * SIZE).huge(Some(21)).map_anon().unwrap();
    memory.chunks_mut(SIZE).take(used).for_each(|page| page[0] = 1);
    memory
}

/// Zeroes that many MiB into a file.
fn write(path: &str, mib: usize) {
    let mut file = File::create(path).unwrap();
    (0..mib * 16).for_each(|_| file.write_all(&[0; 1 << 16]).unwrap());
}

/// Prints the sum of these lines, then allocates until it is killed, in steps each of which is printed; but
/// no more than 4 MiB beyond.
fn grow(meminfo: &str, lines: &[&str]) {
    const STEP: usize = 64;
    // The kernel is to kill this process, not another of its cgroup.
    std::fs::write("/proc/self/oom_score_adj", "1000").unwrap();
    let text = std::fs::read_to_string(meminfo).unwrap();
    let available: u64 = lines.iter().map(|line| super::field(&text, line)).sum();
    let available: usize = available.try_into().unwrap();
    println!("{available}");
    let mut memory = vec![0u8; (available + 4096) << 10];
    for (step, piece) in memory.chunks_mut(STEP << 10).enumerate() {
        piece.chunks_mut(4096).for_each(|page| page[0] = 1);
        println!("{}", (step + 1) * STEP);
    }
}

/// Prints a file's first line for each line of stdin, through one open file.
fn reread(path: &str) {
    let mut file = File::open(path).unwrap();
    ready();
    for _ in std::io::stdin().lines() {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        println!("{}", text.lines().next().unwrap());
    }
}

/// Prints a file's first line, or why there is none, for each line of stdin, and opens it anew for that.
fn reopen(path: &str) {
    ready();
    for _ in std::io::stdin().lines() {
        match std::fs::read_to_string(path) {
            Ok(text) => println!("{}", text.lines().next().unwrap_or_default()),
            Err(error) => println!("error: {error}"),
        }
    }
}

pub fn ready() {
    println!("ready");
    std::io::stdout().flush().unwrap();
}

/// A helper that runs, until it goes out of scope.
pub struct Running {
    pub process: Child,
    pub stdout: ChildStdout,
}

/// Starts a helper and waits until it is ready.
fn start_owned(command: &mut Command) -> (Child, ChildStdout) {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = process.stdout.take().unwrap();
    let mut line = [0; 6];
    stdout.read_exact(&mut line).unwrap_or_else(|e| panic!("{command:?} is not ready: {e}"));
    assert_eq!(&line, b"ready\n");
    (process, stdout)
}

/// Starts a helper and waits until it is ready.
pub fn start(command: &mut Command) -> Running {
    let (process, stdout) = start_owned(command);
    Running { process, stdout }
}

impl Running {
    /// Asks `reread` for another line.
    pub fn ask(&mut self) -> String {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line()
    }

    /// Waits for a line that it says.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process that does what it is told, until it goes out of scope.
pub struct Actor {
    process: Child,
    stdout: BufReader<ChildStdout>,
}

impl Actor {
    /// One in `cgroup`.
    pub fn start(cgroup: &Cgroup) -> Self {
        let words = command("actor", &[]);
        Self::spawn(&mut cgroup.command(&words.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// One that `command` starts.
    pub fn spawn(command: &mut Command) -> Self {
        let (process, stdout) = start_owned(command);
        Self { process, stdout: BufReader::new(stdout) }
    }

    /// Has it do something, and returns what it printed about that.
    pub fn tell(&mut self, order: &str) -> String {
        writeln!(self.process.stdin.as_mut().unwrap(), "{order}").unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let length = self.stdout.read_line(&mut line).unwrap();
            assert!(length > 0, "the actor died of {order}; it said {said}");
            if line == "ready\n" {
                return said;
            }
            said += &line;
        }
    }

    /// Has it allocate until it is killed. Returns the MemAvailable that it read before, and how much it
    /// could touch, in KiB.
    pub fn grow(self, meminfo: &str) -> (u64, u64) {
        self.grow_by("grow", meminfo)
    }

    /// Likewise with SwapFree.
    pub fn grow_with_swap(self, meminfo: &str) -> (u64, u64) {
        self.grow_by("grow-with-swap", meminfo)
    }

    fn grow_by(mut self, order: &str, meminfo: &str) -> (u64, u64) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{order} {meminfo}").unwrap();
        let mut numbers = self.stdout.by_ref().lines().map(Result::unwrap).take_while(|line| line != "ready");
        let predicted = numbers.next().expect("it reads before it is killed").parse().unwrap();
        (predicted, numbers.last().map_or(0, |line| line.parse().unwrap()))
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
