//! `/proc/PID/status`: what was understood, written out plainly, is understood as the same.
#![no_main]

use cgprocfs_core::parse::proc_status::{Status, TaskState};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    match TaskState::parse(text) {
        Ok(TaskState::Running) => assert!(text.contains(&b'R')),
        Ok(TaskState::Uninterruptible) => assert!(text.contains(&b'D')),
        _ => {}
    }
    let Ok(status) = Status::parse(text) else { return };
    let outer = "9\t".repeat(status.nesting.saturating_sub(1).min(100));
    let status = Status { nesting: status.nesting.clamp(1, 101), ..status };
    let plain = format!("PPid:\t{}\nNSpid:\t{outer}{}\n", status.parent, status.innermost_pid);
    assert_eq!(Status::parse(plain.as_bytes()), Ok(status));
});
