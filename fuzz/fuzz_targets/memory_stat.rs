//! `memory.stat` of both versions, against a look for whole lines.
#![no_main]

use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::units::MAX;
use libfuzzer_sys::fuzz_target;

/// What makes no sense is 0.
fn number(value: &[u8]) -> u64 {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| is_number).and_then(|value| value.parse().ok());
    number.filter(|number| *number <= MAX).unwrap_or(0)
}

fuzz_target!(|text: &[u8]| {
    for (version, anon, active_file) in [
        (CgroupVersion::V1, "total_rss ", "total_active_file "),
        (CgroupVersion::V2, "anon ", "active_file "),
    ] {
        let Ok(stat) = MemoryStat::parse(version, text) else { continue };
        let last = |key: &str| {
            let of_key = |line: &[u8]| Some(number(line.strip_prefix(key.as_bytes())?));
            text.split(|&b| b == b'\n').filter_map(of_key).next_back()
        };
        assert_eq!(stat.anon.map(|bytes| bytes.get()), last(anon));
        assert_eq!(stat.active_file.map(|bytes| bytes.get()), last(active_file));
        for value in [stat.anon, stat.file, stat.inactive_file, stat.active_file, stat.shmem, stat.swapcached]
        {
            assert!(value.is_none_or(|bytes| bytes.get() <= MAX));
        }
    }
});
