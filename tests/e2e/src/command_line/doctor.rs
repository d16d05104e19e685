//! `nvbind doctor`, and what `--fix` mends.

use crate::case::{Case, RELEASE, WHO};
use crate::command_line::shim::{HOOK, LIMIT};
use crate::container::{ASK, GPU, run, then_remove};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{Podman, Said, User, as_user, said};
use crate::probe;
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use nvbind_lanes::spec::PAYLOAD;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[Case::new("doctor", hook_is_gone).each(&[WHO, RELEASE])];

/// nvbind with the hook beside it: the one that is installed has lost its own.
fn nvbind(user: User, words: &[&str]) -> Result<Said, Error> {
    said(as_user(user, limited(LIMIT, format!("{PAYLOAD}/bin/nvbind"))).args(words))
}

/// The hook's program goes away, which podman passes over: doctor tells so, mends it, and is content then.
fn hook_is_gone(_: &Lane, podman: Podman) -> Result<(), Ended> {
    claim_content(podman)?;
    fs::remove_file(HOOK).on("remove", Path::new(HOOK))?;
    let ended = claim_mended(podman);
    if podman.user == User::Rootless {
        nvbind(podman.user, &["setup", "--user", "--uninstall"])?.must()?;
    }
    nvbind(User::Root, &["setup"])?.must()?;
    ended
}

fn claim_content(podman: Podman) -> Result<(), Ended> {
    let said = nvbind(podman.user, &["doctor"])?;
    claim(said.code == 0 && !said.out.contains("FAIL"), "doctor finds something wrong", || said.told())
}

fn claim_mended(podman: Podman) -> Result<(), Ended> {
    let own: &[&str] = if podman.user == User::Root { &["setup"] } else { &["setup", "--user"] };
    let program = format!("{PAYLOAD}/bin/nvbind");
    let command: Vec<&str> = [program.as_str()].iter().chain(own).copied().collect();
    let found = nvbind(podman.user, &["doctor"])?;
    let fix = format!("{HOOK}, which cannot be executed");
    let told = found.out.contains(&fix) && found.out.contains(&format!("fix: {}\n", command.join(" ")));
    claim(found.code == 1 && told, "doctor does not tell of the missing hook", || found.told())?;
    let mended = nvbind(podman.user, &["doctor", "--fix", "--json"])?;
    let report: Value = serde_json::from_str(&mended.out).unwrap_or_default();
    let expected = serde_json::json!([{"id": "hook", "command": command}]);
    claim(
        mended.code == 0 && report.get("fixes") == Some(&expected),
        "doctor does not mend the hook",
        || mended.told(),
    )?;
    claim_content(podman)?;
    then_remove(podman, || probe::claim_works(&run(podman, GPU, &ASK, &probe::command(None))?))
}
