//! `sys/devices/system/node/nodeN`: a container's memory, spread over the nodes that it may use.

use super::layout::Topology;
use super::path::of_node;
use crate::error::ViewError;
use crate::parse::meminfo::Field;
use crate::parse::node_meminfo::{self, node_meminfo};
use crate::parse::numa_stat::NumaStat;
use crate::snapshot::{Scope, Snapshot};
use crate::units::Kib;
use crate::view::meminfo;
use std::io::Write;

/// Lines of a node's meminfo that are a part of what `proc/meminfo` says of the container: which line it is there, by
/// which key of `memory.numa_stat` of cgroup v2 and of v1 it is spread, and its key in the node's vmstat after `nr_`.
const LINES: [(&str, Field, [&str; 2], &str); 21] = [
    ("SwapCached", Field::SwapCached, ["swapcached", ""], "swapcached"),
    ("Active(anon)", Field::ActiveAnon, ["active_anon", "anon"], "active_anon"),
    ("Inactive(anon)", Field::InactiveAnon, ["inactive_anon", "anon"], "inactive_anon"),
    ("Active(file)", Field::ActiveFile, ["active_file", "file"], "active_file"),
    ("Inactive(file)", Field::InactiveFile, ["inactive_file", "file"], "inactive_file"),
    ("Unevictable", Field::Unevictable, ["unevictable", "unevictable"], "unevictable"),
    ("Mlocked", Field::Mlocked, ["unevictable", "unevictable"], "mlock"),
    ("Dirty", Field::Dirty, ["file_dirty", "file"], "dirty"),
    ("Writeback", Field::Writeback, ["file_writeback", "file"], "writeback"),
    ("FilePages", Field::Cached, ["file", "file"], "file_pages"),
    ("Mapped", Field::Mapped, ["file_mapped", "file"], "mapped"),
    ("AnonPages", Field::AnonPages, ["anon", "anon"], "anon_pages"),
    // With v1 it is on the lists of anonymous memory.
    ("Shmem", Field::Shmem, ["shmem", "anon"], "shmem"),
    ("KernelStack", Field::KernelStack, ["kernel_stack", ""], "kernel_stack"),
    ("PageTables", Field::PageTables, ["pagetables", ""], "page_table_pages"),
    ("SecPageTables", Field::SecPageTables, ["sec_pagetables", ""], "sec_page_table_pages"),
    ("SReclaimable", Field::SReclaimable, ["slab_reclaimable", ""], "slab_reclaimable"),
    ("SUnreclaim", Field::SUnreclaim, ["slab_unreclaimable", ""], "slab_unreclaimable"),
    ("AnonHugePages", Field::AnonHugePages, ["anon_thp", ""], ""),
    ("ShmemHugePages", Field::ShmemHugePages, ["shmem_thp", ""], ""),
    ("FileHugePages", Field::FileHugePages, ["file_thp", ""], ""),
];

/// What of `memory.numa_stat` is memory that is in use, none of it twice.
const IN_USE_V2: [&str; 7] = [
    "anon",
    "file",
    "kernel_stack",
    "pagetables",
    "sec_pagetables",
    "slab_reclaimable",
    "slab_unreclaimable",
];
const IN_USE_V1: [&str; 1] = ["total"];

/// A container's memory by nodes.
#[derive(Debug, Clone)]
pub struct MemoryByNode {
    nodes: Vec<OfNode>,
    stat: Option<NumaStat>,
    page: Kib,
    /// `HugePages_Total` and `HugePages_Free`.
    huge_pages: [u64; 2],
    /// The same of pages of each size; `None` where the host's are right as they are.
    pools: Option<Vec<(Kib, [u64; 2])>>,
}

/// In kibibytes.
#[derive(Debug, Clone)]
struct OfNode {
    number: u32,
    total: u64,
    free: u64,
    /// Of [`LINES`].
    lines: [u64; LINES.len()],
}

impl MemoryByNode {
    /// Whether the file at a path below `sys/devices/system` is made from it.
    pub(super) fn is_at(path: &[u8]) -> bool {
        let name = of_node(path).and_then(|(_, rest)| rest.split(|&b| b == b'/').nth(1));
        matches!(name, Some(b"meminfo" | b"vmstat" | b"hugepages"))
    }

    /// Of a container that has such nodes.
    ///
    /// All nodes together have what `proc/meminfo` says. Which part of a line is on which node is known where the kernel
    /// keeps that apart; how much of the total is a node's is not, for a limit is not one of a node: it is divided as the
    /// host's memory is, but for nodes on which the container has more already.
    ///
    /// # Errors
    /// Where something that is needed was not loaded.
    pub fn of(snapshot: &Snapshot, topology: &Topology) -> Result<Self, ViewError> {
        let Scope::Container(container) = &snapshot.scope else {
            return Err(ViewError::NotLoaded("the container"));
        };
        let numbers: Vec<u32> = topology.nodes_with_memory().iter().collect();
        let sizes: Vec<u64> = topology.nodes.iter().filter_map(|node| node.memory).map(Kib::get).collect();
        let of_all = meminfo::values(snapshot, container, LINES.map(|(_, field, ..)| field))?.map(Kib::get);
        let [total, free, huge_total, huge_free] = meminfo::values(
            snapshot,
            container,
            [Field::MemTotal, Field::MemFree, Field::HugePagesTotal, Field::HugePagesFree],
        )?
        .map(Kib::get);
        let by_node =
            ByNode { stat: snapshot.numa_stat.as_ref(), numbers: &numbers, page: snapshot.machine.page };
        let in_use = by_node.in_use();
        let totals = divide(total, free, &in_use, &sizes, snapshot.machine.page.get());
        let lines = LINES.iter().zip(of_all).map(|((_, _, keys, _), all)| {
            let own = by_node.amounts(*keys).filter(|own| own.iter().any(|&amount| amount > 0));
            let in_use = Some(&in_use).filter(|in_use| in_use.iter().any(|&amount| amount > 0));
            spread(all, own.as_ref().or(in_use).unwrap_or(&sizes))
        });
        let lines: Vec<Vec<u64>> = lines.collect();
        let nodes = numbers.iter().enumerate().map(|(place, &number)| OfNode {
            number,
            total: totals[place].0,
            free: totals[place].1,
            lines: std::array::from_fn(|line| lines[line][place]),
        });
        let pools = container.huge_pages.as_ref();
        Ok(Self {
            nodes: nodes.collect(),
            stat: snapshot.numa_stat.clone(),
            page: snapshot.machine.page,
            huge_pages: [huge_total, huge_free],
            pools: pools
                .map(|pools| pools.iter().map(|pool| (pool.size, meminfo::huge_pages(pool))).collect()),
        })
    }

    /// The text of a file of a node, for which the kernel says `native`; `read` gives what it says at other paths.
    pub(super) fn text<E: From<ViewError>>(
        &self,
        number: u32,
        names: &[&[u8]],
        native: Vec<u8>,
        read: impl Fn(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        match names {
            [b"meminfo"] => {
                let read = |node: u32| match node == number {
                    true => Ok(native.clone()),
                    false => read(format!("node/node{node}/meminfo").as_bytes()),
                };
                let huge_pages = match self.huge_pages {
                    [0, _] => [0; 2],
                    huge_pages => self.huge_pages_of(number, huge_pages, |node| -> Result<_, E> {
                        let text = read(node)?;
                        let count = |key| node_meminfo::count(&text, key).map_err(malformed);
                        Ok([count("HugePages_Total")?, count("HugePages_Free")?])
                    })?,
                };
                Ok(self.meminfo(number, &native, huge_pages)?)
            }
            [b"vmstat"] => Ok(self.vmstat(number, &native)),
            [b"hugepages", pool, name @ (b"nr_hugepages" | b"free_hugepages")] => {
                let Some(pages) = self.pool(pool) else { return Ok(native) };
                let count = |node: u32, name: &str| -> Result<u64, E> {
                    let path = format!("node/node{node}/hugepages/{}/{name}", String::from_utf8_lossy(pool));
                    let text = read(path.as_bytes())?;
                    let text = std::str::from_utf8(&text).unwrap_or_default();
                    Ok(text.trim_ascii().parse().unwrap_or(0))
                };
                let of_host =
                    |node| Ok::<_, E>([count(node, "nr_hugepages")?, count(node, "free_hugepages")?]);
                let [total, free] = self.huge_pages_of(number, pages, of_host)?;
                let shown = if **name == *b"nr_hugepages" { total } else { free };
                Ok(format!("{shown}\n").into_bytes())
            }
            [b"hugepages", pool, b"surplus_hugepages"] if self.pool(pool).is_some() => Ok(b"0\n".to_vec()),
            _ => Ok(native),
        }
    }

    fn node(&self, number: u32) -> Option<&OfNode> {
        self.nodes.iter().find(|node| node.number == number)
    }

    /// The container's pages of the size in a name such as `hugepages-2048kB`.
    fn pool(&self, name: &[u8]) -> Option<[u64; 2]> {
        let size = std::str::from_utf8(name).ok()?.strip_prefix("hugepages-")?.strip_suffix("kB")?;
        let size = Kib::new(size.parse().ok()?);
        self.pools.as_ref()?.iter().find(|(known, _)| *known == size).map(|(_, pages)| *pages)
    }

    /// A node's part of the container's huge pages, all and free ones: as the host's are spread over the container's nodes.
    fn huge_pages_of<E>(
        &self,
        number: u32,
        [total, free]: [u64; 2],
        of_host: impl Fn(u32) -> Result<[u64; 2], E>,
    ) -> Result<[u64; 2], E> {
        let host = self.nodes.iter().map(|node| of_host(node.number)).collect::<Result<Vec<_>, E>>()?;
        let host_total: Vec<u64> = host.iter().map(|[total, _]| *total).collect();
        let own_total = spread(total.min(host_total.iter().sum()), &host_total);
        let can_be_free: Vec<u64> =
            host.iter().zip(&own_total).map(|([_, free], own)| *free.min(own)).collect();
        let own_free = spread(free.min(can_be_free.iter().sum()), &can_be_free);
        let place = self.nodes.iter().position(|node| node.number == number);
        Ok(place.map_or([0; 2], |place| [own_total[place], own_free[place]]))
    }

    /// The kernel's lines with the container's numbers; a node without memory for it has none of anything.
    fn meminfo(&self, number: u32, native: &[u8], [huge, free]: [u64; 2]) -> Result<Vec<u8>, ViewError> {
        let node = self.node(number);
        let mut out = Vec::with_capacity(native.len());
        for line in node_meminfo(native).map_err(malformed)? {
            let key = std::str::from_utf8(line.key).unwrap_or_default();
            let value = match key {
                "HugePages_Total" => huge,
                "HugePages_Free" => free,
                key => node.map_or(0, |node| node.line(key)),
            };
            out.extend_from_slice(line.head);
            out.extend_from_slice(line.key);
            out.push(b':');
            let unit = if line.in_kib { " kB" } else { "" };
            // Writing to a Vec never fails.
            let _ = writeln!(out, "{value:width$}{unit}", width = line.width);
        }
        Ok(out)
    }

    /// The kernel's keys with the container's counts, as far as they are amounts of memory or `memory.numa_stat` has them.
    fn vmstat(&self, number: u32, native: &[u8]) -> Vec<u8> {
        let page = self.page.get().max(1);
        let node = self.node(number);
        let mut out = Vec::with_capacity(native.len());
        for key in zeros(native).split(|&b| b == b'\n').filter_map(|line| line.strip_suffix(b" 0")) {
            let key = std::str::from_utf8(key).unwrap_or_default();
            let name = key.strip_prefix("nr_zone_").or_else(|| key.strip_prefix("nr_"));
            let line = LINES.iter().position(|(.., own)| !own.is_empty() && name == Some(*own));
            let count = match (node, line) {
                (None, _) => 0,
                (Some(node), _) if key == "nr_free_pages" => node.free / page,
                // In kibibytes, unlike the rest.
                (Some(node), Some(line)) if key == "nr_kernel_stack" => node.lines[line],
                (Some(node), Some(line)) => node.lines[line] / page,
                (Some(_), None) if key.starts_with("nr_") => 0,
                (Some(_), None) => {
                    let counts = self.stat.as_ref().and_then(|stat| stat.get(key)).unwrap_or_default();
                    counts.iter().find(|(node, _)| *node == number).map_or(0, |(_, count)| *count)
                }
            };
            // Writing to a Vec never fails.
            let _ = writeln!(out, "{key} {count}");
        }
        out
    }
}

impl OfNode {
    fn line(&self, key: &str) -> u64 {
        let of =
            |key: &str| LINES.iter().position(|(known, ..)| *known == key).map_or(0, |line| self.lines[line]);
        match key {
            "MemTotal" => self.total,
            "MemFree" => self.free,
            "MemUsed" => self.total.saturating_sub(self.free),
            "Active" => of("Active(anon)") + of("Active(file)"),
            "Inactive" => of("Inactive(anon)") + of("Inactive(file)"),
            "KReclaimable" => of("SReclaimable"),
            "Slab" => of("SReclaimable") + of("SUnreclaim"),
            key => of(key),
        }
    }
}

fn malformed(error: crate::parse::ParseError) -> ViewError {
    ViewError::Malformed("a node's meminfo", error)
}

/// What `memory.numa_stat` says of some nodes.
struct ByNode<'s> {
    stat: Option<&'s NumaStat>,
    numbers: &'s [u32],
    page: Kib,
}

impl ByNode<'_> {
    /// How much each has, in kibibytes, by the keys of cgroup v2 and v1.
    fn amounts(&self, [v2, v1]: [&str; 2]) -> Option<Vec<u64>> {
        let stat = self.stat?;
        let is_v1 = stat.get("total").is_some();
        let amounts = match is_v1 {
            // Those without it leave out the cgroups below.
            true => stat.get(&format!("hierarchical_{v1}")).or_else(|| stat.get(v1)),
            false => stat.get(v2),
        }?;
        let kib = |amount: u64| if is_v1 { amount.saturating_mul(self.page.get()) } else { amount / 1024 };
        let of = |number: &u32| {
            amounts.iter().find(|(node, _)| node == number).map_or(0, |(_, amount)| kib(*amount))
        };
        Some(self.numbers.iter().map(of).map(|kib| Kib::new(kib).get()).collect())
    }

    fn in_use(&self) -> Vec<u64> {
        let keys = IN_USE_V2.map(|key| [key, ""]).into_iter().chain(IN_USE_V1.map(|key| ["", key]));
        let mut sum = vec![0; self.numbers.len()];
        for amounts in keys.filter_map(|keys| self.amounts(keys)) {
            sum.iter_mut().zip(amounts).for_each(|(sum, amount)| *sum += amount);
        }
        sum
    }
}

/// Total and free memory of each node, of so much in all, where so much is `in_use` on each for certain: as the `sizes` are,
/// in pages, but for nodes where more than that is in use.
fn divide(total: u64, free: u64, in_use: &[u64], sizes: &[u64], page: u64) -> Vec<(u64, u64)> {
    let page = page.max(1);
    let mut shares: Vec<u64> = spread(total / page, sizes).into_iter().map(|pages| pages * page).collect();
    if let Some(first) = shares.first_mut() {
        *first += total % page;
    }
    let used = total.saturating_sub(free);
    let known: u64 = in_use.iter().sum();
    // What was read one after the other need not add up.
    let in_use = if known > used { spread(used, in_use) } else { in_use.to_vec() };
    let room: Vec<u64> =
        shares.iter().zip(&in_use).map(|(share, used)| share.saturating_sub(*used)).collect();
    let free = spread(free.min(total), &room);
    let left: Vec<u64> = room.iter().zip(&free).map(|(room, free)| room.saturating_sub(*free)).collect();
    let others = spread(used.saturating_sub(in_use.iter().sum()), &left);
    let nodes = in_use.iter().zip(&free).zip(&others);
    nodes.map(|((used, free), others)| (used + free + others, *free)).collect()
}

/// Divides a whole by weights, by the method of the largest remainder. What has no weight gets nothing, unless nothing has.
fn spread(whole: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    if sum == 0 {
        let first = weights.iter().enumerate().map(|(place, _)| if place == 0 { whole } else { 0 });
        return first.collect();
    }
    let exact = |weight: u64| u128::from(whole) * u128::from(weight);
    let mut parts: Vec<u64> =
        weights.iter().map(|&weight| u64::try_from(exact(weight) / sum).unwrap_or(u64::MAX)).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&place| std::cmp::Reverse(exact(weights[place]) % sum));
    let left = whole.saturating_sub(parts.iter().sum());
    for place in order.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        parts[place] += 1;
    }
    parts
}

/// The keys of a file, each with 0.
pub(super) fn zeros(native: &[u8]) -> Vec<u8> {
    let keys = native.split(|&b| b == b'\n').filter_map(|line| line.split(|&b| b == b' ').next());
    keys.filter(|key| !key.is_empty()).flat_map(|key| [key, b" 0\n"].concat()).collect()
}

#[cfg(test)]
mod tests;
