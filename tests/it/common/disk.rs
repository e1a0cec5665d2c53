//! Files whose pages are page cache, not shared memory, and at first nobody's.

use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A directory on a disk. In a guest everything but `/disk` is in memory.
pub struct Disk(TempDir);

impl Disk {
    pub fn new() -> Self {
        let disk = Path::new("/disk");
        let parent =
            if disk.is_dir() { disk.to_path_buf() } else { PathBuf::from(env!("CARGO_TARGET_TMPDIR")) };
        Self(TempDir::new_in(parent).unwrap())
    }

    /// A file of that many MiB, not in memory: whoever reads it first is charged for it.
    pub fn file(&self, name: &str, mib: usize) -> String {
        let path = self.0.path().join(name);
        let mut file = File::create(&path).unwrap();
        (0..mib).for_each(|_| file.write_all(&vec![7; 1 << 20]).unwrap());
        drop_cache(&file, &path);
        path.to_str().unwrap().to_string()
    }

    /// A copy of a program, not in memory.
    pub fn copy(&self, program: &Path) -> String {
        let path = self.0.path().join("program");
        super::copy_program(program, &path);
        drop_cache(&File::open(&path).unwrap(), &path);
        path.to_str().unwrap().to_string()
    }
}

fn drop_cache(file: &File, path: &Path) {
    file.sync_all().unwrap();
    // A page that the kernel is looking at just then stays, and there are many of these on a busy machine.
    for attempt in 1..=250 {
        fadvise(file, 0, None, Advice::DontNeed).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        match resident(path) {
            Some(0) => return,
            None if attempt >= 5 => return,
            _ => {}
        }
    }
    panic!("{} stays in memory", path.display());
}

/// How many bytes of a file are in memory, where there is a program that tells.
pub fn resident(path: &Path) -> Option<u64> {
    let told =
        Command::new("fincore").args(["--bytes", "--noheadings", "--output", "RES"]).arg(path).output();
    std::str::from_utf8(&told.ok()?.stdout).ok()?.trim().parse().ok()
}
