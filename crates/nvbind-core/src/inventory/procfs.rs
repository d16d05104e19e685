//! What the kernel module says of the driver as a whole, in files that a container gets copies of.

use crate::host::Tree;

/// The driver's directory.
pub const DIRECTORY: &str = "/proc/driver/nvidia";

/// Files that say nothing of a single GPU.
const FILES: [&str; 3] = ["version", "params", "registry"];

/// The parameter by which the driver's libraries make device nodes, through `nvidia-modprobe` or themselves. In a container
/// they would make those of GPUs that it was not given.
const MODIFY: &str = "ModifyDeviceFiles";

/// The files that are there, by name, as a container sees them.
pub(super) fn read(proc: &Tree) -> Vec<(&'static str, String)> {
    let file = |name| {
        let text = proc.text(&format!("{DIRECTORY}/{name}")).ok()?;
        Some((name, if name == "params" { without_modification(&text) } else { text }))
    };
    FILES.into_iter().filter_map(file).collect()
}

fn without_modification(params: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some((MODIFY, _)) => format!("{MODIFY}: 0\n"),
        _ => format!("{line}\n"),
    };
    params.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_to_make_nodes_is_taken() {
        let params =
            "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileMode: 438\nRegistryDwords: \"\"\n";
        let expected =
            "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 0\nDeviceFileMode: 438\nRegistryDwords: \"\"\n";
        assert_eq!(without_modification(params), expected);
    }
}
