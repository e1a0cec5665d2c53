//! Who has nearly all.

use super::path::components;
use std::collections::HashMap;

/// So many quarters of what is held at a level are nearly all.
const QUARTERS: u64 = 3;

/// The deepest branch that holds nearly all of what is held at its level, and so does each above it, while somebody else holds something,
/// too; by the names on the way down to it. `held` are holders, by their paths, and how much each holds.
///
/// It tells a tenant with many cgroups, beside which others get little, from many containers that have equal parts.
pub fn dominant<'p>(held: impl Iterator<Item = (&'p [u8], u64)>) -> Option<Vec<&'p [u8]>> {
    let mut members: Vec<(Vec<&[u8]>, u64)> = held
        .filter(|(_, amount)| *amount > 0)
        .map(|(path, amount)| (components(path).collect(), amount))
        .collect();
    let (mut depth, mut others_hold) = (0, false);
    loop {
        let (mut sum, mut by_child) = (0_u64, HashMap::<Option<&[u8]>, u64>::new());
        for (path, amount) in &members {
            let child = by_child.entry(path.get(depth).copied()).or_default();
            *child = child.saturating_add(*amount);
            sum = sum.saturating_add(*amount);
        }
        let most = by_child.iter().max_by_key(|(_, amount)| **amount);
        // One that holds something itself has no branch for that.
        let Some((Some(name), amount)) = most.map(|(name, amount)| (*name, *amount)) else { break };
        if amount < sum / 4 * QUARTERS {
            break;
        }
        others_hold |= by_child.len() > 1;
        members.retain(|(path, _)| path.get(depth) == Some(&name));
        depth += 1;
    }
    others_hold.then(|| members.swap_remove(0).0[..depth].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(held: &[(&str, u64)]) -> Option<String> {
        let branch = dominant(held.iter().map(|(path, amount)| (path.as_bytes(), *amount)));
        branch.map(|names| String::from_utf8(names.join(&b'/')).unwrap())
    }

    #[test]
    fn a_tenant_beside_others() {
        assert_eq!(branch(&[("/tenant/a", 50), ("/tenant/b", 50), ("/other", 1)]).as_deref(), Some("tenant"));
        assert_eq!(
            branch(&[("/pods/x/a", 50), ("/pods/x/b", 50), ("/pods/y", 1)]).as_deref(),
            Some("pods/x")
        );
        assert_eq!(branch(&[("/pods/x/a", 99), ("/pods/x/b", 1), ("/z", 1)]).as_deref(), Some("pods/x/a"));
        assert_eq!(branch(&[("/tenant", 3), ("/other", 1)]).as_deref(), Some("tenant"));
    }

    #[test]
    fn nobody_where_parts_are_equal_or_nobody_else_is_there() {
        let pods: Vec<_> = (0..100).map(|number| format!("/pods/{number}")).collect();
        let pods: Vec<_> = pods.iter().map(|pod| (pod.as_str(), 10)).collect();
        assert_eq!(branch(&pods), None);
        assert_eq!(branch(&[("/tenant/a", 50), ("/tenant/b", 50)]), None);
        assert_eq!(branch(&[("/a", 70), ("/b", 30)]), None);
        assert_eq!(branch(&[("/a", 9), ("/b", 0)]), None);
        assert_eq!(branch(&[("/", 9), ("/b", 1)]), None, "the root has no siblings");
        assert_eq!(branch(&[]), None);
    }
}
