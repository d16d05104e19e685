//! Directories of very many names where nvbind looks.

use crate::row::{Row, Works, row};

/// What is searched, and what is in it beside the crowd.
const DIRECTORIES: &[(&str, &str)] =
    &[("opt/a", "library"), ("usr/local/cuda/compat", "newer"), ("etc/ld.so.conf.d", "cache")];

pub(crate) fn rows() -> Vec<Row> {
    let rows = DIRECTORIES.iter().map(|(directory, part)| {
        let script = format!(
            "mkdir -p {directory}; cp ../parts/{part} {directory}/libcuda.so.580.65.06
            ln -s libcuda.so.580.65.06 {directory}/libcuda.so.1
            cd {directory}; seq -f lib%g.so 40000 | xargs touch"
        );
        row(format!("{directory}-of-40000"), Works).image(script).search_path("/opt/a")
    });
    rows.collect()
}
