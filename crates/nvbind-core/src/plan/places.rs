//! The well-known places of the catalogue as paths of a container.

use super::{Place, When, visible};
use crate::catalogue::{
    self, COMPAT32_TRIPLET, DATA, DIRECTORIES, Data, LIBRARIES, PROGRAMS, Plugin, Program, SHARED, Shared,
    TRIPLET,
};
use crate::ldcache::Abi;

/// The library directories of images: Debian's, that of the RPM distributions, that of the others.
const fn library_directories(abi: Abi) -> [&'static str; 3] {
    match abi {
        Abi::X86_64 | Abi::Aarch64 => ["/usr/lib/{triplet}", "/usr/lib64", "/usr/lib"],
        Abi::I386 => ["/usr/lib/{triplet}", "/usr/lib32", "/usr/lib"],
    }
}

const fn triplet(abi: Abi) -> &'static str {
    match abi {
        Abi::X86_64 | Abi::Aarch64 => TRIPLET,
        Abi::I386 => COMPAT32_TRIPLET,
    }
}

/// Where a program is expected.
pub(super) fn of_program(program: &Program) -> Place {
    Place { path: format!("/usr/bin/{}", program.name), when: When::Always }
}

/// Where a data file is looked for.
pub(super) fn of_data(data: &Data) -> Vec<Place> {
    data.places.iter().map(|(path, when)| place(path, *when)).collect()
}

/// Where a directory of the catalogue is looked for.
pub(super) fn place(path: &str, when: catalogue::When) -> Place {
    let when = match when {
        catalogue::When::Always => When::Always,
        catalogue::When::With(path) => When::With(path.to_owned()),
        catalogue::When::Over => When::Over,
    };
    Place { path: path.to_owned(), when }
}

/// Where a shared directory is looked for.
pub(super) fn of_shared(shared: &Shared) -> Place {
    Place { path: shared.place.to_owned(), when: When::Always }
}

/// Where a plugin is opened: beside the library that opens it.
pub(super) fn of_plugin(plugin: Plugin, abi: Abi) -> Vec<Place> {
    let place = |directory: &str| {
        let directory = directory.replace("{triplet}", triplet(abi));
        let when = When::With(format!("{directory}/{}", plugin.beside));
        Place { path: format!("{directory}/{}", plugin.path), when }
    };
    library_directories(abi).map(place).into()
}

/// Every place where any plan may have put a link.
pub(super) fn all() -> Vec<String> {
    let programs = PROGRAMS.iter().filter(|program| program.in_usr_bin).map(of_program);
    let data = DATA.iter().flat_map(of_data);
    let abis = [Abi::NATIVE, Abi::COMPAT32].into_iter().flatten();
    let plugins = LIBRARIES.iter().filter_map(|family| family.plugin);
    let plugins = plugins.flat_map(|plugin| abis.clone().flat_map(move |abi| of_plugin(plugin, abi)));
    let directories = DIRECTORIES.iter().map(|(path, _, _)| (*path).to_owned());
    let shared = SHARED.iter().map(of_shared);
    let known = programs.chain(data).chain(plugins).chain(shared).map(|place| place.path);
    known.chain(directories).chain([visible::PROFILE_PLACE.to_owned()]).collect()
}
