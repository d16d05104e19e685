//! An apt that shares nothing with the machine's but its sources and keys: lists, cache and state are its own.
use super::{RealDriverError, sources};
use crate::process;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where apt keeps the machine's sources.
const ETC: &str = "/etc/apt";

/// The private configuration's file.
const CONFIGURATION: &str = "apt.conf";
/// Parts of the names of settings that hold commands; Debian's container images delete the machine's cache in one.
const HOOKS: &[&str] = &["-Invoke", "Pre-Install-Pkgs"];
/// Nothing of the machine's /etc is read but through the dump. The sandbox user may not be able to enter the directory.
const OVERRIDES: &str = "Dir::Etc::main \"/dev/null\";\n\
    Dir::Etc::parts \"/dev/null\";\n\
    Dir::Etc::sourcelist \"/dev/null\";\n\
    Dir::Etc::preferences \"/dev/null\";\n\
    Dir::Etc::preferencesparts \"/dev/null\";\n\
    Acquire::Languages \"none\";\n\
    APT::Sandbox::User \"root\";\n";

/// Debian's name of the machine whose 32-bit driver is taken, too.
const FOREIGN: &[&str] = if cfg!(target_arch = "x86_64") { &["i386"] } else { &[] };

/// The sources of packages that make up the driver's user space.
const SOURCES: &[&str] = &["nvidia-graphics-drivers", "egl-wayland", "nvidia-egl-gbm", "nvidia-persistenced"];
/// What comes from these sources and is no part of the user space.
const LEFT_OUT: &[&str] = &[
    "libnvidia-egl-wayland-dev",
    "nvidia-detect",
    "nvidia-kernel-dkms",
    "nvidia-kernel-source",
    "nvidia-kernel-support",
    "nvidia-legacy-check",
];

/// A private apt in a directory.
#[derive(Debug)]
pub(super) struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Sets it up in `dir` for the Debian release `suite`, and reads the archive's lists.
    pub(super) fn new(dir: &Path, suite: &str) -> Result<Self, RealDriverError> {
        let apt = Self { dir: dir.into() };
        for path in ["state/lists/partial", "cache/archives/partial", "sources", "deb"] {
            let path = dir.join(path);
            fs::create_dir_all(&path).map_err(|source| RealDriverError::File { path, source })?;
        }
        write(&dir.join("status"), "")?;
        write(&dir.join("sources/debian.sources"), &machine_sources(suite)?)?;
        let machine = process::read(Command::new("apt-config").arg("dump"))?;
        write(&dir.join(CONFIGURATION), &configuration(&machine, dir))?;
        process::read(apt.command("apt-get").arg("update"))?;
        Ok(apt)
    }

    /// Downloads the packages of the driver's user space, but for those that are there already.
    pub(super) fn download(&self) -> Result<Vec<PathBuf>, RealDriverError> {
        let available = process::read(self.command("apt-cache").arg("dumpavail"))?;
        let packages = driver_packages(&available);
        let dir = self.dir.join("deb");
        process::read(
            self.command("apt-get")
                .arg("download")
                .args(packages.iter().map(|package| &package.asked))
                .current_dir(&dir),
        )?;
        Ok(packages.into_iter().map(|package| dir.join(package.archive)).collect())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--quiet");
        command.env("APT_CONFIG", self.dir.join(CONFIGURATION));
        command
    }
}

/// The machine's configuration (proxies, architectures, keys), without the commands that apt would run on the machine,
/// and with our directories.
fn configuration(machine: &str, dir: &Path) -> String {
    let mut text: String = machine
        .lines()
        .filter(|line| !HOOKS.iter().any(|hook| line.contains(hook)))
        .map(|line| format!("{line}\n"))
        .collect();
    let own = [
        ("Dir::State", "state"),
        ("Dir::State::status", "status"),
        ("Dir::Cache", "cache"),
        ("Dir::Etc::sourceparts", "sources"),
    ];
    for (name, path) in own {
        text.push_str(&format!("{name} \"{}\";\n", dir.join(path).display()));
    }
    for architecture in FOREIGN {
        text.push_str(&format!("APT::Architectures:: \"{architecture}\";\n"));
    }
    text.push_str(OVERRIDES);
    text
}

fn write(path: &Path, text: &str) -> Result<(), RealDriverError> {
    fs::write(path, text).map_err(|source| RealDriverError::File { path: path.into(), source })
}

/// The machine's sources of Debian's archive, for `suite`.
fn machine_sources(suite: &str) -> Result<String, RealDriverError> {
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = os
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or_default()
        .trim_matches('"');
    let etc = Path::new(ETC);
    let mut entries = sources::parse_list(&text(&etc.join("sources.list")));
    let parts = fs::read_dir(etc.join("sources.list.d"));
    for part in parts.into_iter().flatten().flatten() {
        let path = part.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => entries.extend(sources::parse_list(&text(&path))),
            Some("sources") => entries.extend(sources::parse_deb822(&text(&path))),
            _ => {}
        }
    }
    let sources = sources::for_release(&entries, codename, suite, FOREIGN);
    if sources.is_empty() {
        return Err(RealDriverError::NoArchive);
    }
    Ok(sources)
}

/// A file that need not be there.
fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A package, as apt is asked for it, and the name of the file that apt downloads it to.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    asked: String,
    archive: String,
}

/// The driver's packages among the paragraphs of `apt-cache dumpavail`, which has one of each for each architecture:
/// apt's candidate. Of the foreign ones only those that Debian lets stand beside the native one of the same name and
/// version: the others hold the same files as these.
fn driver_packages(available: &str) -> Vec<Package> {
    let paragraphs: Vec<Paragraph<'_>> =
        available.split("\n\n").filter_map(Paragraph::parse).filter(Paragraph::is_drivers).collect();
    let native: Vec<&Paragraph<'_>> = paragraphs.iter().filter(|package| !package.is_foreign()).collect();
    let beside_native = |package: &Paragraph<'_>| {
        native.iter().any(|other| other.name == package.name && other.version == package.version)
    };
    paragraphs
        .iter()
        .filter(|package| !package.is_foreign() || package.together && beside_native(package))
        .map(Paragraph::package)
        .collect()
}

/// What a paragraph says of its package.
#[derive(Debug)]
struct Paragraph<'a> {
    name: &'a str,
    source: &'a str,
    version: &'a str,
    architecture: &'a str,
    /// Several architectures' can be installed together.
    together: bool,
}

impl<'a> Paragraph<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let name = field("Package")?;
        Some(Self {
            name,
            // The version follows in parentheses where it differs; without the field the source is called the same.
            source: field("Source").unwrap_or(name).split(' ').next()?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            together: field("Multi-Arch") == Some("same"),
        })
    }

    fn is_drivers(&self) -> bool {
        SOURCES.contains(&self.source) && !LEFT_OUT.contains(&self.name)
    }

    fn is_foreign(&self) -> bool {
        FOREIGN.contains(&self.architecture)
    }

    fn package(&self) -> Package {
        let Self { name, architecture, .. } = self;
        Package {
            asked: if self.is_foreign() { format!("{name}:{architecture}") } else { (*name).to_owned() },
            archive: format!("{name}_{}_{architecture}.deb", self.version.replace(':', "%3a")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_hooks_are_not_run_and_its_proxies_are_kept() {
        let machine = "Acquire::http::Proxy \"http://proxy.example\";\n\
                       APT::Update::Post-Invoke:: \"rm -f x\";\n";
        let text = configuration(machine, Path::new("/private"));
        assert!(
            text.starts_with(
                "Acquire::http::Proxy \"http://proxy.example\";\nDir::State \"/private/state\";\n"
            ),
            "{text}"
        );
        assert!(!text.contains("rm -f"), "{text}");
    }

    #[test]
    fn packages_are_chosen_by_their_source_and_named_as_apt_names_their_files() {
        let available = "Package: libcuda1\nSource: nvidia-graphics-drivers\nVersion: 535.1-1\nArchitecture: amd64\n\n\
                         Package: firmware-nvidia-gsp\nArchitecture: amd64\nSource: nvidia-graphics-drivers (535.1)\nVersion: 535.1-1\n\n\
                         Package: nvidia-kernel-dkms\nSource: nvidia-graphics-drivers\nVersion: 1\nArchitecture: amd64\n\n\
                         Package: egl-wayland\nVersion: 1:1.1.10-1\nArchitecture: all\n\n\
                         Package: bash\nVersion: 5\nArchitecture: amd64\n";
        let archives: Vec<String> =
            driver_packages(available).into_iter().map(|package| package.archive).collect();
        assert_eq!(
            archives,
            [
                "libcuda1_535.1-1_amd64.deb",
                "firmware-nvidia-gsp_535.1-1_amd64.deb",
                "egl-wayland_1%3a1.1.10-1_all.deb"
            ]
        );
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_32_bit_package_is_taken_beside_the_64_bit_one_of_the_same_version() {
        let paragraph = |name: &str, version: &str, architecture: &str, together: &str| {
            format!(
                "Package: {name}\nSource: nvidia-graphics-drivers\nVersion: {version}\n\
                 Architecture: {architecture}\nMulti-Arch: {together}\n\n"
            )
        };
        let available = [
            paragraph("libcuda1", "535.2-1", "amd64", "same"),
            paragraph("libcuda1", "535.2-1", "i386", "same"),
            paragraph("libnvidia-ml1", "535.2-1", "amd64", "same"),
            paragraph("libnvidia-ml1", "535.1-1", "i386", "same"),
            paragraph("nvidia-egl-common", "535.2-1", "amd64", "foreign"),
            paragraph("nvidia-egl-common", "535.2-1", "i386", "foreign"),
        ];
        let package = |asked: &str, archive: &str| Package { asked: asked.into(), archive: archive.into() };
        assert_eq!(
            driver_packages(&available.concat()),
            [
                package("libcuda1", "libcuda1_535.2-1_amd64.deb"),
                package("libcuda1:i386", "libcuda1_535.2-1_i386.deb"),
                package("libnvidia-ml1", "libnvidia-ml1_535.2-1_amd64.deb"),
                package("nvidia-egl-common", "nvidia-egl-common_535.2-1_amd64.deb"),
            ]
        );
    }
}
