//! Finds the tenants that hold more than three quarters of something.

use super::path::components;
use std::collections::HashMap;

/// Where nearly all of what is held at a level is held by few, these have more than a quarter each.
const DOMINANT_PARTS: u64 = 4;

/// The branches, by the names on the way down to each, that dominate what is held, while somebody else holds
/// something, too. At most three branches of a level dominate it: together they hold three quarters of what is
/// held there, and each more than a quarter. Those are returned that are deepest, below branches that dominate
/// their own level. `held` are holders, by their paths, and how much each holds.
///
/// It tells tenants with many cgroups, beside which others get little, from many containers that have equal
/// parts.
pub fn dominant<'p>(held: impl Iterator<Item = (&'p [u8], u64)>) -> Vec<Vec<&'p [u8]>> {
    let holders =
        held.filter(|(_, amount)| *amount > 0).map(|(path, amount)| (components(path).collect(), amount));
    let mut found = Vec::new();
    descend(holders.collect(), 0, false, &mut found);
    found
}

/// A holder's path, as names, and how much it holds.
type Holder<'p> = (Vec<&'p [u8]>, u64);

fn descend<'p>(
    holders: Vec<Holder<'p>>,
    depth: usize,
    mut others_hold: bool,
    found: &mut Vec<Vec<&'p [u8]>>,
) {
    let (mut sum, mut children) = (0_u64, HashMap::<Option<&[u8]>, (u64, Vec<Holder<'p>>)>::new());
    for (path, amount) in holders {
        let (of_child, members) = children.entry(path.get(depth).copied()).or_default();
        *of_child = of_child.saturating_add(amount);
        sum = sum.saturating_add(amount);
        members.push((path, amount));
    }
    // One that holds something itself has no branch for that.
    let is_heavy = |name: &Option<&[u8]>, amount: u64| name.is_some() && amount > sum / DOMINANT_PARTS;
    let heavy = || children.iter().filter(|(name, (amount, _))| is_heavy(name, *amount));
    let of_heavy = heavy().fold(0_u64, |all, (_, (amount, _))| all.saturating_add(*amount));
    let is_dominated = sum > 0 && sum - of_heavy.min(sum) <= sum / DOMINANT_PARTS;
    if !is_dominated {
        if let (true, Some((_, members))) = (others_hold, children.into_values().next()) {
            found.extend(members.into_iter().next().map(|(path, _)| path[..depth].to_vec()));
        }
        return;
    }
    others_hold |= heavy().count() < children.len();
    for (name, (amount, members)) in children {
        if is_heavy(&name, amount) {
            descend(members, depth + 1, others_hold, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branches(held: &[(&str, u64)]) -> Vec<String> {
        let branches = dominant(held.iter().map(|(path, amount)| (path.as_bytes(), *amount)));
        let mut branches: Vec<_> =
            branches.into_iter().map(|names| String::from_utf8(names.join(&b'/')).unwrap()).collect();
        branches.sort();
        branches
    }

    #[test]
    fn a_tenant_beside_others() {
        assert_eq!(
            branches(&[("/tenant/a", 50), ("/tenant/b", 50), ("/other", 1)]),
            ["tenant/a", "tenant/b"]
        );
        let of_tenant: Vec<_> = (0..40).map(|number| format!("/pods/x/{number}")).collect();
        let mut held: Vec<_> = of_tenant.iter().map(|path| (path.as_str(), 2)).collect();
        held.push(("/pods/y", 1));
        assert_eq!(branches(&held), ["pods/x"]);
        assert_eq!(branches(&[("/pods/x/a", 99), ("/pods/x/b", 1), ("/z", 1)]), ["pods/x/a"]);
        assert_eq!(branches(&[("/tenant", 3), ("/other", 1)]), ["tenant"]);
    }

    /// Neither hides behind the other, and a third one is not taken for one of them.
    #[test]
    fn two_tenants_beside_others() {
        let of_tenants: Vec<_> = (0..80).map(|number| format!("/pods/{}/{number}", number % 2)).collect();
        let mut held: Vec<_> = of_tenants.iter().map(|path| (path.as_str(), 2)).collect();
        assert_eq!(branches(&held), [""; 0], "there is nobody else");
        held.push(("/pods/other", 1));
        assert_eq!(branches(&held), ["pods/0", "pods/1"]);
        held.push(("/outside", 1));
        assert_eq!(branches(&held), ["pods/0", "pods/1"]);
    }

    #[test]
    fn nobody_where_parts_are_equal_or_nobody_else_is_there() {
        let pods: Vec<_> = (0..100).map(|number| format!("/pods/{number}")).collect();
        let pods: Vec<_> = pods.iter().map(|pod| (pod.as_str(), 10)).collect();
        assert_eq!(branches(&pods), [""; 0]);
        assert_eq!(branches(&[("/tenant/a", 50), ("/tenant/b", 50)]), [""; 0]);
        assert_eq!(branches(&[("/a", 70), ("/b", 30)]), [""; 0]);
        assert_eq!(branches(&[("/a", 9), ("/b", 0)]), [""; 0]);
        assert_eq!(branches(&[("/", 9), ("/b", 1)]), [""; 0], "the root has no siblings");
        assert_eq!(branches(&[]), [""; 0]);
    }
}
