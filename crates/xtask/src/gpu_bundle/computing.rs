//! A simulated driver whose libcuda computes and whose nvidia-smi lists: with it the checks do all that they do with a
//! GPU.
use super::{compile, fixture};
use nvbind_fixtures::driver_sim::{DriverSim, Layout};
use nvbind_fixtures::error::{Doing, Result};
use nvbind_fixtures::tools::{self, Tool};
use std::fs;
use std::path::Path;

/// The file that tells the checks so.
const MARKER: &str = "computes";

/// Makes the driver root, where the driver's files lie as on many a machine that is itself a container.
pub(crate) fn ensure(project: &Path, root: &Path) -> Result<()> {
    tools::install(&[Tool::Cc])?;
    let sim = DriverSim { layout: Layout::LocalNvidia, ..DriverSim::default() };
    sim.ensure(root).map_err(fixture)?;
    let source = project.join("tests/gpu");
    let driver = root.join("usr/local/nvidia");
    let library = driver.join(format!("lib64/libcuda.so.{}", sim.version));
    compile(&source.join("simulated-cuda.c"), &library, &["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"])?;
    let program = driver.join("bin/nvidia-smi");
    fs::copy(source.join("simulated-nvidia-smi"), &program).on("make", &program)?;
    let marker = root.join(MARKER);
    fs::write(&marker, "").on("write", &marker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_fixtures::process;
    use std::process::{Command, Output};

    const UUID: &str = "GPU-51a7ed01-5170-4000-8000-0000000000b3";

    /// `cuda-check` with the simulated libcuda, and a machine that has this one GPU.
    fn check(uuid: &str, environment: &[(&str, &str)]) -> Output {
        let dir = tempfile::tempdir().unwrap();
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let source = |name: &str| project.join("tests/gpu").join(name);
        let library = dir.path().join("libcuda.so.1");
        compile(&source("simulated-cuda.c"), &library, &["-shared", "-fPIC"]).unwrap();
        let program = dir.path().join("cuda-check");
        compile(&source("cuda-check.c"), &program, &["-ldl"]).unwrap();
        let gpu = dir.path().join("proc/driver/nvidia/gpus/0000:b3:00.0");
        fs::create_dir_all(&gpu).unwrap();
        fs::write(gpu.join("information"), format!("GPU UUID: \t {UUID}\n")).unwrap();
        let mut command = Command::new(program);
        command.args([uuid, "/dev/null"]).envs(environment.iter().copied());
        command.env("LD_LIBRARY_PATH", dir.path()).env("SIMULATED_ROOT", dir.path());
        process::capture(&mut command).unwrap()
    }

    fn said(output: &Output) -> String {
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn cuda_check_computes_on_the_gpu_and_tells_how_fast() {
        let output = check(UUID, &[]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        for line in ["computed 16777216\n", "\nto_gpu_mib_s ", "\nfrom_gpu_mib_s ", "\nopen_us "] {
            assert!(said.contains(line), "no {line:?} in {said}");
        }
    }

    #[test]
    fn cuda_check_fails_where_a_number_comes_back_wrong() {
        let output = check(UUID, &[("SIMULATED_CUDA_FAULT", "1")]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.ends_with("number 0 came back from the GPU as 2\n"), "{said}");
    }

    #[test]
    fn cuda_check_fails_on_another_gpu_than_the_one_that_was_chosen() {
        let output = check("GPU-51a7ed00-5170-4000-8000-000000000017", &[]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("expected is one device"), "{said}");
    }
}
