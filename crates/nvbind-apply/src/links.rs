//! Links from well-known places of the image into the view.
//!
//! Where nothing stands, a link is made; where a regular file of the image stands, the view's file is bound over it;
//! anything else is the image's and stays. A link that points into a view is ours, and is refreshed or removed: a
//! restarted or committed container may have been started with another driver.

use crate::error::Error;
use crate::layout::Layout;
use crate::rootfs::{Closed, Directory, Missing, Rootfs};
use crate::view::ViewMount;
use nvbind_core::catalogue::{WellKnownPlace, When};
use nvbind_core::plan::{Plan, VIEWS, WellKnown};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, readlinkat, symlinkat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What stands at a well-known place.
enum Stands {
    Nothing,
    /// A link into a view, with its target.
    Ours(String),
    /// A regular file of the image.
    File,
    /// A link or something else of the image.
    Theirs,
}

/// Makes the plan's links.
pub(crate) fn add(rootfs: &Rootfs, plan: &Plan, layout: &Layout<'_>, view: &ViewMount) -> Result<(), Error> {
    let mut directories = Directories { rootfs, known: BTreeMap::new() };
    plan.well_known.iter().try_for_each(|known| put(&mut directories, layout, view, known))
}

/// Removes the links of an earlier start that the plan does not have.
pub(crate) fn remove_unused(rootfs: &Rootfs, plan: &Plan) -> Result<(), Error> {
    let mut directories = Directories { rootfs, known: BTreeMap::new() };
    for path in plan.unused() {
        if let Some((directory, name)) = directories.find(path, Missing::Leave)?
            && directory.closed.is_none()
            && matches!(look(directory, name, path)?, Stands::Ours(_))
        {
            unlinkat(directory, name, AtFlags::empty())
                .map_err(|errno| Error::system(format!("remove {path} in the container"), errno))?;
        }
    }
    Ok(())
}

/// The directories of the container that were looked up, each once.
struct Directories<'r, 'p> {
    rootfs: &'r Rootfs,
    known: BTreeMap<&'p str, Option<Directory>>,
}

impl<'p> Directories<'_, 'p> {
    /// The directory of a path, and the last name.
    fn find(&mut self, path: &'p str, missing: Missing) -> Result<Option<(&Directory, &'p str)>, Error> {
        let Some((parent, name)) = path.rsplit_once('/') else { return Ok(None) };
        let directory = match self.known.entry(parent) {
            Entry::Occupied(entry) if entry.get().is_some() || missing == Missing::Leave => entry.into_mut(),
            Entry::Occupied(mut entry) => {
                entry.insert(self.rootfs.open_directory(parent, missing)?);
                entry.into_mut()
            }
            Entry::Vacant(entry) => entry.insert(self.rootfs.open_directory(parent, missing)?),
        };
        Ok(directory.as_ref().map(|directory| (directory, name)))
    }
}

/// Covers the image's files at the places, and makes a link at the first place that applies where there is none.
fn put<'p>(
    directories: &mut Directories<'_, 'p>,
    layout: &Layout<'_>,
    view: &ViewMount,
    known: &'p WellKnown,
) -> Result<(), Error> {
    let rootfs = directories.rootfs;
    if !layout.is_drivers(known.target.as_str()) {
        // What belongs to the image's own newer library is the image's, too.
        return Ok(());
    }
    let mut is_covered = false;
    for WellKnownPlace { path, .. } in known.places {
        if let Some((directory, name)) = directories.find(path, Missing::Leave)?
            && matches!(look(directory, name, path)?, Stands::File)
        {
            is_covered |= rootfs.cover(view.clone_file(known.target.as_str())?, directory, name)?;
        }
    }
    if is_covered {
        return Ok(());
    }
    let applies = |place: &WellKnownPlace| match place.when {
        When::Always => Ok(true),
        When::With(path) => rootfs.has(path),
        When::Over => Ok(false),
    };
    let mut chosen = None;
    for place in known.places {
        if applies(place)? {
            chosen = Some(place.path);
            break;
        }
    }
    let Some(path) = chosen else { return Ok(()) };
    let Some((directory, name)) = directories.find(path, Missing::Create)? else {
        log::info!(
            "no directory for {path} in the container; the driver's is {}",
            layout.inside(&known.target)
        );
        return Ok(());
    };
    link(rootfs, directory, name, path, &layout.inside(&known.target))
}

fn link(rootfs: &Rootfs, directory: &Directory, name: &str, path: &str, target: &str) -> Result<(), Error> {
    let failed = |errno: Errno| Error::system(format!("link {path} in the container"), errno);
    match look(directory, name, path)? {
        Stands::Ours(current) if current == target => return Ok(()),
        // A file is left only where it could not be covered, which was told.
        Stands::File => return Ok(()),
        Stands::Theirs => {
            log::warn!("{path} is the image's own and no file; the driver's is {target}");
            return Ok(());
        }
        Stands::Nothing | Stands::Ours(_) if directory.closed.is_some() => {
            let why = directory.closed.map_or("", Closed::why);
            log::warn!("no link {path} in the container, since {why}; the driver's is {target}");
            return Ok(());
        }
        Stands::Ours(_) => unlinkat(directory, name, AtFlags::empty()).map_err(failed)?,
        Stands::Nothing => {}
    }
    symlinkat(target, directory, name).map_err(failed)?;
    rootfs.record(|journal| journal.file(directory.share(), name));
    Ok(())
}

fn look(directory: &Directory, name: &str, path: &str) -> Result<Stands, Error> {
    let failed = |errno| Error::system(format!("look at {path} in the container"), errno);
    let fd = match openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Stands::Nothing),
        other => other.map_err(failed)?,
    };
    let kind = FileType::from_raw_mode(fstat(&fd).map_err(failed)?.st_mode);
    if kind == FileType::RegularFile {
        return Ok(Stands::File);
    }
    if kind != FileType::Symlink {
        return Ok(Stands::Theirs);
    }
    let target = readlinkat(&fd, "", Vec::new()).map_err(failed)?.to_string_lossy().into_owned();
    let mut views = VIEWS.into_iter();
    let ours = views.any(|view| target.strip_prefix(view).is_some_and(|rest| rest.starts_with('/')));
    Ok(if ours { Stands::Ours(target) } else { Stands::Theirs })
}
