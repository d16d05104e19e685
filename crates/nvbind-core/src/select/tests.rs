//! Requests on machines of every size, and what is said of those that cannot be met.

use super::*;
use crate::listing::MigIdentity;
use crate::machine::{self, Machine};
use crate::pci::PciAddress;

/// What is chosen, as `index` with `!` where its DRM nodes are left out, and the instances of its MIG devices.
fn chosen(selection: &str, inventory: &Inventory) -> Result<Vec<String>, Error> {
    chosen_of(&Request::parse(selection, None, None).unwrap(), inventory)
}

/// The same where only these are allowed.
fn chosen_within(allowed: &[&str], selection: &str, inventory: &Inventory) -> Result<Vec<String>, Error> {
    let names = allowed.iter().map(|name| GpuName::parse(name).unwrap()).collect();
    let allowed = vec![Allowed {
        names,
        by: "security.allowed_devices of /etc/x.toml".to_owned(),
        numbers: Numbers::OfMachine,
    }];
    chosen_of(&Request { allowed, ..Request::parse(selection, None, None).unwrap() }, inventory)
}

fn chosen_of(request: &Request, inventory: &Inventory) -> Result<Vec<String>, Error> {
    let of = |gpu: &Gpu| {
        let instances = gpu.mig.iter().map(|mig| format!(" {}/{}", mig.gpu_instance, mig.compute_instance));
        let drm = if gpu.drm.is_empty() { "!" } else { "" };
        format!("{}{drm}{}", gpu.index, instances.collect::<String>())
    };
    select(request, inventory).map(|gpus| gpus.iter().map(of).collect())
}

/// GPUs in a row, with minor numbers that count down from 31 and DRM numbers that leave some out.
fn gpus(count: u32) -> Machine {
    let machine = Machine::new();
    for index in 0..count {
        let (card, render) = (format!("card{}", 3 * index + 1), format!("renderD{}", 128 + 2 * index));
        let uuid = format!("GPU-{index:08x}-0000-0000-0000-000000000000");
        machine.gpu(
            &format!("{:04x}:{:02x}:00.0", index / 8, 1 + 16 * (index % 8)),
            31 - index,
            &uuid,
            &[&card, &render],
        );
    }
    machine
}

/// Two GPUs, the second divided into three MIG devices of which NVML told.
fn divided() -> Inventory {
    let machine = gpus(2);
    machine.mig(30, &[(1, 0, 12, 13), (2, 0, 21, 22), (2, 1, 21, 23)]);
    let mut inventory = machine.inventory().unwrap();
    // NVML's order is not that of the instances.
    for (device, index) in inventory.gpus[1].mig.iter_mut().zip([2, 0, 4]) {
        let uuid = format!("MIG-a{index}aaaaaa-0000-0000-0000-000000000000");
        device.identity = Some(MigIdentity { index, uuid, profile: Some("1g.10gb".into()) });
    }
    inventory
}

#[test]
fn names_of_every_kind_find_their_gpu_once_and_in_order() {
    let inventory = machine::two_gpus();
    for (selection, expected) in [
        ("all", vec!["0", "1"]),
        ("none", vec![]),
        ("1,0,1", vec!["0", "1"]),
        ("0-1", vec!["0", "1"]),
        ("1-1,0-1", vec!["0", "1"]),
        ("GPU-b", vec!["1"]),
        ("GPU-AAAA", vec!["0"]),
        ("0000:41:00.0,1", vec!["1"]),
    ] {
        assert_eq!(chosen(selection, &inventory).unwrap(), expected, "{selection}");
    }
}

#[test]
fn an_index_is_the_position_in_pci_order_on_machines_of_every_size() {
    for count in [1_u32, 2, 8, 16] {
        let inventory = gpus(count).inventory().unwrap();
        let last = count - 1;
        for selection in [format!("{last}"), format!("GPU-{last:08x}"), format!("{last}-{last}")] {
            let request = Request::parse(&selection, None, None).unwrap();
            let [gpu] = &select(&request, &inventory).unwrap()[..] else { panic!("{selection}") };
            assert_eq!((gpu.index, gpu.minor), (last, 31 - last));
            let drm: Vec<&str> = gpu.drm.iter().map(|node| node.path.as_str()).collect();
            let (card, render) = (3 * last + 1, 128 + 2 * last);
            assert_eq!(drm, [format!("/dev/dri/card{card}"), format!("/dev/dri/renderD{render}")]);
        }
        assert_eq!(chosen("all", &inventory).unwrap().len(), count as usize);
        assert_eq!(chosen(&format!("0-{last}"), &inventory).unwrap().len(), count as usize);
        assert!(matches!(chosen(&format!("0-{count}"), &inventory), Err(Error::Unknown { .. })));
    }
}

#[test]
fn of_sixteen_gpus_only_the_divided_ones_have_mig_devices() {
    let machine = gpus(16);
    // By minor numbers, which count down from 31.
    machine.mig(28, &[(7, 0, 70, 71), (13, 0, 130, 131)]);
    machine.mig(16, &[(0, 0, 3, 4)]);
    let inventory = machine.inventory().unwrap();
    let all = chosen("all", &inventory).unwrap();
    assert_eq!((all[3].as_str(), all[4].as_str(), all[15].as_str()), ("3! 7/0 13/0", "4", "15! 0/0"));
    assert_eq!(chosen("MIG-GPU-00000003/13/0,14", &inventory).unwrap(), ["3! 13/0", "14"]);
}

#[test]
fn a_range_beyond_all_gpus_is_unknown_at_once() {
    let error = chosen("0-4294967295", &machine::two_gpus()).unwrap_err();
    assert!(error.to_string().starts_with("there is no GPU 0-4294967295; this machine has 0 (GPU-aaaa"));
}

#[test]
fn a_mig_device_is_found_by_every_name_and_alone() {
    let inventory = divided();
    for (selection, expected) in [
        ("1:2", vec!["1! 1/0"]),
        ("1:0", vec!["1! 2/0"]),
        ("1:4,1:0,1:4", vec!["1! 2/0 2/1"]),
        ("MIG-a0AAAAAA-0000-0000-0000-000000000000", vec!["1! 2/0"]),
        ("MIG-a2", vec!["1! 1/0"]),
        ("MIG-GPU-00000001/2/1", vec!["1! 2/1"]),
        ("0,1:0", vec!["0", "1! 2/0"]),
        ("1,1:0", vec!["1 2/0"]),
    ] {
        assert_eq!(chosen(selection, &inventory).unwrap(), expected, "{selection}");
    }
}

#[test]
fn all_means_every_mig_device_and_a_divided_gpu_by_its_own_name_none_of_them() {
    let inventory = divided();
    for (selection, expected) in [
        ("all", vec!["0", "1! 1/0 2/0 2/1"]),
        ("0-1", vec!["0", "1"]),
        ("1", vec!["1"]),
        ("GPU-00000001", vec!["1"]),
    ] {
        assert_eq!(chosen(selection, &inventory).unwrap(), expected, "{selection}");
    }
}

#[test]
fn an_unknown_mig_device_lists_those_there_are() {
    let there_is = "this machine has 0 (GPU-00000000-0000-0000-0000-000000000000, 0000:01:00.0), \
                    1 (GPU-00000001-0000-0000-0000-000000000000, 0000:11:00.0), \
                    1:2 (MIG-a2aaaaaa-0000-0000-0000-000000000000, 1g.10gb), \
                    1:0 (MIG-a0aaaaaa-0000-0000-0000-000000000000, 1g.10gb), \
                    1:4 (MIG-a4aaaaaa-0000-0000-0000-000000000000, 1g.10gb)";
    let inventory = divided();
    for name in ["1:1", "0:0", "2:0", "MIG-b", "MIG-GPU-00000001/1/1", "MIG-GPU-00000000/1/0"] {
        let error = chosen(name, &inventory).unwrap_err();
        assert_eq!(error.to_string(), format!("there is no GPU {name}; {there_is}"));
    }
    assert!(matches!(chosen("MIG-a", &inventory), Err(Error::Ambiguous { .. })));
}

#[test]
fn without_nvml_a_mig_device_is_listed_by_the_name_that_procfs_tells() {
    let mut inventory = divided();
    for device in &mut inventory.gpus[1].mig {
        device.identity = None;
    }
    let error = chosen("9", &inventory).unwrap_err().to_string();
    assert!(error.contains(", MIG-GPU-00000001-0000-0000-0000-000000000000/2/1"), "{error}");
    let name = "MIG-GPU-00000001-0000-0000-0000-000000000000/2/1";
    assert_eq!(chosen(name, &inventory).unwrap(), ["1! 2/1"]);
}

#[test]
fn an_unknown_or_ambiguous_name_lists_what_there_is() {
    let there_is = "0 (GPU-aaaa0000-0000-0000-0000-000000000001, 0000:01:00.0), \
                    1 (GPU-bbbb0000-0000-0000-0000-000000000002, 0000:41:00.0)";
    let inventory = machine::two_gpus();
    for name in ["2", "GPU-c", "0000:02:00.0", "1-2", "0:0"] {
        let unknown = Error::Unknown { name: name.to_owned(), there_is: there_is.to_owned() };
        assert_eq!(chosen(name, &inventory).unwrap_err(), unknown);
    }
    let mut inventory = machine::two_gpus();
    for gpu in &mut inventory.gpus {
        gpu.uuid = Some(format!("GPU-cc{}", gpu.index));
    }
    assert!(matches!(chosen("GPU-cc", &inventory).unwrap_err(), Error::Ambiguous { .. }));
}

#[test]
fn a_gpu_that_was_removed_is_none_and_those_behind_it_move_up() {
    let machine = gpus(4);
    // Its directory in procfs, or its device node, may stay for a while.
    std::fs::remove_file(machine.path("proc/driver/nvidia/gpus/0000:11:00.0/information")).unwrap();
    let inventory = machine.inventory().unwrap();
    assert_eq!(chosen("all", &inventory).unwrap().len(), 3);
    assert_eq!(chosen("GPU-00000002", &inventory).unwrap(), ["1"]);
    for name in ["3", "GPU-00000001", "0000:11:00.0", "1-3"] {
        assert!(matches!(chosen(name, &inventory), Err(Error::Unknown { .. })), "{name}");
    }
}

#[test]
fn a_gpu_that_sysfs_has_no_more_comes_without_drm_nodes_and_the_others_with_theirs() {
    let machine = gpus(2);
    std::fs::remove_dir_all(machine.path("sys/bus/pci/devices/0000:01:00.0")).unwrap();
    assert_eq!(chosen("all", &machine.inventory().unwrap()).unwrap(), ["0!", "1"]);
}

#[test]
fn all_means_the_allowed_gpus_on_machines_of_every_size() {
    for count in [1_u32, 2, 8, 16] {
        let inventory = gpus(count).inventory().unwrap();
        let last = count - 1;
        let by_address = inventory.gpus[last as usize].pci.to_string();
        for name in [format!("{last}"), format!("GPU-{last:08x}"), by_address] {
            // Indexes count all GPUs, and a name of none allows none.
            let within = |selection: &str| chosen_within(&[&name, "99", "GPU-ff"], selection, &inventory);
            assert_eq!(within("all").unwrap(), [last.to_string()], "{name}");
            assert_eq!(within(&last.to_string()).unwrap(), [last.to_string()], "{name}");
            assert_eq!(within("none").unwrap(), Vec::<String>::new());
            for index in 0..last {
                let error = within(&index.to_string()).unwrap_err();
                assert!(matches!(error, Error::NotAllowed { .. }), "{name} {index}: {error}");
            }
            assert_eq!(within(&format!("0-{last}")).is_ok(), count == 1);
        }
        let all = chosen_within(&["0-99"], "all", &inventory).unwrap();
        assert_eq!(all.len(), count as usize);
    }
}

#[test]
fn what_is_not_allowed_is_refused_with_what_is() {
    let inventory = machine::two_gpus();
    let allows = "security.allowed_devices of /etc/x.toml allows 0,MIG-aa";
    for name in ["1", "GPU-b", "0000:41:00.0", "0-1", "0,1"] {
        let error = chosen_within(&["0", "MIG-aa"], name, &inventory).unwrap_err();
        let refused = if name == "0,1" { "1" } else { name };
        assert_eq!(
            (error.to_string(), error.exit()),
            (format!("GPU {refused} is not allowed; {allows}"), Exit::Permission)
        );
    }
    for (allowed, text) in [(&[][..], "none"), (&["2", "GPU-c"], "2,GPU-c")] {
        let error = chosen_within(allowed, "all", &inventory).unwrap_err();
        let expected = format!(
            "no GPU of this machine is allowed; security.allowed_devices of /etc/x.toml allows {text}"
        );
        assert_eq!((error.to_string(), error.exit()), (expected, Exit::Permission));
        assert_eq!(chosen_within(allowed, "none", &inventory).unwrap(), Vec::<String>::new());
    }
    // What is not there is told as such.
    let error = chosen_within(&["0"], "7", &inventory).unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error}");
}

#[test]
fn an_allowed_prefix_of_several_gpus_is_an_error_and_one_of_a_removed_gpu_is_none() {
    let machine = gpus(2);
    let inventory = machine.inventory().unwrap();
    for selection in ["all", "0"] {
        let error = chosen_within(&["GPU-0000", "0"], selection, &inventory).unwrap_err();
        let text = error.to_string();
        let says = "GPU-0000 means more than one GPU; security.allowed_devices of /etc/x.toml allows GPU-0000,0, \
                    and this machine has 0 (GPU-00000000-";
        assert_eq!((text.starts_with(says), error.exit()), (true, Exit::Request), "{text}");
    }
    std::fs::remove_file(machine.path("proc/driver/nvidia/gpus/0000:11:00.0/information")).unwrap();
    let inventory = machine.inventory().unwrap();
    assert_eq!(chosen_within(&["GPU-0000"], "all", &inventory).unwrap(), ["0"]);
    assert!(matches!(chosen_within(&["GPU-00000001"], "all", &inventory), Err(Error::NoneAllowed(_))));
}

#[test]
fn a_gpu_allows_its_mig_devices_and_a_mig_device_itself_alone() {
    let inventory = divided();
    let instance = "MIG-GPU-00000001-0000-0000-0000-000000000000/2/1";
    for (allowed, selection, expected) in [
        (&["1"][..], "all", Some(vec!["1! 1/0 2/0 2/1"])),
        (&["1"], "1", Some(vec!["1"])),
        (&["1"], "1:2", Some(vec!["1! 1/0"])),
        (&["1"], "0", None),
        (&["1:0"], "all", Some(vec!["1! 2/0"])),
        (&["1:0"], "1:0", Some(vec!["1! 2/0"])),
        (&["1:0"], "MIG-a0", Some(vec!["1! 2/0"])),
        (&["1:0"], "1:2", None),
        (&["1:0"], "1", None),
        (&["1:0"], "1,1:0", None),
        (&["1:0"], instance, None),
        (&["MIG-a4", "0"], "all", Some(vec!["0", "1! 2/1"])),
        (&["MIG-a4"], instance, Some(vec!["1! 2/1"])),
        (&[instance, "MIG-a2"], "all", Some(vec!["1! 1/0 2/1"])),
        (&[instance], "1:4", Some(vec!["1! 2/1"])),
        (&["0:0", "MIG-bb"], "all", None),
    ] {
        let result = chosen_within(allowed, selection, &inventory);
        match expected {
            Some(expected) => assert_eq!(result.unwrap(), expected, "{allowed:?} {selection}"),
            None => assert_eq!(result.unwrap_err().exit(), Exit::Permission, "{allowed:?} {selection}"),
        }
    }
    let error = chosen_within(&["MIG-a"], "1:0", &inventory).unwrap_err();
    assert!(matches!(error, Error::AmbiguousAllowed { .. }), "{error}");
}

#[test]
fn a_mig_device_that_nvml_did_not_name_is_not_allowed_by_such_a_name() {
    let mut inventory = divided();
    for device in &mut inventory.gpus[1].mig {
        device.identity = None;
    }
    let error = chosen_within(&["1:0", "MIG-a0"], "all", &inventory).unwrap_err();
    assert!(matches!(error, Error::NoneAllowed(_)), "{error}");
    // Nor does one of a GPU that is whole again allow it.
    inventory.gpus[1].mig.clear();
    let error = chosen_within(&["MIG-GPU-00000001/1/0"], "all", &inventory).unwrap_err();
    assert!(matches!(error, Error::NoneAllowed(_)), "{error}");
}

#[test]
fn all_on_a_machine_without_a_gpu_is_refused() {
    let mut inventory = machine::two_gpus();
    inventory.gpus.clear();
    assert_eq!(chosen("all", &inventory).unwrap_err(), Error::NoGpu);
    assert_eq!(chosen("none", &inventory).unwrap(), Vec::<String>::new());
    assert_eq!(PciAddress::parse("0000:01:00.0").unwrap().to_string(), "0000:01:00.0");
}

/// Three GPUs of which the device cgroup denies the first, and one MIG device of the last's two.
fn in_a_job() -> Inventory {
    let machine = gpus(3);
    machine.mig(29, &[(1, 0, 12, 13), (2, 0, 21, 22)]);
    let mut inventory = machine.inventory().unwrap();
    inventory.denied.push(inventory.gpus.remove(0));
    inventory.gpus.iter_mut().for_each(|gpu| gpu.index -= 1);
    let last = &mut inventory.gpus[1];
    last.denied_mig.push(last.mig.remove(0));
    inventory
}

#[test]
fn a_job_counts_the_gpus_that_it_may_use_and_gets_no_other() {
    let inventory = in_a_job();
    for (selection, expected) in [
        ("all", vec!["0", "1! 2/0"]),
        ("0", vec!["0"]),
        ("GPU-00000001", vec!["0"]),
        ("0000:11:00.0", vec!["0"]),
        ("MIG-GPU-00000002/2/0", vec!["1! 2/0"]),
    ] {
        assert_eq!(chosen(selection, &inventory).unwrap(), expected, "{selection}");
    }
    for (selection, exit, says) in [
        ("GPU-00000000", Exit::Permission, "the device cgroup denies GPU GPU-00000000 to this process"),
        ("0000:01:00.0", Exit::Permission, "the device cgroup denies GPU 0000:01:00.0 to this process"),
        ("MIG-GPU-00000002/1/0", Exit::Permission, "the device cgroup denies GPU MIG-GPU-00000002/1/0"),
        (
            "2",
            Exit::Driver,
            "there is no GPU 2; this machine has 0 (GPU-00000001-0000-0000-0000-000000000000, 0000:11:00.0)",
        ),
    ] {
        let error = chosen(selection, &inventory).unwrap_err();
        assert_eq!(error.exit(), exit, "{selection}");
        assert!(error.to_string().starts_with(says), "{error}");
    }
    let error = chosen("2", &inventory).unwrap_err().to_string();
    let ends =
        "; the device cgroup denies this process GPU-00000000-0000-0000-0000-000000000000 (0000:01:00.0)";
    assert!(error.ends_with(ends), "{error}");
    let mut none = inventory;
    none.denied.append(&mut none.gpus);
    for selection in ["all", "0", "GPU-00000000"] {
        let error = chosen(selection, &none).unwrap_err();
        assert!(
            error.to_string().starts_with("the device cgroup denies all GPUs of this machine"),
            "{error}"
        );
        assert_eq!(error.exit(), Exit::Permission);
    }
}

#[test]
fn root_s_configuration_means_the_same_gpu_by_its_number_in_every_job() {
    let inventory = in_a_job();
    assert_eq!(chosen_within(&["1"], "all", &inventory).unwrap(), ["0"]);
    assert_eq!(chosen_within(&["1"], "0", &inventory).unwrap(), ["0"]);
    let error = chosen_within(&["0", "2"], "0", &inventory).unwrap_err();
    assert_eq!(error.exit(), Exit::Permission, "{error}");
}
