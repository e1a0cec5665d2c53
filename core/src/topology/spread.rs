//! How amounts of memory are divided among nodes.

/// Divides a total and what of it is free among nodes, and returns the total and the free memory of each.
///
/// Totals are as the nodes' `sizes` are to each other, in whole pages of `page`, except for nodes on which
/// more than that is `in_use` for certain. All are in kibibytes.
pub(super) fn divide(total: u64, free: u64, in_use: &[u64], sizes: &[u64], page: u64) -> Vec<(u64, u64)> {
    let page = page.max(1);
    let mut shares: Vec<u64> = spread(total / page, sizes).into_iter().map(|pages| pages * page).collect();
    if let Some(first) = shares.first_mut() {
        *first += total % page;
    }
    let used = total.saturating_sub(free);
    let known: u64 = in_use.iter().sum();
    // Figures that were read one after the other need not add up.
    let in_use = if known > used { spread(used, in_use) } else { in_use.to_vec() };
    let room: Vec<u64> =
        shares.iter().zip(&in_use).map(|(share, used)| share.saturating_sub(*used)).collect();
    let free = spread(free.min(total), &room);
    let left: Vec<u64> = room.iter().zip(&free).map(|(room, free)| room.saturating_sub(*free)).collect();
    let others = spread(used.saturating_sub(in_use.iter().sum()), &left);
    let nodes = in_use.iter().zip(&free).zip(&others);
    nodes.map(|((used, free), others)| (used + free + others, *free)).collect()
}

/// Divides huge pages, all and free ones, among nodes of which the host has so many: free ones as the host's
/// free ones are, and the others as the host's others are.
pub(super) fn divide_pages([total, free]: [u64; 2], host: &[[u64; 2]]) -> Vec<[u64; 2]> {
    let [host_free, in_use]: [Vec<u64>; 2] = [
        host.iter().map(|[total, free]| *free.min(total)).collect(),
        host.iter().map(|[total, free]| total.saturating_sub(*free)).collect(),
    ];
    let own_free = spread(free.min(host_free.iter().sum()), &host_free);
    let others = total.saturating_sub(own_free.iter().sum());
    // Free ones that a limit keeps from the container are among its own total, and not free for it.
    let own_in_use = spread(others.min(in_use.iter().sum()), &in_use);
    let left: Vec<u64> = host_free.iter().zip(&own_free).map(|(host, own)| host - own).collect();
    let others = others.saturating_sub(own_in_use.iter().sum()).min(left.iter().sum());
    let withheld = if others > 0 { spread(others, &left) } else { vec![0; host.len()] };
    let nodes = own_free.iter().zip(&own_in_use).zip(&withheld);
    nodes.map(|((free, in_use), withheld)| [free + in_use + withheld, *free]).collect()
}

/// Divides a whole by weights, by the method of the largest remainder. A part without weight gets nothing; if
/// none has any, the first gets all.
pub(super) fn spread(whole: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    if sum == 0 {
        let first = weights.iter().enumerate().map(|(index, _)| if index == 0 { whole } else { 0 });
        return first.collect();
    }
    let exact = |weight: u64| u128::from(whole) * u128::from(weight);
    let mut parts: Vec<u64> =
        weights.iter().map(|&weight| u64::try_from(exact(weight) / sum).unwrap_or(u64::MAX)).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(exact(weights[index]) % sum));
    let left = whole.saturating_sub(parts.iter().sum());
    for index in order.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        parts[index] += 1;
    }
    parts
}
