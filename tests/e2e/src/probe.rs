//! The probe's command line for a GPU of the simulated driver, and what its answer must hold.

use crate::ended::{Ended, claim};
use crate::podman::Said;
use serde_json::Value;

/// The GPU that cases ask for, by index, and its nodes: index, minor and DRM numbers all differ.
pub(crate) const GPU: &str = "io.nvbind.gpu=0";
pub(crate) const NODES: &[&str] = &[
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-modeset",
    "/dev/nvidia1",
    "/dev/dri/card51",
    "/dev/dri/renderD183",
];

/// Nodes of the other GPU, which nobody asked for.
const ABSENT: &[&str] = &["/dev/nvidia0", "/dev/dri/card53", "/dev/dri/renderD181"];

/// The other GPU's node as a volume: only the device cgroup stands between it and the container.
pub(crate) const UNASKED: &str = "/opt/driver/dev/nvidia0:/dev/unasked";

/// The libraries without which nothing works.
const LIBRARIES: &[&str] = &["libcuda.so.1", "libnvidia-ml.so.1"];

/// The probe that expects the GPU's nodes alone; `unasked` is what opening the volume has to give.
pub(crate) fn command(unasked: Option<&str>) -> String {
    let mut words = vec!["nvbind-probe".to_owned()];
    let mut node = |text: String| words.extend(["--device".to_owned(), text]);
    NODES.iter().for_each(|path| node((*path).to_owned()));
    ABSENT.iter().for_each(|path| node(format!("{path}=ENOENT")));
    if let Some(answer) = unasked {
        node(format!("/dev/unasked={answer}"));
    }
    words.join(" ")
}

/// What a look at the simulated driver's second GPU alone, at both, and at none says, each by its exit code.
pub(crate) const OTHER: &str =
    "nvbind-probe --device /dev/nvidiactl --device /dev/nvidia0 --device /dev/nvidia1=ENOENT";
pub(crate) const BOTH: &str =
    "nvbind-probe --device /dev/nvidiactl --device /dev/nvidia0 --device /dev/nvidia1";
pub(crate) const NOTHING: &str =
    "test ! -e /dev/nvidiactl && test ! -e /dev/nvidia0 && test ! -e /usr/local/nvidia";

/// The probe that only tries the volume, for a container without nvbind.
pub(crate) fn unasked_alone() -> String {
    "nvbind-probe --device /dev/unasked --library libc.so.6=ok || true".to_owned()
}

/// What the volume's node gave: the name of the error.
pub(crate) fn answer_for_unasked(said: &Said) -> Result<String, Ended> {
    answer_for(said, "/dev/unasked")
}

/// What opening a node gave: `ok` or the name of the error.
pub(crate) fn answer_for(said: &Said, path: &str) -> Result<String, Ended> {
    let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
    let mut devices = report.get("devices").and_then(Value::as_array).into_iter().flatten();
    let device = devices.find(|device| device.get("path").and_then(Value::as_str) == Some(path));
    let answer = device.and_then(|device| device.get("open")?.as_str());
    answer.map(str::to_owned).ok_or_else(|| said.failed(format!("the probe said nothing of {path}")))
}

/// Fails the case unless the container ran to its end, all was as the probe expected, and the libraries were among it.
pub(crate) fn claim_works(said: &Said) -> Result<(), Ended> {
    let reports: Vec<Value> =
        serde_json::Deserializer::from_str(&said.out).into_iter().map_while(|value| value.ok()).collect();
    claim(said.code != 126 && !reports.is_empty(), "the container did not start", || said.told())?;
    for report in &reports {
        let unexpected = texts(report.get("unexpected"));
        claim(unexpected.is_empty(), &unexpected.join("; "), || said.told())?;
        let libraries = report.get("libraries").and_then(Value::as_array).cloned().unwrap_or_default();
        let loaded: Vec<&str> =
            libraries.iter().filter_map(|library| library.get("soname")?.as_str()).collect();
        for soname in LIBRARIES {
            claim(loaded.contains(soname), &format!("{soname} is not in the view"), || said.told())?;
        }
    }
    claim(said.code == 0, "the command in the container failed", || said.told())
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: i32, out: &str) -> Said {
        Said { code, out: out.to_owned(), err: String::new(), line: String::new() }
    }

    #[test]
    fn a_report_without_libcuda_is_no_success() {
        let without = r#"{"libraries": [{"soname": "libnvidia-ml.so.1"}], "unexpected": []}"#;
        let with = r#"{"libraries": [{"soname": "libnvidia-ml.so.1"}, {"soname": "libcuda.so.1"}], "unexpected": []}"#;
        assert!(claim_works(&said(0, without)).is_err());
        assert_eq!(claim_works(&said(0, with)), Ok(()));
    }

    #[test]
    fn a_container_that_said_nothing_did_not_start() {
        assert!(
            matches!(claim_works(&said(0, "")), Err(Ended::Failed { reason, .. }) if reason == "the container did not start")
        );
    }

    #[test]
    fn what_the_probe_did_not_expect_is_the_reason() {
        let report =
            r#"{"libraries": [], "unexpected": ["/dev/nvidia0: open gives ENXIO, expected ENOENT"]}"#;
        let Err(Ended::Failed { reason, .. }) = claim_works(&said(1, report)) else { panic!("passed") };
        assert_eq!(reason, "/dev/nvidia0: open gives ENXIO, expected ENOENT");
    }
}
