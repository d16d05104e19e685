//! Images and volumes that someone made to lead the hook astray: the container has its GPU, and nothing of the host is
//! another afterwards. `tests/hostile` has many more, without podman.

use crate::case::{Case, RUNTIME, WHO};
use crate::container::{ASK, GPU, PLAIN, control_image, run_image, then_remove};
use crate::ended::{Ended, claim};
use crate::images::made::Image;
use crate::lane::Lane;
use crate::podman::{Podman, Said, said};
use crate::{probe, shapes, snapshot, traces};
use std::process::Command;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("hostile/images", images).each(&[RUNTIME, WHO]).takes(6),
    Case::new("hostile/volumes", volumes).each(&[RUNTIME, WHO]).takes(6),
    Case::new("hostile/tmpfs-led-to-a-volume", tmpfs).each(&[RUNTIME, WHO]).takes(8),
];

/// The host's folder, which links lead to and volumes are of.
const OUTSIDE: &str = "/tmp/outside";

/// Makes the host's folder, open to the podman's user, and a second name for one of its files.
const FURNISH: &str = "rm -rf $0 $0-q; mkdir -p $0/ld.so.conf.d $0/icd.d $0-q; echo kept >$0/kept
for name in ld.so.conf.d/00-nvbind.conf 00-nvbind.conf nvidia-smi nvidia_icd.json; do ln $0/kept $0/$name; done
ln -s /v $0-q/r; chmod -R a+rwX $0 $0-q";

/// Of libraries that the image has in the way the probe would load its own: looked for is where the driver's can be.
const FIND_VIEW: &str =
    "test -c /dev/nvidiactl && ls /usr/local/nvidia/lib64/libcuda.so.1 /run/nvbind/lib64/libcuda.so.1";

fn claim_equipped(said: &Said) -> Result<(), Ended> {
    claim(said.out.contains("libcuda.so.1"), "the container has no driver", || said.told())
}

fn images(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let path = format!("--env=LD_LIBRARY_PATH={}", shapes::SEARCH_PATH);
    let starts =
        |script| claim_harmless(podman, script, &[&path], |start| claim_equipped(&start(FIND_VIEW)?));
    shapes::IMAGES.iter().try_for_each(|(_, script)| starts(script))
}

/// A volume with files of the same names as nvbind's, which have a second name on the host.
const VOLUMES: &[&str] = &[
    "/tmp/outside:/etc/ld.so.conf.d",
    "/tmp/outside:/usr/local:rshared",
    "/tmp/outside:/usr/share/vulkan/icd.d",
    "/tmp/outside/kept:/etc/ld.so.conf.d/00-nvbind.conf",
];

fn volumes(_: &Lane, podman: Podman) -> Result<(), Ended> {
    VOLUMES.iter().try_for_each(|volume| {
        let options = ["--volume", volume];
        claim_harmless(podman, "", &options, |start| probe::claim_works(&start(&probe::command(None))?))
    })
}

fn tmpfs(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let options = ["--volume=/tmp/outside:/v", "--tmpfs=/t", "--volume=/tmp/outside-q:/q"];
    ["usr/local", "etc/ld.so.conf.d"].iter().try_for_each(|place| {
        claim_harmless(podman, &shapes::lead_to_volume(place), &options, |start| {
            // Podman mounts these in no certain order.
            (0..4).try_for_each(|_| claim_equipped(&start(FIND_VIEW)?))
        })
    })
}

/// Makes an image by a script, and sees that it starts without nvbind; then the body starts it with a command, once or
/// more, and after each start the host is as it was.
fn claim_harmless(
    podman: Podman,
    script: &str,
    options: &[&str],
    body: impl FnOnce(&dyn Fn(&str) -> Result<Said, Ended>) -> Result<(), Ended>,
) -> Result<(), Ended> {
    said(Command::new("sh").args(["-euc", FURNISH, OUTSIDE]))?.must()?;
    let script: &'static str = format!("OUTSIDE={OUTSIDE}\n{script}").leak();
    let folder = Image { name: "hostile", has_programs: true, script, env: &[] }.folder(podman)?;
    let root = ["--rootfs", &format!("{folder}:O")];
    then_remove(podman, || {
        control_image(podman, options, &root, "true")?;
        podman.remove(&[PLAIN])?;
        let (before, mounts) = (snapshot::of(OUTSIDE)?, podman.mounts()?);
        let all: Vec<&str> = ASK.iter().chain(options).copied().collect();
        body(&|command| {
            let said = run_image(podman, GPU, &all, &root, command)?;
            podman.remove(&[GPU])?;
            before.claim_unchanged()?;
            traces::claim_nothing_mounted(&mounts, &podman.mounts()?)?;
            Ok(said)
        })
    })
}
