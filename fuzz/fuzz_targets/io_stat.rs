//! What devices did: no more devices than lines of v2, and v1 names none twice.
#![no_main]

use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::io_stat::{DeviceIo, malformed_counters};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let _ = malformed_counters(text).count();
    if let Ok(devices) = DeviceIo::parse_all(CgroupVersion::V2, text) {
        let whole =
            text.split_inclusive(|&b| b == b'\n').filter(|line| line.ends_with(b"\n") && line.len() > 1);
        assert!(devices.len() <= whole.count());
    }
    if let Ok(devices) = DeviceIo::parse_all(CgroupVersion::V1, text) {
        let twice = |place: usize| devices[..place].iter().any(|io| io.device == devices[place].device);
        assert!(!(0..devices.len()).any(twice));
    }
});
