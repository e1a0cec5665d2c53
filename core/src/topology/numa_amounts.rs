//! How much memory a container has on each node, by its `memory.numa_stat`.

use crate::parse::numa_stat::NumaStat;
use crate::units::Kib;

/// The keys of `memory.numa_stat` that together are all memory in use, with nothing counted twice.
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

/// What `memory.numa_stat` says of some nodes.
pub(super) struct NumaAmounts<'s> {
    pub(super) stat: Option<&'s NumaStat>,
    /// The host's numbers of the nodes.
    pub(super) numbers: &'s [u32],
    pub(super) page: Kib,
}

impl NumaAmounts<'_> {
    /// How much each node has under a key of cgroup v2 or one of v1, in kibibytes; `None` where that is not
    /// known.
    pub(super) fn amounts(&self, [v2, v1]: [&str; 2]) -> Option<Vec<u64>> {
        let stat = self.stat?;
        let is_v1 = stat.get("total").is_some();
        let amounts = match is_v1 {
            // Kernels without the prefix leave out the cgroups below.
            true => stat.get(&format!("hierarchical_{v1}")).or_else(|| stat.get(v1)),
            false => stat.get(v2),
        }?;
        let kib = |amount: u64| if is_v1 { amount.saturating_mul(self.page.get()) } else { amount / 1024 };
        let of = |number: &u32| {
            amounts.iter().find(|(node, _)| node == number).map_or(0, |(_, amount)| kib(*amount))
        };
        Some(self.numbers.iter().map(of).map(|kib| Kib::new(kib).get()).collect())
    }

    /// How much of each node is in use for certain, in kibibytes.
    pub(super) fn in_use(&self) -> Vec<u64> {
        let keys = IN_USE_V2.map(|key| [key, ""]).into_iter().chain(IN_USE_V1.map(|key| ["", key]));
        let mut sum = vec![0; self.numbers.len()];
        for amounts in keys.filter_map(|keys| self.amounts(keys)) {
            sum.iter_mut().zip(amounts).for_each(|(sum, amount)| *sum += amount);
        }
        sum
    }
}
