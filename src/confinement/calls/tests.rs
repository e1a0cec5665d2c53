use super::*;

/// Whether a call is allowed with any argument at all.
fn knows(calls: &Calls, call: libc::c_long) -> bool {
    calls.allowed.contains_key(&call) && !calls.absent.contains_key(&call)
}

/// These are calls that no test can try without harm, or that no safe wrapper covers.
#[test]
fn what_changes_the_host_or_reaches_other_processes_is_on_no_list() {
    let lists = [Calls::for_server().unwrap(), Calls::for_namespace_reader().unwrap()];
    for call in [
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_clone3,
        libc::SYS_openat2,
        libc::SYS_unshare,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_mount_setattr,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_open_by_handle_at,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_linkat,
        libc::SYS_symlinkat,
        libc::SYS_mkdirat,
        libc::SYS_mknodat,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fchownat,
        libc::SYS_ftruncate,
        libc::SYS_setxattr,
        libc::SYS_setuid,
        libc::SYS_setresuid,
        libc::SYS_capset,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_settimeofday,
        libc::SYS_sethostname,
        libc::SYS_add_key,
        libc::SYS_keyctl,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_memfd_create,
        libc::SYS_bind,
        libc::SYS_listen,
    ] {
        assert!(lists.iter().all(|calls| !knows(calls, call)), "call {call}");
    }
    assert!(!knows(&lists[0], libc::SYS_setns));
    assert!(!knows(&lists[1], libc::SYS_openat) && !knows(&lists[1], libc::SYS_clone));
}

#[test]
fn conditions_never_widen_what_is_allowed() {
    let mut calls = Calls::for_namespace_reader().unwrap();
    calls.allow_if(libc::SYS_socket, &[Argument::is(0, libc::AF_UNIX)]).unwrap();
    assert_eq!(calls.allowed[&libc::SYS_socket].len(), 1);
    calls.allow(&[libc::SYS_bind]);
    calls.allow_if(libc::SYS_bind, &[Argument::is(0, 1)]).unwrap();
    assert!(calls.allowed[&libc::SYS_bind].is_empty(), "allowed with any argument");
}
