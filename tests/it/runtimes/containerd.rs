//! containerd and its client.

use super::{LIMIT, Runtime, WORK, number};
use crate::common::daemon::Daemon;
use crate::common::{Need, output, test};
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(CONTAINERD) => [
            containerd_metrics_give_the_same_working_set = containerd_metrics,
        ],
    }
}

// The reader that joins a container joins it for the memory controller alone, which only v1 allows.
const CONTAINERD: &[Need] = &[
    Need::Root,
    Need::Fuse,
    Need::CgroupV1,
    Need::Program("busybox"),
    Need::Program("runc"),
    Need::Program("containerd"),
    Need::Program("ctr"),
];

/// containerd's metrics of a container have the same working set, to the byte.
fn containerd_metrics() {
    let daemon = Daemon::start();
    let mut runtime = Runtime::start("/run/containerd/containerd.sock", |dir| {
        let config = dir.join("config.toml");
        fs::write(&config, "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n").unwrap();
        let [config, root] = [config, dir.join("root")].map(|path| path.to_str().unwrap().to_string());
        ["containerd", "--config", &config, "--root", &root, "--state", "/run/containerd"]
            .map(String::from)
            .into()
    });
    let rootfs = runtime.rootfs();
    let cgroup = format!("/{}/one", runtime.cgroup);
    output(
        runtime
            .client("ctr")
            .args(["run", "--detach", "--null-io", "--cgroup", &cgroup, "--memory-limit", &LIMIT.to_string()])
            .arg("--rootfs")
            .arg(rootfs)
            .args(["one", "/bin/busybox", "sh", "-c", WORK]),
    );
    let container = runtime.container("one");
    container.compare(&daemon, "containerd", || {
        let text = output(runtime.client("ctr").args(["task", "metrics", "--format", "json", "one"]));
        let metrics: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let memory = &metrics["memory"];
        (number(&memory["usage"]["usage"]), number(&memory["total_inactive_file"]))
    });
}
