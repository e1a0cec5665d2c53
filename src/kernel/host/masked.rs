//! What container runtimes mask below `sys/devices/system/cpu`.

use cgprocfs_core::topology::of_processor;
use std::path::{Path, PathBuf};

/// A directory of each processor that moby and containerd have masked, where the host has it. It counts for the host as a
/// whole, and no container finds it in the first place, so that there is nothing to be masked: runc and crun pass over what
/// is not there.
const MASKED: &str = "thermal_throttle";

/// What is masked below the directory of that name, if it is a processor's.
#[must_use]
pub fn masked(name: &[u8]) -> Option<PathBuf> {
    let path = [b"cpu/", name].concat();
    let (_, rest) = of_processor(&path)?;
    rest.is_empty().then_some(())?;
    Some(Path::new(std::str::from_utf8(name).ok()?).join(crate::failpoint::masked(MASKED)))
}

/// Whether a path below `sys/devices/system` leads to what is masked, or into it.
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
