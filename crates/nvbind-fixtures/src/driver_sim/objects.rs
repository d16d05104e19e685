//! The simulated driver's code: shared objects and one program, made by the system's C compiler.
//!
//! They answer as the real ones do on a machine whose kernel module is not there.
use super::layout::Width;
use crate::process::{self, ProcessError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why the compiler gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The source could not be written.
    #[error("cannot write {}", path.display())]
    Source { path: PathBuf, source: io::Error },
    /// The compiler failed.
    #[error("cannot compile the simulated driver: is a C compiler installed (`cc`, on x86_64 with -m32)?")]
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

/// What all 32-bit libraries are linked with: ldconfig takes an object that needs it for one of glibc's, and says so in
/// the cache.
const C_LIBRARY: &str = "libc.so.6";

/// What the other libraries have.
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

/// Compiles for one width into a scratch directory, which it keeps small: three objects serve all the libraries.
#[derive(Debug)]
pub(super) struct Compiler {
    scratch: PathBuf,
    width: Width,
}

impl Compiler {
    /// Compiles what the libraries have in common, and a libnvidia-ml: of this source, or one that finds no driver.
    pub(super) fn new(scratch: &Path, width: Width, nvml: Option<&str>) -> Result<Self, ObjectError> {
        let compiler = Self { scratch: scratch.into(), width };
        std::fs::create_dir_all(scratch)
            .map_err(|source| ObjectError::Source { path: scratch.into(), source })?;
        let nvml = nvml.map_or_else(|| LIBNVIDIA_ML.to_owned(), |source| format!("{source}\n{OTHERS}"));
        for (name, text) in [("libcuda", LIBCUDA), ("libnvidia-ml", &nvml), ("others", OTHERS)] {
            compiler.object(name, text)?;
        }
        match width {
            Width::W64 => compiler.object("program", PROGRAM)?,
            // A machine that compiles for 64 bits need not have the real one.
            Width::W32 => {
                let stand_in = compiler.at(C_LIBRARY);
                compiler.cc(compiler.shared(C_LIBRARY, &stand_in).arg(compiler.at("others.o")))?;
            }
        }
        Ok(compiler)
    }

    /// The shared object of the library called `stem`, at `output`.
    pub(super) fn library(&self, stem: &str, soname: &str, output: &Path) -> Result<(), ObjectError> {
        let object = match stem {
            "libcuda" => "libcuda.o",
            "libnvidia-ml" => "libnvidia-ml.o",
            _ => "others.o",
        };
        let mut command = self.shared(soname, output);
        command.arg(format!("-Wl,--defsym={}=nvbind_simulated", marker(stem))).arg(self.at(object));
        if self.width == Width::W32 {
            command.arg("-Wl,--no-as-needed").arg(self.at(C_LIBRARY));
        }
        self.cc(&mut command)
    }

    /// The program, at `output`.
    pub(super) fn program(&self, output: &Path) -> Result<(), ObjectError> {
        self.cc(Command::new("cc").arg("-o").arg(output).arg(self.at("program.o")).arg("-ldl"))
    }

    fn object(&self, name: &str, text: &str) -> Result<(), ObjectError> {
        let path = self.at(name).with_extension("c");
        std::fs::write(&path, text).map_err(|source| ObjectError::Source { path: path.clone(), source })?;
        self.cc(Command::new("cc").args(["-O1", "-fPIC", "-c", "-o"]).args([path.with_extension("o"), path]))
    }

    /// Links without the C library and the compiler's own, so that nothing has to be installed for 32-bit programs.
    fn shared(&self, soname: &str, output: &Path) -> Command {
        let mut command = Command::new("cc");
        command.args(["-shared", "-nostdlib"]).arg(format!("-Wl,-soname,{soname}")).arg("-o").arg(output);
        command
    }

    fn cc(&self, command: &mut Command) -> Result<(), ObjectError> {
        if self.width == Width::W32 {
            command.arg("-m32");
        }
        process::read(command).map(drop).map_err(ObjectError::Compile)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }
}

/// The function that only the library called `stem` has.
fn marker(stem: &str) -> String {
    format!("nvbind_simulated_{}", stem.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::read::elf::{ElfFile, FileHeader};
    use object::{Endianness, Object, ObjectSymbol, elf};

    #[test]
    fn a_marker_is_a_c_identifier() {
        assert_eq!(marker("libnvidia-ml"), "nvbind_simulated_libnvidia_ml");
    }

    /// The machine that a shared object is for, its soname, what it needs, and its functions in order.
    fn read<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> (u16, String, Vec<String>, Vec<String>) {
        let file = ElfFile::<Elf>::parse(bytes).unwrap();
        let endian = file.endian();
        let sections = file.elf_header().sections(endian, bytes).unwrap();
        let table = sections.dynamic_table(endian, bytes).unwrap();
        let named = |tag| -> Vec<String> {
            let entries = table.iter().filter(|entry| entry.tag == tag);
            entries.map(|entry| String::from_utf8(table.string(entry).unwrap().to_vec()).unwrap()).collect()
        };
        let mut functions: Vec<String> =
            file.dynamic_symbols().map(|symbol| symbol.name().unwrap().to_owned()).collect();
        functions.sort();
        let machine = file.elf_header().e_machine(endian);
        (machine.0, named(elf::DT_SONAME).concat(), named(elf::DT_NEEDED), functions)
    }

    #[test]
    fn a_library_has_its_soname_and_its_functions_for_each_width() {
        for width in Width::ALL {
            let scratch = tempfile::tempdir().unwrap();
            let output = scratch.path().join("output");
            let compiler = Compiler::new(scratch.path(), *width, None).unwrap();
            compiler.library("libcuda", "libcuda.so.1", &output).unwrap();
            let bytes = std::fs::read(output).unwrap();
            let (machine, soname, needed, functions) = match width {
                Width::W64 => read::<elf::FileHeader64<Endianness>>(&bytes),
                Width::W32 => read::<elf::FileHeader32<Endianness>>(&bytes),
            };
            assert_eq!(machine == elf::EM_386.0, *width == Width::W32);
            assert_eq!(soname, "libcuda.so.1");
            let c_library = (*width == Width::W32).then_some(C_LIBRARY);
            assert_eq!(needed, Vec::from_iter(c_library));
            let expected = ["cuDriverGetVersion", "cuInit", "nvbind_simulated", "nvbind_simulated_libcuda"];
            assert_eq!(functions, expected);
        }
    }
}
