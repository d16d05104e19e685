//! Images that real podman starts as well, in the end-to-end cases.

use crate::hostile::{IMAGES, SEARCH_PATH};
use crate::row::{Row, Works, row};

pub(crate) fn rows() -> Vec<Row> {
    let rows = IMAGES.iter().map(|(name, script)| row(*name, Works).image(script).search_path(SEARCH_PATH));
    rows.map(|row| row.mounts("mount -t proc proc $ROOT/proc")).collect()
}
