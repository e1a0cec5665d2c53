//! Limits on bandwidth: both versions understand the same numbers alike.
#![no_main]

use cgprocfs_core::parse::cpu_quota::CpuQuota;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

fuzz_target!(|text: &[u8]| {
    let Ok(limit) = CpuQuota::parse(text) else { return };
    let Some(limit) = limit else {
        assert!(text.starts_with(b"max "));
        return;
    };
    assert!(limit.period > Duration::ZERO);
    let (quota, period) =
        (format!("{}\n", limit.quota.as_micros()), format!("{}\n", limit.period.as_micros()));
    assert_eq!(CpuQuota::parse_v1(quota.as_bytes(), period.as_bytes()), Ok(Some(limit)));
    assert_eq!(limit.cpus().get() == 0, limit.quota.is_zero());
});
