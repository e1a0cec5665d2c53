//! What a person is told: one line that says what is wrong and what to do, and a telling exit code.

mod lacking;
mod mount;
mod show;
mod usage;

use crate::common::{finish, output};
use libtest_mimic::Trial;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub fn tests() -> Vec<Trial> {
    [usage::tests(), show::tests(), lacking::tests(), mount::tests()].into_iter().flatten().collect()
}

/// Runs it and expects one line on stderr that begins with the program's name.
fn fails(command: &mut Command, code: i32, message: &str) {
    let output = finish(command);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{command:?}: {stderr}");
    assert!(stderr.starts_with("cgprocfs: ") && stderr.contains(message), "{command:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{command:?}");
}

/// The program where others may execute it, as nobody.
fn as_nobody() -> (tempfile::TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("cgprocfs");
    crate::common::copy_program(crate::common::cgprocfs_path(), &copy);
    output(Command::new("chmod").arg("755").arg(dir.path()).arg(&copy));
    let mut command = Command::new(copy);
    command.uid(65534).gid(65534).current_dir("/");
    (dir, command)
}
