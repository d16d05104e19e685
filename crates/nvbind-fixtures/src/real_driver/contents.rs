//! What the packages put into the driver root that a plan has to have: shared objects of both word sizes, and data
//! files.
use super::RealDriverError;
use crate::elf;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The start of an ELF file of 32 bits in little-endian order: magic number, ELFCLASS32, ELFDATA2LSB.
const ELF32: &[u8] = b"\x7fELF\x01\x01";
/// The type ET_DYN and the machine EM_386, which follow the 16 bytes of identification.
const SHARED_386: &[u8] = &[3, 0, 3, 0];

/// Data files, in every directory of this end: how their names start and end.
const DATA: &[(&str, &str, &str)] = &[
    ("OpenCL/vendors", "nvidia", ".icd"),
    ("X11/xorg.conf.d", "", ".conf"),
    ("egl/egl_external_platform.d", "", ".json"),
    ("glvnd/egl_vendor.d", "", ".json"),
    ("vulkan/icd.d", "", ".json"),
    ("vulkan/implicit_layer.d", "", ".json"),
    ("nvidia/wine", "", ".dll"),
    ("share/nvidia", "nvidia-application-profiles-", ""),
    // Debian has the next two here behind alternatives, other distributions in a directory above.
    ("nvidia/current", "nvoptix", ".bin"),
    ("nvidia/current", "nvidia-drm-outputclass", ".conf"),
];
/// Firmware is in a directory that is called as the driver's version.
const FIRMWARE: &str = "lib/firmware/nvidia";

/// Every 64-bit ELF shared object of the driver root, by its path inside, with its soname: each is either in the plan
/// or on the list of exceptions.
pub fn shared_objects(root: &Path) -> Result<Vec<(PathBuf, Option<String>)>, RealDriverError> {
    let mut found = Vec::new();
    for inside in files(root, "usr/lib")? {
        if is_library_name(&inside)
            && let Some(dynamic) = elf::read(&root.join(&inside))?
        {
            found.push((Path::new("/").join(inside), dynamic.soname));
        }
    }
    Ok(found)
}

/// Every i386 shared object of the driver root, by its path inside.
pub fn shared_objects_32(root: &Path) -> Result<Vec<PathBuf>, RealDriverError> {
    let mut found = Vec::new();
    for inside in files(root, "usr/lib")? {
        let path = root.join(&inside);
        if is_library_name(&inside)
            && is_shared_386(&path).map_err(|source| RealDriverError::File { path, source })?
        {
            found.push(Path::new("/").join(inside));
        }
    }
    Ok(found)
}

/// Every data file of the driver root, by its path inside and not by the links to it: manifests of the graphics and
/// compute loaders, what OptiX, Wine and the X server read, application profiles, and firmware.
pub fn data_files(root: &Path) -> Result<Vec<PathBuf>, RealDriverError> {
    let mut found = Vec::new();
    for folder in ["etc", "usr/lib", "usr/share"] {
        let inside = files(root, folder)?.into_iter().filter(|path| is_data(path));
        found.extend(inside.map(|path| Path::new("/").join(path)));
    }
    Ok(found)
}

fn is_library_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"))
}

fn is_shared_386(path: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(20).read_to_end(&mut head)?;
    Ok(head.starts_with(ELF32) && head.ends_with(SHARED_386))
}

fn is_data(path: &Path) -> bool {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    let listed = DATA.iter().any(|(end, start, extension)| {
        folder.ends_with(end) && name.starts_with(start) && name.ends_with(extension)
    });
    listed || folder.parent().is_some_and(|above| above.ends_with(FIRMWARE)) && name.ends_with(".bin")
}

/// The regular files below a folder of the root, by their paths inside, in order. No link is followed.
fn files(root: &Path, folder: &str) -> Result<Vec<PathBuf>, RealDriverError> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).map_err(|source| RealDriverError::File { path: folder.clone(), source })?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(inside) = path.strip_prefix(root) {
                found.push(inside.into());
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(root: &Path, path: &str, content: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn shared_objects_of_32_bits_are_told_by_their_header() {
        let dir = tempfile::tempdir().unwrap();
        let head = |class: u8, kind: u8, machine: u8| {
            let mut head = b"\x7fELF\0\x01\x01".to_vec();
            head[4] = class;
            head.resize(16, 0);
            head.extend([kind, 0, machine, 0, 1]);
            head
        };
        for (name, content) in [
            ("libcuda.so.1", head(1, 3, 3)),
            ("liblong.so.1", head(2, 3, 62)),
            ("libarm.so.1", head(1, 3, 40)),
            ("program.so", head(1, 2, 3)),
            ("libshort.so", b"\x7fELF\x01\x01".to_vec()),
            ("data.bin", head(1, 3, 3)),
        ] {
            fill(dir.path(), &format!("usr/lib/i386-linux-gnu/{name}"), &content);
        }
        let found = shared_objects_32(dir.path()).unwrap();
        assert_eq!(found, [Path::new("/usr/lib/i386-linux-gnu/libcuda.so.1")]);
    }

    #[test]
    fn data_files_are_listed_where_debian_has_them_and_not_by_their_links() {
        let dir = tempfile::tempdir().unwrap();
        let data = [
            "etc/OpenCL/vendors/nvidia.icd",
            "etc/nvidia/current/nvidia-drm-outputclass.conf",
            "usr/lib/firmware/nvidia/535.1/gsp_ga10x.bin",
            "usr/lib/x86_64-linux-gnu/nvidia/current/nvidia/wine/_nvngx.dll",
            "usr/lib/x86_64-linux-gnu/nvidia/current/nvoptix.bin",
            "usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json",
            "usr/share/glvnd/egl_vendor.d/10_nvidia.json",
            "usr/share/nvidia/nvidia-application-profiles-535.1-rc",
            "usr/share/vulkan/icd.d/nvidia_icd.json",
            "usr/share/vulkan/implicit_layer.d/nvidia_layers.json",
        ];
        let others = [
            "etc/ld.so.conf.d/libc.conf",
            "usr/lib/nvidia/current/nvidia.ids",
            "usr/share/doc/libcuda1/copyright",
            "usr/share/nvidia/rim/535.1/RIM.swidtag",
        ];
        for path in data.iter().chain(&others) {
            fill(dir.path(), path, b"");
        }
        let link = dir.path().join("usr/share/nvidia/nvidia-application-profiles-key-documentation");
        std::os::unix::fs::symlink("nvidia-application-profiles-535.1-rc", link).unwrap();
        let found = data_files(dir.path()).unwrap();
        let expected: Vec<PathBuf> = data.iter().map(|path| Path::new("/").join(path)).collect();
        assert_eq!(found, expected);
    }
}
