//! The simulated driver's code: shared objects and one program, made by the system's C compiler.
//!
//! They answer as the real ones do on a machine whose kernel module is not there.
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::layout::Width;
use crate::process::{self, ProcessError};

/// Why the compiler gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The source could not be written.
    #[error("cannot write {}", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The compiler failed.
    #[error("cannot compile the simulated driver: is a C compiler installed (`cc`)?")]
    Compile(#[source] ProcessError),
}

/// CUDA_ERROR_NO_DEVICE is 100 (cuda.h).
const LIBCUDA: &str = "int nvbind_simulated(void) { return 1; }\n\
    int cuInit(unsigned flags) { (void)flags; return 100; }\n\
    int cuDriverGetVersion(int *version) { *version = 12080; return 0; }\n";

/// NVML_ERROR_DRIVER_NOT_LOADED is 9 (nvml.h).
const LIBNVIDIA_ML: &str = "int nvbind_simulated(void) { return 1; }\n\
    int nvmlInit_v2(void) { return 9; }\n\
    int nvmlShutdown(void) { return 1; }\n";

const OTHERS: &str = "int nvbind_simulated(void) { return 1; }\n";

/// Ends with the code of the real one: 12 if NVML is not found, 9 if it finds no driver.
const PROGRAM: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **arguments) {
    printf("SIMULATED %s: no NVIDIA driver and no GPU behind it\n", count ? arguments[0] : "");
    void *nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!nvml) {
        printf("NVML not found: %s\n", dlerror());
        return 12;
    }
    int (*start)(void) = (int (*)(void))dlsym(nvml, "nvmlInit_v2");
    int answer = start ? start() : -1;
    printf("nvmlInit_v2 of the library answers %d%s\n", answer, answer == 9 ? " (driver not loaded)" : "");
    return 9;
}
"#;

/// What 32-bit libraries are linked with, in the place of a C library that a machine need not have for them: what every library
/// of the driver needs. It is also what tells ldconfig that an object is for glibc, which it writes into the cache.
const C_LIBRARY: &str = "libc.so.6";

/// Compiles into a scratch directory, which it keeps small: three objects serve all the libraries.
#[derive(Debug)]
pub(super) struct Compiler {
    scratch: PathBuf,
}

impl Compiler {
    /// Compiles what the libraries have in common, and a libnvidia-ml: of this source, or one that finds no driver.
    pub(super) fn new(scratch: &Path, nvml: Option<&str>) -> Result<Self, ObjectError> {
        let compiler = Self { scratch: scratch.into() };
        std::fs::create_dir_all(scratch)
            .map_err(|source| ObjectError::Source { path: scratch.into(), source })?;
        let nvml = nvml.map_or_else(|| LIBNVIDIA_ML.to_owned(), |source| format!("{source}\n{OTHERS}"));
        for (name, text) in
            [("libcuda", LIBCUDA), ("libnvidia-ml", &nvml), ("others", OTHERS), ("program", PROGRAM)]
        {
            let path = scratch.join(name).with_extension("c");
            std::fs::write(&path, text)
                .map_err(|source| ObjectError::Source { path: path.clone(), source })?;
            for width in Width::ALL {
                // Nobody runs the program of 32 bits, whose headers a machine need not have.
                if *width == Width::W64 || name != "program" {
                    compiler.cc(compile(*width)
                        .args(["-O1", "-c", "-o"])
                        .args([&compiler.object(name, *width), &path]))?;
                }
            }
        }
        if Width::ALL.contains(&Width::W32) {
            let mut stand_in = shared(Width::W32, C_LIBRARY, &scratch.join(C_LIBRARY));
            compiler.cc(stand_in.arg(compiler.object("others", Width::W32)))?;
        }
        Ok(compiler)
    }

    /// The shared object of the library called `stem`, at `output`.
    pub(super) fn library(
        &self,
        stem: &str,
        soname: &str,
        width: Width,
        output: &Path,
    ) -> Result<(), ObjectError> {
        let object = match stem {
            name @ ("libcuda" | "libnvidia-ml") => name,
            _ => "others",
        };
        let mut command = shared(width, soname, output);
        command
            .arg(format!("-Wl,--defsym={}=nvbind_simulated", marker(stem)))
            .arg(self.object(object, width));
        if width == Width::W32 {
            command.arg("-Wl,--no-as-needed").arg(self.scratch.join(C_LIBRARY));
        }
        self.cc(&mut command)
    }

    fn object(&self, name: &str, width: Width) -> PathBuf {
        let ending = match width {
            Width::W64 => "o",
            Width::W32 => "32.o",
        };
        self.scratch.join(name).with_extension(ending)
    }

    /// The program, at `output`.
    pub(super) fn program(&self, output: &Path) -> Result<(), ObjectError> {
        self.cc(Command::new("cc").arg("-o").arg(output).arg(self.scratch.join("program.o")).arg("-ldl"))
    }

    fn cc(&self, command: &mut Command) -> Result<(), ObjectError> {
        process::read(command).map(drop).map_err(ObjectError::Compile)
    }
}

/// The compiler for programs of a width: one for 64 bits makes code of 32 bits as well, without a C library for that.
fn compile(width: Width) -> Command {
    let mut command = Command::new("cc");
    command.arg("-fPIC").args((width == Width::W32).then_some("-m32"));
    command
}

/// What links a shared object at `output`.
fn shared(width: Width, soname: &str, output: &Path) -> Command {
    let mut command = compile(width);
    command.args(["-shared", "-nostdlib"]).arg(format!("-Wl,-soname,{soname}")).arg("-o").arg(output);
    command
}

/// The function that only the library called `stem` has.
fn marker(stem: &str) -> String {
    format!("nvbind_simulated_{}", stem.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use object::read::elf::FileHeader;
    use object::{Endianness, Object, ObjectSymbol, elf};

    use super::*;

    #[test]
    fn a_marker_is_a_c_identifier() {
        assert_eq!(marker("libnvidia-ml"), "nvbind_simulated_libnvidia_ml");
    }

    #[test]
    fn libraries_of_each_width_have_their_soname_and_their_functions() {
        let scratch = tempfile::tempdir().unwrap();
        let compiler = Compiler::new(scratch.path(), None).unwrap();
        for width in Width::ALL {
            let path = scratch.path().join("made");
            compiler.library("libcuda", "libcuda.so.1", *width, &path).unwrap();
            let bytes = fs::read(&path).unwrap();
            let file = object::File::parse(bytes.as_slice()).unwrap();
            assert_eq!(file.is_64(), *width == Width::W64);
            let names: Vec<&str> = file.dynamic_symbols().filter_map(|symbol| symbol.name().ok()).collect();
            for name in ["cuInit", "nvbind_simulated_libcuda"] {
                assert!(names.contains(&name), "{name} in {names:?}");
            }
            if *width == Width::W64 {
                let soname = crate::elf::read(&path).unwrap().unwrap().soname;
                assert_eq!(soname.as_deref(), Some("libcuda.so.1"));
            }
        }
    }

    #[test]
    fn a_library_of_32_bits_has_its_soname_and_what_tells_ldconfig_of_glibc() {
        let scratch = tempfile::tempdir().unwrap();
        let compiler = Compiler::new(scratch.path(), None).unwrap();
        for width in Width::ALL.iter().filter(|width| **width == Width::W32) {
            let path = scratch.path().join("made");
            compiler.library("libcuda", "libcuda.so.1", *width, &path).unwrap();
            let bytes = fs::read(&path).unwrap();
            let header = elf::FileHeader32::<Endianness>::parse(bytes.as_slice()).unwrap();
            let endian = header.endian().unwrap();
            assert_eq!((header.e_type(endian), header.e_machine(endian)), (elf::ET_DYN, elf::EM_386));
            let sections = header.sections(endian, bytes.as_slice()).unwrap();
            let table = sections.dynamic_table(endian, bytes.as_slice()).unwrap();
            for (tag, expected) in [(elf::DT_SONAME, "libcuda.so.1"), (elf::DT_NEEDED, C_LIBRARY)] {
                let entry = table.iter().find(|entry| entry.tag == tag).unwrap();
                assert_eq!(table.string(entry).unwrap(), expected.as_bytes());
            }
        }
    }
}
