//! The names of system calls, and which argument of each is a path.

use crate::registers;
use nix::libc;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use std::fmt;
use std::io::IoSliceMut;

/// A call, as a message has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: i64,
    /// The name of what it is about, where it has one.
    path: Option<String>,
    /// Whether it makes a descriptor.
    pub(crate) makes_descriptor: bool,
}

impl Call {
    /// The one that a process has stopped at the entry of.
    pub(crate) fn read(process: Pid) -> Call {
        let entry = registers::read_entry(process);
        let at = known(entry.number).and_then(|(_, _, path)| path);
        let path = at.and_then(|at| read_text(process, entry.arguments[at]));
        let is_copy =
            [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].map(|command| u64::from(command.cast_unsigned()));
        let makes_descriptor = OPENING.contains(&entry.number)
            || entry.number == libc::SYS_fcntl && is_copy.contains(&entry.arguments[1]);
        Call { number: entry.number, path, makes_descriptor }
    }

    pub(crate) fn name(&self) -> &'static str {
        known(self.number).map_or("", |(_, name, _)| name)
    }

    /// Whether the kernel has an error for it.
    pub(crate) fn can_fail(&self) -> bool {
        let without = [
            libc::SYS_exit_group,
            libc::SYS_geteuid,
            libc::SYS_getpid,
            libc::SYS_getppid,
            libc::SYS_getrandom,
            libc::SYS_umask,
        ];
        !without.contains(&self.number)
    }

    /// Whether it asks for memory: without any, a program ends at once.
    pub(crate) fn is_for_memory(&self) -> bool {
        let memory = [
            libc::SYS_brk,
            libc::SYS_madvise,
            libc::SYS_mmap,
            libc::SYS_mprotect,
            libc::SYS_mremap,
            libc::SYS_munmap,
        ];
        memory.contains(&self.number)
    }
}

/// What makes a descriptor, but for fcntl(2).
const OPENING: [i64; 8] = [
    libc::SYS_dup,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pipe2,
    libc::SYS_socket,
];

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "" => write!(f, "call {}", self.number)?,
            name => f.write_str(name)?,
        }
        self.path.iter().try_for_each(|path| write!(f, "({path:?})"))
    }
}

/// Number, name, and which argument is a path.
type Known = (i64, &'static str, Option<usize>);

macro_rules! calls {
    ($($name:ident $(= $path:literal)?)*) => {
        &[$((libc::$name, stringify!($name), calls!(@ $($path)?))),*]
    };
    (@) => { None };
    (@ $path:literal) => { Some($path) };
}

const CALLS: &[Known] = calls! {
    SYS_bpf SYS_brk SYS_capget SYS_chdir = 0 SYS_clone SYS_clone3 SYS_close SYS_connect SYS_dup SYS_dup3
    SYS_execve = 0 SYS_exit_group SYS_faccessat = 1 SYS_fchmod SYS_fchmodat = 1 SYS_fchown SYS_fchownat = 1
    SYS_fcntl SYS_fsconfig SYS_fsmount SYS_fsopen = 0 SYS_fstat SYS_fstatfs SYS_ftruncate SYS_futex
    SYS_getcwd SYS_getdents64 SYS_geteuid SYS_getpid SYS_getppid SYS_getrandom SYS_ioctl SYS_linkat = 1
    SYS_lseek SYS_madvise SYS_mkdirat = 1 SYS_mknodat = 1 SYS_mmap SYS_mount_setattr = 1 SYS_move_mount = 3
    SYS_mprotect SYS_mremap SYS_munmap SYS_newfstatat = 1 SYS_open_tree = 1 SYS_openat = 1 SYS_openat2 = 1
    SYS_pipe2 SYS_ppoll SYS_prctl SYS_pread64 SYS_prlimit64 SYS_read SYS_readlinkat = 1 SYS_readv
    SYS_renameat = 1 SYS_renameat2 = 1 SYS_rseq SYS_rt_sigaction SYS_rt_sigprocmask SYS_sched_getaffinity
    SYS_sendmsg SYS_sendto SYS_set_robust_list SYS_set_tid_address SYS_setgroups SYS_setns SYS_setresgid
    SYS_setresuid SYS_sigaltstack SYS_socket SYS_statfs = 0 SYS_statx = 1 SYS_symlinkat = 2 SYS_umask
    SYS_umount2 = 0 SYS_uname SYS_unlinkat = 1 SYS_wait4 SYS_waitid SYS_write SYS_writev
};

/// Those that aarch64 does not have.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[Known] = calls! {
    SYS_access = 0 SYS_arch_prctl SYS_mkdir = 0 SYS_open = 0 SYS_poll SYS_readlink = 0 SYS_rename = 0
    SYS_stat = 0 SYS_unlink = 0
};
#[cfg(target_arch = "aarch64")]
const OLD_CALLS: &[Known] = &[];

fn known(number: i64) -> Option<(i64, &'static str, Option<usize>)> {
    let (number, name, path) = CALLS.iter().chain(OLD_CALLS).find(|(known, ..)| *known == number)?;
    Some((*number, name.trim_start_matches("SYS_"), *path))
}

/// As much of a text in a process's memory as a message needs.
fn read_text(process: Pid, address: u64) -> Option<String> {
    const PAGE: usize = 4096;
    let mut text = Vec::new();
    let mut base = usize::try_from(address).ok()?;
    while text.len() < PAGE && !text.contains(&0) {
        // Page by page: the next one need not be there.
        let mut page = vec![0; PAGE - base % PAGE];
        let remote = RemoteIoVec { base, len: page.len() };
        let read = process_vm_readv(process, &mut [IoSliceMut::new(&mut page)], &[remote]).ok()?;
        text.extend(page.iter().take(read));
        base += read;
    }
    let end = text.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&text[..end]).into_owned()).filter(|text| !text.is_empty())
}
