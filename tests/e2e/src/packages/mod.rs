//! Packages and the installation script, and where they lie in a lane.

pub(super) mod deb;
pub(super) mod formats;
mod policy;
pub(super) mod script;

use crate::case::Case;
use nvbind_lanes::spec::PAYLOAD;

/// Installations where nothing is installed.
pub(crate) const INSTALLATION: &[&[Case]] = &[deb::CASES, script::CASES];

/// The Debian package of this release.
pub const DEB: &str = "nvbind.deb";
/// The one that it is upgraded to.
pub const NEWER_DEB: &str = "newer.deb";
/// The RPM package.
pub const RPM: &str = "nvbind.rpm";
/// The archive for any distribution; its checksum's name ends in `.sha256`.
pub const ARCHIVE: &str = "nvbind.tar.gz";
/// The installation script.
pub const SCRIPT: &str = "install.sh";
/// The folder with the PKGBUILD, the source, and what building that source makes.
pub const ARCH: &str = "arch";
/// The files that Debian's package holds by the table.
pub const DEBIAN_FILES: &str = "debian.json";
/// Those that the other packages hold.
pub const OTHER_FILES: &str = "others.json";

/// The hook, and what makes podman run it.
const HOOK: &str = "/usr/libexec/nvbind/nvbind-hook";
const JSON: &str = "/usr/share/containers/oci/hooks.d/nvbind.json";

/// The number of the newer package.
pub const NEWER: u32 = 2;

/// The place of one of them in a lane.
fn place(name: &str) -> String {
    format!("{PAYLOAD}/packages/{name}")
}
