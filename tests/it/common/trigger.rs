//! A helper that watches for pressure, as a program on a host does.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;

/// Opens a file so often and writes a trigger to each, says how many were taken and what the others were
/// told, and for each line of stdin polls them for three seconds at most and says how many had an event, and
/// how many an error.
pub fn watch(path: &str, count: usize, trigger: &str) {
    let (mut files, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        match file.write_all(format!("{trigger}\0").as_bytes()) {
            Ok(()) => files.push(file),
            Err(error) => refused.push(error.raw_os_error().unwrap()),
        }
    }
    refused.dedup();
    super::helper::ready();
    let mut lines = std::io::stdin().lines();
    lines.next();
    println!("{} {refused:?}", files.len());
    for _ in lines {
        let (events, errors) = polled(&files);
        println!("{events} {errors}");
    }
}

fn polled(files: &[File]) -> (usize, usize) {
    let mut all: Vec<_> = files.iter().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI)).collect();
    poll(&mut all, PollTimeout::from(3000_u16)).unwrap();
    let with = |flag| all.iter().filter(|polled| polled.revents().unwrap().contains(flag)).count();
    (with(PollFlags::POLLPRI), with(PollFlags::POLLERR))
}
