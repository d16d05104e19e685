//! The RPM package, by rpmbuild, which finds the libraries that the programs need.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nvbind_fixtures::error::Result;
use nvbind_fixtures::process;
use nvbind_fixtures::tools::{self, Tool};
use nvbind_fixtures::tree::Packaged;

use super::files::For;
use super::version::with_tilde;
use super::{Release, fixture};

pub(super) fn make(release: &Release) -> Result<PathBuf> {
    tools::install(&[Tool::Rpmbuild])?;
    let (tree, files) = release.stage("rpm", For::Others)?;
    let spec = release
        .template("packaging/rpm/nvbind.spec")?
        .replace("@ROOT@", &tree.at("root").to_string_lossy())
        .replace("@FILES@", &list(&files));
    tree.file("nvbind.spec", spec, 0o644).map_err(fixture)?;
    let mut rpmbuild = release.command("rpmbuild");
    rpmbuild.args(["-bb", "--quiet", "--define", &format!("_topdir {}", tree.at("build").display())]);
    rpmbuild.args(["--define", &format!("_rpmdir {}", release.out.display())]);
    process::read(rpmbuild.arg(tree.at("nvbind.spec")))?;
    let arch = std::env::consts::ARCH;
    let version = with_tilde(release.version());
    Ok(release.out.join(format!("nvbind-{version}-{}.{arch}.rpm", release.revision)))
}

/// The list of files, with the folders that are nvbind's own.
fn list(files: &[Packaged]) -> String {
    let folders: BTreeSet<&Path> = files.iter().flat_map(|file| file.path.ancestors().skip(1)).collect();
    let is_own =
        |folder: &&Path| folder.ancestors().any(|above| above.file_name() == Some("nvbind".as_ref()));
    let folders = folders.into_iter().filter(is_own);
    let folders = folders.map(|folder| format!("%dir %attr(0755, root, root) {}\n", folder.display()));
    let files = files.iter().map(|file| {
        let kind = if file.path.starts_with("/usr/share/licenses") { "%license " } else { "" };
        format!("{kind}%attr({:04o}, root, root) {}\n", file.mode, file.path.display())
    });
    folders.chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_every_file_and_the_folders_that_nobody_else_has() {
        let file = |path: &str, mode| Packaged { path: path.into(), mode };
        let files = [
            file("/usr/bin/nvbind", 0o755),
            file("/usr/share/doc/nvbind/docs/a.md", 0o644),
            file("/usr/share/licenses/nvbind/MIT", 0o644),
        ];
        assert_eq!(
            list(&files),
            "%dir %attr(0755, root, root) /usr/share/doc/nvbind\n\
             %dir %attr(0755, root, root) /usr/share/doc/nvbind/docs\n\
             %dir %attr(0755, root, root) /usr/share/licenses/nvbind\n\
             %attr(0755, root, root) /usr/bin/nvbind\n\
             %attr(0644, root, root) /usr/share/doc/nvbind/docs/a.md\n\
             %license %attr(0644, root, root) /usr/share/licenses/nvbind/MIT\n"
        );
    }
}
