//! Whether a plan has every shared object of the driver's packages.
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// What a plan need not have, with reasons: see its head.
const EXCEPTIONS: &str = include_str!("../../../../tests/fixtures/real-driver-exceptions.txt");

/// The patterns of the exceptions list.
fn exceptions(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

/// Those of `objects` (paths in the driver root) that `plan`, the JSON of `nvbind plan`, does not bind and the list of
/// exceptions does not excuse, and exceptions that nothing needs any more.
pub fn differences<'a>(plan: &Value, objects: impl IntoIterator<Item = &'a Path>) -> Vec<String> {
    let steps = plan.get("steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let bound: BTreeSet<&str> = steps.iter().filter_map(|step| step.get("host")?.as_str()).collect();
    let patterns = exceptions(EXCEPTIONS);
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut differences = Vec::new();
    for path in objects {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let excused = patterns.iter().find(|pattern| matches(pattern, &name));
        used.extend(excused.copied());
        // Paths of a plan may carry the driver root in front.
        let planned =
            bound.iter().any(|host| Path::new(host).ends_with(path.strip_prefix("/").unwrap_or(path)));
        match (planned, excused) {
            (false, None) => differences.push(format!("{}: not in the plan", path.display())),
            (true, Some(_)) => {
                differences.push(format!("{}: in the plan although it is excepted", path.display()))
            }
            (true, None) | (false, Some(_)) => {}
        }
    }
    for pattern in patterns {
        if !used.contains(&pattern) {
            differences.push(format!("{pattern}: excepted, but no package has it"));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_planned_or_excepted_but_not_both_and_not_neither() {
        let plan = serde_json::json!({"steps": [
            {"kind": "bind", "host": "/root/usr/lib/libcuda.so.535.1", "inside": "lib64/libcuda.so.535.1"},
            {"kind": "bind", "host": "/root/usr/lib/libOpenCL.so.1.0.0", "inside": "lib64/libOpenCL.so.1.0.0"},
            {"kind": "link", "path": "/usr/bin/nvidia-smi", "target": "x"},
        ]});
        let objects =
            ["/usr/lib/libcuda.so.535.1", "/usr/lib/libOpenCL.so.1.0.0", "/usr/lib/libnew.so.535.1"]
                .map(Path::new);
        assert_eq!(
            differences(&plan, objects),
            [
                "/usr/lib/libOpenCL.so.1.0.0: in the plan although it is excepted",
                "/usr/lib/libnew.so.535.1: not in the plan",
            ]
        );
        let without = [Path::new("/usr/lib/libcuda.so.535.1")];
        assert_eq!(differences(&plan, without), ["libOpenCL.so.*: excepted, but no package has it"]);
    }

    #[test]
    fn every_exception_has_a_reason() {
        for line in EXCEPTIONS.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.split_whitespace().count() > 3, "{line}");
        }
    }
}
