//! The rest of `sys/devices/system/cpu`: the kernel's files, as far as they are of the container's processors, which
//! have the numbers and the places that `proc/cpuinfo` gives them.

use crate::parse::cpu_list::CpuList;
use crate::snapshot::Cpus;
use std::path::{Path, PathBuf};

/// A directory of each processor that moby and containerd have masked, where the host has it. It counts for the host as a
/// whole, and no container finds it in the first place, so that there is nothing to be masked: runc and crun pass over what
/// is not there.
const MASKED: &str = "thermal_throttle";

/// What is masked below the directory of that name, if it is a processor's.
#[must_use]
pub fn masked(name: &[u8]) -> Option<PathBuf> {
    let (_, rest) = of_processor(name)?;
    let name = std::str::from_utf8(name).ok().filter(|_| rest.is_empty())?;
    Some(Path::new(name).join(crate::fault::masked(MASKED)))
}

/// Whether a path below the directory leads to what is masked, or into it.
#[must_use]
pub fn is_masked(path: &[u8]) -> bool {
    let mut names = path.splitn(3, |&b| b == b'/');
    let is_of_processor = names.next().and_then(of_processor).is_some();
    is_of_processor && names.next() == Some(crate::fault::masked(MASKED).as_bytes())
}

/// Where the kernel has what a container finds at `path` below the directory; `None` if that is of a processor that the
/// container has not.
#[must_use]
pub fn native_path(path: &[u8], cpus: &Cpus) -> Option<Vec<u8>> {
    let Some((number, rest)) = of_processor(path) else { return Some(path.to_vec()) };
    let native = cpus.usable().iter().nth(number)?;
    Some([format!("cpu{native}").as_bytes(), rest].concat())
}

/// What a container reads at `path`, for which the kernel says `native`.
///
/// The files of `topology` are those of Documentation/ABI/stable/sysfs-devices-system-cpu: one package of so many cores
/// of one thread each, as `proc/cpuinfo` has it. Of caches it says which of the container's processors share them.
#[must_use]
pub fn text(path: &[u8], native: Vec<u8>, cpus: &Cpus) -> Vec<u8> {
    let words: Vec<&[u8]> = path.split(|&b| b == b'/').collect();
    let own = of_processor(path).map(|(number, _)| number);
    let list = |list: &CpuList| format!("{list}\n").into_bytes();
    let mask = |list: &CpuList| list.mask_like(&native);
    let all = CpuList::first(cpus.count());
    let one = |number: usize| u32::try_from(number).into_iter().collect();
    match (own, words.as_slice()) {
        (None, [b"offline" | b"isolated" | b"nohz_full"]) => b"\n".to_vec(),
        (None, [b"enabled"]) => list(&all),
        (None, [b"smt", b"active"]) => b"0\n".to_vec(),
        (None, [b"smt", b"control"]) => b"notsupported\n".to_vec(),
        (Some(number), [_, b"topology", name]) => match *name {
            b"core_id" => format!("{number}\n").into_bytes(),
            b"physical_package_id" | b"die_id" => b"0\n".to_vec(),
            b"thread_siblings_list" | b"core_cpus_list" | b"cluster_cpus_list" => list(&one(number)),
            b"thread_siblings" | b"core_cpus" | b"cluster_cpus" => mask(&one(number)),
            b"core_siblings_list" | b"package_cpus_list" | b"die_cpus_list" => list(&all),
            b"core_siblings" | b"package_cpus" | b"die_cpus" => mask(&all),
            _ => native,
        },
        (Some(_), [_, b"cache", _, b"shared_cpu_list"]) => {
            CpuList::parse(&native).map_or(native, |shared| list(&numbered(&shared, cpus)))
        }
        (Some(_), [_, b"cache", _, b"shared_cpu_map"]) => mask(&numbered(&CpuList::of_mask(&native), cpus)),
        _ => native,
    }
}

/// The number of a processor, and the rest of the path with the slash.
fn of_processor(path: &[u8]) -> Option<(usize, &[u8])> {
    let rest = path.strip_prefix(b"cpu")?;
    let end = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some((number, rest))
}

/// The container's numbers of the host's processors in a list.
fn numbered(host: &CpuList, cpus: &Cpus) -> CpuList {
    (0..)
        .zip(cpus.usable().iter())
        .filter(|(_, number)| host.contains(*number))
        .map(|(place, _)| place)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(online: &str, quota: Option<u64>) -> Cpus {
        Cpus { online: CpuList::parse(online.as_bytes()).unwrap(), allowed: None, quota, time: None }
    }

    #[test]
    fn paths_lead_to_the_host_s_processors() {
        let path = |path: &str| {
            let native = native_path(path.as_bytes(), &cpus("1,3,5\n", Some(1500)));
            native.map(|native| String::from_utf8(native).unwrap())
        };
        assert_eq!(path("cpu0").as_deref(), Some("cpu1"));
        assert_eq!(path("cpu1/topology/core_id").as_deref(), Some("cpu3/topology/core_id"));
        assert_eq!(path("cpu2"), None, "its bandwidth fills two");
        assert_eq!(path("cpu99999999999999999999/uevent").as_deref(), Some("cpu99999999999999999999/uevent"));
        for shared in ["cpufreq/policy0", "cpuidle", "cpu", "kernel_max", ""] {
            assert_eq!(path(shared).as_deref(), Some(shared));
        }
    }

    #[test]
    fn what_runtimes_mask() {
        assert_eq!(masked(b"cpu7").as_deref(), Some(Path::new("cpu7/thermal_throttle")));
        assert!(masked(b"cpufreq").is_none() && masked(b"cpu").is_none());
        for path in ["cpu0/thermal_throttle", "cpu12/thermal_throttle/core_throttle_count"] {
            assert!(is_masked(path.as_bytes()), "{path}");
        }
        for path in
            ["cpu0", "cpu0/topology", "thermal_throttle", "cpufreq/thermal_throttle", "cpu0/thermal", ""]
        {
            assert!(!is_masked(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn one_package_of_cores() {
        let text = |path: &str, native: &str| {
            let shown = text(path.as_bytes(), native.into(), &cpus("1,3,5\n", None));
            String::from_utf8(shown).unwrap()
        };
        for (path, native, shown) in [
            ("cpu1/topology/core_id", "7\n", "1\n"),
            ("cpu1/topology/physical_package_id", "1\n", "0\n"),
            ("cpu1/topology/thread_siblings", "00000000,0000000a\n", "00000000,00000002\n"),
            ("cpu1/topology/core_cpus_list", "1,3\n", "1\n"),
            ("cpu1/topology/package_cpus", "aa\n", "07\n"),
            ("cpu2/topology/core_siblings_list", "1,3,5,7\n", "0-2\n"),
            ("cpu0/cache/index0/shared_cpu_list", "1,3\n", "0-1\n"),
            ("cpu0/cache/index0/shared_cpu_map", "0,0000000a\n", "0,00000003\n"),
            ("cpu0/cache/index0/size", "32K\n", "32K\n"),
            ("offline", "0,2\n", "\n"),
            ("smt/active", "1\n", "0\n"),
            ("vulnerabilities/meltdown", "Not affected\n", "Not affected\n"),
        ] {
            assert_eq!(text(path, native), shown, "{path}");
        }
    }
}
