//! A systemd service that calls `nvbind run` itself, so that the configuration and the pre-flight count at every start. As
//! `podman generate systemd --new` makes them (`pkg/systemd/generate/containers.go` of podman's source): its
//! `--cgroups=no-conmon` works with cgroup v1 as well, which Quadlet's `split` does not.

use super::unit::{self, Unit};
use super::{Error, Generated, Start, absolute, note_inherited, text};
use crate::podman::command_line::CommandLine;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Where podman keeps the container's id, with systemd's specifiers.
const ID: &str = "%t/%n.ctr-id";

/// The service for what the user typed after `nvbind run`; `own` is nvbind, `directory` the current one.
pub(crate) fn render(
    start: &Start,
    line: &CommandLine,
    own: &Path,
    directory: &Path,
) -> Result<Generated, Error> {
    let cidfile = format!("--cidfile={ID}");
    let notifies = start.value("sdnotify").filter(|value| ["container", "healthy"].contains(value));
    let mut command = vec![
        unit::quote(&text(&own.into())?),
        "run".to_owned(),
        cidfile.clone(),
        "--rm".to_owned(),
        "--detach".to_owned(),
        format!("--sdnotify={}", notifies.unwrap_or("conmon")),
    ];
    if start.value("cgroups").is_none() {
        command.push("--cgroups=no-conmon".to_owned());
    }
    if start.value("name").is_some() {
        command.push("--replace".to_owned());
    }
    let kept = line.typed().filter_map(|group| group.clone().without(|given| unit::is_left_out(&given.name)));
    let kept: Vec<OsString> = kept.flat_map(|group| group.arguments().collect::<Vec<_>>()).collect();
    for argument in kept.iter().chain(&line.container.arguments().collect::<Vec<_>>()) {
        command.push(unit::quote(&text(argument)?));
    }
    let podman = |verb: &str| {
        let global: String =
            start.global.iter().map(|setting| unit::quote(&setting.argument()) + " ").collect();
        format!("podman {global}{verb} --ignore {cidfile}")
    };
    let mut file = Unit::default();
    file.describe(start)?;
    // Quadlet adds these by itself.
    file.set("Wants", "network-online.target");
    file.set("After", "network-online.target nvbind-devices.service");
    file.set("RequiresMountsFor", "%t/containers");
    file.serve(start)?;
    file.set("Type", "notify");
    file.set("NotifyAccess", "all");
    file.set("KillMode", "mixed");
    // conmon ends as the container does, here by the signal that podman stops it with: 128 + SIGTERM.
    file.set("SuccessExitStatus", "143");
    file.set("Environment", "PODMAN_SYSTEMD_UNIT=%n");
    if is_relative(line, directory) {
        file.set("WorkingDirectory", &text(&directory.into())?.replace('%', "%%"));
    }
    // Podman before 4.4 leaves the file behind, and refuses to start where it is.
    file.set("ExecStartPre", &format!("/bin/rm -f {ID}"));
    file.set("ExecStart", &command.join(" "));
    file.set("ExecStop", &podman("stop"));
    file.set("ExecStopPost", &format!("-{}", podman("rm --force --volumes")));
    file.install();
    let mut notes = unit::notes(start.options.iter().map(|setting| setting.name.as_str()));
    notes.extend(start.options.iter().filter_map(note_inherited));
    Ok(Generated { text: file.into_text(), notes })
}

/// Whether a path that the user typed begins at the current directory.
fn is_relative(line: &CommandLine, directory: &Path) -> bool {
    let image = line.container.image.as_ref().filter(|_| line.options.is_on("rootfs"));
    let is_path = image.is_some_and(|path| !Path::new(path).is_absolute());
    let mut typed = line.typed().flat_map(|group| &group.options);
    is_path
        || typed.any(|given| {
            let value = given.value.as_deref().and_then(OsStr::to_str);
            value.is_some_and(|value| absolute(&given.name, value, directory).is_some())
        })
}
