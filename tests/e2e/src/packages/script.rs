//! `install.sh` as a person runs it: with a release's archive, in its unpacked folder, and with what it must refuse.

use crate::case::{CRUN, Case, RELEASE, ROOTFUL, WHO};
use crate::container::{ASK, GPU, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::packages::{ARCHIVE, SCRIPT, place};
use crate::podman::{Podman, Said, User, as_user, said};
use crate::probe;
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use nvbind_lanes::tree::{USER_ID, write};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("install-script", archive).each(&[WHO, RELEASE]).only(&[&[CRUN]]),
    Case::new("install-script-refusals", refusals).each(&[WHO, RELEASE]).only(&[&[CRUN]]),
    Case::new("install-script-download", download).each(&[RELEASE]).only(&[&[CRUN, ROOTFUL]]),
];

const LIMIT: Duration = Duration::from_secs(60);

/// A checksum of something else.
const WRONG: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Where the script downloads from, which is nowhere: the programs that download are simulated.
const ADDRESS: &str = "https://release.invalid/nvbind.tar.gz";

/// Stands in for both: gives the archive, or its checksum, for the last word, into the file that the option names.
const SIMULATED: &str = r#"#!/bin/sh
for word; do
    case $word in --output-document=*) to=${word#*=} ;; esac
    [ "${last-}" = --output ] && to=$word
    last=$word
done
case $last in
https://release.invalid/*) exec cp "/opt/nvbind/packages/${last##*/}" "$to" ;;
*) exit 22 ;;
esac
"#;

/// All that nvbind's installations consist of has its name.
const LEFT: [&str; 9] = ["/usr", "/etc", "/home", "-xdev", "-name", "*nvbind*", "!", "-type", "d"];

/// The user's own, for the user; for all users as root.
fn whose(podman: Podman) -> &'static [&'static str] {
    match podman.user {
        User::Root => &[],
        User::Rootless => &["--user"],
    }
}

fn archive(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let archive = place(ARCHIVE);
    let unpacked = "/tmp/unpacked";
    fs::create_dir_all(unpacked).on("make", Path::new(unpacked))?;
    said(Command::new("tar").args(["-xzf", &archive, "-C", unpacked, "--strip-components=1"]))?.must()?;
    for (script, words) in [(place(SCRIPT), &[archive.as_str()][..]), (format!("{unpacked}/{SCRIPT}"), &[])] {
        let words = [whose(podman), words].concat();
        script_of(podman, &script, &[&words[..], &["--dry-run"]].concat())?.must()?;
        claim_nothing_left()?;
        script_of(podman, &script, &words)?.must()?;
        let ended =
            then_remove(podman, || probe::claim_works(&run(podman, GPU, &ASK, &probe::command(None))?));
        script_of(podman, &script, &[whose(podman), &["--uninstall"]].concat())?.must()?;
        ended?;
        then_remove(podman, || run(podman, GPU, &ASK, "test ! -e /usr/local/nvidia")?.must().map(drop))?;
        claim_nothing_left()?;
    }
    Ok(())
}

/// What is not what it should be is not installed, and one line says why.
fn refusals(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let folder = format!("/tmp/refusals-{}", podman.name().replace('/', "-"));
    fs::create_dir_all(&folder).on("make", Path::new(&folder))?;
    let alone = format!("{folder}/alone.tar.gz");
    fs::copy(place(ARCHIVE), &alone).on("copy", Path::new(ARCHIVE))?;
    let changed = format!("{folder}/changed.tar.gz");
    fs::write(&changed, "not what the checksum is of").on("write", Path::new(&changed))?;
    let sum = place(&format!("{ARCHIVE}.sha256"));
    fs::copy(&sum, format!("{changed}.sha256")).on("copy", Path::new(&sum))?;
    let archive = place(ARCHIVE);
    for (words, told) in [
        (&[archive.as_str(), "--sha256", WRONG][..], "nothing is installed"),
        (&[&alone], "give the checksum by --sha256"),
        (&[&changed], "nothing is installed"),
        (&["http://release.invalid/nvbind.tar.gz"], "by https alone"),
        (&["/nowhere.tar.gz"], "there is no file /nowhere.tar.gz"),
        (&["--sha256", WRONG], "none is given"),
        (&["--sha256"], "needs a value"),
        (&["--prefxi=/opt"], "unknown option --prefxi=/opt"),
        (&["--uninstall"], "nothing to remove"),
        (&[], "neither a release nor nvbind's source"),
    ] {
        let refused = script(podman, &[whose(podman), words].concat())?;
        let in_a_line = refused.err.starts_with("install.sh: ") && refused.err.lines().count() == 1;
        let right = refused.code == 1 && in_a_line && refused.err.contains(told);
        claim(right, "it is not refused as it should be", || refused.told())?;
        claim_nothing_left()?;
    }
    Ok(())
}

/// An address is downloaded with the checksum beside it, or checked against the one that is given.
fn download(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let sum = place(&format!("{ARCHIVE}.sha256"));
    let sum = fs::read_to_string(&sum).on("read", Path::new(&sum))?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    for program in ["curl", "wget"] {
        let simulated = format!("/usr/local/bin/{program}");
        write(Path::new(&simulated), SIMULATED)?;
        fs::set_permissions(&simulated, fs::Permissions::from_mode(0o755))
            .on("allow to run", Path::new(&simulated))?;
        let ended = downloaded(podman, sum);
        fs::remove_file(&simulated).on("remove", Path::new(&simulated))?;
        ended?;
    }
    let without = script(podman, &[ADDRESS])?;
    claim(without.code == 1 && without.err.contains("curl or wget is needed"), "it says nothing", || {
        without.told()
    })
}

fn downloaded(podman: Podman, sum: &str) -> Result<(), Ended> {
    for words in [&[ADDRESS][..], &[ADDRESS, "--sha256", sum]] {
        script(podman, words)?.must()?;
        script(podman, &["--uninstall"])?.must()?;
        claim_nothing_left()?;
    }
    let refused = script(podman, &[ADDRESS, "--sha256", WRONG])?;
    claim(refused.code == 1, "a checksum that was given does not count", || refused.told())?;
    let refused = script(podman, &[&format!("{ADDRESS}.gone")])?;
    claim(refused.err.contains("cannot download"), "a failed download is not told of", || refused.told())?;
    claim_nothing_left()
}

fn script(podman: Podman, words: &[&str]) -> Result<Said, Error> {
    script_of(podman, &place(SCRIPT), words)
}

/// With a folder for its temporary files that is empty afterwards.
fn script_of(podman: Podman, script: &str, words: &[&str]) -> Result<Said, Error> {
    let temporary = Path::new("/tmp/of-the-script");
    fs::create_dir_all(temporary).on("make", temporary)?;
    let owner = if podman.user == User::Root { 0 } else { USER_ID };
    chown(temporary, Some(owner), Some(owner)).on("give away", temporary)?;
    let mut command = as_user(podman.user, limited(LIMIT, "sh"));
    let mut told = said(command.env("TMPDIR", temporary).arg(script).args(words))?;
    if fs::remove_dir(temporary).is_err() {
        told.code = -1;
        told.err.push_str("\nits temporary files are left\n");
    }
    Ok(told)
}

fn claim_nothing_left() -> Result<(), Ended> {
    let found = said(Command::new("find").args(LEFT))?.must()?;
    claim(found.out.is_empty(), "something is installed", || found.told())
}
