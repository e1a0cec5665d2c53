//! The host's meminfo: what was understood, written out again, is understood as the same.
#![no_main]

use cgprocfs_core::parse::meminfo::{Field, Key, Meminfo};
use cgprocfs_core::units::MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(meminfo) = Meminfo::parse(text.to_vec()) else { return };
    assert!(meminfo.kib(Field::MemTotal).get() > 0);
    let mut again = Vec::new();
    for line in meminfo.lines() {
        assert!(line.value.is_none_or(|value| value <= MAX));
        again.extend_from_slice(match &line.key {
            Key::Known(field) => field.key().as_bytes(),
            Key::Unknown(key) => key,
        });
        let unit = if line.in_kib { " kB" } else { "" };
        again.extend(format!(": {}{unit}\n", line.value.unwrap_or(u64::MAX)).bytes());
    }
    assert_eq!(Meminfo::parse(again).unwrap().lines(), meminfo.lines());
});
