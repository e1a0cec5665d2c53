//! The option that chooses which limits reduce the number of processors.

use crate::kernel::CpuView;

/// An option of every command that computes views.
#[derive(Clone, Copy, clap::Args)]
pub(super) struct CpuViewArgument {
    /// Which limits reduce the number of processors that a container sees
    #[arg(long, env = "CGPROCFS_CPU_VIEW", value_enum, default_value_t)]
    cpu_view: CpuViewName,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum CpuViewName {
    /// Its cpuset and its CPU bandwidth (cpu.max)
    #[default]
    Quota,
    /// Its cpuset only
    Cpuset,
}

impl CpuViewArgument {
    pub(super) const fn get(self) -> CpuView {
        match self.cpu_view {
            CpuViewName::Quota => CpuView::Quota,
            CpuViewName::Cpuset => CpuView::Cpuset,
        }
    }

    /// As it is written on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self.cpu_view {
            CpuViewName::Quota => "quota",
            CpuViewName::Cpuset => "cpuset",
        }
    }
}
