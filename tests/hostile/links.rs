//! Links of every kind, where directories and files of each purpose are looked up.

use crate::row::{Expected, Row, Warned, Works, link, refused, row};

/// Where a link ends, seen from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At a directory of the container's.
    Inside,
    /// Nowhere, and it is written to lead out.
    Outside,
    /// Nowhere.
    Nowhere,
}

use End::{Inside, Nowhere, Outside};

/// Who may read this link depends on the machine.
const OF_ANOTHER: [&str; 3] = ["of-the-first-process", "of-the-host-s-proc", "of-the-host-s-cwd"];

/// A kind of link: its name, its target, and where it ends.
const KINDS: &[(&str, &str, End)] = &[
    ("absolute", "$OUTSIDE/empty", Outside),
    ("by-dots", "../../../../../../../../../..$OUTSIDE/empty", Outside),
    ("by-dots-inside", "../../../../../../../../../../var/here", Inside),
    ("chain-of-39", "/var/39/1", Inside),
    ("chain-of-39-out", "/var/39-out/1", Outside),
    ("chain-of-60", "/var/60/1", Nowhere),
    ("of-its-own-process", "/proc/self/root$OUTSIDE/empty", Nowhere),
    ("working-directory", "/proc/self/cwd", Nowhere),
    ("of-the-first-process", "/proc/1/root$OUTSIDE/empty", Nowhere),
    ("descriptor", "/proc/self/fd/3", Nowhere),
    ("descriptors", "/dev/fd", Nowhere),
    ("of-the-host-s-proc", "/hostproc/$PPID/root$OUTSIDE/empty", Nowhere),
    ("of-the-host-s-cwd", "/hostproc/$PPID/cwd", Nowhere),
];

/// What the links lead along: chains, and procfs, the container's and the host's.
const WAYS: &str = "mkdir -p var/here hostproc; cp -a ../parts/chains/. var";
const PROCS: &str = "mount -t proc proc $ROOT/proc; mount --rbind /proc $ROOT/hostproc
ln -s /proc/self/fd $ROOT/dev/fd";

const DIRECTORIES: &[&str] =
    &["usr/local", "etc", "etc/ld.so.conf.d", "usr/bin", "usr/share/vulkan", "usr/local/cuda", "dev/dri"];
const FILES: &[&str] = &["etc/ld.so.cache", "etc/.ld.so.cache.nvbind", "usr/bin/nvidia-smi", "dev/nvidia0"];

pub(crate) fn rows() -> Vec<Row> {
    let places = DIRECTORIES.iter().chain(FILES);
    let all = places.flat_map(|place| KINDS.iter().map(move |kind| (*place, *kind)));
    all.map(|(place, (kind, target, end))| {
        let row = row(format!("{place}-is-a-link-{kind}"), expect(place, end));
        let row = row.image(WAYS).mounts(PROCS).at(place, &link(place, target));
        if OF_ANOTHER.contains(&kind) { row.may_be_denied() } else { row }
    })
    .collect()
}

fn expect(place: &str, end: End) -> Expected {
    match (place, end) {
        ("dev/nvidia0", _) => refused("/dev/nvidia0 in the container is something else"),
        // It is normal in images that this leads to what is not installed.
        ("usr/local/cuda", _) => Works,
        (_, Outside) if DIRECTORIES.contains(&place) => refused(&format!("/{place} in the container's root")),
        ("etc", Nowhere) => Warned("programs find the driver by LD_LIBRARY_PATH alone"),
        ("dev/dri", Nowhere) => refused("/dev/dri/card0"),
        (_, Inside | Outside | Nowhere) => Works,
    }
}
