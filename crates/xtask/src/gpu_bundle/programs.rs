//! The bundle's programs, each made to run with the bundle's own loader and libraries wherever it is.
use super::{PLACE, fixture};
use nvbind_fixtures::elf;
use nvbind_fixtures::error::{Error, Result};
use nvbind_fixtures::image::source::Source;
use nvbind_fixtures::process;
use nvbind_fixtures::tree::Tree;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs of the Debian system. podman does not start without netavark, also where no container has a network.
const SYSTEM: &[&str] = &[
    "/usr/bin/podman",
    "/usr/bin/conmon",
    "/usr/bin/crun",
    "/usr/sbin/runc",
    "/usr/bin/setpriv",
    "/usr/bin/unshare",
    "/usr/lib/podman/netavark",
];

/// The loader's name in the bundle, whatever the system calls it.
const LOADER: &str = "lib/ld.so";

/// Fills the bundle's `bin` and `lib`.
#[derive(Debug)]
pub(super) struct Toolbox<'a> {
    bundle: &'a Tree,
    system: Source,
    taken: RefCell<BTreeSet<String>>,
    programs: RefCell<Vec<PathBuf>>,
}

impl<'a> Toolbox<'a> {
    /// For a bundle whose libraries come from a Debian system.
    pub(super) fn new(bundle: &'a Tree, system: &Path) -> Self {
        Self { bundle, system: Source::new(system), taken: RefCell::default(), programs: RefCell::default() }
    }

    /// Takes the programs of the system.
    pub(super) fn system(&self) -> Result<()> {
        SYSTEM.iter().try_for_each(|path| self.own(&self.system.real(Path::new(path))))
    }

    /// Takes a program with all that it loads. A static one needs nothing.
    pub(super) fn own(&self, program: &Path) -> Result<()> {
        let place = Path::new("bin").join(program.file_name().unwrap_or_default());
        self.bundle.copy(program, &place).map_err(fixture)?;
        let Some(loader) = elf::read(program).map_err(fixture)?.and_then(|dynamic| dynamic.interpreter)
        else {
            return Ok(());
        };
        if self.taken.borrow_mut().insert(LOADER.to_owned()) {
            self.bundle.copy(&self.system.real(Path::new(&loader)), LOADER).map_err(fixture)?;
        }
        self.libraries(program)?;
        // DT_RPATH, unlike DT_RUNPATH and LD_LIBRARY_PATH, serves the libraries' own libraries, and no program of the
        // machine.
        process::read(
            Command::new("patchelf")
                .args(["--force-rpath", "--set-rpath", &format!("{PLACE}/lib")])
                .args(["--set-interpreter", &format!("{PLACE}/{LOADER}")])
                .arg(self.bundle.at(&place)),
        )?;
        self.programs.borrow_mut().push(place);
        Ok(())
    }

    fn libraries(&self, object: &Path) -> Result<()> {
        let needed = elf::read(object).map_err(fixture)?.map(|dynamic| dynamic.needed).unwrap_or_default();
        for name in needed {
            if !self.taken.borrow_mut().insert(name.clone()) {
                continue;
            }
            let path = self.system.find_library(&name).ok_or_else(|| fixture(self.system.missing(&name)))?;
            let file = self.system.real(&path);
            self.bundle.copy(&file, Path::new("lib").join(&name)).map_err(fixture)?;
            self.libraries(&file)?;
        }
        Ok(())
    }

    /// Runs each program with the bundle's loader and libraries: one that lacks something is found here and not on the
    /// machine with the GPU, and so is a C library older than the one that nvbind was built with.
    pub(super) fn try_all(&self) -> Result<()> {
        for program in self.programs.borrow().iter() {
            process::read(
                Command::new(self.bundle.at(LOADER))
                    .arg("--inhibit-cache")
                    .arg("--library-path")
                    .arg(self.bundle.at("lib"))
                    .arg(self.bundle.at(program))
                    .arg("--version"),
            )
            .map_err(Error::from)?;
        }
        Ok(())
    }
}
