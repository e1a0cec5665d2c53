//! The paths below `sys/devices/system/cpu` that container runtimes mask.

use cgprocfs_core::topology::of_processor;
use std::path::{Path, PathBuf};

/// A directory of each CPU that moby and containerd have masked, if the host has it. Its counters are those
/// of the whole host. Our views leave it out, so that there is nothing to mask: runc and crun pass over a
/// path that does not exist.
const MASKED: &str = "thermal_throttle";

/// The path that is masked below the directory `name`; `None` if that is no CPU's.
#[must_use]
pub fn masked(name: &[u8]) -> Option<PathBuf> {
    let path = [b"cpu/", name].concat();
    let (_, rest) = of_processor(&path)?;
    rest.is_empty().then_some(())?;
    Some(Path::new(std::str::from_utf8(name).ok()?).join(crate::failpoint::masked(MASKED)))
}

/// Whether a path below `sys/devices/system` is masked, or in a masked directory.
#[must_use]
pub fn is_masked(path: &[u8]) -> bool {
    let Some((_, rest)) = of_processor(path) else { return false };
    rest.split(|&b| b == b'/').nth(1) == Some(crate::failpoint::masked(MASKED).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runtimes_mask() {
        assert_eq!(masked(b"cpu7").as_deref(), Some(Path::new("cpu7/thermal_throttle")));
        assert!(masked(b"cpufreq").is_none() && masked(b"cpu").is_none());
        for path in ["cpu/cpu0/thermal_throttle", "cpu/cpu12/thermal_throttle/core_throttle_count"] {
            assert!(is_masked(path.as_bytes()), "{path}");
        }
        for path in ["cpu/cpu0", "cpu/cpu0/topology", "thermal_throttle", "cpu/cpufreq/thermal_throttle", ""]
        {
            assert!(!is_masked(path.as_bytes()), "{path}");
        }
    }
}
