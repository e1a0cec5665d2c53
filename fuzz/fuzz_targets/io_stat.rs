//! What devices did: no more devices than lines of v2, and v1 names none twice.
#![no_main]

use cgprocfs_core::parse::io_stat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let _ = io_stat::odd_words(text).count();
    if let Ok(devices) = io_stat::v2(text) {
        let whole =
            text.split_inclusive(|&b| b == b'\n').filter(|line| line.ends_with(b"\n") && line.len() > 1);
        assert!(devices.len() <= whole.count());
    }
    if let Ok(devices) = io_stat::v1(text) {
        let twice = |place: usize| devices[..place].iter().any(|io| io.device == devices[place].device);
        assert!(!(0..devices.len()).any(twice));
    }
});
