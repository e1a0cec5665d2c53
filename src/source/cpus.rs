//! Processors: which a reader may run on, how much of them, and how long its container has run.

use super::caller::Caller;
use super::cpusets;
use super::descent::{Descent, downward};
use super::host::HostFiles;
use super::layout::{Hierarchy, Layout};
use super::texts::read;
use crate::error::Error;
use cgprocfs_core::cpu::{CpuTime, Cpus};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::counter::number;
use cgprocfs_core::parse::cpu_quota::CpuQuota;
use cgprocfs_core::parse::flat_keyed::value_of;

/// Reads them. `quota` says whether bandwidth limits count.
pub(super) fn cpus(
    host: &HostFiles,
    layout: &Layout,
    caller: &Caller<'_>,
    quota: bool,
    buffer: &mut Vec<u8>,
) -> Result<Cpus, Error> {
    let online = host.online()?;
    let allowed = |cpuset| cpusets::processors(cpuset, caller, &online, buffer);
    Ok(Cpus {
        allowed: layout.cpuset.as_ref().map_or(Ok(None), allowed)?,
        online,
        quota: match &layout.cpu {
            Some(cpu) if quota => least_quota(cpu, caller, buffer)?,
            _ => None,
        },
        time: layout.cpuacct.as_ref().map_or(Ok(None), |cpuacct| time(cpuacct, caller, buffer))?,
    })
}

/// Thousandths of a processor: the least of all levels.
fn least_quota(cpu: &Hierarchy, caller: &Caller<'_>, buffer: &mut Vec<u8>) -> Result<Option<u64>, Error> {
    let (mut least, mut descent) = (None, Descent::new(cpu));
    let container = caller.limited_in(cpu)?;
    for level in downward(container).filter(|&level| level != b"/" || !cpu.top_is_host) {
        let place = descent.to(level).map_err(|e| Error::of_cgroup(level, e))?;
        let quota = match cpu.version {
            CgroupVersion::V2 => read(level, place, "cpu.max", buffer, CpuQuota::v2)?.flatten(),
            CgroupVersion::V1 => {
                let text = read(level, place, "cpu.cfs_quota_us", buffer, |text| Ok(text.to_vec()))?;
                let Some(text) = text else { continue };
                read(level, place, "cpu.cfs_period_us", buffer, |period| CpuQuota::v1(&text, period))?
                    .flatten()
            }
        };
        least = least.into_iter().chain(quota.map(CpuQuota::milli)).min();
    }
    Ok(least)
}

/// The root's time is the host's.
fn time(cpuacct: &Hierarchy, caller: &Caller<'_>, buffer: &mut Vec<u8>) -> Result<Option<CpuTime>, Error> {
    caller.container_in(cpuacct)?.map_or(Ok(None), |container| time_of(cpuacct, container, buffer))
}

/// How long a cgroup has run; `None` where it is gone.
pub(super) fn time_of(
    cpuacct: &Hierarchy,
    container: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<Option<CpuTime>, Error> {
    let place = cpuacct.place(container);
    match cpuacct.version {
        CgroupVersion::V2 => read(container, place, "cpu.stat", buffer, |text| {
            let get = |key: &'static str| value_of(text, key)?.ok_or(ParseError::Missing(key));
            let total = get("usage_usec")?.saturating_mul(1000);
            Ok(CpuTime { total, user: get("user_usec")?, system: get("system_usec")? })
        }),
        // `cpuacct.usage_user` and `usage_sys` are counted by the tick: they are not what the whole is made of, and a
        // program that sleeps between ticks has too little of them.
        CgroupVersion::V1 => {
            let total = read(container, place, "cpuacct.usage", buffer, number)?;
            let parts = read(container, place, "cpuacct.stat", buffer, |text| {
                let get = |key: &'static str| value_of(text, key)?.ok_or(ParseError::Missing(key));
                Ok((get("user")?, get("system")?))
            })?;
            Ok(total.zip(parts).map(|(total, (user, system))| CpuTime { total, user, system }))
        }
    }
}
