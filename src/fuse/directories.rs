//! Open directories. Each has the listing that was made when it was opened, however often and in however small pieces it is
//! read, as long as there is room for it: what lists like another one shares it, and what differs is shared out by tenant.

use crate::shares::{Policy, Shares};
use fuser::FileType;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Inode number, type and name of all that is in a directory.
pub(super) type Listing = Vec<(u64, FileType, Vec<u8>)>;

/// The cgroup of who has it.
pub(super) type Tenant = Box<[u8]>;

/// So many bytes of different listings are kept, about. Whoever has what gave way has it made anew at each read.
const MOST_BYTES: usize = 4 << 20;

/// Those that one server of a connection has opened.
pub(super) struct Directories {
    /// Upper half of each number given out, so that a predecessor's is never taken for one of ours.
    generation: u32,
    opened: AtomicU32,
    state: RandomState,
    listings: Mutex<Listings>,
}

struct Listings {
    /// By handle, the key of what it lists; that need not be kept any more.
    open: HashMap<u64, u64>,
    kept: HashMap<u64, PersistentState>,
    /// The keys of those that are kept, by their hashes. Of two that have the same hash one is not found by it.
    by_hash: HashMap<u64, u64>,
    shares: Shares<u64>,
    next_key: u64,
}

struct PersistentState {
    listing: Arc<Listing>,
    hash: u64,
    handles: usize,
}

impl Directories {
    pub(super) fn new(generation: u32) -> Self {
        Self::with_room(generation, MOST_BYTES)
    }

    fn with_room(generation: u32, bytes: usize) -> Self {
        let listings = Listings {
            open: HashMap::new(),
            kept: HashMap::new(),
            by_hash: HashMap::new(),
            shares: Shares::new(bytes, Policy::Replace),
            next_key: 0,
        };
        let (opened, state) = (AtomicU32::new(0), RandomState::new());
        Self { generation, opened, state, listings: Mutex::new(listings) }
    }

    /// The number of a directory that is open from now on, for somebody in the cgroup `tenant`.
    pub(super) fn open(&self, listing: Listing, tenant: Tenant) -> u64 {
        let hash = self.state.hash_one(&listing);
        let mut listings = self.listings.lock();
        let handle = loop {
            let number = self.opened.fetch_add(1, Ordering::Relaxed);
            let handle = u64::from(self.generation) << 32 | u64::from(number);
            if !listings.open.contains_key(&handle) {
                break handle;
            }
        };
        listings.put(handle, listing, hash, &tenant);
        handle
    }

    /// Operation an open directory lists; `None` where that is not kept, as for one that a predecessor has opened.
    pub(super) fn listing(&self, handle: u64) -> Option<Arc<Listing>> {
        let mut listings = self.listings.lock();
        let key = *listings.open.get(&handle)?;
        let listing = Arc::clone(&listings.kept.get(&key)?.listing);
        listings.shares.touch(key);
        Some(listing)
    }

    /// An open directory lists this from now on.
    pub(super) fn put(&self, handle: u64, listing: Listing, tenant: Tenant) -> Arc<Listing> {
        let hash = self.state.hash_one(&listing);
        let mut listings = self.listings.lock();
        listings.forget(handle);
        listings.put(handle, listing, hash, &tenant)
    }

    pub(super) fn release(&self, handle: u64) {
        let mut listings = self.listings.lock();
        listings.forget(handle);
        if listings.open.is_empty() {
            listings.open.shrink_to_fit();
            listings.kept.shrink_to_fit();
            listings.by_hash.shrink_to_fit();
        }
    }
}

impl Listings {
    fn put(&mut self, handle: u64, listing: Listing, hash: u64, tenant: &[u8]) -> Arc<Listing> {
        if let Some(&key) = self.by_hash.get(&hash)
            && let Some(known) = self.kept.get_mut(&key).filter(|known| *known.listing == listing)
        {
            known.handles += 1;
            self.open.insert(handle, key);
            self.shares.touch(key);
            return Arc::clone(&known.listing);
        }
        let (key, listing) = (self.next_key, Arc::new(listing));
        self.next_key += 1;
        self.open.insert(handle, key);
        // One that is larger than all that there is room for is not kept.
        if let Ok(displaced) = self.shares.admit(key, tenant, weight(&listing)) {
            displaced.into_iter().for_each(|key| self.drop_listing(key));
            self.by_hash.insert(hash, key);
            self.kept.insert(key, PersistentState { listing: Arc::clone(&listing), hash, handles: 1 });
        }
        listing
    }

    /// A handle lists nothing any more.
    fn forget(&mut self, handle: u64) {
        let Some(key) = self.open.remove(&handle) else { return };
        let Some(kept) = self.kept.get_mut(&key) else { return };
        kept.handles -= 1;
        if kept.handles == 0 {
            self.shares.remove(key);
            self.drop_listing(key);
        }
    }

    fn drop_listing(&mut self, key: u64) {
        let Some(kept) = self.kept.remove(&key) else { return };
        if self.by_hash.get(&kept.hash) == Some(&key) {
            self.by_hash.remove(&kept.hash);
        }
    }
}

/// How many bytes a listing takes, about.
fn weight(listing: &Listing) -> usize {
    let of_names = listing.iter().map(|(_, _, name)| name.capacity()).sum::<usize>();
    of_names + size_of_val(listing.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(name: &str) -> Listing {
        vec![(7, FileType::Directory, name.into())]
    }

    #[test]
    fn equal_listings_are_one() {
        let directories = Directories::new(3);
        let handles = ["a", "b", "a"].map(|name| directories.open(listing(name), b"/x".as_slice().into()));
        let [first, second, third] = handles.map(|handle| directories.listing(handle).unwrap());
        assert!(Arc::ptr_eq(&first, &third) && first != second);
        assert!(directories.listing(handles[0] & u64::from(u32::MAX)).is_none(), "a predecessor's");
        directories.release(handles[0]);
        assert!(directories.listing(handles[2]).is_some());
        handles[1..].iter().for_each(|handle| directories.release(*handle));
        assert!(directories.listing(handles[2]).is_none());
        let listings = directories.listings.lock();
        assert!(listings.kept.is_empty() && listings.by_hash.is_empty() && listings.shares.held() == 0);
    }

    #[test]
    fn whoever_opens_many_leaves_room_for_others() {
        let room = 100 * weight(&listing("0"));
        let directories = Directories::with_room(0, room);
        let open = |name: String, tenant: &str| directories.open(listing(&name), tenant.as_bytes().into());
        let others: Vec<_> = (0..5).map(|number| open(format!("other {number}"), "/other")).collect();
        let many: Vec<_> =
            (0..1000).map(|number| open(number.to_string(), &format!("/tenant/{number}"))).collect();
        assert!(directories.listings.lock().shares.held() <= room);
        assert!(others.iter().all(|handle| directories.listing(*handle).is_some()));
        let gone: Vec<_> = many.iter().filter(|handle| directories.listing(**handle).is_none()).collect();
        assert!(gone.len() > 800, "{}", gone.len());
        // It is made anew.
        let again = directories.put(*gone[0], listing("0"), b"/tenant/0".as_slice().into());
        assert_eq!((&directories.listing(*gone[0]).unwrap(), &*again), (&again, &listing("0")));
        many.into_iter().chain(others).for_each(|handle| directories.release(handle));
        assert_eq!(directories.listings.lock().shares.held(), 0);
    }
}
