//! Programs that draw a screen.

use super::{ANON, Container, FILE, LIMIT, MIB, SHMEM, amount, from_bytes, line, parsed};
use crate::common::{Need, host_total, test, wait_for, wait_until};
use libtest_mimic::Trial;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(HTOP) => [
            htop,
        ],
        test(BTOP) => [
            btop,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("glances")]) => [
            glances,
        ],
    }
}

const HTOP: &[Need] = &[Need::Root, Need::Fuse, Need::Program("htop"), Need::Program("script")];

const BTOP: &[Need] = &[Need::Root, Need::Fuse, Need::Program("btop"), Need::Program("script")];

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

/// What a meter of htop says, as in `Mem[|||||   57.2M/256M]`.
fn meter(text: &str, name: &str) -> Option<(String, String)> {
    let (_, after) = text.split_once(name)?;
    let (meter, _) = after.split_once(']')?;
    let (used, total) = meter.trim_end().rsplit_once('/')?;
    let used = used.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '.').next()?;
    Some((used.to_string(), total.to_string()))
}

/// htop's meter is full to the container's usage and ends with its limit.
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

/// btop's box of memory has the file's numbers.
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

/// glances shows what psutil does.
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
