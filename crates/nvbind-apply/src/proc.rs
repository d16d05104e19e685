//! What a container sees of the kernel module in procfs: a copy of its directory in the view, attached over the one
//! that tells of every GPU of the machine.

use crate::error::Error;
use crate::rootfs::{Missing, Rootfs};
use crate::view::ViewMount;
use nvbind_core::inventory::PROC;
use nvbind_core::plan::Proc;
use rustix::fs::{PROC_SUPER_MAGIC, fstatfs};
use std::os::fd::OwnedFd;

/// The copy in the view: of the directory's parent, so that it can stand in for either.
const COPY: &str = "proc";

/// The directory's parent.
const PARENT: &str = "/proc/driver";

/// Where a path below [`PARENT`] is in the view.
fn inside(path: &str) -> String {
    format!("{COPY}{}", path.strip_prefix(PARENT).unwrap_or(path))
}

/// Makes the copy, of texts and of the mounts of the chosen GPUs' directories.
pub(crate) fn fill(view: &mut ViewMount, proc: &Proc, directories: &[(&str, OwnedFd)]) -> Result<(), Error> {
    for (name, text) in &proc.texts {
        view.write(&inside(&format!("{PROC}/{name}")), text.as_bytes())?;
    }
    directories.iter().try_for_each(|(path, mount)| view.bind_directory(&inside(path), mount))
}

/// Attaches the copy, when the view is complete. The container's own kernel has no such directory where the driver is
/// looked for elsewhere, as in tests: then the copy stands in for its parent.
pub(crate) fn cover(rootfs: &Rootfs, view: &ViewMount) -> Result<(), Error> {
    for (path, copy) in [(PROC, inside(PROC)), (PARENT, inside(PARENT))] {
        let Some(directory) = rootfs.open_directory(path, Missing::Leave)? else { continue };
        let filesystem = fstatfs(&directory)
            .map_err(|errno| Error::system(format!("look at {path} in the container"), errno))?;
        // Anything else is nothing of the kernel's, and tells of no GPU.
        if filesystem.f_type == PROC_SUPER_MAGIC {
            rootfs.cover_proc(view.clone_tree(&copy)?, &directory, path)?;
        }
        return Ok(());
    }
    Ok(())
}
