//! How programs of the image find the view's libraries: glibc's cache and its drop-in, musl's path file, and what the
//! image has in its LD_LIBRARY_PATH. Nothing of the image or the host is executed.

mod file;
mod glibc;
mod musl;
mod search_path;

use crate::draft::Draft;
use crate::error::Error;
use crate::layout::Layout;
use crate::rootfs::{Missing, Rootfs};
use crate::view::ViewMount;
use musl::Musl;
use nvbind_core::oci::Config;
use nvbind_core::plan::VIEWS;

/// The programs built by Nix bring a loader of their own.
const NIX_STORE: &str = "/nix/store";

/// The dynamic loaders of an image.
#[derive(Debug)]
pub(crate) struct Loaders {
    has_glibc: bool,
    musl: Vec<&'static Musl>,
    has_nix: bool,
}

impl Loaders {
    /// Those that the image has.
    pub(crate) fn of(rootfs: &Rootfs) -> Result<Loaders, Error> {
        let has_nix = rootfs.has(NIX_STORE)?;
        Ok(Loaders { has_glibc: glibc::is_in(rootfs)?, musl: musl::of(rootfs)?, has_nix })
    }

    /// Whether no program of the image can use a library.
    pub(crate) fn is_none(&self) -> bool {
        !self.has_glibc && self.musl.is_empty() && !self.has_nix
    }
}

/// Covers what the image's LD_LIBRARY_PATH would find before the view, and gives what tells the image's loaders of the
/// view: files to be put in place when all else is done.
pub(crate) fn draft(
    rootfs: &Rootfs,
    layout: &Layout<'_>,
    view: &mut ViewMount,
    config: &Config,
    loaders: &Loaders,
) -> Result<Vec<Draft>, Error> {
    if let Some(value) = config.env("LD_LIBRARY_PATH") {
        search_path::cover(rootfs, layout, view, value)?;
    }
    if !loaders.has_glibc && loaders.musl.is_empty() {
        log::info!(
            "the image has no dynamic loader; the driver's libraries are in {}",
            layout.inside(&"lib64".into())
        );
        return Ok(Vec::new());
    }
    let Some(etc) = rootfs.open_directory("/etc", Missing::Create)? else {
        log::warn!("the container has no usable /etc; programs find the driver by LD_LIBRARY_PATH alone");
        return Ok(Vec::new());
    };
    let earlier = earlier_views(rootfs, layout)?;
    let mut drafts = Vec::new();
    if loaders.has_glibc {
        drafts.extend(glibc::draft_drop_in(rootfs, &etc, layout)?);
        drafts.extend(glibc::draft_cache(rootfs, &etc, layout, view, &earlier)?);
    }
    for loader in &loaders.musl {
        drafts.extend(loader.draft(rootfs, &etc, layout, view, &earlier)?);
    }
    Ok(drafts)
}

/// The places whose libraries an earlier start may have told the loaders of. Not one where the image has files: no view
/// ever stood there, and what is said of it is the image's own.
fn earlier_views(rootfs: &Rootfs, layout: &Layout<'_>) -> Result<Vec<&'static str>, Error> {
    let mut views = Vec::new();
    for view in VIEWS {
        if view == layout.place || !rootfs.has_files(view)? {
            views.push(view);
        }
    }
    Ok(views)
}
