//! Processors: which a reader may run on, how much of them, and how long its container has run.

use super::cpusets;
use super::descent::{Descent, downward};
use super::mounts::{CgroupMounts, Hierarchy};
use super::raw_files::{read, read_sound};
use crate::error::Error;
use crate::kernel::host::files::HostFiles;
use crate::kernel::identity::caller::Caller;
use crate::rate_limited_log::odd_counter;
use cgprocfs_core::cpu::{CpuTime, Cpus};
use cgprocfs_core::machine::TickRate;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::counter::number;
use cgprocfs_core::parse::cpu_quota::CpuQuota;
use cgprocfs_core::parse::cpu_time;

/// Reads them. `quota` says whether bandwidth limits count.
pub(crate) fn cpus(
    host: &HostFiles,
    cgroup_mounts: &CgroupMounts,
    caller: &Caller<'_>,
    quota: bool,
    buffer: &mut Vec<u8>,
) -> Result<Cpus, Error> {
    let (online, rate) = (host.online()?, host.machine.tick_rate);
    let allowed = |cpuset| cpusets::processors(cpuset, caller, &online, buffer);
    Ok(Cpus {
        allowed: cgroup_mounts.cpuset.as_ref().map_or(Ok(None), allowed)?,
        online,
        quota: match &cgroup_mounts.cpu {
            Some(cpu) if quota => least_quota(cpu, caller, buffer)?,
            _ => None,
        },
        time: cgroup_mounts
            .cpuacct
            .as_ref()
            .map_or(Ok(None), |cpuacct| time(cpuacct, rate, caller, buffer))?,
    })
}

/// Thousandths of a processor: the least of all levels.
fn least_quota(cpu: &Hierarchy, caller: &Caller<'_>, buffer: &mut Vec<u8>) -> Result<Option<u64>, Error> {
    let (mut least, mut descent) = (None, Descent::new(cpu));
    let container = caller.limited_in(cpu)?;
    for level in downward(container).filter(|&level| level != b"/" || !cpu.is_hierarchy_root) {
        let place = descent.to(level).map_err(|e| Error::of_cgroup(level, e))?;
        // One that makes no sense is no limit: whoever needs the number of processors has no other.
        let quota = match cpu.version {
            CgroupVersion::V2 => read_sound(level, place, "cpu.max", buffer, CpuQuota::v2)?.flatten(),
            CgroupVersion::V1 => {
                let text = read(level, place, "cpu.cfs_quota_us", buffer, |text| Ok(text.to_vec()))?;
                let Some(text) = text else { continue };
                read_sound(level, place, "cpu.cfs_period_us", buffer, |period| CpuQuota::v1(&text, period))?
                    .flatten()
            }
        };
        least = least.into_iter().chain(quota.map(CpuQuota::milli)).min();
    }
    Ok(least)
}

/// The root's time is the host's.
fn time(
    cpuacct: &Hierarchy,
    rate: TickRate,
    caller: &Caller<'_>,
    buffer: &mut Vec<u8>,
) -> Result<Option<CpuTime>, Error> {
    caller.container_in(cpuacct)?.map_or(Ok(None), |container| time_of(cpuacct, rate, container, buffer))
}

/// How long a cgroup has run; `None` where it is gone.
pub(crate) fn time_of(
    cpuacct: &Hierarchy,
    rate: TickRate,
    container: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<Option<CpuTime>, Error> {
    let place = cpuacct.place(container);
    let (name, read) = match cpuacct.version {
        CgroupVersion::V2 => ("cpu.stat", read(container, place, "cpu.stat", buffer, cpu_time::v2)?),
        // `cpuacct.usage_user` and `usage_sys` are counted by the tick: they are not what the whole is made of, and a
        // program that sleeps between ticks has too little of them.
        CgroupVersion::V1 => {
            let total = read(container, place, "cpuacct.usage", buffer, number)?;
            let Some(total) = total else { return Ok(None) };
            let parts = |text: &[u8]| cpu_time::v1(total, text, rate);
            ("cpuacct.stat", read(container, place, "cpuacct.stat", buffer, parts)?)
        }
    };
    Ok(read.map(|(time, odd)| {
        odd.iter().for_each(|key| odd_counter(container, name, key.as_bytes()));
        time
    }))
}
