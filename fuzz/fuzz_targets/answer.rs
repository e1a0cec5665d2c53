//! The whole way, from a system's files to the text that a reader gets: a system of `tests/fixtures` in which
//! some files are damaged or missing is answered with an error, or with a text that makes sense.
#![no_main]

use arbitrary::Arbitrary;
use cgprocfs::kernel::Source;
use cgprocfs::service::Service;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::units::MAX;
use cgprocfs_core::view::ViewId;
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

#[derive(Arbitrary, Debug)]
struct Damage {
    system: u8,
    files: Vec<(u8, Edit)>,
}

#[derive(Arbitrary, Debug)]
enum Edit {
    Remove,
    Truncate(u16),
    Replace(Vec<u8>),
    Number(u16, u64),
    Splice { at: u16, cut: u8, with: Vec<u8> },
}

/// A copy of one fixture, and what its files say when they are whole.
struct System {
    dir: TempDir,
    reader: Pid,
    files: Vec<(PathBuf, Vec<u8>)>,
}

static SYSTEMS: LazyLock<Vec<System>> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut cases: Vec<_> = fs::read_dir(fixtures).unwrap().map(|case| case.unwrap().path()).collect();
    cases.sort();
    cases.iter().map(|case| System::copy(case)).collect()
});

impl System {
    fn copy(case: &Path) -> Self {
        // In memory: every run writes some of it.
        let dir = TempDir::new_in("/dev/shm").unwrap();
        let copied = Command::new("cp").arg("-a").arg(case.join("root/.")).arg(dir.path()).status().unwrap();
        assert!(copied.success());
        let reader = fs::read_to_string(case.join("reader")).unwrap().trim().parse().unwrap();
        let mut files = Vec::new();
        collect(dir.path(), &mut files);
        files.sort();
        Self { dir, reader, files }
    }
}

fn collect(dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => collect(&entry.path(), files),
            kind if kind.is_file() => files.push((entry.path(), fs::read(entry.path()).unwrap())),
            _ => {}
        }
    }
}

impl Edit {
    fn apply(self, path: &Path, text: &[u8]) {
        let mut text = text.to_vec();
        match self {
            Edit::Remove => {
                let _ = fs::remove_file(path);
                return;
            }
            Edit::Truncate(length) => text.truncate(length.into()),
            Edit::Replace(with) => text = with,
            Edit::Number(index, number) => {
                let is_number = |word: &&[u8]| word.first().is_some_and(u8::is_ascii_digit);
                let words = text.split(|b| b" \n\t".contains(b)).filter(is_number);
                if let Some(word) = words.clone().cycle().nth(usize::from(index) % words.count().max(1)) {
                    let at = word.as_ptr().addr() - text.as_ptr().addr();
                    let end = at + word.len();
                    text.splice(at..end, number.to_string().into_bytes());
                }
            }
            Edit::Splice { at, cut, with } => {
                let at = usize::from(at).min(text.len());
                let end = (at + usize::from(cut)).min(text.len());
                text.splice(at..end, with);
            }
        }
        fs::write(path, text).unwrap();
    }
}

fuzz_target!(|damage: Damage| {
    let system = &SYSTEMS[usize::from(damage.system) % SYSTEMS.len()];
    let mut touched = Vec::new();
    for (file, edit) in damage.files {
        let (path, text) = &system.files[usize::from(file) % system.files.len()];
        edit.apply(path, text);
        touched.push((path, text));
    }
    if let Ok(source) = Source::open(system.dir.path(), None) {
        let service = Arc::new(Service::new(source, 100));
        for view in ViewId::ALL {
            if let Ok(text) = service.text(system.reader, view) {
                // A process of the host gets the host's own file, whatever that says.
                let native = fs::read(system.dir.path().join(view.path())).ok();
                if native.as_ref() == Some(&text.bytes) {
                    continue;
                }
                check(view.path(), &text.bytes);
            }
        }
    }
    for (path, text) in touched {
        fs::write(path, text).unwrap();
    }
});

fn check(path: &str, text: &[u8]) {
    // Some of the others hand on what the kernel says of the hardware or of pressure.
    let is_ours = ["proc/meminfo", "working_set", "proc/stat", "proc/uptime", "proc/loadavg"].contains(&path);
    if !is_ours && !path.starts_with("sys/") {
        return;
    }
    let text = match path {
        "proc/stat" => String::from_utf8_lossy(text),
        _ => std::str::from_utf8(text).expect("plain text").into(),
    };
    assert!(text.ends_with('\n'));
    match path {
        "proc/meminfo" => check_meminfo(&text),
        "proc/stat" => {
            let processors = text.lines().take_while(|line| line.starts_with("cpu"));
            assert!(processors.clone().count() > 1);
            processors.for_each(|line| {
                assert!(line.split_whitespace().skip(1).all(|word| word.parse::<u64>().is_ok()))
            });
        }
        "proc/uptime" | "proc/loadavg" => {
            let numbers: Vec<f64> =
                text.split(' ').take(2).map(|word| word.trim().parse().unwrap()).collect();
            assert!(numbers.iter().all(|number| *number >= 0.0));
        }
        _ => assert!(text.len() < 80),
    }
}

fn check_meminfo(text: &str) {
    assert!(text.len() < 4096 && text.lines().all(|line| line.len() < 80));
    let mut numbers = HashMap::new();
    for line in text.lines() {
        let (key, value) = line.split_once(':').expect("a colon");
        numbers.insert(key, value.trim().trim_end_matches(" kB").parse::<u64>().expect("a number"));
    }
    assert!(numbers.values().all(|&number| number <= MAX));
    assert!(text.starts_with("MemTotal:"));
    // The lines are the kernel's own; one that it lacks counts as nothing.
    let of = |key| numbers.get(key).copied().unwrap_or(0);
    assert!(of("MemTotal") > 0);
    assert!(of("MemAvailable") <= of("MemTotal") && of("MemFree") <= of("MemTotal"));
    assert!(of("SwapFree") <= of("SwapTotal"));
}
