//! Files in the places of nvbind's that have a second name, in the image or on the host: what has that name stays.

use crate::row::{Row, Works, clear, row};

/// Places in an image, which are written, replaced or covered.
const PLACES: &[&str] = &[
    "etc/ld.so.cache",
    "etc/.ld.so.cache.nvbind",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d/00-nvbind.conf",
    "etc/ld.so.conf.d/.00-nvbind.conf.nvbind",
    "usr/bin/nvidia-smi",
    "usr/share/vulkan/icd.d/nvidia_icd.json",
    "etc/OpenCL/vendors/nvidia.icd",
    "opt/a/libcuda.so.1",
];

/// A place in a volume, and where the volume is mounted. The host's file is on the same filesystem.
const VOLUMES: &[(&str, &str)] = &[
    ("ld.so.cache", "etc"),
    (".ld.so.cache.nvbind", "etc"),
    ("ld.so.conf", "etc"),
    ("ld.so.conf.d/00-nvbind.conf", "etc"),
    ("nvidia-smi", "usr/bin"),
    ("icd.d/nvidia_icd.json", "usr/share/vulkan"),
    ("libcuda.so.1", "opt/a"),
];

pub(crate) fn rows() -> Vec<Row> {
    let images = PLACES.iter().map(|place| {
        let script = format!("cp ../parts/cache var-kept; {}ln var-kept {place}", clear(place));
        row(format!("{place}-in-the-image"), Works).image(script).search_path("/opt/a").keeps("var-kept")
    });
    let volumes = VOLUMES.iter().map(|(place, directory)| {
        let script = format!(
            "mkdir -p {directory} && cp ../parts/cache $PLAIN/kept && ln -f $PLAIN/kept $OUTSIDE/{place}"
        );
        let row = row(format!("{directory}/{place}-on-a-volume"), Works).image(script).search_path("/opt/a");
        row.mounts(format!("mount --bind $OUTSIDE $ROOT/{directory}"))
    });
    images.chain(volumes).collect()
}
