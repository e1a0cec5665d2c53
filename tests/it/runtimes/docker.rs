//! docker and its client.

use super::{LIMIT, MIB, Runtime, WORK, number};
use crate::common::daemon::Daemon;
use crate::common::{Need, output, test};
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(DOCKERD) => [
            docker_stats_give_the_same_working_set = docker_stats,
        ],
    }
}

/// The Debian client: another one of that name may be first in the path.
const DOCKER: &str = "/usr/bin/docker";

const DOCKERD: &[Need] = &[
    Need::Root,
    Need::Fuse,
    Need::CgroupV1,
    Need::Program("busybox"),
    Need::Program("runc"),
    Need::Program("containerd"),
    Need::Program("dockerd"),
    Need::Program(DOCKER),
];

/// `docker stats` says the same of usage less cache.
fn docker_stats() {
    let daemon = Daemon::start();
    let mut runtime = Runtime::start("/run/docker.sock", |dir| {
        let root = dir.join("root");
        let config = dir.join("daemon.json");
        fs::write(&config, "{}").unwrap();
        let [root, config] = [root, config].map(|path| path.to_str().unwrap().to_string());
        #[rustfmt::skip]
        let words = [
            "dockerd", "--config-file", &config, "--data-root", &root, "--exec-root", "/run/docker",
            "--pidfile", "/run/docker.pid", "--host", "unix:///run/docker.sock", "--storage-driver", "vfs",
            "--exec-opt", "native.cgroupdriver=cgroupfs", "--iptables=false", "--ip6tables=false",
            "--bridge=none",
        ];
        words.map(String::from).into()
    });
    let archive = runtime.dir.path().join("rootfs.tar");
    output(Command::new("tar").arg("-C").arg(runtime.rootfs()).arg("-cf").arg(&archive).arg("."));
    docker(&runtime, &["import", archive.to_str().unwrap(), "cgprocfs/test:1"]);
    let parent = format!("/{}", runtime.cgroup);
    #[rustfmt::skip]
    let id = docker(&runtime, &[
        "run", "--detach", "--network=none", "--ulimit", "nofile=1024:4096", "--cgroup-parent", &parent,
        "--memory", &LIMIT.to_string(), "cgprocfs/test:1", "/bin/busybox", "sh", "-c", WORK,
    ]);
    let id = id.trim().to_string();
    let container = runtime.container(&id);
    let socket = runtime.inside("/run/docker.sock");
    let mut reader = container.compare(&daemon, "docker", || {
        let stats = get(&socket, &format!("/containers/{id}/stats?stream=false&one-shot=1"));
        let memory = &stats["memory_stats"];
        (number(&memory["usage"]), number(&memory["stats"]["total_inactive_file"]))
    });
    // What was charged in advance may be given back here too.
    let equal = (0..3).any(|_| {
        let printed = docker(&runtime, &["stats", "--no-stream", "--format", "{{.MemUsage}}", &id]);
        let mib = printed.split_once("MiB / 128MiB").unwrap_or_else(|| panic!("no MiB: {printed}")).0;
        let working_set: f64 = reader.ask().parse().unwrap();
        // Four digits, of which two are before the point; zeros at the end are left out.
        let ours = format!("{:.2}", working_set / MIB as f64);
        println!("docker prints {mib}, ours is {ours}");
        mib == ours.trim_end_matches('0').trim_end_matches('.')
    });
    assert!(equal, "the client never printed our number");
}

/// Standard output of docker's client. Whatever the environment says, it asks our daemon.
fn docker(runtime: &Runtime, words: &[&str]) -> String {
    let mut command = runtime.client(DOCKER);
    command.args(["--host", "unix:///run/docker.sock"]).args(words);
    output(command.env("DOCKER_CONFIG", runtime.dir.path()).env_remove("DOCKER_CONTEXT"))
}

/// What docker's API says.
fn get(socket: &Path, path: &str) -> Value {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // In this version of HTTP the answer ends where the connection does.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    assert!(head.lines().next().unwrap().contains(" 200 "), "{head}: {body}");
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"))
}
