//! Stands in for CAP_SYS_RESOURCE where root lacks it, as on many a CI machine: container runtimes raise limits at
//! every start and give up when they may not. A filter answers "done" to every call that would set one of these, and
//! does nothing.
#![allow(
    unsafe_code,
    reason = "no safe crate installs a filter without no_new_privs, which would break newuidmap"
)]

use nvbind_fixtures::error::{Doing, Result};
use std::fs;
use std::io;

/// The bit of CAP_SYS_RESOURCE in a capability set (linux/capability.h).
const CAP_SYS_RESOURCE: u32 = 24;

/// Offsets of `nr`, `arch` and the halves of `args` in struct seccomp_data (linux/seccomp.h).
const NR: u32 = 0;
const ARCH: u32 = 4;
const FIRST_LOW: u32 = 16;
const SECOND_LOW: u32 = 24;
const THIRD_LOW: u32 = 32;
const THIRD_HIGH: u32 = 36;

/// The limits that every start raises: podman that of processes and of open files, older runtimes that of locked memory
/// for the device program. All others stay the kernel's, so that a case can ask for them.
const RAISED: [u32; 3] = [libc::RLIMIT_NPROC, libc::RLIMIT_NOFILE, libc::RLIMIT_MEMLOCK];

/// AUDIT_ARCH_* of the running architecture (linux/audit.h): numbers of another one are let through untouched.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

/// The classic BPF opcodes in use: load a word, jump, compare for equality, return.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Whether this process may raise limits, from the text of /proc/self/status.
fn may_raise(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_some_and(|set| set & (1 << CAP_SYS_RESOURCE) != 0)
}

/// The filter. Jumps count the instructions to skip, mostly to the last but one (let through) or the last ("done").
fn filter(setrlimit: u32, prlimit: u32) -> [libc::sock_filter; 17] {
    let op = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let [processes, files, locked] = RAISED;
    [
        op(LOAD, ARCH, 0, 0),
        op(EQUAL, AUDIT_ARCH, 0, 13),
        op(LOAD, NR, 0, 0),
        op(EQUAL, setrlimit, 5, 0),
        op(EQUAL, prlimit, 0, 10),
        // prlimit64 only reads a limit where its third argument is NULL.
        op(LOAD, THIRD_LOW, 0, 0),
        op(EQUAL, 0, 0, 4),
        op(LOAD, THIRD_HIGH, 0, 0),
        op(EQUAL, 0, 6, 2),
        // Which limit: the first argument of setrlimit, the second of prlimit64.
        op(LOAD, FIRST_LOW, 0, 0),
        op(JUMP, 1, 0, 0),
        op(LOAD, SECOND_LOW, 0, 0),
        op(EQUAL, processes, 3, 0),
        op(EQUAL, files, 2, 0),
        op(EQUAL, locked, 1, 0),
        op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
        op(RETURN, libc::SECCOMP_RET_ERRNO, 0, 0),
    ]
}

/// Installs the filter for this process and all it starts, if CAP_SYS_RESOURCE is missing.
pub(crate) fn stand_in_for_sys_resource() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").doing(|| "read /proc/self/status".into())?;
    if may_raise(&status) {
        return Ok(());
    }
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let mut filter = filter(number(libc::SYS_setrlimit), number(libc::SYS_prlimit64));
    let length = u16::try_from(filter.len()).unwrap_or_default();
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which lives until the call returns; it changes nothing in this process's
    // memory.
    let answer =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error()).doing(|| "install the filter for limits".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_decides_whether_limits_may_be_raised() {
        assert!(may_raise("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(!may_raise("Name:\tx\nCapEff:\t000001fffeffffff\n"));
        assert!(!may_raise("Name:\tx\n"));
    }

    /// What the filter answers to a call.
    fn answer(call: u32, arguments: [u64; 3]) -> u32 {
        let filter = filter(160, 302);
        let (mut at, mut word) = (0, 0);
        loop {
            let op = filter[at];
            let argument = |low: u32| arguments[usize::try_from((op.k - low) / 8).unwrap()];
            at += 1;
            match op.code {
                LOAD if op.k == NR => word = call,
                LOAD if op.k == ARCH => word = AUDIT_ARCH,
                LOAD if op.k == THIRD_HIGH => word = u32::try_from(arguments[2] >> 32).unwrap(),
                LOAD => word = u32::try_from(argument(FIRST_LOW) & 0xffff_ffff).unwrap(),
                JUMP => at += usize::try_from(op.k).unwrap(),
                EQUAL => at += usize::from(if word == op.k { op.jt } else { op.jf }),
                RETURN => return op.k,
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn only_setting_what_every_start_sets_is_answered_in_place_of_the_kernel() {
        let [done, kernel] = [libc::SECCOMP_RET_ERRNO, libc::SECCOMP_RET_ALLOW];
        let limit = |limit| u64::from(limit);
        let (files, processes) = (limit(libc::RLIMIT_NOFILE), limit(libc::RLIMIT_NPROC));
        let (memlock, core, stack) =
            (limit(libc::RLIMIT_MEMLOCK), limit(libc::RLIMIT_CORE), limit(libc::RLIMIT_STACK));
        for (call, arguments, expected) in [
            (160, [files, 1, 0], done),
            (160, [processes, 1, 0], done),
            (160, [memlock, 1, 0], done),
            (160, [core, files, 1], kernel),
            (302, [0, files, 1], done),
            (302, [0, processes, 1 << 32], done),
            (302, [0, files, 0], kernel),
            (302, [0, memlock, 1], done),
            (302, [files, core, 1], kernel),
            (302, [0, stack, 1 << 32], kernel),
            (1, [files, files, 1], kernel),
        ] {
            assert_eq!(answer(call, arguments), expected, "{call} {arguments:?}");
        }
    }
}
