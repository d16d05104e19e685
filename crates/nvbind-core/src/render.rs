//! A plan and an inventory as text for people and as JSON for programs.

mod info;

pub use info::{InfoDocument, info_text};

use crate::abi::Abi;
use crate::capability::Capabilities;
use crate::catalogue::When;
use crate::extras::Extra;
use crate::host::Tree;
use crate::inventory::{Driver, Gpu, MigDevice, PROC};
use crate::pci::PciAddress;
use crate::plan::{DROP_IN, Entry, LD_SO_CACHE, LD_SO_CONF_D, Plan, VIEW, ViewPath};
use serde::Serialize;

/// The JSON form of a plan: keys may be added, never renamed.
#[derive(Debug, Serialize)]
pub struct PlanDocument<'a> {
    driver: &'a Driver,
    gpus: Vec<GpuEntry<'a>>,
    view: &'static str,
    steps: Vec<Step<'a>>,
}

#[derive(Debug, Serialize)]
struct GpuEntry<'a> {
    index: u32,
    minor: u32,
    uuid: Option<&'a str>,
    pci: PciAddress,
    model: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mig: Vec<MigEntry<'a>>,
}

#[derive(Debug, Serialize)]
struct MigEntry<'a> {
    gpu_instance: u32,
    compute_instance: u32,
    index: Option<u32>,
    uuid: Option<&'a str>,
    profile: Option<&'a str>,
}

impl<'a> From<&'a MigDevice> for MigEntry<'a> {
    fn from(device: &'a MigDevice) -> MigEntry<'a> {
        let identity = device.identity.as_ref();
        MigEntry {
            gpu_instance: device.gpu_instance,
            compute_instance: device.compute_instance,
            index: identity.map(|identity| identity.index),
            uuid: identity.map(|identity| identity.uuid.as_str()),
            profile: identity.and_then(|identity| identity.profile.as_deref()),
        }
    }
}

impl<'a> From<&'a Gpu> for GpuEntry<'a> {
    fn from(gpu: &'a Gpu) -> GpuEntry<'a> {
        GpuEntry {
            index: gpu.index,
            minor: gpu.minor,
            uuid: gpu.uuid.as_deref(),
            pci: gpu.pci,
            model: &gpu.model,
            mig: gpu.mig.iter().map(MigEntry::from).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Step<'a> {
    Device {
        path: &'a str,
        major: u32,
        minor: u32,
        why: &'a str,
    },
    Bind {
        host: String,
        inside: String,
        capability: Capabilities,
    },
    Shared {
        host: String,
        inside: String,
        extra: Extra,
    },
    Text {
        inside: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        capability: Capabilities,
    },
    Link {
        path: String,
        target: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        only_with: Option<&'a str>,
    },
    File {
        path: String,
        content: String,
    },
    Proc {
        path: &'static str,
        gpus: Vec<&'a str>,
    },
    Cache {
        path: &'static str,
        libraries: Vec<&'a str>,
        libraries_32: Vec<&'a str>,
    },
}

impl<'a> Step<'a> {
    /// What is done for an entry of the view.
    fn of_entry(path: &ViewPath, entry: &'a Entry, files: &Tree) -> Step<'a> {
        let inside = path.at(VIEW);
        match entry {
            Entry::File { host, capabilities } | Entry::Socket { host, capabilities } => {
                Step::Bind { host: files.display(host), inside, capability: *capabilities }
            }
            Entry::Shared { host, extra } => {
                Step::Shared { host: files.display(host), inside, extra: *extra }
            }
            Entry::Text { from, capabilities, .. } => {
                let host = from.as_ref().map(|path| files.display(path));
                Step::Text { inside, host, capability: *capabilities }
            }
            Entry::Link { target } => Step::Link { path: inside, target: target.clone(), only_with: None },
        }
    }
}

impl<'a> PlanDocument<'a> {
    /// The document of a plan; `files` is the tree that its host paths are in.
    #[must_use]
    pub fn new(plan: &'a Plan, files: &Tree) -> PlanDocument<'a> {
        let mut steps = Vec::new();
        for device in &plan.devices {
            let node = &device.node;
            steps.push(Step::Device {
                path: &node.path,
                major: node.major,
                minor: node.minor,
                why: &device.why,
            });
            steps.extend(device.link.iter().map(|link| {
                let (path, target) = (link.path.clone(), link.target.clone());
                Step::Link { path, target, only_with: None }
            }));
        }
        steps.extend(plan.view.iter().map(|(path, entry)| Step::of_entry(path, entry, files)));
        for known in &plan.well_known {
            steps.extend(known.places.iter().filter_map(|place| {
                let only_with = match place.when {
                    When::Always => None,
                    When::With(path) => Some(path),
                    When::Over => return None,
                };
                Some(Step::Link { path: place.path.to_owned(), target: known.target.at(VIEW), only_with })
            }));
        }
        if let Some(proc) = &plan.proc {
            let gpus = proc.directories.iter().map(String::as_str).collect();
            steps.push(Step::Proc { path: PROC, gpus });
        }
        let content = plan.view.drop_in(VIEW);
        steps.push(Step::File { path: format!("{LD_SO_CONF_D}/{DROP_IN}"), content });
        let names = |abi: Option<Abi>| abi.into_iter().flat_map(|abi| plan.view.sonames(abi)).collect();
        let (libraries, libraries_32) = (names(Abi::NATIVE), names(Abi::COMPAT32));
        steps.push(Step::Cache { path: LD_SO_CACHE, libraries, libraries_32 });
        let gpus = plan.gpus.iter().map(GpuEntry::from).collect();
        PlanDocument { driver: &plan.driver, gpus, view: VIEW, steps }
    }
}

/// A plan as text: one line a step, with its reason.
#[must_use]
pub fn plan_text(plan: &Plan, files: &Tree) -> String {
    let document = PlanDocument::new(plan, files);
    let mut text = driver_line(&plan.driver);
    text.extend(plan.gpus.iter().flat_map(|gpu| [gpu_line(gpu), mig_lines(gpu)]));
    for step in &document.steps {
        let line = match step {
            Step::Device { path, major, minor, why } => format!("device  {path} ({major}:{minor}) for {why}"),
            Step::Bind { host, inside, capability } => {
                format!("bind    {inside} from {host} for {capability}")
            }
            Step::Shared { host, inside, extra } => {
                format!("shared  {inside} from {host}, writable, for {extra}")
            }
            Step::Text { inside, host, capability } => {
                let from = host.as_deref().unwrap_or("nothing on the host");
                format!("text    {inside} made from {from} for {capability}")
            }
            Step::Link { path, target, only_with } => {
                let only = only_with.map(|path| format!(" where the image has {path}")).unwrap_or_default();
                format!("link    {path} -> {target}{only}")
            }
            Step::File { path, content } => format!("file    {path} with {:?}", content.trim_end()),
            Step::Proc { path, gpus } => format!("proc    {path} with {} GPUs", gpus.len()),
            Step::Cache { path, libraries, libraries_32 } => {
                format!("cache   {path} with {} more names", libraries.len() + libraries_32.len())
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn driver_line(driver: &Driver) -> String {
    let modules = match driver.open_modules {
        _ if driver.version == Driver::WSL2 => "of the Windows host",
        true => "open kernel modules",
        false => "proprietary kernel modules",
    };
    format!("driver  {} ({modules})\n", driver.version)
}

fn gpu_line(gpu: &Gpu) -> String {
    let uuid = gpu.uuid.as_deref().unwrap_or("UUID not known before its first use");
    format!("gpu {}   {} {uuid} {} /dev/nvidia{}\n", gpu.index, gpu.model, gpu.pci, gpu.minor)
}

fn mig_lines(gpu: &Gpu) -> String {
    let line = |mig: &MigDevice| {
        let (outer, inner) = (mig.gpu_instance, mig.compute_instance);
        format!("  mig   {} GPU instance {outer}, compute instance {inner}\n", gpu.name_of(mig))
    };
    gpu.mig.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{self, Machine, VERSION};
    use crate::plan::{VIEW, plan};
    use crate::request::Request;
    use serde_json::json;

    #[test]
    fn the_json_of_a_plan_has_the_documented_keys() {
        let request = Request::parse("0", Some("utility"), None).unwrap();
        let plan = plan(&request, &machine::two_gpus()).unwrap();
        let machine = Machine::new();
        let host = machine.host();
        let root = machine.path("").display().to_string();
        let root = root.trim_end_matches('/');
        let library = format!("libnvidia-ml.so.{VERSION}");
        let expected = json!({
            "driver": {"version": VERSION, "open_modules": true},
            "gpus": [{"index": 0, "minor": 1, "uuid": "GPU-aaaa0000-0000-0000-0000-000000000001",
                      "pci": "0000:01:00.0", "model": "NVIDIA Test"}],
            "view": VIEW,
            "steps": [
                {"kind": "device", "path": "/dev/nvidia1", "major": 195, "minor": 1, "why": "GPU 0 at 0000:01:00.0"},
                {"kind": "device", "path": "/dev/nvidiactl", "major": 195, "minor": 255, "why": "utility"},
                {"kind": "bind", "host": format!("{root}/usr/bin/nvidia-smi"), "inside": format!("{VIEW}/bin/nvidia-smi"), "capability": "utility"},
                {"kind": "link", "path": format!("{VIEW}/lib64/libnvidia-ml.so"), "target": library},
                {"kind": "link", "path": format!("{VIEW}/lib64/libnvidia-ml.so.1"), "target": library},
                {"kind": "bind", "host": format!("{root}/usr/lib64/{library}"), "inside": format!("{VIEW}/lib64/{library}"), "capability": "utility"},
                {"kind": "link", "path": "/usr/bin/nvidia-smi", "target": format!("{VIEW}/bin/nvidia-smi")},
                {"kind": "link", "path": "/run/opengl-driver/lib", "target": format!("{VIEW}/lib64"), "only_with": "/nix/store"},
                {"kind": "proc", "path": "/proc/driver/nvidia", "gpus": ["/proc/driver/nvidia/gpus/0000:01:00.0"]},
                {"kind": "file", "path": "/etc/ld.so.conf.d/00-nvbind.conf", "content": format!("{VIEW}/lib64\n")},
                {"kind": "cache", "path": "/etc/ld.so.cache", "libraries": ["libnvidia-ml.so", "libnvidia-ml.so.1", library], "libraries_32": []},
            ],
        });
        assert_eq!(serde_json::to_value(PlanDocument::new(&plan, &host.files)).unwrap(), expected);
        let text = plan_text(&plan, &host.files);
        assert_eq!(text.lines().count(), 13, "{text}");
        assert!(
            text.starts_with(&format!(
                "driver  {VERSION} (open kernel modules)\ngpu 0   NVIDIA Test GPU-aaaa"
            )),
            "{text}"
        );
    }
}
