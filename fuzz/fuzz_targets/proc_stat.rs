//! `/proc/PID/stat`: a program's name has no say in its flags.
#![no_main]

use cgprocfs_core::parse::proc_stat::{is_exiting, start_time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let _ = (is_exiting(text), start_time(text));
    // Any text, once it is the name, changes nothing.
    for (flags, exiting) in [(4_194_304, false), (4_194_308, true)] {
        let stat = [b"7 (", text, format!(") R 1 7 7 0 -1 {flags} 99 0\n").as_bytes()].concat();
        assert_eq!(is_exiting(&stat), Ok(exiting));
    }
});
