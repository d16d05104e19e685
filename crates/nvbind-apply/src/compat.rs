//! CUDA forward compatibility: the view's libcuda and what belongs to it are links to the image's where those win.
//!
//! Links alone: nothing of the image is mounted or executed, and what programs follow them to is the image's own
//! business. They stand in the view, so that nothing is left when a later start finds a newer driver, and they are
//! found like all of the view's libraries, by the cache, by an `ldconfig` inside and by LD_LIBRARY_PATH.

use crate::error::Error;
use crate::rootfs::{Missing, Rootfs};
use nvbind_core::abi::Abi;
use nvbind_core::compat::{self, DIRECTORY, SONAME};
use nvbind_core::plan::{Entry, Plan, View, ViewPath};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// More than any such directory has: a dozen libraries and their links.
const NAMES: usize = 256;

/// The view's directory of libraries.
const LIBRARIES: &str = "lib64/";

/// Why the image's libraries are not used.
#[derive(Debug, thiserror::Error)]
enum Unused {
    /// They are not there, which is said nowhere.
    #[error("there are none")]
    None,
    /// As it should be.
    #[error("{0}")]
    Driver(&'static str),
    /// The image is not as it should be.
    #[error("{0}")]
    Image(&'static str),
    /// They cannot be looked at, so that nobody can tell which of them the container needs.
    #[error(transparent)]
    Unseen(#[from] Error),
}

/// The view of the plan, or where the image's libraries win, one with those. Whatever is wrong with the image's, the
/// driver's remain.
pub(crate) fn choose_view<'p>(rootfs: &Rootfs, plan: &'p Plan) -> Result<Cow<'p, View>, Error> {
    if !Abi::NATIVE.is_some_and(|abi| plan.view.sonames(abi).any(|name| name == SONAME)) {
        return Ok(Cow::Borrowed(&plan.view));
    }
    match find(rootfs, plan) {
        Ok(names) => return Ok(Cow::Owned(replace(&names, &plan.view))),
        Err(Unused::None) => {}
        Err(Unused::Driver(why)) => log::info!("the image's libcuda in {DIRECTORY} is not used: {why}"),
        Err(Unused::Image(why)) => log::warn!("the image's libcuda in {DIRECTORY} is not used: {why}"),
        Err(Unused::Unseen(error)) => return Err(error),
    }
    Ok(Cow::Borrowed(&plan.view))
}

/// The names of the image's libraries, if they are to be used.
fn find(rootfs: &Rootfs, plan: &Plan) -> Result<BTreeSet<String>, Unused> {
    let directory = match rootfs.open_directory(DIRECTORY, Missing::Leave) {
        // A link to a version that is not installed, as it stands in many images. It is not followed.
        Err(Error::Escape { .. }) => return Err(Unused::None),
        other => other?.ok_or(Unused::None)?,
    };
    let failed = |errno| Error::system(format!("read {DIRECTORY} in the container"), errno);
    let all =
        directory.read_names(NAMES).map_err(failed)?.ok_or(Unused::Image("there are too many files"))?;
    let mut libcudas = Vec::new();
    for (name, version) in all.iter().filter_map(|name| Some((name, compat::version_of(name)?))) {
        libcudas.extend(directory.open_file(name).map_err(failed)?.map(|file| (name, version, file)));
    }
    let (name, version, file) = match libcudas.as_slice() {
        [only] => only,
        [] => return Err(Unused::Image("there is no file libcuda.so.VERSION")),
        _several => return Err(Unused::Image("there are several")),
    };
    let models = plan.gpus.iter().map(|gpu| gpu.model.as_str());
    let libcuda = compat::read(file);
    if let compat::Libcuda::Unusable(why) = libcuda {
        return Err(Unused::Image(why));
    }
    compat::decide(*version, &libcuda, &plan.driver.version, models).map_err(Unused::Driver)?;
    let mut names = BTreeSet::new();
    for name in all.iter().filter(|name| name.starts_with("lib") && name.contains(".so")) {
        if rootfs.has(&format!("{DIRECTORY}/{name}"))? {
            names.insert(name.clone());
        }
    }
    if !names.contains(SONAME) {
        return Err(Unused::Image("there is no libcuda.so.1"));
    }
    log::info!("{DIRECTORY}/{name} of the image is used, newer than the driver {}", plan.driver.version);
    Ok(names)
}

/// Links to the image's libraries take the places of the driver's libraries that have one of their names. Of such a
/// file all names go, also those that the image's does not have. The 32-bit libraries have the same file names, and
/// stay.
fn replace(names: &BTreeSet<String>, view: &View) -> View {
    let links = || view.iter().filter_map(|(path, entry)| Some((name_of(path)?, target_of(entry)?)));
    let targets = links().filter(|(name, _)| names.contains(*name)).map(|(_, target)| target);
    let files: BTreeSet<&str> = targets.chain(names.iter().map(String::as_str)).collect();
    let others = links().filter(|(_, target)| files.contains(target)).map(|(name, _)| name);
    let gone: BTreeSet<&str> = others.chain(files.iter().copied()).collect();
    let mut merged = view.clone();
    merged.retain(|path, _| !name_of(path).is_some_and(|name| gone.contains(name)));
    for name in names {
        merged.add(format!("{LIBRARIES}{name}"), Entry::Link { target: format!("{DIRECTORY}/{name}") });
    }
    merged
}

/// The name of a library of the view; none for what else is in it.
fn name_of(path: &ViewPath) -> Option<&str> {
    path.as_str().strip_prefix(LIBRARIES)
}

fn target_of(entry: &Entry) -> Option<&str> {
    match entry {
        Entry::Link { target } => Some(target),
        Entry::File { .. } | Entry::Socket { .. } | Entry::Shared { .. } | Entry::Text { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_core::capability::Capabilities;

    fn view(files: &[&str], links: &[(&str, &str)]) -> View {
        let mut view = View::default();
        for path in files {
            let (host, capabilities) = (format!("/usr/{path}"), Capabilities::ALL);
            view.add(*path, Entry::File { host, capabilities });
        }
        for (path, target) in links {
            view.add(*path, Entry::Link { target: (*target).to_owned() });
        }
        view
    }

    #[test]
    fn the_32_bit_libraries_are_none_of_the_image_s_business() {
        let file = "libcuda.so.570.172.08";
        let before = view(
            &["lib64/libcuda.so.570.172.08", "lib/libcuda.so.570.172.08"],
            &[("lib64/libcuda.so.1", file), ("lib/libcuda.so.1", file)],
        );
        let after = view(
            &["lib/libcuda.so.570.172.08"],
            &[("lib64/libcuda.so.1", "/usr/local/cuda/compat/libcuda.so.1"), ("lib/libcuda.so.1", file)],
        );
        assert_eq!(replace(&BTreeSet::from([SONAME.to_owned()]), &before), after);
    }

    #[test]
    fn files_that_share_a_name_are_replaced_with_all_their_names() {
        let before = view(
            &["bin/nvidia-smi", "lib64/libcuda.so.570.172.08", "lib64/libnvidia-ml.so.570.172.08"],
            &[
                ("lib64/libcuda.so", "libcuda.so.570.172.08"),
                ("lib64/libcuda.so.1", "libcuda.so.570.172.08"),
                ("lib64/libnvidia-ml.so.1", "libnvidia-ml.so.570.172.08"),
            ],
        );
        let names = ["libcuda.so.1", "libcuda.so.580.65.06", "libnvidia-gpucomp.so.580.65.06"];
        let after = view(
            &["bin/nvidia-smi", "lib64/libnvidia-ml.so.570.172.08"],
            &[
                ("lib64/libnvidia-ml.so.1", "libnvidia-ml.so.570.172.08"),
                ("lib64/libcuda.so.1", "/usr/local/cuda/compat/libcuda.so.1"),
                ("lib64/libcuda.so.580.65.06", "/usr/local/cuda/compat/libcuda.so.580.65.06"),
                (
                    "lib64/libnvidia-gpucomp.so.580.65.06",
                    "/usr/local/cuda/compat/libnvidia-gpucomp.so.580.65.06",
                ),
            ],
        );
        assert_eq!(replace(&names.map(str::to_owned).into(), &before), after);
    }
}
