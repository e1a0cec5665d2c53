//! `sys/devices/system/node/nodeN`: a container's memory, spread over the nodes that it may use.

use super::layout::Topology;
use super::node_share::{LINES, NodeShare};
use super::numa_amounts::NumaAmounts;
use super::path::of_node;
use super::spread::{divide, divide_pages, spread};
use crate::error::ViewError;
use crate::memory;
use crate::memory::vmstat_keys;
use crate::parse::meminfo::Field;
use crate::parse::node_meminfo::{self, node_meminfo};
use crate::parse::numa_stat::NumaStat;
use crate::snapshot::{Scope, Snapshot};
use crate::units::Kib;
use std::io::Write;

/// A container's memory by nodes.
#[derive(Debug, Clone)]
pub struct MemoryByNode {
    nodes: Vec<NodeShare>,
    stat: Option<NumaStat>,
    page: Kib,
    /// `HugePages_Total` and `HugePages_Free` of the container.
    huge_pages: [u64; 2],
    /// Total and free huge pages of the container for each size; `None` where the container has the host's.
    pools: Option<Vec<(Kib, [u64; 2])>>,
}

impl MemoryByNode {
    /// Whether the text of the file at a path below `sys/devices/system` depends on it.
    pub(super) fn is_at(path: &[u8]) -> bool {
        let name = of_node(path).and_then(|(_, rest)| rest.split(|&b| b == b'/').nth(1));
        matches!(name, Some(b"meminfo" | b"vmstat" | b"hugepages"))
    }

    /// The memory of a container on the nodes of its `topology`.
    ///
    /// All nodes together have what the container's `proc/meminfo` says. Which part of a line is on which
    /// node is known where the kernel counts by node. Which part of the total is a node's is not known,
    /// because a limit is not one of a node: it is divided as the host's memory is, except for nodes on which
    /// the container already has more.
    ///
    /// # Errors
    /// [`ViewError::NotLoaded`] if the snapshot lacks something, and what is malformed.
    pub fn of(snapshot: &Snapshot, topology: &Topology) -> Result<Self, ViewError> {
        let Scope::Container(container) = &snapshot.scope else {
            return Err(ViewError::NotLoaded("the container"));
        };
        let numbers: Vec<u32> = topology.nodes_with_memory().iter().collect();
        let sizes: Vec<u64> = topology.nodes.iter().filter_map(|node| node.memory).map(Kib::get).collect();
        let of_all = memory::values(snapshot, container, LINES.map(|(_, field, _)| field))?.map(Kib::get);
        let [total, free, huge_total, huge_free] = memory::values(
            snapshot,
            container,
            [Field::MemTotal, Field::MemFree, Field::HugePagesTotal, Field::HugePagesFree],
        )?
        .map(Kib::get);
        let by_node =
            NumaAmounts { stat: snapshot.numa_stat.as_ref(), numbers: &numbers, page: snapshot.machine.page };
        let in_use = by_node.in_use();
        let totals = divide(total, free, &in_use, &sizes, snapshot.machine.page.get());
        let lines = LINES.iter().zip(of_all).map(|((_, _, keys), all)| {
            let own = by_node.amounts(*keys).filter(|own| own.iter().any(|&amount| amount > 0));
            let in_use = Some(&in_use).filter(|in_use| in_use.iter().any(|&amount| amount > 0));
            spread(all, own.as_ref().or(in_use).unwrap_or(&sizes))
        });
        let lines: Vec<Vec<u64>> = lines.collect();
        let nodes = numbers.iter().enumerate().map(|(index, &number)| NodeShare {
            number,
            total: totals[index].0,
            free: totals[index].1,
            lines: std::array::from_fn(|line| lines[line][index]),
        });
        let pools = container.huge_pages.as_ref();
        Ok(Self {
            nodes: nodes.collect(),
            stat: snapshot.numa_stat.clone(),
            page: snapshot.machine.page,
            huge_pages: [huge_total, huge_free],
            pools: pools
                .map(|pools| pools.iter().map(|pool| (pool.size, memory::huge_pages(pool))).collect()),
        })
    }

    /// The text of a file of a node. `native` is what the kernel says in it, `read` what it says at other
    /// paths.
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
                let count = if **name == *b"nr_hugepages" { total } else { free };
                Ok(format!("{count}\n").into_bytes())
            }
            [b"hugepages", pool, b"surplus_hugepages"] if self.pool(pool).is_some() => Ok(b"0\n".to_vec()),
            _ => Ok(native),
        }
    }

    fn node(&self, number: u32) -> Option<&NodeShare> {
        self.nodes.iter().find(|node| node.number == number)
    }

    /// The container's huge pages, all and free ones, of the size in a name such as `hugepages-2048kB`.
    fn pool(&self, name: &[u8]) -> Option<[u64; 2]> {
        let size = std::str::from_utf8(name).ok()?.strip_prefix("hugepages-")?.strip_suffix("kB")?;
        let size = Kib::new(size.parse().ok()?);
        self.pools.as_ref()?.iter().find(|(known, _)| *known == size).map(|(_, pages)| *pages)
    }

    /// A node's part of the container's huge pages, all and free ones.
    fn huge_pages_of<E>(
        &self,
        number: u32,
        pages: [u64; 2],
        of_host: impl Fn(u32) -> Result<[u64; 2], E>,
    ) -> Result<[u64; 2], E> {
        let host = self.nodes.iter().map(|node| of_host(node.number)).collect::<Result<Vec<_>, E>>()?;
        let index = self.nodes.iter().position(|node| node.number == number);
        Ok(index.map_or([0; 2], |index| divide_pages(pages, &host)[index]))
    }

    /// The kernel's lines with the container's values, which are all 0 on a node whose memory it may not use.
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

    /// The kernel's keys with the container's counts: 0 for all but amounts of memory and what
    /// `memory.numa_stat` has.
    fn vmstat(&self, number: u32, native: &[u8]) -> Vec<u8> {
        let node = self.node(number);
        let mut out = Vec::with_capacity(native.len());
        for key in zeros(native).split(|&b| b == b'\n').filter_map(|line| line.strip_suffix(b" 0")) {
            let key = std::str::from_utf8(key).unwrap_or_default();
            let count = match (node, vmstat_keys::fields_of(key)) {
                (None, _) => 0,
                (Some(node), Some(fields)) => {
                    let amount = fields.iter().map(|field| node.part_of(*field)).sum();
                    vmstat_keys::in_its_unit(key, amount, self.page)
                }
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

fn malformed(error: crate::parse::ParseError) -> ViewError {
    ViewError::Malformed("a node's meminfo", error)
}

/// The keys of a file, each with 0.
pub(super) fn zeros(native: &[u8]) -> Vec<u8> {
    let keys = native.split(|&b| b == b'\n').filter_map(|line| line.split(|&b| b == b' ').next());
    keys.filter(|key| !key.is_empty()).flat_map(|key| [key, b" 0\n"].concat()).collect()
}

#[cfg(test)]
mod tests;
