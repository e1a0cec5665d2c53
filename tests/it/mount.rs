//! The mounted file system, used as programs use `/proc`.

mod cost;
mod files;
mod limits;
mod reading;
mod unmounting;

use crate::common::daemon::Daemon;
use libtest_mimic::Trial;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub fn tests() -> Vec<Trial> {
    [reading::tests(), files::tests(), cost::tests(), limits::tests(), unmounting::tests()]
        .into_iter()
        .flatten()
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn connection_of(daemon: &Daemon) -> u64 {
    let metadata = fs::metadata(daemon.live()).unwrap();
    rustix::fs::minor(metadata.dev()).into()
}
