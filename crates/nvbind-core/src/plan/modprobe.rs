//! How `nvidia-modprobe` makes the nodes of a plan.

use super::Plan;
use crate::catalogue::CONTROL_NODES;
use crate::inventory::PROC;

impl Plan {
    /// The driver's own nodes, each with the arguments that make [`MODPROBE`](crate::catalogue::MODPROBE) make it. A
    /// GPU's DRM nodes are the kernel's, and those of extras their daemons'.
    #[must_use]
    pub fn modprobe(&self) -> Vec<(&str, Vec<String>)> {
        let mut nodes = Vec::new();
        for super::Device { node, .. } in &self.devices {
            nodes.extend(self.arguments(&node.path).map(|arguments| (node.path.as_str(), arguments)));
        }
        nodes
    }

    fn arguments(&self, path: &str) -> Option<Vec<String>> {
        if let Some(control) = CONTROL_NODES.iter().find(|control| control.path == path) {
            return Some(control.modprobe.iter().map(|word| (*word).to_owned()).collect());
        }
        if let Some(gpu) = self.gpus.iter().find(|gpu| gpu.node.path == path) {
            return Some(vec!["-c".to_owned(), gpu.node.minor.to_string()]);
        }
        let mut access = self.gpus.iter().flat_map(|gpu| &gpu.mig).flat_map(|mig| &mig.access);
        let access = access.find(|access| access.node.path == path)?;
        Some(vec!["-f".to_owned(), format!("{PROC}/{}", access.file)])
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::Machine;
    use crate::plan::plan;
    use crate::request::Request;

    #[test]
    fn every_node_of_the_driver_has_its_arguments_and_no_other() {
        let machine = Machine::new();
        machine.write("dev/nvidia-modeset", "");
        machine.gpu("0000:01:00.0", 3, "GPU-1", &["card1", "renderD128"]);
        machine.gpu("0000:02:00.0", 0, "GPU-2", &[]);
        machine.mig(0, &[(1, 0, 12, 13)]);
        let request = Request::parse("all", None, None).unwrap();
        let plan = plan(&request, &machine.inventory().unwrap()).unwrap();
        let lines: Vec<String> = plan
            .modprobe()
            .iter()
            .map(|(path, arguments)| format!("{path} {}", arguments.join(" ")))
            .collect();
        let expected = [
            "/dev/nvidiactl -c 255",
            "/dev/nvidia-modeset -m",
            "/dev/nvidia-uvm -u -c 0",
            "/dev/nvidia-uvm-tools -u -c 0",
            "/dev/nvidia3 -c 3",
            "/dev/nvidia0 -c 0",
            "/dev/nvidia-caps/nvidia-cap12 -f /proc/driver/nvidia/capabilities/gpu0/mig/gi1/access",
            "/dev/nvidia-caps/nvidia-cap13 -f /proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0/access",
        ];
        let mut found: Vec<&str> = lines.iter().map(String::as_str).collect();
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
