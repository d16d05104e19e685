//! The driver of a running host is replaced by another version, and steps of a build that have a GPU.

use crate::case::{Case, RELEASE, RUNTIME, WHO};
use crate::container::{ASK, GPU, then_remove};
use crate::containers::refusals::{BROKEN, with_driver};
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane, use_driver};
use crate::podman::{IMAGE, Podman, Said};
use crate::probe;
use nvbind_fixtures::error::Doing;
use nvbind_lanes::tree::write;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("driver-upgrade", upgrade).each(&[RUNTIME, WHO]).takes(2),
    Case::new("build", build).each(&[WHO, RELEASE]),
];

/// The version of the simulated driver, and of the one before it.
const NEW: &str = "570.172.08";
const OLD: &str = "570.124.04";

/// Makes that one: the version is in names, links and contents, and as long.
const EARLIER: &str = r#"cp -a $2 $1
    find $1 -depth -name '*570.172.08*' | while read -r path; do
        mv "$path" "${path%/*}/$(basename "$path" | sed s/570.172.08/570.124.04/)"
    done
    find $1 -type l -lname '*570.172.08*' | while read -r path; do
        ln -sfn "$(readlink "$path" | sed s/570.172.08/570.124.04/)" "$path"
    done
    grep -rlaF 570.172.08 $1 | xargs sed -i s/570.172.08/570.124.04/g"#;

/// A container of the earlier driver starts with the later one, as if there had been no other. While the module is the
/// earlier one still, it does not.
fn upgrade(_: &Lane, podman: Podman) -> Result<(), Ended> {
    with_driver(EARLIER, || {
        then_remove(podman, || {
            let create = ["create", "--name", GPU, "--network=none", ASK[0], ASK[1], IMAGE, "sh", "-c"];
            podman.must(&[&create[..], &[&look()]].concat())?;
            claim_sees(&start(podman)?, OLD, NEW)?;
            half_upgraded()?;
            let refused = start(podman)?;
            claim(refused.code != 0 && refused.out.is_empty(), "half a driver is given", || refused.told())?;
            let last = crate::containers::refusals::last_failure(podman.user)?;
            let told =
                [OLD, NEW, "reboot, or reload the nvidia modules"].iter().all(|text| last.contains(text));
            claim(told, "what to do is not told", || last.clone())?;
            use_driver(DRIVER)?;
            for _ in 0..2 {
                claim_sees(&start(podman)?, NEW, OLD)?;
            }
            Ok(())
        })
    })
}

/// Libraries of the later driver, and the module of the earlier one.
fn half_upgraded() -> Result<(), Ended> {
    let module = ["dev_root", "proc_root", "sys_root"].map(|key| format!("{key} = \"{BROKEN}\"\n")).concat();
    Ok(write(Path::new("/etc/nvbind/config.toml"), &format!("[driver]\nroot = \"{DRIVER}\"\n{module}"))?)
}

fn start(podman: Podman) -> Result<Said, Ended> {
    Ok(podman.run(&["start", "--attach", GPU])?)
}

/// All that could be left of a version, and what the probe says.
fn look() -> String {
    let cache = "for version in 570.172.08 570.124.04; do grep -qaF $version /etc/ld.so.cache && echo cache $version; done";
    let dangling = "find / -xdev -type l -lname '/usr/local/nvidia/*' ! -exec test -e {} \\; -print";
    format!(
        "{cache}; find / -xdev -name '*570.1*'; find / -xdev -lname '*570.1*'; ls /usr/local/nvidia/lib64; {dangling} >&2; {}",
        probe::command(None)
    )
}

fn claim_sees(said: &Said, version: &str, other: &str) -> Result<(), Ended> {
    let (listed, report) = said.out.split_once('{').unwrap_or((&said.out, ""));
    let is_right = listed.contains(&format!("libcuda.so.{version}")) && !listed.contains(other);
    claim(is_right && said.err_beside_log().is_empty(), &format!("it is not {version} alone"), || {
        said.told()
    })?;
    probe::claim_works(&Said { out: format!("{{{report}"), ..said.clone() })
}

/// The annotation of a build is for its image: a step has no GPU, and nothing of the driver is in a layer.
fn build(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let folder = Path::new("/tmp/build-with-annotation");
    let steps =
        format!("FROM {IMAGE}\nRUN test ! -e /dev/nvidiactl && test ! -e /usr/local/nvidia && touch /made\n");
    write(&folder.join("Containerfile"), &steps)?;
    let ended = leaves_nothing(podman, folder, &["--hooks-dir=/usr/share/containers/oci/hooks.d"], &ASK);
    fs::remove_dir_all(folder).on("remove", folder)?;
    ended
}

/// Builds the folder's image with some options and again with more, which make no difference to what is in it.
pub(crate) fn leaves_nothing(
    podman: Podman,
    folder: &Path,
    options: &[&str],
    more: &[&str],
) -> Result<(), Ended> {
    let images = ["localhost/built-without", "localhost/built-with"];
    let empty = folder.join("empty");
    fs::create_dir_all(&empty).on("create", &empty)?;
    let no_hooks = format!("--hooks-dir={}", empty.display());
    let folder = folder.display().to_string();
    let build = |image: &str, more: &[&str]| {
        let words = ["build", "--no-cache", "--network=none", "--runtime", podman.runtime(), "--tag", image];
        podman.must(&[&words[..], options, more, &[&folder]].concat())
    };
    let list = "find / -xdev -printf '%M %U %G %p %l\n'; find / -xdev -type f -printf '%s %p\n'";
    let files = |image: &str| {
        // Without a hook: before Podman 5 an image's own annotation counts.
        let words = [&no_hooks, "run", "--rm", "--network=none", "--no-hosts", image];
        let said = podman.must(&[&words[..], &["sh", "-c", list]].concat())?;
        Ok::<BTreeSet<String>, Ended>(said.out.lines().map(str::to_owned).collect())
    };
    let ended = (|| {
        build(images[0], &[])?;
        build(images[1], more)?;
        let (without, with) = (files(images[0])?, files(images[1])?);
        let different: Vec<&String> = with.symmetric_difference(&without).collect();
        claim(different.is_empty(), "the image is another one", || format!("{different:#?}"))
    })();
    podman.run(&[&["rmi", "--force"], &images[..]].concat())?;
    ended
}
