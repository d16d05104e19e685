//! CUDA forward compatibility: whether the newer libcuda of a CUDA image is to be used in place of the driver's.
//!
//! Images carry the user-space half of a newer driver in [`DIRECTORY`], for data centre GPUs whose driver is older than
//! the image's CUDA. Newer ones say in an ELF note which drivers they work on.

mod note;

use crate::cuda::{Cuda, Version};
#[cfg(fuzzing)]
pub use note::read_bytes;
pub use note::{Libcuda, Note, read};

/// Where CUDA images keep them (the `cuda-compat` packages; `/usr/local/cuda` may be a link).
pub const DIRECTORY: &str = "/usr/local/cuda/compat";

/// What programs ask the loader for.
pub const SONAME: &str = "libcuda.so.1";

/// Product lines that forward compatibility does not support: libcuda would answer
/// `CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE` where the driver's own works (CUDA Compatibility, "Forward
/// Compatibility").
const UNSUPPORTED: [&str; 2] = ["GeForce", "TITAN"];

/// The driver's version in the name of a libcuda, `libcuda.so.580.65.06`; none for other names.
#[must_use]
pub fn version_of(file_name: &str) -> Option<Version> {
    file_name.strip_prefix("libcuda.so.").filter(|version| version.contains('.')).and_then(Version::parse)
}

/// Whether the image's libcuda is to be used.
///
/// `version` is that of its file name, `libcuda` what the file says, `driver` and `models` the loaded driver's version
/// and the chosen GPUs' product names.
///
/// # Errors
/// When the driver's is to be used, with the reason.
pub fn decide<'m>(
    version: Version,
    libcuda: &Libcuda,
    driver: &str,
    models: impl IntoIterator<Item = &'m str>,
) -> Result<(), &'static str> {
    let driver = Version::parse(driver).ok_or("the driver's version is none that can be compared")?;
    // One is enough: libcuda supports all of the GPUs that it sees, or does not start.
    if models.into_iter().any(|model| UNSUPPORTED.iter().any(|line| model.contains(line))) {
        return Err("GeForce and TITAN GPUs do not support forward compatibility");
    }
    match libcuda {
        Libcuda::Unusable(why) => Err(why),
        Libcuda::Silent if version.major() > driver.major() => Ok(()),
        Libcuda::Silent => Err("it is not of a newer branch than the driver"),
        Libcuda::Says(note) if !note.drivers.contains(&driver.major()) => {
            Err("it does not name the driver's branch as one that it works on")
        }
        Libcuda::Says(note) => match Cuda::of_driver(driver) {
            Cuda::Exactly(major, minor) if note.cuda > Version::of(major, minor) => Ok(()),
            Cuda::Exactly(..) => Err("the driver's CUDA is as new"),
            Cuda::AtLeast(..) | Cuda::Unknown => Err("the CUDA version of the driver is not known"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(cuda: &str, drivers: &[u32]) -> Libcuda {
        Libcuda::Says(Note { cuda: Version::parse(cuda).unwrap(), drivers: drivers.to_vec() })
    }

    #[test]
    fn the_image_s_wins_where_it_is_newer_and_works_on_the_driver() {
        const OF_575: &[u32] = &[535, 550, 560, 565, 570, 575];
        for (name, libcuda, driver, wins) in [
            ("libcuda.so.575.57.08", says("12.9", OF_575), "570.172.08", true),
            ("libcuda.so.575.57.08", says("12.9", OF_575), "535.261.03", true),
            ("libcuda.so.575.57.08", says("12.9", OF_575), "545.29.06", false),
            ("libcuda.so.575.57.08", says("12.9", OF_575), "575.51.03", false),
            ("libcuda.so.575.57.08", says("12.9", OF_575), "590.44.01", false),
            ("libcuda.so.575.57.08", says("12.9", &[]), "570.172.08", false),
            ("libcuda.so.999.1", says("99.0", &[700]), "700.1", false),
            ("libcuda.so.999.1", says("99.0", &[400]), "400.1", false),
            ("libcuda.so.580.65.06", Libcuda::Silent, "570.172.08", true),
            ("libcuda.so.570.195.03", Libcuda::Silent, "570.172.08", false),
            ("libcuda.so.550.54.14", Libcuda::Silent, "570.172.08", false),
            ("libcuda.so.580.65.06", Libcuda::Unusable("broken"), "570.172.08", false),
        ] {
            let version = version_of(name).unwrap();
            let decision = decide(version, &libcuda, driver, ["NVIDIA H200"]);
            assert_eq!(decision.is_ok(), wins, "{name} {libcuda:?} on {driver}: {decision:?}");
        }
    }

    #[test]
    fn one_consumer_gpu_is_enough_for_the_driver_s() {
        let version = version_of("libcuda.so.580.65.06").unwrap();
        for (models, wins) in [
            (&[][..], true),
            (&["NVIDIA A100-SXM4-40GB", "Tesla T4"], true),
            (&["Tesla T4", "NVIDIA GeForce RTX 4090"], false),
            (&["TITAN Xp"], false),
        ] {
            for libcuda in [Libcuda::Silent, says("13.0", &[570])] {
                let decision = decide(version, &libcuda, "570.172.08", models.iter().copied());
                assert_eq!(decision.is_ok(), wins, "{models:?} {libcuda:?}");
            }
        }
    }

    #[test]
    fn a_libcuda_is_known_by_the_version_in_its_name() {
        for (name, is_one) in [
            ("libcuda.so.580.65.06", true),
            ("libcuda.so.580.65", true),
            ("libcuda.so.1", false),
            ("libcuda.so", false),
            ("libcuda.so.1.1", true),
            ("libcuda.so.580.65.06.bak", false),
            ("libcudadebugger.so.580.65.06", false),
        ] {
            assert_eq!(version_of(name).is_some(), is_one, "{name}");
        }
    }
}
