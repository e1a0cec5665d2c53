//! A supervisor that can't keep the connection which its daemon serves.

use crate::common::{MOUNT, helper, patience, test};
use cgprocfs::lifecycle::control::{self, Message};
use cgprocfs::lifecycle::supervisor::{Event, supervise};
use libtest_mimic::Trial;
use nix::sys::signal::{SigSet, Signal};
use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            connection_that_cannot_be_kept,
        ],
    }
}

/// A daemon whose supervisor can't keep its connection, and which serves on until it is told to end.
pub fn cannot_be_kept(how: &str) {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let told = SigSet::from_iter([Signal::SIGTERM]);
    told.thread_block().unwrap();
    // What a newer program says besides.
    (&socket).write_all(b"?").unwrap();
    let null = || OwnedFd::from(fs::File::open("/dev/null").unwrap());
    match how {
        "no memory" => control::send(&socket, &Message::Connection(null(), null())).unwrap(),
        // As where there is no room for them.
        "no descriptors" => (&socket).write_all(b"C").unwrap(),
        _ => panic!("no way {how}"),
    }
    control::send(&socket, &Message::Alive).unwrap();
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(60));
        std::process::exit(7)
    });
    told.wait().unwrap();
    // It has found its connection given up.
    let _ = control::send(&socket, &Message::Ended);
}

/// That is no reason to end, and none to wait for a daemon that nobody would succeed.
fn connection_that_cannot_be_kept() {
    for how in ["no memory", "no descriptors"] {
        let (directory, (sender, events)) = (tempfile::tempdir().unwrap(), mpsc::channel());
        let (started, start) = (Cell::new(0), Instant::now());
        let command = |is_first| {
            started.set(started.get() + 1);
            assert_eq!(is_first, started.get() == 1);
            if started.get() == 3 {
                sender.send(Event::Signal(Signal::SIGTERM)).unwrap();
            }
            let words = helper::command("cannot-be-kept", &[how]);
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        };
        let code = supervise(directory.path(), None, command, &events, &sender).unwrap();
        assert_eq!((code, started.get()), (0, 3), "{how}");
        assert!(start.elapsed() < patience(20), "{how}: {:?}", start.elapsed());
    }
}
