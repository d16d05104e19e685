//! A systemd service that calls `nvbind run` itself, so that the configuration and the pre-flight count at every start. As
//! `podman generate systemd --new` makes them (`pkg/systemd/generate/containers.go` of podman's source): its
//! `--cgroups=no-conmon` works with cgroup v1 as well, which Quadlet's `split` does not.

use super::unit::{self, Unit};
use super::{Asked, Error, Generated, absolute, inherited, text};
use crate::podman::lexer;
use std::ffi::OsString;
use std::path::Path;

/// Where podman keeps the container's id, with systemd's specifiers.
const ID: &str = "%t/%n.ctr-id";

/// The service for the words after `nvbind run`; `own` is nvbind, `directory` the current one.
pub(crate) fn render(
    asked: &Asked,
    words: Vec<OsString>,
    own: &Path,
    directory: &Path,
) -> Result<Generated, Error> {
    let cidfile = format!("--cidfile={ID}");
    let notifies = asked.value("sdnotify").filter(|value| ["container", "healthy"].contains(value));
    let mut start = vec![
        unit::quote(&text(own.into())?),
        "run".to_owned(),
        cidfile.clone(),
        "--rm".to_owned(),
        "--detach".to_owned(),
        format!("--sdnotify={}", notifies.unwrap_or("conmon")),
    ];
    if asked.value("cgroups").is_none() {
        start.push("--cgroups=no-conmon".to_owned());
    }
    if asked.value("name").is_some() {
        start.push("--replace".to_owned());
    }
    let needs_directory = is_relative(words.clone(), directory)?;
    for word in lexer::without(&words, |given| unit::is_left_out(&given.name)) {
        start.push(unit::quote(&text(word)?));
    }
    let podman = |verb: &str| {
        let global: String = asked.global.iter().map(|setting| unit::quote(&setting.word()) + " ").collect();
        format!("podman {global}{verb} --ignore {cidfile}")
    };
    let mut file = Unit::default();
    file.describe(asked)?;
    // Quadlet adds these by itself.
    file.set("Wants", "network-online.target");
    file.set("After", "network-online.target nvbind-devices.service");
    file.set("RequiresMountsFor", "%t/containers");
    file.serve(asked)?;
    file.set("Type", "notify");
    file.set("NotifyAccess", "all");
    file.set("KillMode", "mixed");
    // conmon ends as the container does, here by the signal that podman stops it with: 128 + SIGTERM.
    file.set("SuccessExitStatus", "143");
    file.set("Environment", "PODMAN_SYSTEMD_UNIT=%n");
    if needs_directory {
        file.set("WorkingDirectory", &text(directory.into())?.replace('%', "%%"));
    }
    // Podman before 4.4 leaves the file behind, and refuses to start where it is.
    file.set("ExecStartPre", &format!("/bin/rm -f {ID}"));
    file.set("ExecStart", &start.join(" "));
    file.set("ExecStop", &podman("stop"));
    file.set("ExecStopPost", &format!("-{}", podman("rm --force --volumes")));
    file.install();
    let mut notes = unit::notes(asked.options.iter().map(|setting| setting.name.as_str()));
    notes.extend(asked.options.iter().filter_map(inherited));
    Ok(Generated { text: file.into_text(), notes })
}

/// Whether a path among the words begins at the current directory.
fn is_relative(words: Vec<OsString>, directory: &Path) -> Result<bool, Error> {
    let mut words = words.into_iter();
    let (settings, end) = super::settings(&mut words)?;
    let is_path = settings.iter().any(|setting| setting.name == "rootfs" && setting.is_on)
        && end.is_some_and(|path| !Path::new(&path).is_absolute());
    let mut valued = settings.iter().filter_map(|setting| Some((&setting.name, setting.value.as_deref()?)));
    Ok(is_path || valued.any(|(name, value)| absolute(name, value, directory).is_some()))
}
