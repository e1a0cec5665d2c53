//! Programs that tests run inside containers: this very test program, started with a helper's name.

use std::io::{Read, Seek, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

const MARK: &str = "--as-helper";

/// The words that start a helper.
pub fn command(name: &str, arguments: &[&str]) -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_string();
    let words = [program.as_str(), MARK, name].into_iter().chain(arguments.iter().copied());
    words.map(str::to_string).collect()
}

/// Runs a helper if this process was started as one.
pub fn ran() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(MARK) = arguments.get(1).map(String::as_str) else { return false };
    let rest: Vec<&str> = arguments[3..].iter().map(String::as_str).collect();
    match arguments[2].as_str() {
        "hog" => hog(rest[0].parse().unwrap()),
        "expect" => expect(rest[0], rest[1], rest[2].parse().unwrap()),
        "reread" => reread(rest[0]),
        name => panic!("no helper {name}"),
    }
    true
}

/// Touches that many MiB of anonymous memory, says so, and holds it until stdin ends.
fn hog(mib: usize) {
    let mut memory = vec![0u8; mib << 20];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
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

/// Prints a file's first line for each line of stdin, through one open file.
fn reread(path: &str) {
    let mut file = std::fs::File::open(path).unwrap();
    ready();
    for _ in std::io::stdin().lines() {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        println!("{}", text.lines().next().unwrap());
    }
}

fn ready() {
    println!("ready");
    std::io::stdout().flush().unwrap();
}

/// A helper that runs, until it goes out of scope.
pub struct Running {
    pub process: Child,
    pub stdout: ChildStdout,
}

/// Starts a helper and waits until it is ready.
pub fn start(command: &mut Command) -> Running {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = process.stdout.take().unwrap();
    let mut line = [0; 6];
    stdout.read_exact(&mut line).unwrap_or_else(|e| panic!("{command:?} is not ready: {e}"));
    assert_eq!(&line, b"ready\n");
    Running { process, stdout }
}

impl Running {
    /// Asks `reread` for another line.
    pub fn ask(&mut self) -> String {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
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
