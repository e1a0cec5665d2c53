//! Open directories. Each keeps the listing that was made when it was opened, however often and in however
//! small pieces it is read. Equal listings are stored once. The memory for different ones is limited and
//! divided fairly among tenants.

use super::handle_numbers::HandleNumbers;
use crate::shares::{Full, Policy, Shares, entry_weight};
use fuser::{FileHandle, FileType, INodeNo};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Inode number, type and name of each entry of a directory.
pub(super) type Listing = Vec<(INodeNo, FileType, Vec<u8>)>;

/// The cgroup of the process that opened a directory.
pub(super) type Tenant = Box<[u8]>;

/// How many bytes of listings are kept, about. One that was evicted is made anew at each read.
const MAX_BYTES: usize = 4 << 20;
/// How many open directories are remembered, or fewer for processes whose cgroups have long paths. One that
/// is forgotten is listed anew at each read, too.
const MAX_OPEN: usize = 32 << 10;

/// The open directories of one server of a connection.
pub(super) struct DirectoryHandles {
    numbers: HandleNumbers,
    state: RandomState,
    listings: Mutex<Listings>,
}

struct Listings {
    /// The key of each open handle's listing, which may have been evicted.
    open: HashMap<FileHandle, u64>,
    cached: HashMap<u64, CachedListing>,
    /// The keys of cached listings by their hashes. Of two with the same hash one is not found, and then not
    /// shared.
    by_hash: HashMap<u64, u64>,
    shares: Shares<u64>,
    /// The open handles, by tenant.
    handles: Shares<FileHandle>,
    next_key: u64,
}

struct CachedListing {
    listing: Arc<Listing>,
    hash: u64,
    /// How many open handles have it.
    handles: usize,
}

impl DirectoryHandles {
    pub(super) fn new(generation: u32) -> Self {
        Self::with_room(generation, MAX_BYTES, MAX_OPEN)
    }

    fn with_room(generation: u32, bytes: usize, max_open: usize) -> Self {
        let listings = Listings {
            open: HashMap::new(),
            cached: HashMap::new(),
            by_hash: HashMap::new(),
            shares: Shares::new(bytes, Policy::Replace),
            handles: Shares::new(max_open, Policy::Replace),
            next_key: 0,
        };
        let (numbers, state) = (HandleNumbers::new(generation), RandomState::new());
        Self { numbers, state, listings: Mutex::new(listings) }
    }

    /// Opens a directory for a process in the cgroup `tenant`, and returns its handle.
    pub(super) fn open(&self, listing: Listing, tenant: Tenant) -> FileHandle {
        let hash = self.state.hash_one(&listing);
        let mut listings = self.listings.lock();
        let handle = self.numbers.next();
        listings.put(handle, listing, hash, &tenant);
        handle
    }

    /// The listing of an open directory; `None` if it was evicted, or a predecessor opened the directory.
    pub(super) fn listing(&self, handle: FileHandle) -> Option<Arc<Listing>> {
        let mut listings = self.listings.lock();
        let key = *listings.open.get(&handle)?;
        let listing = Arc::clone(&listings.cached.get(&key)?.listing);
        listings.shares.touch(key);
        Some(listing)
    }

    /// Gives an open directory a new listing.
    pub(super) fn set(&self, handle: FileHandle, listing: Listing, tenant: Tenant) -> Arc<Listing> {
        let hash = self.state.hash_one(&listing);
        let mut listings = self.listings.lock();
        listings.forget(handle);
        listings.put(handle, listing, hash, &tenant)
    }

    pub(super) fn release(&self, handle: FileHandle) {
        let mut listings = self.listings.lock();
        listings.forget(handle);
        if listings.open.is_empty() {
            listings.open.shrink_to_fit();
            listings.cached.shrink_to_fit();
            listings.by_hash.shrink_to_fit();
        }
    }
}

impl Listings {
    fn put(&mut self, handle: FileHandle, listing: Listing, hash: u64, tenant: &[u8]) -> Arc<Listing> {
        match self.handles.admit(handle, tenant, entry_weight(tenant)) {
            Ok(displaced) => displaced.into_iter().for_each(|handle| self.forget(handle)),
            Err(Full) => return Arc::new(listing),
        }
        let known = self.by_hash.get(&hash).and_then(|&key| Some((key, self.cached.get_mut(&key)?)));
        if let Some((key, known)) = known.filter(|(_, known)| *known.listing == listing) {
            known.handles += 1;
            self.open.insert(handle, key);
            self.shares.touch(key);
            return Arc::clone(&known.listing);
        }
        let (key, listing) = (self.next_key, Arc::new(listing));
        self.next_key += 1;
        self.open.insert(handle, key);
        // One that is larger than the whole limit is not kept.
        if let Ok(evicted) = self.shares.admit(key, tenant, tenant.len() + weight(&listing)) {
            evicted.into_iter().for_each(|key| self.remove_listing(key));
            self.by_hash.insert(hash, key);
            self.cached.insert(key, CachedListing { listing: Arc::clone(&listing), hash, handles: 1 });
        }
        listing
    }

    /// Takes the listing from a handle.
    fn forget(&mut self, handle: FileHandle) {
        let Some(key) = self.open.remove(&handle) else { return };
        self.handles.remove(handle);
        let Some(cached) = self.cached.get_mut(&key) else { return };
        cached.handles -= 1;
        if cached.handles == 0 {
            self.shares.remove(key);
            self.remove_listing(key);
        }
    }

    fn remove_listing(&mut self, key: u64) {
        let Some(cached) = self.cached.remove(&key) else { return };
        if self.by_hash.get(&cached.hash) == Some(&key) {
            self.by_hash.remove(&cached.hash);
        }
    }
}

/// How many bytes a listing takes, without the overhead of the heap.
fn weight(listing: &Listing) -> usize {
    let of_names = listing.iter().map(|(_, _, name)| name.capacity()).sum::<usize>();
    of_names + size_of_val(listing.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(name: &str) -> Listing {
        vec![(INodeNo(7), FileType::Directory, name.into())]
    }

    #[test]
    fn equal_listings_are_one() {
        let directories = DirectoryHandles::new(3);
        let handles = ["a", "b", "a"].map(|name| directories.open(listing(name), b"/x".as_slice().into()));
        let [first, second, third] = handles.map(|handle| directories.listing(handle).unwrap());
        assert!(Arc::ptr_eq(&first, &third) && first != second);
        assert!(
            directories.listing(FileHandle(handles[0].0 & u64::from(u32::MAX))).is_none(),
            "a predecessor's"
        );
        directories.release(handles[0]);
        assert!(directories.listing(handles[2]).is_some());
        handles[1..].iter().for_each(|handle| directories.release(*handle));
        assert!(directories.listing(handles[2]).is_none());
        let listings = directories.listings.lock();
        assert!(listings.cached.is_empty() && listings.by_hash.is_empty() && listings.shares.held() == 0);
    }

    #[test]
    fn whoever_opens_many_leaves_room_for_others() {
        let room = 100 * weight(&listing("0"));
        let directories = DirectoryHandles::with_room(0, room, MAX_OPEN);
        let open = |name: String, tenant: &str| directories.open(listing(&name), tenant.as_bytes().into());
        let others: Vec<_> = (0..5).map(|number| open(format!("other {number}"), "/other")).collect();
        let many: Vec<_> =
            (0..1000).map(|number| open(number.to_string(), &format!("/tenant/{number}"))).collect();
        assert!(directories.listings.lock().shares.held() <= room);
        assert!(others.iter().all(|handle| directories.listing(*handle).is_some()));
        let gone: Vec<_> = many.iter().filter(|handle| directories.listing(**handle).is_none()).collect();
        assert!(gone.len() > 800, "{}", gone.len());
        // It is made anew.
        let again = directories.set(*gone[0], listing("0"), b"/tenant/0".as_slice().into());
        assert_eq!((&directories.listing(*gone[0]).unwrap(), &*again), (&again, &listing("0")));
        many.into_iter().chain(others).for_each(|handle| directories.release(handle));
        assert_eq!(directories.listings.lock().shares.held(), 0);
    }

    #[test]
    fn whoever_has_many_open_leaves_room_for_others() {
        let directories = DirectoryHandles::with_room(0, MAX_BYTES, 100);
        let open = |tenant: &str| directories.open(listing("the same"), tenant.as_bytes().into());
        let other = open("/other");
        let many: Vec<_> = (0..1000).map(|number| open(&format!("/tenant/{}", number % 7))).collect();
        let known = || directories.listings.lock().open.len();
        assert!(known() <= 100 && directories.listing(other).is_some(), "{}", known());
        many.into_iter().chain([other]).for_each(|handle| directories.release(handle));
        let listings = directories.listings.lock();
        assert!(listings.open.is_empty() && listings.cached.is_empty() && listings.handles.held() == 0);
    }
}
