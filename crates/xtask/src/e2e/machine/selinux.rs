//! A machine where SELinux enforces Debian's policy, which is the reference policy.

use std::path::Path;
use std::process::Command;

use crate::error::Result;
use crate::lanes::tree::write;
use crate::process::read;

/// The simulated driver's files have the labels of the real one's.
const SUBSTITUTIONS: (&str, &str) =
    ("etc/selinux/default/contexts/files/file_contexts.subs", "/opt/driver /\n");

/// What this lane needs of the policy beside what it is: a container may write to the pipes that podman has for its output, as
/// podman is run by a person who has logged in.
const AID: (&str, &str) = (
    "var/tmp/lane-aid.cil",
    "(allow container_domain unconfined_t (fifo_file (append getattr ioctl read write)))
(allow container_domain unconfined_t (fd (use)))
",
);

/// Makes a machine's disk ready for its boot.
pub(super) fn before_boot(root: &Path) -> Result<()> {
    for (path, content) in [SUBSTITUTIONS, AID] {
        write(&root.join(path), content)?;
    }
    let aid = Path::new("/").join(AID.0);
    read(Command::new("chroot").arg(root).args(["semodule", "--noreload", "--install"]).arg(aid))
        .map(drop)?;
    Ok(())
}
