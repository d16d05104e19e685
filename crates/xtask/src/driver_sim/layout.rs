//! Where distributions put the driver's files, as a pure mapping from names to paths and links.
use super::catalog::Library;

/// The multiarch triplet of this machine.
pub const TRIPLET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };

/// The multiarch triplet of 32-bit programs; NVIDIA has libraries for them beside those of x86_64 alone.
pub const TRIPLET_32: &str = "i386-linux-gnu";

/// The store path of the driver in the NixOS layout; the hash is made up.
const STORE: &str = "nix/store/s1mu1atedv5zl2q9ca0ymyr8ksbfxw3h-nvidia-x11";
/// The store path of NixOS's collection of graphics drivers.
const STORE_GRAPHICS: &str = "nix/store/s1mu1atedk9b0h3v2dq7p4wlx8cyrfz6-graphics-drivers";

/// How a distribution arranges the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Debian's packages: `nvidia/current` behind alternatives.
    DebianAlternatives,
    /// Ubuntu's, and NVIDIA's installer on Debian: straight in the multiarch directory.
    Multiarch,
    /// Fedora, RHEL, openSUSE: `/usr/lib64`.
    Lib64,
    /// Arch: `/usr/lib`.
    Lib,
    /// NixOS: one directory in the store, and links to it in `/run`; no ld.so.cache.
    Nix,
    /// Driver containers and some image-based hosts: `/usr/local/nvidia`.
    LocalNvidia,
}

impl Layout {
    /// Every layout with its name on a command line.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("debian", Self::DebianAlternatives),
        ("multiarch", Self::Multiarch),
        ("lib64", Self::Lib64),
        ("lib", Self::Lib),
        ("nix", Self::Nix),
        ("local-nvidia", Self::LocalNvidia),
    ];

    /// The layout called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, layout)| *layout)
    }

    /// The directory that programs are to find libraries in.
    fn libraries(self) -> String {
        match self {
            Self::DebianAlternatives | Self::Multiarch => format!("usr/lib/{TRIPLET}"),
            Self::Lib64 => "usr/lib64".into(),
            Self::Lib => "usr/lib".into(),
            Self::Nix => format!("{STORE}/lib"),
            Self::LocalNvidia => "usr/local/nvidia/lib64".into(),
        }
    }

    /// The directory of shared data.
    pub(super) fn shared_data(self) -> String {
        match self {
            Self::Nix => format!("{STORE}/share"),
            Self::DebianAlternatives | Self::Multiarch | Self::Lib64 | Self::Lib | Self::LocalNvidia => {
                "usr/share".into()
            }
        }
    }

    /// The directory of firmware.
    pub(super) fn firmware(self) -> String {
        match self {
            Self::Nix => format!("{STORE}/lib/firmware"),
            Self::DebianAlternatives | Self::Multiarch | Self::Lib64 | Self::Lib | Self::LocalNvidia => {
                "usr/lib/firmware".into()
            }
        }
    }

    /// Content of `/etc/ld.so.conf.d/*.conf`: the file's name and its directories. `None` where there is no cache.
    pub(super) fn linker_directories(self) -> Option<(&'static str, String)> {
        let debian = format!("/usr/local/lib/{TRIPLET}\n/lib/{TRIPLET}\n/usr/lib/{TRIPLET}\n");
        match self {
            Self::DebianAlternatives | Self::Multiarch => Some(("multiarch.conf", debian)),
            Self::Lib64 => Some(("lib64.conf", "/usr/lib64\n".into())),
            Self::Lib => Some(("lib.conf", "/usr/lib\n".into())),
            Self::LocalNvidia => Some(("nvidia.conf", "/usr/local/nvidia/lib64\n".into())),
            Self::Nix => None,
        }
    }

    /// Links that such a system has above the driver: the merged `/usr`, NixOS's current system.
    pub(super) fn system_links(self) -> Vec<(String, String)> {
        let pairs: &[(&str, &str)] = match self {
            Self::DebianAlternatives | Self::Multiarch | Self::Lib64 | Self::LocalNvidia => {
                &[("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")]
            }
            Self::Lib => {
                &[("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib"), ("usr/lib64", "lib")]
            }
            Self::Nix => &[],
        };
        let mut links: Vec<_> =
            pairs.iter().map(|(path, target)| ((*path).to_owned(), (*target).to_owned())).collect();
        if self == Self::Nix {
            links.push(("run/opengl-driver".into(), format!("/{STORE_GRAPHICS}")));
            links.push((format!("{STORE_GRAPHICS}/share"), format!("/{STORE}/share")));
            links.push(("run/current-system/firmware".into(), format!("/{STORE}/lib/firmware")));
        }
        links
    }

    /// Where a library of a driver of `version` is, and the links to it.
    pub(super) fn place(self, library: &Library, version: &str) -> Placed {
        let file = library.file(version);
        let soname = library.soname(version);
        let mut names = Vec::new();
        if soname != file {
            names.push((soname.clone(), file.clone()));
        }
        if library.dev_link {
            names.push((format!("{}.so", library.stem), soname.clone()));
        }
        let folder = join(&self.libraries(), library.folder);
        // Debian keeps in nvidia/current what another driver would give under the same name.
        if self == Self::DebianAlternatives && soname != file && file.ends_with(version) {
            return behind_alternatives(&folder, &file, &names);
        }
        let mut links: Vec<_> =
            names.iter().map(|(name, target)| (join(&folder, name), target.clone())).collect();
        if self == Self::Nix {
            let shown = join(&format!("{STORE_GRAPHICS}/lib"), library.folder);
            let all = names.iter().map(|(name, _)| name).chain([&file]);
            links.extend(all.map(|name| (join(&shown, name), format!("/{}", join(&folder, name)))));
        }
        Placed { file: join(&folder, &file), links }
    }

    /// A link below the library directory.
    pub(super) fn extra_link(self, name: &str, target: &str) -> (String, String) {
        (join(&self.libraries(), name), target.to_owned())
    }

    /// Where a program is, and the links to it.
    pub(super) fn place_program(self, name: &str) -> Placed {
        let (file, link) = match self {
            Self::DebianAlternatives => {
                let file = format!("usr/lib/nvidia/current/{name}");
                return Placed { links: alternative(&format!("usr/bin/{name}"), name, &file), file };
            }
            Self::Multiarch | Self::Lib64 | Self::Lib => (format!("usr/bin/{name}"), None),
            Self::LocalNvidia => (format!("usr/local/nvidia/bin/{name}"), None),
            Self::Nix => (format!("{STORE}/bin/{name}"), Some(format!("run/current-system/sw/bin/{name}"))),
        };
        Placed { links: link.map(|link| (link, format!("/{file}"))).into_iter().collect(), file }
    }
}

/// A file and the links that lead to it: each link's path and target.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// The regular file.
    pub(super) file: String,
    /// The links.
    pub(super) links: Vec<(String, String)>,
}

/// As Debian's packages have it: the file and its soname link in `nvidia/current`, and the public names behind
/// `/etc/alternatives`, all of them absolute.
fn behind_alternatives(folder: &str, file: &str, names: &[(String, String)]) -> Placed {
    let current = format!("usr/lib/{TRIPLET}/nvidia/current");
    let mut links = Vec::new();
    for (name, target) in names {
        links.push((join(&current, name), target.clone()));
        links.extend(alternative(&join(folder, name), &format!("{name}-{TRIPLET}"), &join(&current, name)));
    }
    Placed { file: join(&current, file), links }
}

/// The two links of an alternative of the `nvidia` group.
pub fn alternative(path: &str, name: &str, file: &str) -> Vec<(String, String)> {
    let entry = format!("etc/alternatives/nvidia--{name}");
    vec![(path.to_owned(), format!("/{entry}")), (entry, format!("/{file}"))]
}

fn join(folder: &str, name: &str) -> String {
    if name.is_empty() { folder.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::LIBRARIES;
    use super::*;

    fn placed(layout: Layout, stem: &str) -> (String, Vec<(String, String)>) {
        let library = LIBRARIES.iter().find(|l| l.stem == stem).unwrap();
        let Placed { file, links } = layout.place(library, "570.1");
        (file, links)
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| (a.replace("TRIPLET", TRIPLET), b.replace("TRIPLET", TRIPLET))).collect()
    }

    #[test]
    fn debian_has_the_soname_behind_two_absolute_links() {
        let (file, links) = placed(Layout::DebianAlternatives, "libnvidia-ml");
        assert_eq!(file, format!("usr/lib/{TRIPLET}/nvidia/current/libnvidia-ml.so.570.1"));
        assert_eq!(
            links,
            owned(&[
                ("usr/lib/TRIPLET/nvidia/current/libnvidia-ml.so.1", "libnvidia-ml.so.570.1"),
                ("usr/lib/TRIPLET/libnvidia-ml.so.1", "/etc/alternatives/nvidia--libnvidia-ml.so.1-TRIPLET"),
                (
                    "etc/alternatives/nvidia--libnvidia-ml.so.1-TRIPLET",
                    "/usr/lib/TRIPLET/nvidia/current/libnvidia-ml.so.1"
                ),
            ])
        );
    }

    #[test]
    fn debian_has_internal_libraries_in_the_multiarch_directory() {
        let (file, links) = placed(Layout::DebianAlternatives, "libnvidia-glcore");
        assert_eq!(file, format!("usr/lib/{TRIPLET}/libnvidia-glcore.so.570.1"));
        assert_eq!(links, []);
    }

    #[test]
    fn a_flat_layout_has_the_links_beside_the_file() {
        assert_eq!(
            placed(Layout::Lib64, "libcuda"),
            (
                "usr/lib64/libcuda.so.570.1".into(),
                owned(&[
                    ("usr/lib64/libcuda.so.1", "libcuda.so.570.1"),
                    ("usr/lib64/libcuda.so", "libcuda.so.1"),
                ])
            )
        );
    }

    #[test]
    fn nix_shows_every_name_of_the_store_in_the_drivers_collection() {
        let (file, links) = placed(Layout::Nix, "libnvidia-glcore");
        assert_eq!(file, format!("{STORE}/lib/libnvidia-glcore.so.570.1"));
        assert_eq!(
            links,
            [(
                format!("{STORE_GRAPHICS}/lib/libnvidia-glcore.so.570.1"),
                format!("/{STORE}/lib/libnvidia-glcore.so.570.1")
            )]
        );
    }
}
