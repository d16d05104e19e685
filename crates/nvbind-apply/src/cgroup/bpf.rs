//! The bpf(2) calls that a cgroup's device programs need; the structures are those of linux/bpf.h.
//!
//! No memory lock limit is raised: since Linux 5.11 programs are accounted to the memory cgroup, and older kernels
//! are too old for the rest of the hook.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper; everything unsafe about it is in this file")]

use super::program::Instruction;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Programs run one after the other; all must let an access through.
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;
const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE_ATTACH: u32 = 6;
/// The most programs the kernel attaches to a cgroup (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: usize = 64;

#[derive(Clone, Copy)]
#[repr(i32)]
enum Command {
    Load = 5,
    Pin = 6,
    Open = 7,
    Attach = 8,
    OpenById = 13,
    Info = 15,
    Query = 16,
}

/// What is attached to one cgroup itself, ancestors not counted.
pub(super) struct Attached {
    pub(super) ids: Vec<u32>,
    flags: u32,
}

/// A program that the kernel holds.
pub(super) struct Program(OwnedFd);

/// What the kernel tells of a program.
pub(super) struct Info {
    pub(super) id: u32,
    /// Empty where the kernel will not show them.
    pub(super) instructions: Vec<Instruction>,
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
struct LoadAttribute {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
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
struct PathAttribute {
    path: u64,
    program: RawFd,
    flags: u32,
}

#[derive(Default)]
#[repr(C)]
struct IdAttribute {
    id: u32,
    next: u32,
    flags: u32,
}

#[derive(Default)]
#[repr(C)]
struct InfoAttribute {
    program: RawFd,
    length: u32,
    info: u64,
}

/// The first fields of `struct bpf_prog_info`; the kernel fills as many as the length says.
#[derive(Default)]
#[repr(C)]
struct ProgramInfo {
    program_type: u32,
    id: u32,
    tag: [u8; 8],
    jited_length: u32,
    length: u32,
    jited: u64,
    instructions: u64,
}

impl Attached {
    /// Asks for the device programs attached to `cgroup`.
    pub(super) fn query(cgroup: BorrowedFd<'_>) -> io::Result<Self> {
        let mut ids = vec![0_u32; MAX_PROGRAMS];
        let mut attribute = QueryAttribute {
            target: cgroup.as_raw_fd(),
            attach_type: CGROUP_DEVICE_ATTACH,
            ids: address(ids.as_mut_ptr()),
            count: length(ids.len())?,
            ..QueryAttribute::default()
        };
        bpf(Command::Query, &mut attribute)?;
        ids.truncate(usize::try_from(attribute.count).unwrap_or(usize::MAX));
        Ok(Self { ids, flags: attribute.attach_flags })
    }

    /// Puts `new` in the place of `old` on `cgroup`, in one step: no moment is without a filter.
    pub(super) fn replace(&self, cgroup: BorrowedFd<'_>, old: &Program, new: &Program) -> io::Result<()> {
        let mut attribute = AttachAttribute {
            target: cgroup.as_raw_fd(),
            program: new.0.as_raw_fd(),
            attach_type: CGROUP_DEVICE_ATTACH,
            flags: self.flags,
            ..AttachAttribute::default()
        };
        // A cgroup that takes one program only replaces it by itself, and refuses to be asked to.
        if self.flags & ALLOW_MULTI != 0 {
            attribute.flags |= REPLACE;
            attribute.replaced = old.0.as_raw_fd();
        }
        bpf(Command::Attach, &mut attribute).map(|_| ())
    }
}

impl Program {
    /// Opens a program by its id.
    pub(super) fn by_id(id: u32) -> io::Result<Self> {
        descriptor(Command::OpenById, &mut IdAttribute { id, ..IdAttribute::default() })
    }

    /// Opens a program that is pinned in the bpf file system.
    pub(super) fn pinned(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        descriptor(
            Command::Open,
            &mut PathAttribute { path: address(path.as_ptr()), ..PathAttribute::default() },
        )
    }

    /// Has the kernel verify and load a device program.
    pub(super) fn load(instructions: &[Instruction]) -> io::Result<Self> {
        let mut attribute = LoadAttribute {
            program_type: CGROUP_DEVICE_PROGRAM,
            count: length(instructions.len())?,
            instructions: address(instructions.as_ptr()),
            // One of the strings that license_is_gpl_compatible() of the kernel knows; the old program may need it.
            license: address(c"Dual MIT/GPL".as_ptr()),
        };
        descriptor(Command::Load, &mut attribute)
    }

    /// Pins the program in the bpf file system; the name must not be taken.
    pub(super) fn pin(&self, path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut attribute =
            PathAttribute { path: address(path.as_ptr()), program: self.0.as_raw_fd(), flags: 0 };
        bpf(Command::Pin, &mut attribute).map(|_| ())
    }

    /// The program's id and its instructions as the kernel runs them.
    pub(super) fn info(&self) -> io::Result<Info> {
        let mut size = ProgramInfo::default();
        self.fill(&mut size)?;
        let count = usize::try_from(size.length).unwrap_or(0) / size_of::<Instruction>();
        let mut instructions = vec![Instruction::default(); count];
        let mut info = ProgramInfo {
            length: size.length,
            instructions: address(instructions.as_mut_ptr()),
            ..ProgramInfo::default()
        };
        self.fill(&mut info)?;
        // The kernel clears the pointer of a program that it blinded (net.core.bpf_jit_harden=2).
        if info.instructions == 0 {
            instructions.clear();
        }
        Ok(Info { id: size.id, instructions })
    }

    fn fill(&self, info: &mut ProgramInfo) -> io::Result<()> {
        let mut attribute = InfoAttribute {
            program: self.0.as_raw_fd(),
            length: length(size_of::<ProgramInfo>())?,
            info: address(std::ptr::from_mut(info)),
        };
        bpf(Command::Info, &mut attribute).map(|_| ())
    }
}

fn descriptor<T>(command: Command, attribute: &mut T) -> io::Result<Program> {
    let fd = bpf(command, attribute)?;
    // SAFETY: the commands that come here answer with a new descriptor (always close-on-exec) that nobody else owns.
    Ok(Program(unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn bpf<T>(command: Command, attribute: &mut T) -> io::Result<RawFd> {
    let attribute_size = size_of::<T>();
    let attribute = std::ptr::from_mut(attribute);
    // SAFETY: the attribute is a live structure of this file, laid out as the kernel's for this command, and its size
    // goes with it; the addresses in it are of buffers that the caller holds over the call, at least as long as the
    // length beside them.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, attribute, attribute_size) };
    if answer == -1 {
        Err(io::Error::last_os_error())
    } else {
        RawFd::try_from(answer).map_err(io::Error::other)
    }
}

/// A pointer in the form that the kernel's structures have it.
fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

fn length(value: usize) -> io::Result<u32> {
    u32::try_from(value).map_err(io::Error::other)
}
