//! The registers of a process that is stopped at a system call.

use nix::errno::Errno;
use nix::libc::user_regs_struct;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// What the call is, and its arguments: at its entry alone.
pub(crate) struct Entry {
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
}

pub(crate) fn read_entry(process: Pid) -> Entry {
    entry(&ptrace::getregs(process).unwrap())
}

#[cfg(target_arch = "x86_64")]
fn entry(registers: &user_regs_struct) -> Entry {
    let user_regs_struct { orig_rax, rdi, rsi, rdx, r10, r8, r9, .. } = *registers;
    Entry { number: orig_rax.cast_signed(), arguments: [rdi, rsi, rdx, r10, r8, r9] }
}

#[cfg(target_arch = "aarch64")]
fn entry(registers: &user_regs_struct) -> Entry {
    let [a, b, c, d, e, f, _, _, number, ..] = registers.regs;
    Entry { number: number.cast_signed(), arguments: [a, b, c, d, e, f] }
}

/// At a call's entry: makes it no call, so that nothing is done.
#[cfg(target_arch = "x86_64")]
pub(crate) fn skip(process: Pid) {
    let mut registers = ptrace::getregs(process).unwrap();
    registers.orig_rax = u64::MAX;
    ptrace::setregs(process, registers).unwrap();
}

/// At a call's entry: makes it no call, so that nothing is done.
#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "nix does not know this set of registers")]
pub(crate) fn skip(process: Pid) {
    use nix::libc::{PTRACE_SETREGSET, c_int, iovec, ptrace as request};
    /// The call's number is in none of the others (`NT_ARM_SYSTEM_CALL` of linux/elf.h).
    const SYSTEM_CALL: usize = 0x404;
    let mut none: c_int = -1;
    let mut set = iovec { iov_base: (&raw mut none).cast(), iov_len: size_of::<c_int>() };
    // SAFETY: the kernel reads the set, and the number that it points to; both outlive the call.
    let done = unsafe { request(PTRACE_SETREGSET, process.as_raw(), SYSTEM_CALL, &raw mut set) };
    Errno::result(done).unwrap();
}

/// At a call's exit: what the process gets for it.
pub(crate) fn fail(process: Pid, errno: Errno) {
    let mut registers = ptrace::getregs(process).unwrap();
    let result = i64::from(-(errno as i32)).cast_unsigned();
    #[cfg(target_arch = "x86_64")]
    let place = &mut registers.rax;
    #[cfg(target_arch = "aarch64")]
    let [place, ..] = &mut registers.regs;
    *place = result;
    ptrace::setregs(process, registers).unwrap();
}
