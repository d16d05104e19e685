//! What `nvbind setup` leaves on a machine: nothing in a dry run, the same the second time, and what was there before
//! after `--uninstall`.

use crate::case::{CRUN, Case, RELEASE, ROOTFUL, ROOTLESS};
use crate::command_line::shim::nvbind;
use crate::container::{ASK, GPU, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{IMAGE, Podman, User, said};
use crate::{probe, snapshot};
use nvbind_fixtures::error::Doing;
use nvbind_lanes::tree::USER;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("setup-prefix", prefix).each(&[RELEASE]).only(&[&[CRUN, ROOTFUL]]),
    Case::new("setup-home", home).each(&[RELEASE]).only(&[&[CRUN, ROOTLESS]]),
];

/// A prefix that nothing looks below by itself.
const PREFIX: &str = "/opt/setup case";

/// Directories of `/etc` that every machine has, and a lane not.
const DIRECTORIES: [&str; 4] =
    ["/etc/containers/containers.conf.d", "/etc/modprobe.d", "/etc/systemd/system", "/etc/udev/rules.d"];

const UNIT: &str = "/etc/systemd/system/nvbind-devices.service";
const RULE: &str = "/etc/udev/rules.d/71-nvbind.rules";
const PARAMETERS: &str = "/etc/modprobe.d/nvbind.conf";

/// An installation with all that is asked for, in a prefix whose name has a space.
fn prefix(_: &Lane, podman: Podman) -> Result<(), Ended> {
    for directory in DIRECTORIES {
        fs::create_dir_all(directory).on("make", Path::new(directory))?;
    }
    let before = snapshot::of("/etc")?;
    let options = ["--prefix", PREFIX, "--etc"];
    let modes = ["--device-group", "44"];
    let install = [&["setup"][..], &options, &modes].concat();
    let said = nvbind(User::Root, &[&install[..], &["--dry-run"]].concat())?.must()?;
    let planned = paths(&said.out, "would install ");
    before.claim_unchanged()?;
    claim(!Path::new(PREFIX).exists(), "a dry run made the prefix", || said.told())?;
    let command = format!("\n    ExecStart=\"{PREFIX}/bin/nvbind\" devices\n");
    claim(said.out.contains(&command), "a dry run does not show what the unit says", || said.told())?;
    refuses_what_others_can_write()?;

    let said = nvbind(User::Root, &install)?.must()?;
    let installed = paths(&said.out, "installed ");
    claim(planned == installed, "the dry run told of something else", || {
        format!("{planned:?}\n{installed:?}")
    })?;
    let ended = installed_works(podman).and_then(|()| claim_same_again(&install, &["/etc", PREFIX]));
    let uninstall = [&["setup"][..], &options, &["--uninstall"]].concat();
    let state = listing(PREFIX)?;
    let told = nvbind(User::Root, &[&uninstall[..], &["--dry-run"]].concat())?.must()?;
    claim(listing(PREFIX)? == state, "a dry run removed something", || told.told())?;
    let said = nvbind(User::Root, &uninstall)?.must()?;
    ended?;
    claim(
        paths(&told.out, "would remove ") == paths(&said.out, "removed "),
        "another removal was told",
        || format!("{}{}", told.told(), said.told()),
    )?;
    before.claim_unchanged()?;
    let left = files(PREFIX)?;
    claim(left.is_empty() && !Path::new(PREFIX).join("libexec/nvbind").exists(), "files are left", || left)?;
    nvbind(User::Root, &uninstall)?.must().map(drop)
}

/// A user could put another hook in the place of this one, and root's podman would run that.
fn refuses_what_others_can_write() -> Result<(), Ended> {
    let prefix = format!("/home/{USER}/of-root");
    let refused = nvbind(User::Root, &["setup", "--prefix", &prefix])?;
    let told = refused.err.contains(&format!("/home/{USER} is not root's alone to write"));
    claim(refused.code == 4 && told && !Path::new(&prefix).exists(), "a user could replace the hook", || {
        refused.told()
    })
}

/// The installed files are good to those that they are for.
fn installed_works(podman: Podman) -> Result<(), Ended> {
    let completions = Path::new(PREFIX).join("share/bash-completion/completions/nvbind");
    said(Command::new("bash").arg("-n").arg(completions))?.must()?;
    // It looks for the program, too.
    said(Command::new("systemd-analyze").args(["verify", "--man=no", UNIT]))?.must()?;
    // Debian 12 has none that can verify.
    if said(Command::new("sh").args(["-c", "udevadm verify --help"]))?.code == 0 {
        said(Command::new("udevadm").args(["verify", RULE]))?.must()?;
    }
    let text = fs::read_to_string(PARAMETERS).on("read", Path::new(PARAMETERS))?;
    let parameters = "\noptions nvidia NVreg_DeviceFileGID=44 NVreg_DeviceFileMode=0660\n";
    claim(text.contains(parameters), "the module's parameters are others", || text)?;
    // Podman looks there without being told to, and prefers it to the one that every user of the lane has.
    then_remove(podman, || {
        let hook = Path::new(PREFIX).join("libexec/nvbind/nvbind-hook");
        let look = probe::command(None);
        let words =
            [&["run", "--network=none", "--name", GPU][..], &ASK, &[IMAGE, "sh", "-c", &look]].concat();
        probe::claim_works(&podman.run(&words)?)?;
        podman.remove(&[GPU])?;
        let aside = hook.with_extension("aside");
        fs::rename(&hook, &aside).on("move", &hook)?;
        fs::copy("/bin/false", &hook).on("make", &hook)?;
        let without = podman.run(&words);
        fs::rename(&aside, &hook).on("move", &aside)?;
        let without = without?;
        claim(without.code != 0, "another hook than the installed one ran", || without.told())
    })
}

/// A user's own installation, which leaves the home directory as it was.
fn home(_: &Lane, _: Podman) -> Result<(), Ended> {
    let home = format!("/home/{USER}");
    let places = [".local/bin", ".local/libexec", ".local/share/man", ".config/containers/containers.conf.d"]
        .map(|place| format!("{home}/{place}"));
    let places = places.each_ref().map(String::as_str);
    let before = listings(&places)?;
    nvbind(User::Rootless, &["setup", "--user", "--dry-run"])?.must()?;
    claim(listings(&places)? == before, "a dry run changed the home directory", String::new)?;
    let refused = nvbind(User::Rootless, &["setup", "--dry-run", "--device-mode", "0777"])?;
    let told = refused.err.contains("0600 (root alone), 0660 (a group) and 0666 (everybody)");
    claim(refused.code != 0 && told, "a mode without sense is not refused", || refused.told())?;
    nvbind(User::Rootless, &["setup", "--user"])?.must()?;
    let ended = claim_same_again(&["setup", "--user"], &places);
    nvbind(User::Rootless, &["setup", "--user", "--uninstall"])?.must()?;
    ended?;
    let left: String = places.into_iter().map(files).collect::<Result<_, _>>()?;
    claim(!left.contains("nvbind"), "files are left", || left)
}

/// A second installation touches no file.
fn claim_same_again(install: &[&str], folders: &[&str]) -> Result<(), Ended> {
    let user = if install.contains(&"--user") { User::Rootless } else { User::Root };
    let before = listings(folders)?;
    let said = nvbind(user, install)?.must()?;
    claim(listings(folders)? == before, "a second installation changed something", || said.told())
}

fn listings(folders: &[&str]) -> Result<Vec<String>, Ended> {
    folders.iter().copied().map(listing).collect()
}

/// Every path of a folder with what a rewritten file would have anew.
fn listing(folder: &str) -> Result<String, Ended> {
    if !Path::new(folder).exists() {
        return Ok(String::new());
    }
    Ok(said(Command::new("find").args([folder, "-printf", "%p %i %m %U %T@ %C@\n"]))?.must()?.out)
}

fn files(folder: &str) -> Result<String, Ended> {
    if !Path::new(folder).exists() {
        return Ok(String::new());
    }
    Ok(said(Command::new("find").args([folder, "-type", "f"]))?.must()?.out)
}

/// What the lines with this beginning name.
fn paths<'a>(text: &'a str, beginning: &str) -> BTreeSet<&'a str> {
    text.lines()
        .filter_map(|line| line.strip_prefix(beginning))
        .map(|path| path.trim_end_matches(':'))
        .collect()
}
