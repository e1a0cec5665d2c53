//! Anchors: the paths that containers bind, which stay whoever serves.
//!
//! An anchor is a file or a directory in a shared tmpfs. The kernel's own file is mounted on it and, as long
//! as a file system is served, its view on top of that. What is mounted on an anchor appears on every bind of
//! it that is a slave (`mount_namespaces`(7)), on binds of the kernel's file and on binds of a view alike. So
//! containers get another file by mounting one on top, never by unmounting one: a container that was started
//! when that was on top would be left with it.
//!
//! Each loss of a connection makes the stack two mounts higher. A daemon that resumes a connection adds none,
//! and one that ends in order leaves none if nobody has bound an anchor.

mod directory;
mod inspection;
mod live;
mod setup;
mod tree;
mod views;

pub use self::directory::Anchors;
pub use self::inspection::MAX_DEPTH;
pub use self::views::{AnchorUse, MountedViews};
