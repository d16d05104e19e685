//! The device programs of a cgroup v2, asked of the kernel by bpf(2); the structures are those of linux/bpf.h.
#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper; everything unsafe about it is in this file")]

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

const DEVICE_PROGRAMS: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;
/// The most programs the kernel attaches to a cgroup (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: usize = 64;

#[derive(Clone, Copy)]
#[repr(i32)]
enum Command {
    Attach = 8,
    Detach = 9,
    OpenById = 13,
    Query = 16,
}

#[derive(Default)]
#[repr(C)]
struct QueryAttribute {
    target: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

#[derive(Default)]
#[repr(C)]
struct AttachAttribute {
    target: RawFd,
    program: RawFd,
    attach_type: u32,
    flags: u32,
    replaced: RawFd,
}

#[derive(Default)]
#[repr(C)]
struct IdAttribute {
    id: u32,
    next: u32,
    flags: u32,
}

/// A device program that the kernel holds.
#[derive(Debug)]
pub(crate) struct Program(OwnedFd);

/// The programs attached to a cgroup itself, in their order.
pub(crate) fn attached(cgroup: &Path) -> io::Result<Vec<Program>> {
    let cgroup = File::open(cgroup)?;
    let mut ids = vec![0_u32; MAX_PROGRAMS];
    let mut attribute = QueryAttribute {
        target: cgroup.as_raw_fd(),
        attach_type: DEVICE_PROGRAMS,
        ids: ids.as_mut_ptr().expose_provenance() as u64,
        count: u32::try_from(ids.len()).map_err(io::Error::other)?,
        ..QueryAttribute::default()
    };
    bpf(Command::Query, &mut attribute)?;
    ids.truncate(usize::try_from(attribute.count).map_err(io::Error::other)?);
    ids.into_iter().map(Program::by_id).collect()
}

impl Program {
    fn by_id(id: u32) -> io::Result<Self> {
        let fd = bpf(Command::OpenById, &mut IdAttribute { id, ..IdAttribute::default() })?;
        // SAFETY: the command answers with a new descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The kernel's checksum of its instructions.
    pub(crate) fn tag(&self) -> io::Result<String> {
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.0.as_raw_fd()))?;
        let tag = text.lines().find_map(|line| line.strip_prefix("prog_tag:"));
        tag.map(|tag| tag.trim().to_owned()).ok_or_else(|| io::Error::other("the kernel tells no prog_tag"))
    }

    /// Attaches it to another cgroup as well.
    pub(crate) fn attach(&self, cgroup: &Path) -> io::Result<()> {
        self.change(Command::Attach, ALLOW_MULTI, cgroup)
    }

    /// Takes it away from a cgroup.
    pub(crate) fn detach(&self, cgroup: &Path) -> io::Result<()> {
        self.change(Command::Detach, 0, cgroup)
    }

    fn change(&self, command: Command, flags: u32, cgroup: &Path) -> io::Result<()> {
        let cgroup = File::open(cgroup)?;
        let mut attribute = AttachAttribute {
            target: cgroup.as_raw_fd(),
            program: self.0.as_raw_fd(),
            attach_type: DEVICE_PROGRAMS,
            flags,
            replaced: 0,
        };
        bpf(command, &mut attribute).map(drop)
    }
}

fn bpf<T>(command: Command, attribute: &mut T) -> io::Result<RawFd> {
    let size = size_of::<T>();
    let attribute = std::ptr::from_mut(attribute);
    // SAFETY: the attribute is a live structure of this file, laid out as the kernel's for this command, and its size
    // goes with it; the one address in it is of a buffer that the caller holds over the call, as long as the count
    // beside it.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, attribute, size) };
    if answer == -1 {
        Err(io::Error::last_os_error())
    } else {
        RawFd::try_from(answer).map_err(io::Error::other)
    }
}
