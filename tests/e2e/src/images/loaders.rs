//! Images by the loader that they have: musl's, glibc's without its `ldconfig`, none, and one that is not below `/usr`.

use crate::case::{Case, RELEASE, WHO};
use crate::container::{ASK, GPU, PLAIN, run_words};
use crate::ended::{Ended, claim};
use crate::images::IN_IMAGES;
use crate::images::claims;
use crate::images::claims::VIEW;
use crate::images::made::Image;
use crate::lane::{DRIVER, Lane, use_driver};
use crate::podman::{Podman, Said};
use crate::{probe, traces};

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("images/musl", musl).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/no-ldconfig", no_ldconfig).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/static", no_loader).each(&[WHO, RELEASE]).only(IN_IMAGES),
    Case::new("images/not-merged", not_merged).each(&[WHO, RELEASE]).only(IN_IMAGES).takes(2),
];

/// The folders that musl searches without `/etc/ld-musl-ARCH.path` (musl, ldso/dynlink.c).
const MUSL_DEFAULTS: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];

/// musl's loader, a program of its own, and the folders that every such distribution has.
const ONLY_MUSL: Image = Image {
    name: "musl",
    has_programs: false,
    script: "mkdir -p etc lib usr/bin usr/lib usr/local
        cp $bin/ld-musl lib/ld-musl-$(uname -m).so.1
        cp $bin/small-musl usr/bin/small",
    env: &[],
};

/// The loader is told of the view, once however often the container starts. The simulated driver's libraries need no C
/// library and load; NVIDIA's need glibc's, and musl says what it lacks of that, not that the library is not there.
fn musl(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let path = format!("/etc/ld-musl-{}.path", std::env::consts::ARCH);
    let words = ["small", "show", &path, "load", "libcuda.so.1"];
    ONLY_MUSL.with(podman, |image| {
        let run = || -> Result<Said, Ended> { run_words(podman, GPU, &ASK, &[image], &words)?.must() };
        use_driver(DRIVER)?;
        let said = run()?;
        let expected: Vec<String> =
            [format!("{VIEW}/lib64")].into_iter().chain(MUSL_DEFAULTS.map(str::to_owned)).collect();
        let folders: Vec<&str> = said.out.lines().take_while(|line| line.starts_with('/')).collect();
        let folders: Vec<&str> = folders.iter().flat_map(|line| line.split(':')).collect();
        claim(folders == expected, "musl is not told of the view before its own folders", || said.told())?;
        let loads = said.out.contains("load libcuda.so.1: ok");
        claim(loads, "musl does not load a library that needs nothing", || said.told())?;
        let again = podman.must(&["start", "--attach", GPU])?;
        claim(again.out == said.out, "the second start is not as the first", || again.told())?;
        podman.remove(&[GPU])?;
        use_driver(crate::drivers::real::REAL)?;
        let said = run()?;
        let about = |start: &str| said.out.contains(&format!("{start} {VIEW}/lib64/libcuda.so"));
        let found = about("needed by") || about("(needed by") || about("Error relocating");
        claim(found, "musl does not find NVIDIA's library", || said.told())
    })
}

/// The loader, the libraries that the program needs, and the program.
const NO_LDCONFIG: Image = Image {
    name: "no-ldconfig",
    has_programs: true,
    script: "rm -rf etc/ld.so.* var/cache/ldconfig
        find bin/ sbin/ usr/bin usr/sbin ! -type d ! -name nvbind-probe -delete",
    env: &[],
};

fn no_ldconfig(_: &Lane, podman: Podman) -> Result<(), Ended> {
    NO_LDCONFIG.with(podman, |image| claims::claim_all_found(podman, &[image]).map(drop))
}

/// One static program, and nothing else.
const ONLY_STATIC: Image =
    Image { name: "static", has_programs: false, script: "cp $bin/small-static small", env: &[] };

/// Where there is no loader there is nothing to tell it.
fn no_loader(_: &Lane, podman: Podman) -> Result<(), Ended> {
    ONLY_STATIC.with(podman, |image| {
        let nodes: Vec<&str> = probe::NODES.iter().flat_map(|node| ["open", node]).collect();
        let words: Vec<&str> = ["/small"].into_iter().chain(nodes).collect();
        // NVIDIA's driver of bookworm makes the modeset node under another name: the simulated one's nodes are known.
        use_driver(DRIVER)?;
        run_words(podman, PLAIN, &[], &[image], &["/small"])?.must()?;
        let said = run_words(podman, GPU, &ASK, &[image], &words)?;
        let opened = said.out.lines().filter(|line| line.ends_with(": ok")).count();
        claim(said.code == 0 && opened == probe::NODES.len(), "a node is not usable", || said.told())?;
        let (with, without) = (traces::diff(podman, GPU)?, traces::diff(podman, PLAIN)?);
        let made: Vec<&String> = with.difference(&without).filter(|line| line.contains(" /etc")).collect();
        claim(made.is_empty(), "something was made in /etc", || format!("{made:#?}"))?;
        traces::claim_small(&with, &without)
    })
}

/// The folders at the top are folders, and the loader's is not below `/usr`.
const NOT_MERGED: Image = Image {
    name: "not-merged",
    has_programs: true,
    script: "for name in bin sbin lib lib64; do
            test ! -L $name || { rm $name; mv usr/$name $name; }
        done
        mkdir -p usr/bin usr/sbin usr/lib
        mv bin/nvbind-probe usr/bin
        ldconfig -X -r .",
    env: &[],
};

fn not_merged(_: &Lane, podman: Podman) -> Result<(), Ended> {
    NOT_MERGED.with(podman, |image| {
        claims::claim_all_found(podman, &[image])?;
        podman.remove(&[GPU])?;
        let words = ["sh", "-c", "test ! -e /usr/lib64 && test ! -L /lib && ldconfig && exec nvbind-probe"];
        probe::claim_works(&run_words(podman, GPU, &ASK, &[image], &words)?)
    })
}
