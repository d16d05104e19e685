//! `nvbind run --profile` as real podman takes it: on a machine with a simulated desktop, on one without, and in the
//! command lines that people write.

pub(super) mod command_lines;
pub(super) mod computing;
pub(super) mod desktop;
mod documented;
pub(super) mod gaming;
pub(super) mod own;

use crate::command_line::shim::{LIMIT, NVBIND};
use crate::container::{GPU, then_remove};
use crate::ended::{Ended, claim};
use crate::podman::{IMAGE, Podman, Said, as_user, said};
use nvbind_fixtures::limits::limited;

/// The volumes of the built-in profiles.
const SHADERS: &str = "nvbind-shader-cache";
const KERNELS: &str = "nvbind-cuda-cache";

/// The libraries of one family of the driver each, 32-bit ones apart.
const COMPUTE: &str = "lib64/libcuda.so.1";
const VIDEO: &str = "lib64/libnvcuvid.so.1";
const GRAPHICS: &str = "lib64/libGLX_nvidia.so.0";
const NGX: &str = "lib64/libnvidia-ngx.so.1";
const COMPAT32: &str = "lib/libGLX_nvidia.so.0";
const FAMILIES: &[&str] = &[COMPUTE, VIDEO, GRAPHICS, NGX, COMPAT32];

/// A caller's variables, beside those that every user has.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// Runs a container that has the first GPU; the rest is the options'.
fn started(podman: Podman, variables: Variables<'_>, options: &[&str], command: &str) -> Result<Said, Ended> {
    let runtime = format!("--runtime={}", podman.runtime());
    let mut line = as_user(podman.user, limited(LIMIT, NVBIND));
    line.envs(variables.iter().copied());
    line.args(["run", "--network=none", "--gpu=0", "--name", GPU, &runtime]).args(options);
    Ok(said(line.args([IMAGE, "sh", "-c", command]))?)
}

/// A test by the shell that of the driver's families exactly these are in the view.
fn holds_these_alone(families: &[&str]) -> String {
    let test = |family: &&str| {
        let not = if families.contains(family) { "" } else { "! " };
        format!("test {not}-e /usr/local/nvidia/{family}")
    };
    FAMILIES.iter().map(test).collect::<Vec<_>>().join(" && ")
}

/// Fails the case unless stderr tells that exactly these are left out, a line for each that begins so.
fn claim_left_out(said: &Said, expected: &[&str]) -> Result<(), Ended> {
    let told: Vec<&str> = said.err.lines().filter(|line| line.contains(" is left out: ")).collect();
    let is_told = |what: &&&str| told.iter().any(|line| line.contains(**what));
    let missing: Vec<&&str> = expected.iter().filter(|what| !is_told(what)).collect();
    claim(missing.is_empty(), "a note is missing", || format!("{missing:?} in\n{}", said.told()))?;
    claim(told.len() == expected.len(), "more is left out than should be", || said.told())
}

/// The body in a storage without the profiles' volumes, before and after it.
pub(super) fn without_volumes(podman: Podman, body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    remove_volumes(podman)?;
    let ended = then_remove(podman, body);
    let removed = remove_volumes(podman);
    ended.and(removed)
}

fn remove_volumes(podman: Podman) -> Result<(), Ended> {
    let known = podman.must(&["volume", "ls", "--quiet"])?;
    for name in [SHADERS, KERNELS].iter().filter(|name| known.out.lines().any(|line| line == **name)) {
        podman.must(&["volume", "rm", name])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_is_not_asked_for_must_be_absent() {
        let test = holds_these_alone(&[COMPAT32]);
        assert!(test.ends_with(&format!(" && test -e /usr/local/nvidia/{COMPAT32}")), "{test}");
        assert!(test.starts_with(&format!("test ! -e /usr/local/nvidia/{COMPUTE} && ")), "{test}");
    }
}
