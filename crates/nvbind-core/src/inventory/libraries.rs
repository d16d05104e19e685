//! The libraries of the installed driver: by soname and exact version, wherever the distribution keeps them.

use super::Error;
use super::elf::{self, SharedObject};
use crate::abi::Abi;
use crate::capability::Capabilities;
use crate::catalogue::{
    COMPAT32, COMPAT32_DIRECTORIES, DRIVER, Family, LIBRARIES, LIBRARY_DIRECTORIES, LIBRARY_SUBDIRECTORIES,
    NEVER, Versioning,
};
use crate::host::{Directory, Found as _, Tree};
use crate::ldcache;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Without these two a driver is of no use; an upgrade that stopped half-way shows in one of them.
const MAIN: [&str; 2] = ["libcuda", "libnvidia-ml"];

const CACHE: &str = "/etc/ld.so.cache";

/// How many of the files that are left out are told by name.
const TOLD: usize = 3;

/// A library of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its row in the catalogue; none for one that only the version gives away.
    pub family: Option<&'static Family>,
    /// File name, such as `libcuda.so.570.172.08`.
    pub file_name: String,
    /// `DT_SONAME` where it has one.
    pub soname: Option<String>,
    /// What machine it is for.
    pub abi: Abi,
    /// Path inside the driver root, without links.
    pub host: String,
}

impl Library {
    /// What needs it: a library that is in no row of the catalogue comes with everything.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        capabilities(self.family)
    }
}

fn capabilities(family: Option<&'static Family>) -> Capabilities {
    family.map_or(DRIVER, |family| family.capabilities)
}

/// The libraries for these capabilities; 32-bit ones where `compat32` is among them.
pub(super) fn read(files: &Tree, version: &str, wanted: Capabilities) -> Result<Vec<Library>, Error> {
    let mut found = Search {
        version,
        wanted,
        libraries: BTreeMap::new(),
        other_versions: BTreeMap::new(),
        left_out: BTreeSet::new(),
    };
    let mut seen = BTreeSet::new();
    let mut search = |path: &str| -> Result<bool, Error> {
        let Some(directory) = files.directory(path).found()? else { return Ok(false) };
        let is_new = seen.insert(directory.path().to_owned());
        if is_new {
            found.search(&directory)?;
        }
        Ok(is_new)
    };
    let mut searched = Vec::new();
    for directory in list_directories(files, wanted)? {
        if search(&directory)? {
            searched.push(directory);
        }
    }
    for directory in searched {
        for name in LIBRARY_SUBDIRECTORIES {
            search(&format!("{directory}/{name}"))?;
        }
    }
    found.finish()
}

/// The well-known directories, then those in which the host's own cache has a library of the driver.
fn list_directories(files: &Tree, wanted: Capabilities) -> Result<Vec<String>, Error> {
    let compat32 = if wanted.intersects(COMPAT32) { COMPAT32_DIRECTORIES } else { &[] };
    let known = LIBRARY_DIRECTORIES.iter().chain(compat32);
    let mut directories: Vec<String> = known.map(|directory| (*directory).to_owned()).collect();
    // A host without a cache still has its directories.
    if let Some(cache) = files.read(CACHE, ldcache::MAX_BYTES as u64).found()? {
        directories.extend(parse_directories(&cache).unwrap_or_else(|error| {
            log::warn!(
                "{} is damaged ({error}): only the usual directories are searched for the driver; run `ldconfig`",
                files.display(CACHE)
            );
            BTreeSet::new()
        }));
    }
    Ok(directories)
}

fn parse_directories(cache: &[u8]) -> Result<BTreeSet<String>, ldcache::Error> {
    let cache = ldcache::Cache::parse(cache)?;
    let directory = |entry: &ldcache::Entry<'_>| {
        let soname = std::str::from_utf8(entry.soname).ok()?;
        find_family(soname.split_once(".so")?.0)?;
        let (directory, _) = std::str::from_utf8(entry.path).ok()?.rsplit_once('/')?;
        Some(directory.to_owned())
    };
    Ok(cache.entries().iter().filter_map(directory).collect())
}

/// Whether a file of that name is, or is about to become, one of a driver: package managers write beside it, under the
/// name with something added.
pub(super) fn is_drivers(name: &str) -> bool {
    name.contains("nvidia") || name.split_once(".so").is_some_and(|(stem, _)| find_family(stem).is_some())
}

fn find_family(stem: &str) -> Option<&'static Family> {
    LIBRARIES.iter().find(|family| family.stem == stem)
}

struct Search<'a> {
    version: &'a str,
    wanted: Capabilities,
    libraries: BTreeMap<(Abi, String), Library>,
    /// Versions of the main libraries that are not the loaded one.
    other_versions: BTreeMap<&'static str, BTreeSet<String>>,
    /// Files of the driver's names that cannot serve.
    left_out: BTreeSet<String>,
}

impl Search<'_> {
    fn search(&mut self, directory: &Directory<'_>) -> Result<(), Error> {
        let mut names = directory.names()?;
        names.retain(|name| name.starts_with("lib") && name.contains(".so."));
        // The newest first, for the libraries that have versions of their own.
        names.sort_by_cached_key(|name| Reverse(parse_numbers(name)));
        for name in names {
            if let Some(family) = self.fits(directory, &name)
                && !self.has_all(&name, family)
            {
                self.take(directory, name, family)?;
            }
        }
        Ok(())
    }

    /// Takes the library if a program of these capabilities can use it.
    fn take(
        &mut self,
        directory: &Directory<'_>,
        name: String,
        family: Option<&'static Family>,
    ) -> Result<(), Error> {
        let (file, host) = match directory.file(&name) {
            // A directory, or a link that leads nowhere.
            Err(error) if error.is_irregular() || error.is_not_found() => {
                self.left_out.insert(format!("{}/{name}", directory.path()));
                return Ok(());
            }
            file => file?,
        };
        let object = elf::read(&file).map_err(|source| directory.error(&name, source))?;
        let (abi, soname) = match object {
            Some(SharedObject::Library(abi, soname)) if self.abis().any(|wanted| wanted == abi) => {
                (abi, soname)
            }
            // The libraries of the other width are nobody's mistake.
            Some(SharedObject::Library(Abi::I386, _)) => return Ok(()),
            Some(SharedObject::Library(..) | SharedObject::Foreign) => {
                self.left_out.insert(host);
                return Ok(());
            }
            None => return Err(Error::Damaged { path: directory.display(&name) }),
        };
        if self.has(&name, family, abi) {
            return Ok(());
        }
        let soname = soname.filter(|soname| !soname.is_empty() && !soname.contains('/'));
        let library = Library { family, file_name: name.clone(), soname, abi, host };
        self.libraries.insert((abi, name), library);
        Ok(())
    }

    fn abis(&self) -> impl Iterator<Item = Abi> {
        let compat32 = Abi::COMPAT32.filter(|_| self.wanted.intersects(COMPAT32));
        Abi::NATIVE.into_iter().chain(compat32)
    }

    fn has_all(&self, name: &str, family: Option<&'static Family>) -> bool {
        self.abis().all(|abi| self.has(name, family, abi))
    }

    /// Whether an earlier directory, or this one, had it already: of a library with versions of its own, any of them.
    fn has(&self, name: &str, family: Option<&'static Family>, abi: Abi) -> bool {
        let is_own = family.is_some_and(|family| family.versioning == Versioning::Own);
        self.libraries.contains_key(&(abi, name.to_owned()))
            || (is_own
                && self.libraries.values().any(|library| library.family == family && library.abi == abi))
    }

    /// Whether the file is one of the driver's that is wanted; `Some(None)` for a family that the catalogue does not
    /// know.
    fn fits(&mut self, directory: &Directory<'_>, name: &str) -> Option<Option<&'static Family>> {
        let (stem, suffix) = name.split_once(".so.")?;
        let family = find_family(stem);
        let is_main = MAIN.contains(&stem);
        if !capabilities(family).intersects(self.wanted) && !is_main {
            return None;
        }
        let fits = match family.map(|family| family.versioning) {
            Some(Versioning::Driver) => suffix == self.version,
            Some(Versioning::Fixed(fixed)) => suffix == fixed,
            // The full version and not the soname's link.
            Some(Versioning::Own) => suffix.matches('.').count() >= 2,
            None => suffix == self.version && !NEVER.contains(&stem),
        };
        if fits {
            return Some(family);
        }
        // Not the link of the soname, nor WSL's libcuda.so.1.1.
        if family.is_some_and(|family| family.versioning == Versioning::Driver)
            && suffix.contains('.')
            && suffix != "1.1"
        {
            if let Some(main) = MAIN.into_iter().find(|main| *main == stem) {
                self.other_versions.entry(main).or_default().insert(suffix.to_owned());
            }
            self.left_out.insert(format!("{}/{name}", directory.path()));
        }
        None
    }

    fn finish(mut self) -> Result<Vec<Library>, Error> {
        let version = self.version;
        let has = |stem: &str, abi| self.libraries.contains_key(&(abi, format!("{stem}.so.{version}")));
        let is_missing = |stem: &&str| !Abi::NATIVE.is_some_and(|native| has(stem, native));
        let missing: Vec<&str> = MAIN.into_iter().filter(is_missing).collect();
        let other = |stem: &&str| self.other_versions.get(*stem).cloned();
        let others: BTreeSet<String> = missing.iter().filter_map(other).flatten().collect();
        if !others.is_empty() {
            let found: Vec<String> = others.into_iter().collect();
            return Err(Error::Mismatch { version: version.to_owned(), found: found.join(", ") });
        }
        if missing.len() == MAIN.len() {
            return Err(Error::NoLibraries { version: version.to_owned() });
        }
        if !self.left_out.is_empty() {
            let mut told: Vec<&str> = self.left_out.iter().take(TOLD).map(String::as_str).collect();
            if self.left_out.len() > TOLD {
                told.push("…");
            }
            log::warn!(
                "left out, since not the driver's {version} or not for this machine: {}",
                told.join(", ")
            );
        }
        let wanted = self.wanted;
        self.libraries.retain(|_, library| library.capabilities().intersects(wanted));
        Ok(self.libraries.into_values().collect())
    }
}
/// The numbers of a version: `1.1.10` is newer than `1.1.9`.
fn parse_numbers(name: &str) -> Vec<u64> {
    let (_, suffix) = name.split_once(".so.").unwrap_or_default();
    suffix.split('.').map(|number| number.parse().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::TRIPLET;
    use crate::machine::{Machine, VERSION, shared_object};

    fn names(machine: &Machine) -> Vec<(String, String)> {
        let libraries = machine.inventory().unwrap().libraries;
        libraries.into_iter().map(|library| (library.file_name, library.host)).collect()
    }

    #[test]
    fn libraries_are_found_in_every_distributions_layout() {
        for directory in [
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/x86_64-linux-gnu/nvidia/current",
            "/usr/lib64",
            "/usr/lib",
            "/run/opengl-driver/lib",
            "/usr/local/nvidia/lib64",
        ] {
            let directory = directory.replace("x86_64-linux-gnu", TRIPLET);
            let machine = Machine::empty();
            machine.library(&directory, &format!("libcuda.so.{VERSION}"), "libcuda.so.1");
            machine.library(
                &format!("{directory}/vdpau"),
                &format!("libvdpau_nvidia.so.{VERSION}"),
                "libvdpau_nvidia.so.1",
            );
            let found = names(&machine);
            let expected = |name: &str, below: &str| {
                let file = format!("{name}.so.{VERSION}");
                (file.clone(), format!("{directory}{below}/{file}"))
            };
            assert_eq!(
                found,
                [expected("libcuda", ""), expected("libvdpau_nvidia", "/vdpau")],
                "{directory}"
            );
        }
    }

    #[test]
    fn links_of_alternatives_are_followed_inside_the_root() {
        let machine = Machine::empty();
        machine.library("/opt/nvidia", &format!("libcuda.so.{VERSION}"), "libcuda.so.1");
        machine.link(&format!("/usr/lib64/libcuda.so.{VERSION}"), "/etc/alternatives/cuda");
        machine.link("/etc/alternatives/cuda", &format!("/opt/nvidia/libcuda.so.{VERSION}"));
        assert_eq!(
            names(&machine),
            [(format!("libcuda.so.{VERSION}"), format!("/opt/nvidia/libcuda.so.{VERSION}"))]
        );
    }

    #[test]
    fn a_directory_that_only_the_cache_names_is_searched() {
        let machine = Machine::empty();
        machine.library("/opt/elsewhere", &format!("libcuda.so.{VERSION}"), "libcuda.so.1");
        let abi = Abi::NATIVE.unwrap();
        let ours = [ldcache::Library { soname: b"libcuda.so.1", path: b"/opt/elsewhere/libcuda.so.1", abi }];
        machine.write("etc/ld.so.cache", ldcache::merge(None, &ours, &[]).unwrap());
        assert_eq!(names(&machine).len(), 1);
    }

    #[test]
    fn names_decide_by_exact_version_and_family() {
        let machine = Machine::new();
        for (name, taken) in [
            (format!("libnvidia-future.so.{VERSION}"), true),
            (format!("libGL.so.{VERSION}"), false),
            (format!("libglxserver_nvidia.so.{VERSION}"), false),
            ("libnvidia-egl-gbm.so.1.1.2".to_owned(), true),
            ("libnvidia-nvvm70.so.4".to_owned(), true),
            ("libnvidia-api.so.1".to_owned(), true),
            ("libnvidia-encode.so.1".to_owned(), false),
            ("libnvidia-encode.so.535.1".to_owned(), false),
            ("libc.so.6".to_owned(), false),
        ] {
            machine.library("/usr/lib64", &name, "libx.so.1");
            let found = names(&machine).iter().any(|(file, _)| *file == name);
            assert_eq!(found, taken, "{name}");
        }
    }

    #[test]
    fn of_a_library_with_versions_of_its_own_the_first_directory_s_newest_is_taken() {
        let machine = Machine::new();
        for version in ["1.1.9", "1.1.10"] {
            machine.library(
                "/usr/lib64",
                &format!("libnvidia-egl-gbm.so.{version}"),
                "libnvidia-egl-gbm.so.1",
            );
        }
        machine.library("/usr/local/nvidia/lib64", "libnvidia-egl-gbm.so.2.0.0", "libnvidia-egl-gbm.so.1");
        let found = names(&machine);
        let own: Vec<&str> =
            found.iter().map(|(file, _)| file.as_str()).filter(|file| file.contains("gbm")).collect();
        assert_eq!(own, ["libnvidia-egl-gbm.so.1.1.10"]);
    }

    #[test]
    fn compat32_adds_the_32_bit_libraries_also_of_a_directory_that_has_both() {
        let file = format!("libcuda.so.{VERSION}");
        for directory in
            ["/usr/lib/i386-linux-gnu/nvidia/current", "/usr/lib32", "/usr/lib", "/run/opengl-driver-32/lib"]
        {
            let machine = Machine::new();
            machine.library_32(directory, &file, "libcuda.so.1");
            let of = |list: &str| -> Vec<(Abi, String)> {
                let wanted = Capabilities::parse(list).0;
                let libraries = read(&machine.host().files, VERSION, wanted).unwrap();
                libraries.into_iter().map(|library| (library.abi, library.host)).collect()
            };
            let native = (Abi::NATIVE.unwrap(), format!("/usr/lib64/{file}"));
            assert_eq!(of("compute"), std::slice::from_ref(&native), "{directory}");
            assert_eq!(of("compute,compat32"), [native, (Abi::I386, format!("{directory}/{file}"))]);
            assert_eq!(of("compat32"), []);
        }
    }

    #[test]
    fn only_what_the_capabilities_need_is_taken() {
        let machine = Machine::new();
        let future = format!("libnvidia-future.so.{VERSION}");
        machine.library("/usr/lib64", &future, "libnvidia-future.so.1");
        let of = |list: &str| -> Vec<String> {
            let libraries = read(&machine.host().files, VERSION, Capabilities::parse(list).0).unwrap();
            libraries.into_iter().map(|library| library.file_name).collect()
        };
        assert_eq!(of("utility"), [future.clone(), format!("libnvidia-ml.so.{VERSION}")]);
        assert_eq!(of("video"), [format!("libcuda.so.{VERSION}"), future]);
    }

    #[test]
    fn what_is_no_file_or_for_another_machine_is_left_out() {
        let machine = Machine::new();
        let mut foreign = shared_object("libnvidia-cfg.so.1");
        foreign[18] = 3;
        machine.write(&format!("usr/lib64/libnvidia-cfg.so.{VERSION}"), foreign);
        machine.write(&format!("usr/lib64/libnvidia-nvvm.so.{VERSION}/x"), "a directory");
        machine.link(&format!("/usr/lib64/libnvidia-glsi.so.{VERSION}"), "nowhere");
        let names = names(&machine);
        assert!(
            !names
                .iter()
                .any(|(file, _)| file.contains("cfg") || file.contains("nvvm") || file.contains("glsi"))
        );
    }

    #[test]
    fn a_file_that_is_damaged_is_a_failure() {
        let whole = shared_object("libnvidia-cfg.so.1");
        for content in [&b""[..], b"not ELF", &whole[..whole.len() / 2]] {
            let machine = Machine::new();
            let name = format!("usr/lib64/libnvidia-cfg.so.{VERSION}");
            machine.write(&name, content);
            let error = machine.inventory().unwrap_err().to_string();
            assert!(error.contains(&format!("{name} is no shared library")), "{error}");
        }
    }

    #[test]
    fn a_half_installed_driver_is_told_from_a_missing_one() {
        let machine = Machine::empty();
        let error = machine.inventory().unwrap_err().to_string();
        assert!(error.contains("none of its libraries is on this machine"), "{error}");
        machine.library("/usr/lib64", "libcuda.so.535.261.03", "libcuda.so.1");
        machine.library("/usr/lib64", "libcuda.so.1", "libcuda.so.1");
        machine.library("/usr/lib64", &format!("libnvidia-ml.so.{VERSION}"), "libnvidia-ml.so.1");
        let error = machine.inventory().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!(
                "the NVIDIA kernel module is {VERSION}, but the libraries are 535.261.03;"
            )),
            "{error}"
        );
    }
}
