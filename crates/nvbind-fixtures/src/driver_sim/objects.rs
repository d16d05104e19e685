//! The simulated driver's code: shared objects and one program, made by the system's C compiler.
//!
//! They answer as the real ones do on a machine whose kernel module is not there.
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::elf32;
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

/// What 32-bit libraries answer besides their marker: the library, its function, and the same answer.
const ANSWERS_32: &[(&str, &str, u32)] = &[("libcuda", "cuInit", 100), ("libnvidia-ml", "nvmlInit_v2", 9)];

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
            compiler.cc(Command::new("cc")
                .args(["-O1", "-fPIC", "-c", "-o"])
                .args([scratch.join(name).with_extension("o"), path]))?;
        }
        Ok(compiler)
    }

    /// The shared object of the library called `stem`, at `output`.
    pub(super) fn library(&self, stem: &str, soname: &str, output: &Path) -> Result<(), ObjectError> {
        let object = match stem {
            name @ ("libcuda" | "libnvidia-ml") => name,
            _ => "others",
        };
        let marker = marker(stem);
        self.cc(Command::new("cc")
            .args(["-shared", "-nostdlib"])
            .arg(format!("-Wl,-soname,{soname}"))
            .arg(format!("-Wl,--defsym={marker}=nvbind_simulated"))
            .arg("-o")
            .arg(output)
            .arg(self.scratch.join(object).with_extension("o")))
    }

    /// The program, at `output`.
    pub(super) fn program(&self, output: &Path) -> Result<(), ObjectError> {
        self.cc(Command::new("cc").arg("-o").arg(output).arg(self.scratch.join("program.o")).arg("-ldl"))
    }

    fn cc(&self, command: &mut Command) -> Result<(), ObjectError> {
        process::read(command).map(drop).map_err(ObjectError::Compile)
    }
}

/// The 32-bit shared object of the library called `stem`.
pub(super) fn library_32(stem: &str, soname: &str) -> Vec<u8> {
    let own = ANSWERS_32.iter().filter(|(library, ..)| *library == stem);
    let own = own.map(|(_, function, answer)| ((*function).to_owned(), *answer));
    let functions: Vec<elf32::Function> =
        ["nvbind_simulated".to_owned(), marker(stem)].map(|name| (name, 1)).into_iter().chain(own).collect();
    elf32::shared_object(soname, &functions)
}

/// The function that only the library called `stem` has.
fn marker(stem: &str) -> String {
    format!("nvbind_simulated_{}", stem.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_a_c_identifier() {
        assert_eq!(marker("libnvidia-ml"), "nvbind_simulated_libnvidia_ml");
    }
}
