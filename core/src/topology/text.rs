//! What a container reads in the files of processors and nodes.

use super::layout::Topology;
use super::memory::{MemoryByNode, zeros};
use super::path::{of_node, of_processor};
use crate::error::ViewError;
use crate::parse::cpu_list::CpuList;
use crate::snapshot::Needs;

impl Topology {
    /// What has to be loaded for the text of the file at `path`.
    #[must_use]
    pub fn needs(path: &[u8]) -> Needs {
        let own = Needs::CPUS.and(Needs::NODES);
        if MemoryByNode::is_at(path) { own.and(Needs::NUMA_STAT) } else { own }
    }

    /// The text that a container reads at `path` below `sys/devices/system`. `native` is the kernel's text of
    /// that file, `memory` the container's memory on each node where that [is needed](Self::needs), and
    /// `read` returns the kernel's text of other files.
    ///
    /// As in `proc/cpuinfo`, the processors are the cores, of one thread each, of one package
    /// (Documentation/ABI/stable/sysfs-devices-system-cpu). The files of caches list those of the container's
    /// processors that share them.
    ///
    /// # Errors
    /// What `read` returns, and [`ViewError::Malformed`] where a file is malformed.
    pub fn text<E: From<ViewError>>(
        &self,
        path: &[u8],
        native: Vec<u8>,
        memory: Option<&MemoryByNode>,
        read: impl Fn(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        if let Some((number, rest)) = of_processor(path) {
            return Ok(self.of_processor(number, rest, native));
        }
        if let Some((number, rest)) = of_node(path) {
            let names: Vec<&[u8]> = rest.split(|&b| b == b'/').skip(1).collect();
            let memory = memory.filter(|_| MemoryByNode::is_at(path));
            return match memory {
                Some(memory) => memory.text(number, &names, native, read),
                None => Ok(self.of_node(number, &names, native)),
            };
        }
        let native_list = || CpuList::parse(&native);
        Ok(match path {
            b"cpu/offline" | b"cpu/isolated" | b"cpu/nohz_full" => b"\n".to_vec(),
            b"cpu/enabled" | b"cpu/online" | b"cpu/present" | b"cpu/possible" => {
                list(&CpuList::first(self.count()))
            }
            b"cpu/smt/active" => b"0\n".to_vec(),
            b"cpu/smt/control" => b"notsupported\n".to_vec(),
            b"node/online" | b"node/possible" => list(&self.nodes()),
            b"node/has_cpu" => list(&self.nodes_with_cpus()),
            b"node/has_memory" | b"node/has_normal_memory" | b"node/has_high_memory" => {
                native_list().map_or(native, |nodes| list(&nodes.within(&self.nodes_with_memory())))
            }
            path if path.starts_with(b"node/has_") => {
                native_list().map_or(native, |nodes| list(&nodes.within(&self.nodes())))
            }
            _ => native,
        })
    }

    fn of_processor(&self, number: u32, rest: &[u8], native: Vec<u8>) -> Vec<u8> {
        let names: Vec<&[u8]> = rest.split(|&b| b == b'/').skip(1).collect();
        let mask = |list: &CpuList| list.mask_like(&native);
        let (all, own) = (CpuList::first(self.count()), CpuList::from_iter([number]));
        match names.as_slice() {
            [b"topology", name] => match *name {
                // A cluster is of one core here.
                b"core_id" | b"cluster_id" => format!("{number}\n").into_bytes(),
                b"physical_package_id" | b"die_id" | b"book_id" | b"drawer_id" => b"0\n".to_vec(),
                b"thread_siblings_list" | b"core_cpus_list" | b"cluster_cpus_list" => list(&own),
                b"thread_siblings" | b"core_cpus" | b"cluster_cpus" => mask(&own),
                b"core_siblings_list" | b"package_cpus_list" | b"die_cpus_list" => list(&all),
                b"core_siblings" | b"package_cpus" | b"die_cpus" => mask(&all),
                // Those of s390x.
                b"book_siblings_list" | b"drawer_siblings_list" => list(&all),
                b"book_siblings" | b"drawer_siblings" => mask(&all),
                _ => native,
            },
            [b"cache", _, b"shared_cpu_list"] => {
                CpuList::parse(&native).map_or(native, |shared| list(&self.numbered(&shared)))
            }
            [b"cache", _, b"shared_cpu_map"] => mask(&self.numbered(&CpuList::parse_mask(&native))),
            _ => native,
        }
    }

    fn of_node(&self, number: u32, names: &[&[u8]], native: Vec<u8>) -> Vec<u8> {
        let Some(node) = self.node(number) else { return native };
        match names {
            [b"cpulist"] => list(&node.cpus),
            [b"cpumap"] => node.cpus.mask_like(&native),
            [b"distance"] => self.distances(&native),
            // No cgroup counts from which node it got its memory.
            [b"numastat"] => zeros(&native),
            _ => native,
        }
    }

    /// The distances to the container's nodes; the kernel lists those to all nodes of the host.
    fn distances(&self, native: &[u8]) -> Vec<u8> {
        let distances = native.trim_ascii().split(|&b| b == b' ').filter(|word| !word.is_empty());
        let own = self.of_host.iter().zip(distances).filter(|(number, _)| self.node(**number).is_some());
        let own: Vec<&[u8]> = own.map(|(_, distance)| distance).collect();
        [&own.join(&b' ')[..], b"\n"].concat()
    }
}

fn list(list: &CpuList) -> Vec<u8> {
    format!("{list}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixtures::topology;

    fn check(topology: &Topology, cases: &[(&str, &str, &str)]) {
        for (path, native, shown) in cases {
            let read = |_: &[u8]| -> Result<Vec<u8>, ViewError> { panic!("{path}") };
            let text = topology.text(path.as_bytes(), native.as_bytes().to_vec(), None, read).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), *shown, "{path}");
        }
    }

    #[test]
    fn one_package_of_cores() {
        check(
            &topology("1,3,5", None, None),
            &[
                ("cpu/cpu1/topology/core_id", "7\n", "1\n"),
                ("cpu/cpu1/topology/physical_package_id", "1\n", "0\n"),
                ("cpu/cpu1/topology/thread_siblings", "00000000,0000000a\n", "00000000,00000002\n"),
                ("cpu/cpu1/topology/core_cpus_list", "1,3\n", "1\n"),
                ("cpu/cpu1/topology/package_cpus", "aa\n", "07\n"),
                ("cpu/cpu1/topology/cluster_id", "4\n", "1\n"),
                ("cpu/cpu1/topology/book_id", "2\n", "0\n"),
                ("cpu/cpu1/topology/drawer_siblings_list", "0-7\n", "0-2\n"),
                ("cpu/cpu1/topology/book_siblings", "aa\n", "07\n"),
                ("cpu/cpu2/topology/core_siblings_list", "1,3,5,7\n", "0-2\n"),
                ("cpu/cpu0/cache/index0/shared_cpu_list", "1,3\n", "0-1\n"),
                ("cpu/cpu0/cache/index0/shared_cpu_map", "0,0000000a\n", "0,00000003\n"),
                ("cpu/cpu0/cache/index0/size", "32K\n", "32K\n"),
                ("cpu/offline", "0,2\n", "\n"),
                ("cpu/present", "0-7\n", "0-2\n"),
                ("cpu/smt/active", "1\n", "0\n"),
                ("cpu/vulnerabilities/meltdown", "Not affected\n", "Not affected\n"),
            ],
        );
    }

    #[test]
    fn nodes_of_the_same_processors() {
        check(
            &topology("3,6-7", None, Some("1,3")),
            &[
                ("node/online", "0-1,3\n", "0-1,3\n"),
                ("node/has_cpu", "0-1\n", "0-1\n"),
                ("node/has_memory", "0-1,3\n", "1,3\n"),
                ("node/has_normal_memory", "0-1\n", "1\n"),
                ("node/has_generic_initiator", "\n", "\n"),
                ("node/node0/cpulist", "0-3\n", "0\n"),
                ("node/node1/cpulist", "4-7\n", "1-2\n"),
                ("node/node3/cpulist", "\n", "\n"),
                ("node/node1/cpumap", "00,000000f0\n", "00,00000006\n"),
                ("node/node1/distance", "21 10 17\n", "21 10 17\n"),
                ("node/node1/numastat", "numa_hit 7\nother_node 3\n", "numa_hit 0\nother_node 0\n"),
                ("node/node1/uevent", "\n", "\n"),
            ],
        );
        let one = topology("3,6-7", Some(1000), Some("3"));
        check(&one, &[("node/possible", "0-3\n", "0,3\n"), ("node/node3/distance", "17 24 10\n", "17 10\n")]);
    }
}
