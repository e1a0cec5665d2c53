//! `/proc/PID/status`: what was understood, written out plainly, is understood as the same.
#![no_main]

use cgprocfs::parse::proc_status::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(status) = parse(text) else { return };
    let plain = format!("PPid:\t{}\nNSpid:\t9\t{}\n", status.parent, status.innermost_pid);
    assert_eq!(parse(plain.as_bytes()), Ok(status));
});
