//! CUDA forward compatibility: the view's libcuda and what belongs to it are links to the image's where those win.
//!
//! Links alone: nothing of the image is mounted or executed, and what programs follow them to is the image's own
//! business. They stand in the view, so that nothing is left when a later start finds a newer driver, and they are found
//! like all of the view's libraries, by the cache, by an `ldconfig` inside and by LD_LIBRARY_PATH.

use crate::error::Error;
use crate::rootfs::{Missing, Rootfs};
use nvbind_core::compat::{self, DIRECTORY, SONAME};
use nvbind_core::ldcache::Abi;
use nvbind_core::plan::{Link, Plan, Soname};
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
    /// They cannot be looked at.
    #[error(transparent)]
    Unseen(#[from] Error),
}

/// Puts the image's libraries into the plan where they win. Returns the files that are not to be bound: paths below the
/// view. Whatever is wrong with the image's, the driver's remain.
pub(crate) fn replace(rootfs: &Rootfs<'_>, plan: &mut Plan) -> BTreeSet<String> {
    if !plan.sonames.iter().any(|soname| is_native(soname) && soname.name == SONAME) {
        return BTreeSet::new();
    }
    match find(rootfs, plan) {
        Ok(names) => put(&names, plan),
        Err(Unused::None) => BTreeSet::new(),
        Err(Unused::Driver(why)) => {
            log::info!("the image's libcuda in {DIRECTORY} is not used: {why}");
            BTreeSet::new()
        }
        Err(why @ (Unused::Image(_) | Unused::Unseen(_))) => {
            log::warn!("the image's libcuda in {DIRECTORY} is not used: {why}");
            BTreeSet::new()
        }
    }
}

/// The names of the image's libraries, if they are to be used.
fn find(rootfs: &Rootfs<'_>, plan: &Plan) -> Result<BTreeSet<String>, Unused> {
    let directory = match rootfs.directory(DIRECTORY, Missing::Leave) {
        // A link to a version that is not installed, as it stands in many images. It is not followed.
        Err(Error::Escape { .. }) => return Err(Unused::None),
        other => other?.ok_or(Unused::None)?,
    };
    let failed = |errno| Error::system(format!("read {DIRECTORY} in the container"), errno);
    let all = directory.names(NAMES).map_err(failed)?.ok_or(Unused::Image("there are too many files"))?;
    let mut libcudas = Vec::new();
    for (name, version) in all.iter().filter_map(|name| Some((name, compat::version_of(name)?))) {
        libcudas.extend(directory.file(name).map_err(failed)?.map(|file| (name, version, file)));
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
    let is_library = |name: &String| name.starts_with("lib") && name.contains(".so");
    let is_there = |name: &String| rootfs.has(&format!("{DIRECTORY}/{name}"));
    let names: BTreeSet<String> =
        all.iter().filter(|name| is_library(name) && is_there(name)).cloned().collect();
    if !names.contains(SONAME) {
        return Err(Unused::Image("there is no libcuda.so.1"));
    }
    log::info!("{DIRECTORY}/{name} of the image is used, newer than the driver {}", plan.driver.version);
    Ok(names)
}

/// Links to the image's libraries take the places of the driver's libraries that have one of their names. Of such a file
/// all names go, also those that the image's does not have.
fn put(names: &BTreeSet<String>, plan: &mut Plan) -> BTreeSet<String> {
    let targets = plan.view_links.iter().filter(|link| names.contains(name_of(&link.path)));
    let files: BTreeSet<String> =
        targets.map(|link| link.target.clone()).chain(names.iter().cloned()).collect();
    // The 32-bit libraries have the same file names.
    let links =
        plan.view_links.iter().filter(|link| !name_of(&link.path).is_empty() && files.contains(&link.target));
    let gone: BTreeSet<String> =
        links.map(|link| name_of(&link.path).to_owned()).chain(files.iter().cloned()).collect();

    plan.binds.retain(|bind| !files.contains(name_of(&bind.inside)));
    plan.view_links.retain(|link| !gone.contains(name_of(&link.path)));
    plan.sonames.retain(|soname| !(is_native(soname) && gone.contains(&soname.name)));
    for name in names {
        plan.view_links
            .push(Link { path: format!("{LIBRARIES}{name}"), target: format!("{DIRECTORY}/{name}") });
        plan.sonames.extend(Abi::NATIVE.map(|abi| Soname { name: name.clone(), abi }));
    }
    files.into_iter().map(|name| format!("{LIBRARIES}{name}")).collect()
}

fn is_native(soname: &Soname) -> bool {
    Some(soname.abi) == Abi::NATIVE
}

/// The name of a library of the view; empty for what else is in it.
fn name_of(path: &str) -> &str {
    path.strip_prefix(LIBRARIES).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_core::capability::Capabilities;
    use nvbind_core::inventory::Driver;
    use nvbind_core::plan::{Bind, VIEW};

    fn plan(files: &[&str], links: &[(&str, &str)]) -> Plan {
        let bind = |inside: &&str| Bind {
            host: format!("/usr/lib64/{inside}"),
            inside: (*inside).to_owned(),
            capabilities: Capabilities::ALL,
        };
        let link = |&(path, target): &(&str, &str)| Link { path: path.to_owned(), target: target.to_owned() };
        let names = files.iter().chain(links.iter().map(|(path, _)| path)).map(|path| name_of(path));
        Plan {
            driver: Driver { version: "570.172.08".to_owned(), open_modules: true },
            gpus: Vec::new(),
            view: VIEW.to_owned(),
            devices: Vec::new(),
            binds: files.iter().map(bind).collect(),
            view_links: links.iter().map(link).collect(),
            sockets: Vec::new(),
            shared: Vec::new(),
            texts: Vec::new(),
            well_known: Vec::new(),
            proc: None,
            unseen: None,
            sonames: names.filter(|name| !name.is_empty()).map(native).collect(),
        }
    }

    fn native(name: &str) -> Soname {
        Soname { name: name.to_owned(), abi: Abi::NATIVE.unwrap() }
    }

    #[test]
    fn the_32_bit_libraries_are_none_of_the_image_s_business() {
        let file = "libcuda.so.570.172.08";
        let mut plan = plan(&["lib64/libcuda.so.570.172.08"], &[("lib64/libcuda.so.1", file)]);
        let bind = Bind { inside: format!("lib/{file}"), ..plan.binds[0].clone() };
        let link = Link { path: "lib/libcuda.so.1".to_owned(), target: file.to_owned() };
        let soname = Soname { name: SONAME.to_owned(), abi: Abi::I386 };
        plan.binds.push(bind.clone());
        plan.view_links.push(link.clone());
        plan.sonames.push(soname.clone());
        put(&BTreeSet::from([SONAME.to_owned()]), &mut plan);
        assert_eq!(plan.binds, [bind]);
        assert_eq!(plan.view_links[0], link);
        assert_eq!(plan.sonames, [soname, native(SONAME)]);
    }

    #[test]
    fn files_that_share_a_name_are_replaced_with_all_their_names() {
        let mut before = plan(
            &["bin/nvidia-smi", "lib64/libcuda.so.570.172.08", "lib64/libnvidia-ml.so.570.172.08"],
            &[
                ("lib64/libcuda.so", "libcuda.so.570.172.08"),
                ("lib64/libcuda.so.1", "libcuda.so.570.172.08"),
                ("lib64/libnvidia-ml.so.1", "libnvidia-ml.so.570.172.08"),
            ],
        );
        let names = ["libcuda.so.1", "libcuda.so.580.65.06", "libnvidia-gpucomp.so.580.65.06"];
        let names: BTreeSet<String> = names.map(str::to_owned).into();
        let replaced = put(&names, &mut before);
        assert!(replaced.contains("lib64/libcuda.so.570.172.08"));
        assert!(!replaced.contains("lib64/libnvidia-ml.so.570.172.08"));
        let mut after = plan(
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
        for plan in [&mut before, &mut after] {
            plan.sonames.sort_by(|one, other| one.name.cmp(&other.name));
        }
        assert_eq!(before, after);
    }
}
