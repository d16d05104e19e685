//! Which libraries load by their soname, and from where.
//!
//! Each is loaded by a process of its own: one cannot find another's dependencies already loaded, and one that crashes
//! is a line in the report.
use super::{Expected, names};
use crate::{elf, process};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Functions that take no argument or a zero, and say whether there is a driver.
const CALLS: &[(&str, &str)] = &[("libcuda.so.1", "cuInit"), ("libnvidia-ml.so.1", "nvmlInit_v2")];

#[derive(Debug, Serialize)]
pub struct Library {
    pub soname: String,
    /// The file that it was loaded from.
    pub path: Option<String>,
    /// What its first function answered, `NAME=NUMBER`.
    pub call: Option<String>,
    /// Why it did not load.
    pub error: Option<String>,
    /// A library of the image's that it did not load for: its own file was found.
    pub lacks: Option<String>,
}

pub(super) fn look(view: Option<&Path>, expected: &[Expected], unexpected: &mut Vec<String>) -> Vec<Library> {
    let found: Vec<Expected>;
    let wanted = if expected.is_empty() {
        found = view.map(sonames).unwrap_or_default().into_iter().map(Expected::any).collect();
        &found
    } else {
        expected
    };
    wanted
        .iter()
        .map(|one| {
            let mut library = load_apart(&one.name);
            library.lacks = library.error.as_deref().and_then(|error| lacks(error, &one.name, view));
            let result = one.result.as_deref().unwrap_or("view");
            unexpected.extend(complaint(&library, result, view));
            library
        })
        .collect()
}

/// Every DT_SONAME of the files in the view, but for plug-ins in folders of their own, which nothing loads by soname.
fn sonames(view: &Path) -> BTreeSet<String> {
    let folder = view.join("lib64");
    names(&folder)
        .into_iter()
        .map(|name| folder.join(name))
        .filter(|path| path.is_file())
        .filter_map(|path| elf::read(&path).ok().flatten()?.soname)
        .collect()
}

fn complaint(library: &Library, expected: &str, view: Option<&Path>) -> Option<String> {
    let soname = &library.soname;
    let trouble = match (&library.path, expected) {
        (None, "missing") => return None,
        // That is between the image and the driver: nvbind has done its part.
        (None, "view") if library.lacks.is_some() => return None,
        (None, _) => library.error.clone().unwrap_or_default(),
        (Some(path), "missing") => format!("loads from {path}, expected not at all"),
        (Some(_), "ok") => return None,
        (Some(path), _) => {
            if view.is_some_and(|view| Path::new(path).starts_with(view)) {
                return None;
            }
            format!("loads from {path}, expected from the driver view")
        }
    };
    Some(format!("{soname}: {trouble}"))
}

/// The library that is missing according to the loader's message, if it is neither `soname` nor one of the driver's.
fn lacks(error: &str, soname: &str, view: Option<&Path>) -> Option<String> {
    let (before, _) = error.split_once(": cannot open shared object file")?;
    let name = before.rsplit(' ').next()?;
    let ours = name == soname || view.is_some_and(|view| view.join("lib64").join(name).exists());
    (!ours).then(|| name.to_owned())
}

fn load_apart(soname: &str) -> Library {
    let mut library = Library { soname: soname.into(), path: None, call: None, error: None, lacks: None };
    match process::capture(Command::new("/proc/self/exe").args(["load", soname])) {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            // A library may print while it loads: ours is the last line.
            let last = said.trim_end().lines().next_back().unwrap_or_default();
            if output.status.success() {
                let (path, call) = last.split_once('\t').unwrap_or((last, ""));
                library.path = Some(path.into());
                library.call = (!call.is_empty()).then(|| call.into());
            } else if output.status.code() == Some(1) {
                library.error = Some(last.into());
            } else {
                library.error = Some(format!("crashed while it was loaded, {}", output.status));
            }
        }
        Err(error) => library.error = Some(error.to_string()),
    }
    library
}

/// Loads `soname` into this process: the file it came from, and after a tab what its first function answered.
pub fn load(soname: &str) -> Result<String, String> {
    #[expect(unsafe_code, reason = "this is what the probe is for: the driver's own constructors run")]
    // SAFETY: this process exists for this one library, and nothing runs after it that relies on its state.
    let library = unsafe { libloading::Library::new(soname) }.map_err(|error| chain(&error))?;
    let call = CALLS.iter().find(|(name, _)| *name == soname);
    let answer = call.map(|(_, function)| {
        #[expect(unsafe_code, reason = "asks the driver's own first function")]
        // SAFETY: cuInit(unsigned) and nvmlInit_v2(void) return an int (cuda.h, nvml.h); an argument too many is
        // ignored in the C calling convention of every platform with an NVIDIA driver.
        let answer = unsafe { library.get::<unsafe extern "C" fn(u32) -> i32>(*function) }.map(|function| {
            #[expect(unsafe_code, reason = "as above")]
            // SAFETY: as above.
            unsafe {
                function(0)
            }
        });
        answer.map_or_else(|_| format!("{function}: not there"), |n| format!("{function}={n}"))
    });
    let path = mapped(soname).ok_or("loaded, but its file is not mapped")?;
    // Unloading would run the driver's destructors, which the process's end makes needless.
    std::mem::forget(library);
    Ok(format!("{path}\t{}", answer.unwrap_or_default()))
}

/// The mapped file that the soname stands for.
fn mapped(soname: &str) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    file_of(soname, &maps)
}

/// The file whose name starts as the soname does, or that a link of this name beside it leads to.
fn file_of(soname: &str, maps: &str) -> Option<String> {
    let stem = soname.split(".so").next()?;
    let start = format!("{stem}.so");
    let files =
        || maps.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..))).map(Path::new);
    let named =
        |path: &&Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start));
    let linked = |path: &&Path| path.with_file_name(soname).canonicalize().is_ok_and(|file| file == **path);
    files().find(named).or_else(|| files().find(linked)).map(|path| path.display().to_string())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_known_by_its_stem_among_the_mapped_files() {
        let maps = "7f00-7f01 r--p 0 00:01 1 /usr/lib/libc.so.6\n\
                    7f02-7f03 r--p 0 00:01 2 /usr/local/nvidia/lib64/libcudadebugger.so.570.1\n\
                    7f04-7f05 r--p 0 00:01 3 /usr/local/nvidia/lib64/libcuda.so.570.1\n";
        assert_eq!(
            file_of("libcuda.so.1", maps).as_deref(),
            Some("/usr/local/nvidia/lib64/libcuda.so.570.1")
        );
    }

    #[test]
    fn a_library_of_another_name_is_known_by_the_link_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let file = folder.join("libGLX_nvidia.so.570.1");
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("libGLX_nvidia.so.570.1", folder.join("libGLX_indirect.so.0")).unwrap();
        let maps = format!("7f00-7f01 r--p 0 00:01 1 {}\n", file.display());
        assert_eq!(file_of("libGLX_indirect.so.0", &maps), Some(file.display().to_string()));
        assert_eq!(file_of("libGLX_other.so.0", &maps), None);
    }

    #[test]
    fn a_library_of_the_images_that_is_missing_is_told_from_the_drivers() {
        let error = "dlopen failed: libX11.so.6: cannot open shared object file: No such file or directory";
        assert_eq!(lacks(error, "libGLX_nvidia.so.0", None).as_deref(), Some("libX11.so.6"));
        assert_eq!(lacks(error, "libX11.so.6", None), None);
    }

    #[test]
    fn a_library_from_elsewhere_than_the_view_is_a_complaint() {
        let library = Library {
            soname: "libcuda.so.1".into(),
            path: Some("/usr/lib/libcuda.so.1".into()),
            call: None,
            error: None,
            lacks: None,
        };
        let view = Some(Path::new("/usr/local/nvidia"));
        assert_eq!(complaint(&library, "ok", view), None);
        assert_eq!(
            complaint(&library, "view", view).as_deref(),
            Some("libcuda.so.1: loads from /usr/lib/libcuda.so.1, expected from the driver view")
        );
    }

    #[test]
    fn a_library_that_is_not_there_fails_with_the_loaders_words() {
        let error = load("libnvbind-not-there.so.1").unwrap_err();
        assert!(error.contains("cannot open shared object file"), "{error}");
    }
}
