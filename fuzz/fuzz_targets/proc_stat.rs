//! `/proc/PID/stat`: a program's name has no say in its flags.
#![no_main]

use cgprocfs_core::parse::proc_stat::ProcStat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let _ = ProcStat::parse(text);
    // Any text, once it is the name, changes nothing.
    for (flags, exiting) in [(4_194_304, false), (4_194_308, true)] {
        let stat =
            [b"7 (", text, format!(") R 1 7 7 0 -1 {flags} 99 0 0 0 1 2 0 0 20 0 1 0 158443\n").as_bytes()]
                .concat();
        assert_eq!(ProcStat::parse(&stat).unwrap().is_exiting, exiting);
    }
});
