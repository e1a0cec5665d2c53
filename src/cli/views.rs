//! The option that chooses among the views.

use cgprocfs_core::view::{ViewId, find};

/// An option of every command that lays views over the kernel's files.
#[derive(Clone, clap::Args)]
pub(super) struct ViewsArgument {
    /// Show only these views, such as meminfo,working_set,pressure/cpu; at other paths are the kernel's own
    /// files. Any file of sys/devices/system/cpu, or of node, stands for the whole directory
    #[arg(long, env = "CGPROCFS_VIEWS", value_name = "VIEW", value_delimiter = ',', value_parser = named)]
    views: Vec<ViewId>,
}

impl ViewsArgument {
    /// The chosen views, which are all if none was named.
    pub(super) fn get(&self) -> Vec<ViewId> {
        if self.views.is_empty() { ViewId::ALL.to_vec() } else { self.views.clone() }
    }

    /// As it is written on the command line, unless all are wanted.
    pub(super) fn value(&self) -> Option<String> {
        let paths: Vec<_> = self.views.iter().map(|view| view.path()).collect();
        (!paths.is_empty()).then(|| paths.join(","))
    }
}

/// The view of a path or name.
pub(super) fn named(name: &str) -> Result<ViewId, String> {
    find(name).ok_or_else(|| match almost(name) {
        Some(view) => format!("there is no view {name:?}; did you mean `{}`?", view.path()),
        None => {
            let known: Vec<_> = ViewId::ALL.iter().map(|view| view.path()).collect();
            format!("there is no view {name:?}; the views are {}", known.join(", "))
        }
    })
}

/// The view whose path, or the end of it, is written almost like that.
fn almost(name: &str) -> Option<ViewId> {
    let likeness = |view: &ViewId| {
        let path = view.path();
        let end = path.rsplit('/').next().unwrap_or(path);
        strsim::jaro_winkler(path, name).max(strsim::jaro_winkler(end, name))
    };
    let views = ViewId::ALL.into_iter().map(|view| (likeness(&view), view));
    views
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, view)| view)
}
