//! What the process that serves can't do, each tried from inside: this test confines itself as the server
//! does.

mod attempts;
mod processes;
mod refusals;

pub use self::attempts::tried;

use libtest_mimic::Trial;
use rustix::process::{Signal, kill_process};

pub fn tests() -> Vec<Trial> {
    [refusals::tests(), processes::tests()].into_iter().flatten().collect()
}

fn signal(pid: u32, signal: Signal) {
    kill_process(rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}
