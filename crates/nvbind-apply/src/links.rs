//! Links from well-known places of the image into the view.
//!
//! Where nothing stands, a link is made; where a regular file of the image stands, the view's file is bound over it;
//! anything else is the image's and stays. A link that points into a view is ours, and is refreshed or removed: a
//! restarted or committed container may have been started with another driver.

use crate::error::Error;
use crate::rootfs::{Closed, Directory, Missing, Rootfs};
use crate::view::View;
use nvbind_core::catalogue::PROGRAMS;
use nvbind_core::plan::{Link, Plan, VIEWS};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, readlinkat, symlinkat, unlinkat};
use rustix::io::Errno;

const USR_BIN: &str = "/usr/bin";

/// What stands at a well-known place.
enum Place {
    Free,
    /// A link into a view, with its target.
    Ours(String),
    /// A regular file of the image.
    File,
    /// A link or something else of the image.
    Theirs,
}

/// Makes the plan's links and removes those of an earlier start that it does not have.
pub(crate) fn add(rootfs: &Rootfs<'_>, plan: &Plan, view: &View) -> Result<(), Error> {
    for link in &plan.links {
        if let Some((directory, name)) = find(rootfs, &link.path)? {
            put(rootfs, plan, view, link, &directory, name)?;
        }
    }
    let stale = PROGRAMS
        .iter()
        .filter(|program| program.in_usr_bin)
        .map(|program| format!("{USR_BIN}/{}", program.name));
    for path in stale.filter(|path| !plan.links.iter().any(|link| link.path == *path)) {
        if let Some((directory, name)) = find(rootfs, &path)?
            && directory.closed.is_none()
            && matches!(look(&directory, name, &path)?, Place::Ours(_))
        {
            unlinkat(&directory, name, AtFlags::empty())
                .map_err(|errno| Error::system(format!("remove {path} in the container"), errno))?;
        }
    }
    Ok(())
}

fn find<'p>(rootfs: &Rootfs<'_>, path: &'p str) -> Result<Option<(Directory, &'p str)>, Error> {
    let Some((parent, name)) = path.rsplit_once('/') else { return Ok(None) };
    Ok(rootfs.directory(parent, Missing::Leave)?.map(|directory| (directory, name)))
}

fn put(
    rootfs: &Rootfs<'_>,
    plan: &Plan,
    view: &View,
    link: &Link,
    directory: &Directory,
    name: &str,
) -> Result<(), Error> {
    let path = &link.path;
    let target = plan.inside(&link.target);
    let failed = |errno: Errno| Error::system(format!("link {path} in the container"), errno);
    match look(directory, name, path)? {
        Place::Ours(current) if current == target => return Ok(()),
        Place::File => return rootfs.cover(&view.clone_file(&link.target)?, directory, name).map(drop),
        Place::Theirs => {
            log::warn!("{path} is the image's own and no file; the driver's program is {target}");
            return Ok(());
        }
        Place::Free | Place::Ours(_) if directory.closed.is_some() => {
            let why = directory.closed.map_or("", Closed::why);
            log::warn!("no link {path} in the container, since {why}; the driver's program is {target}");
            return Ok(());
        }
        Place::Ours(_) => unlinkat(directory, name, AtFlags::empty()).map_err(failed)?,
        Place::Free => {}
    }
    symlinkat(&*target, directory, name).map_err(failed)?;
    rootfs.record(|journal| journal.file(directory, name));
    Ok(())
}

fn look(directory: &Directory, name: &str, path: &str) -> Result<Place, Error> {
    let failed = |errno| Error::system(format!("look at {path} in the container"), errno);
    let fd = match openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Place::Free),
        other => other.map_err(failed)?,
    };
    let kind = FileType::from_raw_mode(fstat(&fd).map_err(failed)?.st_mode);
    if kind == FileType::RegularFile {
        return Ok(Place::File);
    }
    if kind != FileType::Symlink {
        return Ok(Place::Theirs);
    }
    let target = readlinkat(&fd, "", Vec::new()).map_err(failed)?.to_string_lossy().into_owned();
    let mut views = VIEWS.into_iter();
    let ours = views.any(|view| target.strip_prefix(view).is_some_and(|rest| rest.starts_with('/')));
    Ok(if ours { Place::Ours(target) } else { Place::Theirs })
}
