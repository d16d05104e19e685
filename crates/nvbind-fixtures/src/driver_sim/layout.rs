//! Where distributions put the driver's files, as a pure mapping from names to paths and links.
use super::catalog::{Library, Module};

/// The multiarch triplet of this machine.
pub const TRIPLET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };

/// The multiarch triplet of 32-bit programs; NVIDIA has libraries for them beside those of x86_64 alone.
pub const TRIPLET_32: &str = "i386-linux-gnu";

/// The store path of the driver in the NixOS layout; the hash is made up.
const STORE: &str = "nix/store/s1mu1atedv5zl2q9ca0ymyr8ksbfxw3h-nvidia-x11";
/// That of its 32-bit half.
const STORE_32: &str = "nix/store/s1mu1ated4cx0y6w1h8sn3fq7kzvj2rb-nvidia-x11-lib32";
/// The store path of NixOS's collection of graphics drivers.
const STORE_GRAPHICS: &str = "nix/store/s1mu1atedk9b0h3v2dq7p4wlx8cyrfz6-graphics-drivers";
/// That of its 32-bit half.
const STORE_GRAPHICS_32: &str = "nix/store/s1mu1atedm7d5ax1z9jr4vhq0kpb6wcn-graphics-drivers-32bit";

/// For which programs a library is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    W64,
    W32,
}

impl Width {
    /// Those that a driver for this machine has.
    pub(super) const ALL: &'static [Self] =
        if cfg!(target_arch = "x86_64") { &[Self::W64, Self::W32] } else { &[Self::W64] };

    fn triplet(self) -> &'static str {
        match self {
            Self::W64 => TRIPLET,
            Self::W32 => TRIPLET_32,
        }
    }

    /// NixOS's store path of the driver.
    fn store(self) -> &'static str {
        match self {
            Self::W64 => STORE,
            Self::W32 => STORE_32,
        }
    }

    /// NixOS's store path of the graphics drivers.
    fn graphics(self) -> &'static str {
        match self {
            Self::W64 => STORE_GRAPHICS,
            Self::W32 => STORE_GRAPHICS_32,
        }
    }
}

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

    /// Whose it is.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::DebianAlternatives => "Debian's packages, behind alternatives",
            Self::Multiarch => "Ubuntu's packages, and NVIDIA's installer on Debian and Ubuntu",
            Self::Lib64 => "Fedora, RHEL, openSUSE",
            Self::Lib => "Arch",
            Self::Nix => "NixOS",
            Self::LocalNvidia => "driver containers and some image-based hosts: /usr/local/nvidia",
        }
    }

    /// The directory that programs are to find libraries in.
    pub(super) fn libraries(self, width: Width) -> String {
        match (self, width) {
            (Self::DebianAlternatives | Self::Multiarch, width) => format!("usr/lib/{}", width.triplet()),
            (Self::Lib64, Width::W64) => "usr/lib64".into(),
            (Self::Lib64, Width::W32) | (Self::Lib, Width::W64) => "usr/lib".into(),
            (Self::Lib, Width::W32) => "usr/lib32".into(),
            (Self::Nix, width) => format!("{}/lib", width.store()),
            (Self::LocalNvidia, Width::W64) => "usr/local/nvidia/lib64".into(),
            (Self::LocalNvidia, Width::W32) => "usr/local/nvidia/lib".into(),
        }
    }

    /// The directory below which files lie that only the driver's own libraries look for.
    pub(super) fn own_files(self) -> String {
        match self {
            Self::DebianAlternatives => current(Width::W64),
            Self::Multiarch | Self::Lib64 | Self::Lib | Self::Nix | Self::LocalNvidia => {
                self.libraries(Width::W64)
            }
        }
    }

    /// The directory of shared data for programs of a width, which only NixOS tells apart.
    pub(super) fn shared_data(self, width: Width) -> String {
        match self {
            Self::Nix => format!("{}/share", width.store()),
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

    /// The directory of configuration.
    pub(super) fn configuration(self) -> String {
        match self {
            Self::Nix => format!("{STORE}/etc"),
            Self::DebianAlternatives | Self::Multiarch | Self::Lib64 | Self::Lib | Self::LocalNvidia => {
                "etc".into()
            }
        }
    }

    /// Content of `/etc/ld.so.conf.d/*.conf`: the file's name and its directories. `None` where there is no cache.
    pub(super) fn linker_directories(self) -> Option<(&'static str, String)> {
        let debian = |triplet| format!("/usr/local/lib/{triplet}\n/lib/{triplet}\n/usr/lib/{triplet}\n");
        match self {
            Self::DebianAlternatives | Self::Multiarch => {
                Some(("multiarch.conf", debian(TRIPLET) + &debian(TRIPLET_32)))
            }
            Self::Lib64 => Some(("lib64.conf", "/usr/lib64\n/usr/lib\n".into())),
            Self::Lib => Some(("lib.conf", "/usr/lib\n/usr/lib32\n".into())),
            Self::LocalNvidia => {
                Some(("nvidia.conf", "/usr/local/nvidia/lib64\n/usr/local/nvidia/lib\n".into()))
            }
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
            links.push(("run/opengl-driver-32".into(), format!("/{STORE_GRAPHICS_32}")));
            for width in [Width::W64, Width::W32] {
                let (graphics, store) = (width.graphics(), width.store());
                links.push((format!("{graphics}/share"), format!("/{store}/share")));
            }
            links.push((format!("{STORE_GRAPHICS}/etc"), format!("/{STORE}/etc")));
            links.push(("etc/OpenCL/vendors".into(), "/run/opengl-driver/etc/OpenCL/vendors".into()));
            links.push(("run/current-system/firmware".into(), format!("/{STORE}/lib/firmware")));
        }
        links
    }

    /// Where a library of a driver of `version` is, and the links to it.
    pub(super) fn place(self, library: &Library, width: Width, version: &str) -> Placed {
        let file = library.file(version);
        let soname = library.soname(version);
        let mut names = Vec::new();
        if soname != file {
            names.push((soname.clone(), file.clone()));
        }
        if library.dev_link {
            names.push((format!("{}.so", library.stem), soname.clone()));
        }
        let folder = join(&self.libraries(width), library.folder);
        // Debian keeps in nvidia/current what another driver would give under the same name.
        if self == Self::DebianAlternatives && soname != file && file.ends_with(version) {
            return behind_alternatives(width, &folder, &file, &names);
        }
        let mut links: Vec<_> =
            names.iter().map(|(name, target)| (join(&folder, name), target.clone())).collect();
        if self == Self::Nix {
            let shown = join(&format!("{}/lib", width.graphics()), library.folder);
            let all = names.iter().map(|(name, _)| name).chain([&file]);
            links.extend(all.map(|name| (join(&shown, name), format!("/{}", join(&folder, name)))));
        }
        Placed { file: join(&folder, &file), links }
    }

    /// A link below the library directory.
    pub(super) fn extra_link(self, width: Width, name: &str, target: &str) -> (String, String) {
        (join(&self.libraries(width), name), target.to_owned())
    }

    /// Where a module of the X server is in a driver of `version`, and the links to it.
    pub(super) fn place_module(self, module: &Module, version: &str) -> Placed {
        let (stem, kind) = (module.stem, module.folder);
        let name = format!("{stem}.so");
        let folder = match self {
            Self::DebianAlternatives => "usr/lib/nvidia/current".into(),
            Self::Multiarch => format!("usr/lib/{TRIPLET}/nvidia/xorg"),
            // The server loads its drivers from its own directory, and extensions from where a configuration says.
            Self::Lib if module.versioned => "usr/lib/nvidia/xorg".into(),
            Self::Lib64 | Self::Lib | Self::Nix | Self::LocalNvidia => {
                format!("{}/xorg/modules/{kind}", self.libraries(Width::W64))
            }
        };
        let mut links = Vec::new();
        let mut file = join(&folder, &name);
        if module.versioned {
            let versioned = format!("{name}.{version}");
            links.push((file, versioned.clone()));
            file = join(&folder, &versioned);
        }
        if self == Self::DebianAlternatives {
            let public = format!("usr/lib/xorg/modules/{kind}/{name}");
            links.extend(both_stages(&public, &format!("usr/lib/nvidia/{name}"), &join(&folder, &name)));
        }
        Placed { file, links }
    }

    /// Where a program is, and the links to it.
    pub(super) fn place_program(self, name: &str) -> Placed {
        let (file, link) = match self {
            Self::DebianAlternatives => {
                let file = format!("usr/lib/nvidia/current/{name}");
                return Placed {
                    links: alternative("nvidia", &format!("usr/bin/{name}"), name, &file),
                    file,
                };
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
    pub(super) links: Vec<(String, String)>,
}

/// The directory of what another driver on Debian would give under the same name.
fn current(width: Width) -> String {
    format!("usr/lib/{}/nvidia/current", width.triplet())
}

/// As Debian's packages have it: the file and its soname link in `nvidia/current`, and the public names behind
/// `/etc/alternatives`, all of them absolute.
fn behind_alternatives(width: Width, folder: &str, file: &str, names: &[(String, String)]) -> Placed {
    let (current, triplet) = (current(width), width.triplet());
    let mut links = Vec::new();
    for (name, target) in names {
        links.push((join(&current, name), target.clone()));
        let entry = format!("{name}-{triplet}");
        links.extend(alternative("nvidia", &join(folder, name), &entry, &join(&current, name)));
    }
    Placed { file: join(&current, file), links }
}

/// The two links of an alternative of a group.
pub(super) fn alternative(group: &str, path: &str, name: &str, file: &str) -> Vec<(String, String)> {
    let entry = format!("etc/alternatives/{group}--{name}");
    vec![(path.to_owned(), format!("/{entry}")), (entry, format!("/{file}"))]
}

/// The four links of what Debian's `glx` group leads to in the `nvidia` group: the public name, the one between, the
/// file.
pub(super) fn both_stages(public: &str, between: &str, file: &str) -> Vec<(String, String)> {
    let name = public.rsplit('/').next().unwrap_or(public);
    let mut links = alternative("glx", public, name, between);
    links.extend(alternative("nvidia", between, name, file));
    links
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
        let Placed { file, links } = layout.place(library, Width::W64, "570.1");
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

    #[test]
    fn each_layout_has_32_bit_libraries_where_its_distribution_has_them() {
        let library = LIBRARIES.iter().find(|library| library.stem == "libcuda").unwrap();
        let files: Vec<String> =
            Layout::ALL.iter().map(|(_, layout)| layout.place(library, Width::W32, "570.1").file).collect();
        assert_eq!(
            files,
            [
                "usr/lib/i386-linux-gnu/nvidia/current/libcuda.so.570.1",
                "usr/lib/i386-linux-gnu/libcuda.so.570.1",
                "usr/lib/libcuda.so.570.1",
                "usr/lib32/libcuda.so.570.1",
                "nix/store/s1mu1ated4cx0y6w1h8sn3fq7kzvj2rb-nvidia-x11-lib32/lib/libcuda.so.570.1",
                "usr/local/nvidia/lib/libcuda.so.570.1",
            ]
        );
    }

    #[test]
    fn debian_has_a_module_of_the_x_server_behind_two_groups() {
        let module = Module { stem: "libglxserver_nvidia", versioned: true, folder: "extensions" };
        let Placed { file, links } = Layout::DebianAlternatives.place_module(&module, "570.1");
        assert_eq!(file, "usr/lib/nvidia/current/libglxserver_nvidia.so.570.1");
        assert_eq!(
            links,
            owned(&[
                ("usr/lib/nvidia/current/libglxserver_nvidia.so", "libglxserver_nvidia.so.570.1"),
                (
                    "usr/lib/xorg/modules/extensions/libglxserver_nvidia.so",
                    "/etc/alternatives/glx--libglxserver_nvidia.so"
                ),
                ("etc/alternatives/glx--libglxserver_nvidia.so", "/usr/lib/nvidia/libglxserver_nvidia.so"),
                ("usr/lib/nvidia/libglxserver_nvidia.so", "/etc/alternatives/nvidia--libglxserver_nvidia.so"),
                (
                    "etc/alternatives/nvidia--libglxserver_nvidia.so",
                    "/usr/lib/nvidia/current/libglxserver_nvidia.so"
                ),
            ])
        );
    }
}
