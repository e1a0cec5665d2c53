//! Programs in containers that read files when they are told to.

use super::containers::directory;
use crate::common::helper::ready;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Reads files for each line of stdin, each to its end, and says so.
pub fn read_when_told(paths: &[&str]) {
    ready();
    for line in std::io::stdin().lines() {
        line.unwrap();
        paths.iter().for_each(|path| read(path));
        println!("done");
    }
}

/// Enters one container after the other, by the directories that the pods are in, and reads files in each.
/// Then waits for the end of stdin.
pub fn visit(tops: &str, count: usize, paths: &[&str]) {
    for container in 0..count {
        for top in tops.split(',') {
            fs::write(directory(Path::new(top), container).join("cgroup.procs"), "0").unwrap();
        }
        paths.iter().for_each(|path| read(path));
    }
    ready();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// One read of the text, and one of its end.
fn read(path: &str) {
    let (mut file, mut buffer) = (File::open(path).unwrap(), [0; 65536]);
    let mut length = 0;
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            more => length += more,
        }
    }
    assert!(length > 0, "{path}");
}
