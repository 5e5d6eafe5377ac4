//! The system-call filter: a list of what the server may ask the kernel for. Everything else fails with "Operation not
//! permitted" and is noted in the kernel's log; nothing is killed for it.
//!
//! The filter outlives `execve`, because an upgrade in place keeps the process. So the list has what a start needs too, for
//! this version and, as far as one can tell, the next. What it takes away is what an intruder would ask for: other processes'
//! memory (ptrace), namespaces and mounts, raw and netlink sockets, BPF, keys, modules, io_uring, the clock, and memory that is
//! writable and executable.
//!
//! Plain rows cost nothing to speak of: since Linux 5.11 the kernel knows from a bitmap that they are always allowed.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Cmp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};
use std::collections::BTreeMap;
use std::io;

/// Installs the filter for this thread and all it starts. Before there are others, and after the user was changed. It can
/// never be taken off again.
///
/// # Errors
/// When this kernel or machine has no such filters; then nothing is filtered.
pub fn install() -> io::Result<()> {
    let (list, no_clone3) = (allowed()?, without_clone3()?);
    // SAFETY: plain numbers. Without this only root may install filters.
    super::check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // Refusals are noted in the kernel's log; that there is no clone3 is none.
    load(&list, libc::SECCOMP_FILTER_FLAG_LOG)?;
    load(&no_clone3, 0)
}

/// The kernel's `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: libc::c_ushort,
    filter: *const sock_filter,
}

fn load(program: &BpfProgram, log: libc::c_ulong) -> io::Result<()> {
    let len = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    let program = Program { len, filter: program.as_ptr() };
    // The processor's speculation stays as it is: the filter is no sandbox for foreign code, and kernels before 5.16 would slow
    // everything down.
    let flags = log | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the kernel copies the program, whose length is told, and writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile(rules: Rules, otherwise: SeccompAction, on_match: SeccompAction) -> io::Result<BpfProgram> {
    let machine = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, on_match, machine).map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}

/// The list.
fn allowed() -> io::Result<BpfProgram> {
    // No rules: whatever the arguments.
    let mut rules: Rules = PLAIN.iter().chain(OLDER).map(|&call| (call, Vec::new())).collect();
    let conditional = || -> seccompiler::Result<Rules> {
        Ok(BTreeMap::from([
            (libc::SYS_socket, sockets()?),
            (libc::SYS_socketpair, vec![rule([equal(0, libc::AF_UNIX as u64)?])?]),
            (libc::SYS_clone, vec![rule([masked(0, NAMESPACES, 0)?])?]),
            (libc::SYS_mmap, write_or_execute()?),
            (libc::SYS_mprotect, write_or_execute()?),
            (libc::SYS_ioctl, IOCTLS.iter().map(|&request| rule([equal(1, request)?])).collect::<Result<_, _>>()?),
            (libc::SYS_prctl, PRCTLS.iter().map(|&what| rule([equal(0, what)?])).collect::<Result<_, _>>()?),
        ]))
    };
    rules.extend(conditional().map_err(io::Error::other)?);
    compile(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

/// The flags of `clone3` are in memory, where a filter cannot look. The C library asks `clone` instead when there is no `clone3`.
fn without_clone3() -> io::Result<BpfProgram> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    compile(rules, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))
}

fn rule(conditions: impl Into<Vec<SeccompCondition>>) -> seccompiler::Result<SeccompRule> {
    Ok(SeccompRule::new(conditions.into())?)
}

/// Argument `number` is `value`. Only its lower half: the kernel takes an int there.
fn equal(number: u8, value: u64) -> seccompiler::Result<SeccompCondition> {
    Ok(SeccompCondition::new(number, Len::Dword, Cmp::Eq, value)?)
}

/// Argument `number` has `value` in the bits of `mask`.
fn masked(number: u8, mask: u64, value: u64) -> seccompiler::Result<SeccompCondition> {
    Ok(SeccompCondition::new(number, Len::Dword, Cmp::MaskedEq(mask), value)?)
}

/// TCP, UDP and unix sockets: no raw, packet or netlink ones.
fn sockets() -> seccompiler::Result<Vec<SeccompRule>> {
    // What is left of the type without SOCK_CLOEXEC and SOCK_NONBLOCK.
    const TYPE: u64 = 0xf;
    let mut rules = Vec::new();
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            rules.push(rule([equal(0, family as u64)?, masked(1, TYPE, kind as u64)?])?);
        }
    }
    Ok(rules)
}

/// Memory may be writable or executable, not both.
fn write_or_execute() -> seccompiler::Result<Vec<SeccompRule>> {
    Ok(vec![rule([masked(2, libc::PROT_EXEC as u64, 0)?])?, rule([masked(2, libc::PROT_WRITE as u64, 0)?])?])
}

const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64
    & 0xffff_ffff;

/// What may be asked of a descriptor: sockets and, for the standard streams, terminals.
const IOCTLS: &[u64] = &[libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX, libc::TCGETS, libc::TIOCGWINSZ];

/// `PR_SET_VMA`: the C library names its memory. `PR_SET_NAME`: threads have names.
const PRCTLS: &[u64] = &[
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    libc::PR_SET_NO_NEW_PRIVS as u64,
    libc::PR_SET_DUMPABLE as u64,
    libc::PR_GET_DUMPABLE as u64,
    libc::PR_SET_PDEATHSIG as u64,
    libc::PR_CAPBSET_READ as u64,
    libc::PR_SET_VMA as u64,
];

/// Allowed whatever the arguments, on every machine.
#[rustfmt::skip]
const PLAIN: &[i64] = &[
    // Reading, writing, waiting.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_sendfile, libc::SYS_splice,
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll,
    libc::SYS_pselect6, libc::SYS_eventfd2, libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_signalfd4,
    libc::SYS_pipe2, libc::SYS_close, libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_fcntl,
    // Sockets.
    libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4, libc::SYS_connect, libc::SYS_shutdown,
    libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_setsockopt, libc::SYS_getsockopt, libc::SYS_sendto,
    libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg,
    // Memory.
    libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_msync, libc::SYS_mincore,
    libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_munlock, libc::SYS_mlockall, libc::SYS_munlockall,
    libc::SYS_memfd_create, libc::SYS_membarrier, libc::SYS_get_mempolicy, libc::SYS_process_madvise,
    // Files: certificates, passwords, item memory, the pid file, options.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat, libc::SYS_fstat, libc::SYS_statx, libc::SYS_statfs,
    libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_readlinkat, libc::SYS_getdents64,
    libc::SYS_lseek, libc::SYS_fallocate, libc::SYS_ftruncate, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_flock,
    libc::SYS_unlinkat, libc::SYS_renameat2, libc::SYS_mkdirat, libc::SYS_linkat, libc::SYS_fchmod,
    libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_umask,
    libc::SYS_utimensat, libc::SYS_fadvise64, libc::SYS_copy_file_range,
    // Threads and time.
    libc::SYS_clone3, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_futex, libc::SYS_set_robust_list,
    libc::SYS_get_robust_list, libc::SYS_set_tid_address, libc::SYS_rseq, libc::SYS_gettid, libc::SYS_getcpu,
    libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler, libc::SYS_getpriority,
    libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_gettimeofday, libc::SYS_getrandom, libc::SYS_times, libc::SYS_getitimer, libc::SYS_setitimer,
    libc::SYS_restart_syscall,
    // Signals.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigsuspend, libc::SYS_rt_sigqueueinfo, libc::SYS_sigaltstack,
    libc::SYS_kill, libc::SYS_tgkill, libc::SYS_tkill,
    // The process; the next version's start in its place.
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid,
    libc::SYS_getresuid, libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_getpgid, libc::SYS_getsid,
    libc::SYS_setsid, libc::SYS_setgroups, libc::SYS_setuid, libc::SYS_setgid, libc::SYS_prlimit64,
    libc::SYS_getrusage, libc::SYS_sysinfo, libc::SYS_uname,
    libc::SYS_capget, libc::SYS_execve, libc::SYS_execveat, libc::SYS_wait4, libc::SYS_waitid, libc::SYS_seccomp,
    libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal,
];

/// Names from before the calls above, which the C library uses where they exist.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[i64] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink,
    libc::SYS_unlink, libc::SYS_rename, libc::SYS_renameat, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_link, libc::SYS_chmod,
    libc::SYS_chown, libc::SYS_pipe, libc::SYS_dup2, libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_create,
    libc::SYS_epoll_wait, libc::SYS_eventfd, libc::SYS_fork, libc::SYS_vfork, libc::SYS_arch_prctl, libc::SYS_time,
    libc::SYS_alarm, libc::SYS_pause, libc::SYS_getpgrp, libc::SYS_getdents, libc::SYS_getrlimit, libc::SYS_setrlimit,
];
/// Here the C library renames by this one; newer machines have `renameat2` alone.
#[cfg(target_arch = "aarch64")]
const OLDER: &[i64] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLDER: &[i64] = &[];

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::thread;

    /// Runs `test` in a thread that is filtered; the other tests' threads are not.
    fn filtered<T: Send>(test: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    install().unwrap();
                    test()
                })
                .join()
                .unwrap()
        })
    }

    /// The error of a call that gives -1 for failure.
    fn error(result: libc::c_long) -> Option<i32> {
        (result == -1).then(|| io::Error::last_os_error().raw_os_error()).flatten()
    }

    #[test]
    fn what_an_intruder_would_ask_for_fails_with_an_error() {
        let refused = filtered(|| {
            // SAFETY: calls with plain numbers, that do nothing even where they are allowed: no such process, an empty set of
            // namespaces, a socket that is left open, a query, no program, no entries.
            unsafe {
                [
                    error(libc::syscall(libc::SYS_ptrace, 99, i32::MAX, 0, 0)),
                    error(libc::syscall(libc::SYS_unshare, 0)),
                    error(libc::syscall(libc::SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW, 0)),
                    error(libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_RAW, 1)),
                    error(libc::syscall(libc::SYS_personality, 0xffff_ffff_u64)),
                    error(libc::syscall(libc::SYS_bpf, 0, 0, 0)),
                    error(libc::syscall(libc::SYS_io_uring_setup, 0, 0)),
                    error(libc::syscall(libc::SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, 0, 0, 0, 0)),
                    error(libc::syscall(libc::SYS_mmap, 0, 4096, 7, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)),
                ]
            }
        });
        assert_eq!(refused, [Some(libc::EPERM); 9]);
    }

    #[test]
    fn what_the_server_does_goes_on_working() {
        filtered(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            UdpSocket::bind("[::1]:0").unwrap();
            UnixStream::pair().unwrap();
            let mut big = vec![1_u8; 64 << 20];
            big.truncate(1);
            big.shrink_to_fit();
            assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
            assert!(std::fs::read_to_string("/proc/self/status").unwrap().contains("Seccomp:\t"));
            assert!(super::super::process::find_user("root").is_some());
        });
    }

    #[test]
    fn files_can_be_written_locked_renamed_and_removed() {
        let folder = std::env::temp_dir().join(format!("memhold-filter-{}", std::process::id()));
        filtered(|| {
            std::fs::create_dir_all(&folder).unwrap();
            let (first, second) = (folder.join("first"), folder.join("second"));
            let file = std::fs::File::create(&first).unwrap();
            file.try_lock().unwrap();
            super::super::files::allocate(&file, 0, 4096).unwrap();
            file.set_len(100).unwrap();
            file.sync_all().unwrap();
            std::fs::rename(&first, &second).unwrap();
            assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
            assert_eq!(std::fs::read(&second).unwrap().len(), 100);
            std::fs::remove_dir_all(&folder).unwrap();
        });
    }

    #[test]
    fn another_program_can_be_run_and_is_filtered_too() {
        let output = filtered(|| Command::new("/bin/cat").arg("/proc/self/status").output().unwrap());
        let status = String::from_utf8(output.stdout).unwrap();
        assert!(status.contains("Seccomp:\t2\n") && status.contains("NoNewPrivs:\t1\n"), "{status}");
    }

    #[test]
    fn the_filter_can_be_put_on_twice() {
        filtered(|| install().unwrap());
    }
}
