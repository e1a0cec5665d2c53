//! A node's meminfo: whatever it is, keys and numbers are its own.
#![no_main]

use cgprocfs_core::parse::node_meminfo::node_meminfo;
use cgprocfs_core::units::MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(lines) = node_meminfo(text) else { return };
    for line in lines {
        let printed = [line.head, line.key, b":"].concat();
        assert!(text.windows(printed.len()).any(|window| window == printed));
        assert!(line.value.is_none_or(|value| value <= MAX));
    }
});
