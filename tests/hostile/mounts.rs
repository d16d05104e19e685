//! Mounts of the user's in the container, in whatever order, and root filesystems that are not the container's alone.

use crate::hostile::lead_to_volume;
use crate::places;
use crate::row::{Row, Warned, Works, link, refused, row};

/// A volume V on /v, a volume Q on /q in which a link leads to V, and a tmpfs that the user wants on /t, where a link
/// of the image leads to /q/r: it is mounted on /q/r or, where Q is there, on /v.
const MOUNTS: [(char, &str); 3] = [
    ('V', "mount --bind $OUTSIDE $ROOT/v"),
    ('Q', "ln -s /v $PLAIN/r; mount --bind $PLAIN $ROOT/q"),
    ('T', "if [ -L $ROOT/q/r ]; then place=v; else place=q/r; fi; mount -t tmpfs tmpfs $ROOT/$place"),
];
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

fn orders() -> Vec<Row> {
    let mut rows = Vec::new();
    for place in ["usr/local", "etc", "usr/bin", "usr/share"] {
        for order in ORDERS {
            let name: String = order.iter().map(|at| MOUNTS[*at].0).collect();
            let scripts = order.map(|at| MOUNTS[at].1).join("\n");
            let image = lead_to_volume(place);
            rows.push(row(format!("{place}-leads-to-{name}"), Works).image(image).mounts(scripts));
        }
    }
    rows
}

/// Where a volume lies.
const OVER: &[&str] =
    &["etc", "etc/ld.so.conf.d", "usr/local", "usr/bin", "usr/share", "opt/a", "run", "usr/local/nvidia"];

/// How it came there. A tmpfs of the host's is a volume as any other.
const VOLUMES: &[(&str, &str)] = &[
    ("private", "mount --bind $OUTSIDE $ROOT/@"),
    ("read-only", "mount --bind -o ro $OUTSIDE $ROOT/@"),
    ("tmpfs-of-the-host", "cp -a $OUTSIDE/. $UPPER/../volume; mount --bind $UPPER/../volume $ROOT/@"),
    (
        "overlay",
        "mkdir $WORK/../u $WORK/../w
        mount -t overlay overlay -o lowerdir=$OUTSIDE,upperdir=$WORK/../u,workdir=$WORK/../w $ROOT/@",
    ),
    ("twice", "mount --bind $PLAIN $ROOT/@; mount --bind $OUTSIDE $ROOT/@"),
    ("under-a-tmpfs", "mount --bind $OUTSIDE $ROOT/@; mount -t tmpfs tmpfs $ROOT/@"),
];

/// The same where its mounts are shared with the host, or come from there.
const SHARED: &[(&str, &str)] = &[
    ("shared", "mount --bind $OUTSIDE $ROOT/@"),
    ("rshared", "mount --rbind $OUTSIDE $ROOT/@; mount --make-rshared $ROOT/@"),
    ("slave", "mount --bind $OUTSIDE $ROOT/@; mount --make-slave $ROOT/@"),
];

fn volumes() -> Vec<Row> {
    let all = VOLUMES.iter().map(|volume| (volume, false)).chain(SHARED.iter().map(|volume| (volume, true)));
    let mut rows = Vec::new();
    for ((kind, script), is_shared) in all {
        for place in OVER {
            let expected = match (*place, *kind) {
                ("etc", "shared" | "rshared") => Warned("its volume's mounts are shared with the host"),
                _ => Works,
            };
            let row = row(format!("{kind}-volume-over-{place}"), expected);
            let row = row.image(format!("mkdir -p {place}")).mounts(script.replace('@', place));
            let row = row.search_path("/opt/a");
            rows.push(if is_shared { row.shared_volume() } else { row });
        }
    }
    rows
}

/// Files that are volumes themselves, beside those of the loaders.
const FILES: &[&str] =
    &["usr/bin/nvidia-smi", "usr/share/vulkan/icd.d/nvidia_icd.json", "opt/a/libcuda.so.1"];

fn files() -> Vec<Row> {
    let rows = places::LOADERS.iter().chain(FILES).map(|place| {
        let parent = place.rsplit_once('/').unwrap().0;
        // Nothing can be written beside it.
        let expected = if place.ends_with(".nvbind") { refused(place) } else { Works };
        let row = row(format!("{place}-is-a-volume"), expected)
            .image(format!("{}mkdir -p {parent}; : >{place}", places::conditions(place)));
        row.mounts(format!("mount --bind $OUTSIDE/kept $ROOT/{place}")).search_path("/opt/a")
    });
    rows.collect()
}

fn others() -> Vec<Row> {
    vec![
        row("read-only-root", Warned("the root filesystem is read-only")).mounts("mount -o remount,ro $ROOT"),
        row("shared-root", Works).shared_root(),
        row("shared-root-and-volume", Works)
            .shared_root()
            .mounts("mount --bind $OUTSIDE $ROOT/usr/local; mount --make-rshared $ROOT"),
        row("root-is-a-directory-of-the-host", Warned("outlives the container"))
            .mounts("cp -a $IMAGE/. $PLAIN; mount --bind $PLAIN $ROOT; mount -t tmpfs tmpfs $ROOT/dev"),
        row("empty-shared-volume-over-the-view", Works)
            .shared_volume()
            .image("mkdir -p usr/local/nvidia")
            .mounts("mount --bind $OUTSIDE/empty $ROOT/usr/local/nvidia"),
        row("node-is-a-file-of-the-host", refused("/dev/nvidia0 in the container is something else"))
            .mounts(": >$ROOT/dev/nvidia0; mount --bind $OUTSIDE/kept $ROOT/dev/nvidia0"),
        row("dev-is-the-host-s", refused("/dev/dri/card0")).mounts("mount --bind $OUTSIDE $ROOT/dev"),
        row("own-tmpfs-over-etc", Works).mounts("mount -t tmpfs tmpfs $ROOT/etc"),
        row("own-read-only-tmpfs-over-etc", refused("ld.so")).mounts("mount -t tmpfs -o ro tmpfs $ROOT/etc"),
        row("own-full-tmpfs-over-etc", refused("/etc/OpenCL"))
            .mounts("mount -t tmpfs -o nr_inodes=1 tmpfs $ROOT/etc"),
        row("own-full-tmpfs-over-usr-local", refused("/usr/local/nvidia"))
            .mounts("mount -t tmpfs -o nr_inodes=1 tmpfs $ROOT/usr/local"),
        row("proc-of-the-host", Works).mounts("mount --rbind /proc $ROOT/proc"),
        row("volume-over-proc-driver", Works)
            .mounts("mount -t proc proc $ROOT/proc; mount --bind $OUTSIDE $ROOT/proc/driver"),
        row("view-leads-into-the-host-s-root", Works)
            .image(format!("mkdir host; {}", link("usr/local", "/host$OUTSIDE")))
            .mounts("mount --rbind / $ROOT/host"),
        row("etc-leads-into-the-host-s-root", Works)
            .image(format!("mkdir host; {}", link("etc", "host$OUTSIDE")))
            .mounts("mount --rbind / $ROOT/host"),
        row("links-lead-into-the-host-s-root", Works)
            .image(format!("mkdir host; {}", link("usr/share", "../host$OUTSIDE/share")))
            .mounts("mount --rbind / $ROOT/host"),
    ]
}

pub(crate) fn rows() -> Vec<Row> {
    [orders(), volumes(), files(), others()].concat()
}
