//! The Debian package from its installation to its end, by dpkg alone: it resolves nothing and asks no archive.

use crate::case::{CRUN, Case, RELEASE, WHO};
use crate::container::{ASK, GPU, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::packages::{DEB, HOOK, JSON, NEWER, NEWER_DEB, place};
use crate::podman::{IMAGE, Podman, Said, as_user, said};
use crate::{probe, snapshot};
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("deb", deb).each(&[WHO, RELEASE]).only(&[&[CRUN]])];

const LIMIT: Duration = Duration::from_secs(120);

/// What makes dpkg leave out documentation in a lane's tree. Here it installs all that is in a package.
const LEFT_OUT: &str = "/etc/dpkg/dpkg.cfg.d/99mmdebstrap";

/// Where the package's scripts install specifications of CDI, and one of another's that is there already.
const CDI: &str = "/etc/cdi";
const RIVAL: &str =
    "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: [{name: '0', containerEdits: {env: [A=1]}}]\n";

/// The hook JSON that is installed and not active, used by podman only where it is told to.
const VISIBLE: [&str; 4] =
    ["--hooks-dir=/usr/share/nvbind/hooks.d", "--privileged", "--env=NVIDIA_VISIBLE_DEVICES=0", CAPABILITIES];
/// What the probe looks for is all of the driver's.
const CAPABILITIES: &str = "--env=NVIDIA_DRIVER_CAPABILITIES=all";

/// What `nvbind setup --uninstall` leaves of another case, since others may use it as well.
const EMPTIED: [&str; 5] =
    ["/usr/share/containers", "-path", "/usr/share/containers/oci*", "-empty", "-delete"];

/// dpkg's messages about each file that it puts in place or removes (dpkg(1), `--debug`).
const EACH_FILE: &str = "-D10";

fn deb(_: &Lane, podman: Podman) -> Result<(), Ended> {
    if Path::new(LEFT_OUT).exists() {
        fs::remove_file(LEFT_OUT).on("remove", Path::new(LEFT_OUT))?;
    }
    said(Command::new("find").args(EMPTIED))?.must()?;
    // Who made the folder of specifications is not known, so that it stays.
    fs::create_dir_all(CDI).on("make", Path::new(CDI))?;
    let before = [snapshot::of("/usr")?, snapshot::of("/etc")?];
    let ended = life(podman);
    // For the next case, where this one ended early.
    dpkg(&["--purge", "nvbind"])?.must()?;
    ended?;
    before.iter().try_for_each(snapshot::Snapshot::claim_unchanged)
}

fn life(podman: Podman) -> Result<(), Ended> {
    let rival = Path::new(CDI).join("nvidia.yaml");
    fs::write(&rival, RIVAL).on("write", &rival)?;
    let installed = dpkg(&[EACH_FILE, "--install", &place(DEB)])?.must()?;
    claim_order(&installed, "deferred extract of", [HOOK, JSON])?;
    dpkg(&["--verify", "nvbind"])?.must()?;
    claim_specifications(&["nvbind.io.json", "nvidia.yaml"])?;
    works(podman)?;
    fs::remove_file(&rival).on("remove", &rival)?;
    dpkg(&["--install", &place(NEWER_DEB)])?.must()?;
    claim_specifications(&["nvbind.io.json", "nvbind.json"])?;
    let look = probe::command(None);
    then_remove(podman, || probe::claim_works(&run(podman, GPU, &["--device=nvidia.com/gpu=0"], &look)?))?;
    let version = dpkg_query()?;
    claim(version.out.ends_with(&format!("nvbind{NEWER}")), "it is not upgraded", || version.told())?;
    works(podman)?;
    let removed = dpkg(&[EACH_FILE, "--remove", "nvbind"])?.must()?;
    claim_order(&removed, "removal_bulk", [JSON, HOOK])?;
    claim_specifications(&[])?;
    works_without(podman)
}

/// The GPU by plain podman, by the command, and by the variable where that is asked for.
fn works(podman: Podman) -> Result<(), Ended> {
    let look = probe::command(None);
    then_remove(podman, || probe::claim_works(&run(podman, GPU, &ASK, &look)?))?;
    then_remove(podman, || {
        let words = ["run", "--network=none", "--gpu=0", "--name", GPU, IMAGE, "sh", "-c", &look];
        probe::claim_works(&said(as_user(podman.user, limited(LIMIT, "/usr/bin/nvbind")).args(words))?)
    })?;
    then_remove(podman, || probe::claim_works(&run(podman, GPU, &["--device=nvbind.io/gpu=0"], &look)?))?;
    then_remove(podman, || probe::claim_works(&run(podman, GPU, &VISIBLE, &look)?))
}

/// Containers start as if nvbind had never been there, also where podman is told to look for its JSON.
fn works_without(podman: Podman) -> Result<(), Ended> {
    for options in [&ASK[..], &VISIBLE] {
        then_remove(podman, || run(podman, GPU, options, "test ! -e /usr/local/nvidia")?.must().map(drop))?;
    }
    Ok(())
}

/// The specifications that are there.
fn claim_specifications(expected: &[&str]) -> Result<(), Ended> {
    let listed = said(Command::new("ls").arg(CDI))?.must()?;
    let found: Vec<&str> = listed.out.lines().collect();
    claim(found == expected, "other specifications are there", || listed.told())
}

/// With the JSON and without the hook, podman would start containers without their GPUs.
fn claim_order(said: &Said, doing: &str, paths: [&str; 2]) -> Result<(), Ended> {
    let [first, second] = paths.map(|path| said.err.find(&format!("{doing} '{path}'")));
    let right = first.zip(second).is_some_and(|(first, second)| first < second);
    claim(right, "the JSON is there without the hook that it names", || said.told())
}

fn dpkg(words: &[&str]) -> Result<Said, Error> {
    let mut command = limited(LIMIT, "dpkg");
    // start-stop-daemon and ldconfig are in sbin.
    command.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    said(&mut command)
}

fn dpkg_query() -> Result<Said, Error> {
    said(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", "nvbind"]))
}
