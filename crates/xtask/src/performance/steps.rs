//! What the floor is to do: nvbind's own plan, as lines that a small C program can read.

use super::sample::Sample;
use nvbind_e2e::lane::DRIVER;
use nvbind_fixtures::error::{Error, Result};
use serde::Deserialize;

/// The parts of `nvbind plan --json` that are mounts, nodes and links.
#[derive(Debug, Deserialize)]
struct Plan {
    view: String,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Step {
    Device {
        path: String,
        major: u32,
        minor: u32,
    },
    Bind {
        host: String,
        inside: String,
    },
    Link {
        path: String,
        target: String,
        only_with: Option<String>,
    },
    /// The floor leaves alone the files that are written.
    #[serde(other)]
    Other,
}

/// The floor's lines, and how much it is.
pub(crate) fn from_plan(json: &str) -> Result<(String, Sample)> {
    let plan: Plan = serde_json::from_str(json)
        .map_err(|error| Error::failed(format!("cannot read nvbind's plan: {error}")))?;
    let mut lines = String::new();
    let (mut files, mut links, mut nodes) = (0, 0, 0);
    // In the view places are relative: the view's own directory is where they are made.
    let place = |path: &str| {
        let inside = path.strip_prefix(&plan.view).and_then(|rest| rest.strip_prefix('/'));
        inside.unwrap_or(path).to_owned()
    };
    for step in &plan.steps {
        let line = match step {
            Step::Device { path, major, minor } => {
                nodes += 1;
                format!("node\t{DRIVER}{path}\t{path}\t{major}\t{minor}\n")
            }
            Step::Bind { host, inside } => {
                files += 1;
                format!("bind\t{host}\t{}\n", place(inside))
            }
            // The image has none of these.
            Step::Link { only_with: Some(_), .. } => continue,
            Step::Link { path, target, only_with: None } => {
                links += 1;
                format!("link\t{target}\t{}\n", place(path))
            }
            Step::Other => continue,
        };
        lines.push_str(&line);
    }
    Ok((lines, Sample::Work { files, links, nodes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_view_are_relative_and_the_loader_is_left_alone() {
        let plan = r#"{"driver": {}, "view": "/v", "steps": [
            {"kind": "device", "path": "/dev/nvidia1", "major": 195, "minor": 1, "why": "gpu 0"},
            {"kind": "bind", "host": "/opt/driver/usr/lib/libcuda.so.5", "inside": "/v/lib64/libcuda.so.5"},
            {"kind": "link", "path": "/v/lib64/libcuda.so.1", "target": "libcuda.so.5"},
            {"kind": "link", "path": "/usr/bin/nvidia-smi", "target": "/v/bin/nvidia-smi"},
            {"kind": "cache", "path": "/etc/ld.so.cache", "libraries": []}]}"#;
        let (lines, work) = from_plan(plan).unwrap();
        assert_eq!(
            lines,
            "node\t/opt/driver/dev/nvidia1\t/dev/nvidia1\t195\t1\n\
             bind\t/opt/driver/usr/lib/libcuda.so.5\tlib64/libcuda.so.5\n\
             link\tlibcuda.so.5\tlib64/libcuda.so.1\n\
             link\t/v/bin/nvidia-smi\t/usr/bin/nvidia-smi\n"
        );
        assert_eq!(work, Sample::Work { files: 1, links: 2, nodes: 1 });
    }
}
