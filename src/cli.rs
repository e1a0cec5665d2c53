//! What a person sees: a file for each subcommand, the log, and what to do about an error.

mod answer;
mod attach;
mod capture;
mod cdi;
mod config;
mod cpu_view;
mod doctor;
mod failure;
mod generate;
mod hint;
mod hook;
mod inspected_mount;
mod logging;
mod lxcfs;
mod mount;
mod program;
mod root;
mod run;
mod seccomp_profile;
mod show;
mod signals;
mod status;
mod systemd;
mod unmount;
mod usage;
mod views;

pub use self::program::main;
