//! CPUs: which of them a reader may run on, how much of them, and how long its container has run.

use super::ancestors::{AncestorWalk, ancestors};
use super::caller::Caller;
use super::context::ReadContext;
use super::cpusets;
use super::kept_files::{CgroupReader, KeptFiles};
use super::mounts::Hierarchy;
use crate::error::Error;
use crate::rate_limited_log::{malformed_counter, malformed_value};
use cgprocfs_core::cpu::Cpus;
use cgprocfs_core::parse::cpu_quota::CpuQuota;
use cgprocfs_core::parse::cpu_stat::{CpuStat, CpuTime};
use cgprocfs_core::parse::{CgroupVersion, counter};
use cgprocfs_core::time::TickRate;
use cgprocfs_core::units::MilliCpus;

/// Reads the CPUs of a caller's container. `counts_quota` says whether bandwidth limits reduce their number.
pub(crate) fn cpus(context: ReadContext<'_>, counts_quota: bool) -> Result<Cpus, Error> {
    let ReadContext { cgroup_mounts, host, caller, kept } = context;
    let online = host.online()?;
    let allowed = |cpuset| cpusets::cpus(cpuset, kept, caller, &online);
    Ok(Cpus {
        allowed: cgroup_mounts.cpuset.as_ref().map_or(Ok(None), allowed)?,
        online,
        quota: match &cgroup_mounts.cpu {
            Some(cpu) if counts_quota => lowest_quota(cpu, kept, caller)?,
            _ => None,
        },
        ..Cpus::default()
    })
}

/// Reads how long the caller's container has run.
pub(crate) fn read_time(context: ReadContext<'_>, cpus: &mut Cpus) -> Result<(), Error> {
    let ReadContext { cgroup_mounts, host, caller, kept } = context;
    let rate = host.machine.tick_rate;
    let time = cgroup_mounts.cpuacct.as_ref().map_or(Ok(None), |cpuacct| time(cpuacct, kept, rate, caller));
    (cpus.time, cpus.has_malformed_time) = match time {
        // Only those views are without an answer that show it.
        Err(Error::Malformed { path, .. }) => {
            malformed_value(caller.container, path.rsplit('/').next().unwrap_or_default());
            (None, true)
        }
        time => (time?, false),
    };
    Ok(())
}

/// The lowest bandwidth limit of all levels.
fn lowest_quota(
    cpu: &Hierarchy,
    kept: Option<&KeptFiles>,
    caller: &Caller<'_>,
) -> Result<Option<MilliCpus>, Error> {
    let (mut lowest, mut walk) = (None, AncestorWalk::new(cpu));
    let container = caller.limited_in(cpu)?;
    let reader = CgroupReader::new(cpu, kept, container);
    for level in ancestors(container).filter(|&level| level != b"/" || !cpu.is_hierarchy_root) {
        let location = walk.to(level)?;
        // A malformed limit is none: whoever needs the number of CPUs has no other source.
        let quota = match cpu.version {
            CgroupVersion::V2 => reader.read_or_log(location, "cpu.max", CpuQuota::parse)?.flatten(),
            CgroupVersion::V1 => {
                let text = reader.read(location, "cpu.cfs_quota_us", |text| Ok(text.to_vec()))?;
                // Without a quota the period says nothing.
                let Some(text) = text.filter(|text| text.trim_ascii() != b"-1") else { continue };
                let period = |period: &[u8]| CpuQuota::parse_v1(&text, period);
                reader.read_or_log(location, "cpu.cfs_period_us", period)?.flatten()
            }
        };
        lowest = lowest.into_iter().chain(quota.map(CpuQuota::cpus)).min();
    }
    Ok(lowest)
}

/// How long the caller's container has run; `None` in the root, whose time is the host's.
fn time(
    cpuacct: &Hierarchy,
    kept: Option<&KeptFiles>,
    rate: TickRate,
    caller: &Caller<'_>,
) -> Result<Option<CpuTime>, Error> {
    let time = |container| time_of(CgroupReader::new(cpuacct, kept, container), rate, container);
    caller.container_in(cpuacct)?.map_or(Ok(None), time)
}

/// How long a cgroup has run; `None` if it is gone.
pub(crate) fn time_of(
    reader: CgroupReader<'_>,
    rate: TickRate,
    container: &[u8],
) -> Result<Option<CpuTime>, Error> {
    let location = reader.hierarchy.locate(container);
    let (name, read) = match reader.hierarchy.version {
        CgroupVersion::V2 => ("cpu.stat", reader.read(location, "cpu.stat", CpuStat::parse)?),
        // `cpuacct.usage_user` and `usage_sys` are counted by the tick. They do not add up to the total, and
        // are too low for a program that sleeps between ticks.
        CgroupVersion::V1 => {
            let total = reader.read(location, "cpuacct.usage", counter::nanoseconds)?;
            let Some(total) = total else { return Ok(None) };
            let parts = |text: &[u8]| CpuStat::parse_v1(total, text, rate);
            ("cpuacct.stat", reader.read(location, "cpuacct.stat", parts)?)
        }
    };
    Ok(read.map(|CpuStat { time, malformed }| {
        malformed.iter().for_each(|key| malformed_counter(container, name, key.as_bytes()));
        time
    }))
}
