use super::*;
use crate::abi::Abi;
use crate::catalogue::When;
use crate::gpu_name::GpuName;
use crate::machine::{self, Machine, VERSION};
use crate::security::Allowed;

fn plan_of(gpus: &str, capabilities: &str) -> Result<Plan, Error> {
    let request = Request::parse(gpus, Some(capabilities), None).unwrap();
    plan(&request, &machine::two_gpus())
}

fn targets(plan: &Plan) -> Vec<String> {
    let line = |known: &WellKnown| match known.places[0] {
        WellKnownPlace { path, when: When::With(with) } => format!("{} at {path} with {with}", known.target),
        WellKnownPlace { path, .. } => format!("{} at {path}", known.target),
    };
    plan.well_known.iter().map(line).collect()
}

fn files(plan: &Plan) -> Vec<&str> {
    let files = plan.view.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. }));
    files.map(|(path, _)| path.as_str()).collect()
}

fn links(plan: &Plan) -> Vec<(String, String)> {
    let link = |(path, entry): (&ViewPath, &Entry)| match entry {
        Entry::Link { target } => Some((path.as_str().to_owned(), target.clone())),
        Entry::File { .. } | Entry::Socket { .. } | Entry::Shared { .. } | Entry::Text { .. } => None,
    };
    plan.view.iter().filter_map(link).collect()
}

fn sonames(plan: &Plan) -> Vec<&str> {
    plan.view.sonames(Abi::NATIVE.unwrap()).collect()
}

fn paths(plan: &Plan) -> Vec<&str> {
    plan.devices.iter().map(|device| device.node.path.as_str()).collect()
}

#[test]
fn nodes_are_those_of_the_chosen_gpu_and_of_the_capabilities() {
    let compute = plan_of("0", "compute").unwrap();
    assert_eq!(
        paths(&compute),
        ["/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia1", "/dev/nvidiactl"]
    );
    let utility = plan_of("1", "utility").unwrap();
    assert_eq!(paths(&utility), ["/dev/nvidia0", "/dev/nvidiactl"]);
    let graphics = plan_of("1", "graphics").unwrap();
    assert_eq!(
        paths(&graphics),
        ["/dev/dri/card0", "/dev/dri/renderD128", "/dev/nvidia-modeset", "/dev/nvidia0", "/dev/nvidiactl"]
    );
    assert_eq!(paths(&plan_of("none", "all").unwrap()), Vec::<&str>::new());
}

#[test]
fn a_mig_device_comes_with_its_gpu_and_two_nodes_of_access_and_no_others() {
    let machine = Machine::new();
    machine.gpu("0000:01:00.0", 3, "GPU-aa", &["card0", "renderD128"]);
    machine.mig(3, &[(1, 0, 12, 13), (2, 0, 21, 22), (2, 1, 21, 23)]);
    machine.gpu("0000:02:00.0", 0, "GPU-bb", &[]);
    machine.mig(0, &[(1, 0, 112, 113)]);
    let inventory = machine.inventory().unwrap();
    let plan_of =
        |gpus| plan(&Request::parse(gpus, Some("utility,graphics"), None).unwrap(), &inventory).unwrap();
    let caps = |numbers: &[u32]| -> Vec<String> {
        numbers.iter().map(|number| format!("/dev/nvidia-caps/nvidia-cap{number}")).collect()
    };
    let nodes = |numbers: &[u32], others: &[&str]| {
        [caps(numbers), others.iter().map(|path| (*path).to_owned()).collect()].concat()
    };
    let two = plan_of("MIG-GPU-aa/2/1+MIG-GPU-aa/2/0");
    assert_eq!(paths(&two), nodes(&[21, 22, 23], &["/dev/nvidia3", "/dev/nvidiactl"]));
    let cap = two.devices.iter().find(|device| device.node.minor == 23).unwrap();
    assert_eq!((cap.node.major, cap.why.as_str()), (235, "MIG device MIG-GPU-aa/2/1 of GPU 0"));
    let files = |plan: &Plan| -> Vec<String> {
        let texts = &plan.proc.as_ref().unwrap().texts;
        texts.iter().map(|(name, _)| name.clone()).filter(|name| name.contains("access")).collect()
    };
    let file = |path: &str| format!("capabilities/gpu3/mig/gi2/{path}");
    assert_eq!(files(&two), [file("access"), file("ci0/access"), file("ci1/access")]);
    let whole = plan_of("0");
    let drm = ["/dev/dri/card0", "/dev/dri/renderD128"];
    assert_eq!(paths(&whole), [&drm[..], &["/dev/nvidia3", "/dev/nvidiactl"]].concat());
    assert_eq!(files(&whole), Vec::<String>::new());
    let all = plan_of("all");
    assert_eq!(
        paths(&all),
        nodes(&[112, 113, 12, 13, 21, 22, 23], &["/dev/nvidia0", "/dev/nvidia3", "/dev/nvidiactl"])
    );
}

#[test]
fn libraries_follow_the_capabilities_with_their_links_and_cache_names() {
    let plan = plan_of("none", "compute").unwrap();
    let file = format!("libcuda.so.{VERSION}");
    let bound =
        Entry::File { host: format!("/usr/lib64/{file}"), capabilities: Capabilities::parse("compute").0 };
    assert_eq!(files(&plan), [format!("lib64/{file}")]);
    assert_eq!(plan.view.get(&format!("lib64/{file}")), Some(&bound));
    let link = |name: &str| (format!("lib64/{name}"), file.clone());
    assert_eq!(links(&plan), [link("libcuda.so"), link("libcuda.so.1")]);
    assert_eq!(sonames(&plan), ["libcuda.so", "libcuda.so.1", &file]);
    assert_eq!(targets(&plan), ["lib64 at /run/opengl-driver/lib with /nix/store"]);
}

#[test]
fn a_program_is_bound_and_linked_from_usr_bin() {
    let plan = plan_of("none", "utility").unwrap();
    let capabilities = Capabilities::parse("utility").0;
    let program = Entry::File { host: "/usr/bin/nvidia-smi".to_owned(), capabilities };
    assert_eq!(plan.view.get("bin/nvidia-smi"), Some(&program));
    assert_eq!(targets(&plan)[0], "bin/nvidia-smi at /usr/bin/nvidia-smi");
}

#[test]
fn compat32_adds_the_32_bit_half_of_the_asked_capabilities() {
    let machine = Machine::new();
    let file = |stem: &str| format!("{stem}.so.{VERSION}");
    machine.library("/usr/lib64", &file("libnvidia-allocator"), "libnvidia-allocator.so.1");
    for (stem, soname) in [
        ("libcuda", "libcuda.so.1"),
        ("libnvidia-allocator", "libnvidia-allocator.so.1"),
        ("libnvidia-ml", "libnvidia-ml.so.1"),
    ] {
        machine.library_32("/usr/lib", &file(stem), soname);
    }
    let plan_of = |list| {
        let request = Request::parse("none", Some(list), None).unwrap();
        plan(&request, &machine.inventory().unwrap()).unwrap()
    };
    let graphics = plan_of("graphics,compat32");
    let allocator = file("libnvidia-allocator");
    assert_eq!(files(&graphics), [format!("lib/{allocator}"), format!("lib64/{allocator}")]);
    assert_eq!(graphics.view.drop_in(VIEW), "/usr/local/nvidia/lib64\n/usr/local/nvidia/lib\n");
    assert!(targets(&graphics).iter().any(|known| *known
        == "lib/libnvidia-allocator.so.1 at /usr/lib/i386-linux-gnu/gbm/nvidia-drm_gbm.so with /usr/lib/i386-linux-gnu/libgbm.so.1"));
    assert_eq!(files(&plan_of("graphics")), [format!("lib64/{allocator}")]);
    assert_eq!(files(&plan_of("compat32")), Vec::<&str>::new());
}

#[test]
fn manifests_come_with_their_library_and_data_with_its_capability() {
    let machine = Machine::new();
    machine.library("/usr/lib64", &format!("libGLX_nvidia.so.{VERSION}"), "libGLX_nvidia.so.0");
    machine.write("usr/share/nvidia/nvoptix.bin", "");
    machine.write(&format!("usr/share/nvidia/nvidia-application-profiles-{VERSION}-rc"), "{}");
    let request = Request::parse("none", Some("graphics"), None).unwrap();
    let plan = plan(&request, &machine.inventory().unwrap()).unwrap();
    let profiles = "share/nvidia/nvidia-application-profiles-rc";
    let shared = plan.view.iter().map(|(path, _)| path.as_str()).filter(|path| path.starts_with("share/"));
    // Neither the EGL vendor's, nor OptiX' data: their libraries are not there.
    assert_eq!(shared.collect::<Vec<_>>(), [profiles, "share/vulkan/icd.d/nvidia_icd.json"]);
    assert!(matches!(plan.view.get("share/vulkan/icd.d/nvidia_icd.json"), Some(Entry::Text { .. })));
    let known = targets(&plan);
    assert!(known.contains(&format!("{profiles} at /usr/{profiles}")), "{known:?}");
    let unused = plan.unused();
    assert!(!unused.contains(&"/usr/share/vulkan/icd.d/nvidia_icd.json"));
    assert!(unused.contains(&"/etc/OpenCL/vendors/nvidia.icd"));
}

#[test]
fn a_module_that_is_needed_and_not_loaded_is_named() {
    let mut inventory = machine::two_gpus();
    for (_, node) in inventory.control_nodes.iter_mut().filter(|(row, _)| row.path != "/dev/nvidiactl") {
        *node = None;
    }
    let request = |list| Request::parse("all", Some(list), None).unwrap();
    let error = plan(&request("compute,utility"), &inventory).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/dev/nvidia-uvm is needed for compute, but the kernel module nvidia-uvm")
    );
    assert_eq!(error.exit(), Exit::Driver);
    assert_eq!(paths(&plan(&request("graphics"), &inventory).unwrap()).len(), 7);
}

const DEVICES: &str = "Character devices:\n195 nvidia\n240 nvidia-caps-imex-channels\n241 nvidia-nvswitch\n\
                       242 nvidia-fs\n243 gdrdrv\n511 nvidia-uvm\n\nBlock devices:\n";

/// Without a GPU, on a machine with IMEX channels 0 and 3, switch 0 and GPUDirect Storage.
fn with_extras(list: &str) -> Result<Plan, Error> {
    let machine = Machine::new();
    machine.write("proc/devices", DEVICES);
    for node in [
        "nvidia-caps-imex-channels/channel0",
        "nvidia-caps-imex-channels/channel3",
        "nvidia-nvswitch0",
        "nvidia-nvswitchctl",
        "nvidia-fs0",
    ] {
        machine.write(&format!("dev/{node}"), "");
    }
    machine.write("etc/cufile.json", "{}");
    let request = Request::parse("none", Some("compute"), None).unwrap();
    plan(&request.with_extras(Some(list)).unwrap(), &machine.inventory().unwrap())
}

#[test]
fn isolation_shares_nothing_and_names_what_must_not_be_seen() {
    let request = |extras| {
        let request = Request::parse("0", Some("all"), None).unwrap();
        request.with_extras(extras).unwrap().with_isolation(Some("true")).unwrap()
    };
    let inventory = machine::two_gpus();
    let isolated = plan(&request(None), &inventory).unwrap();
    let unseen: Vec<String> = isolated.unseen.unwrap().into_iter().map(|node| node.path).collect();
    assert_eq!(unseen, ["/dev/nvidia0", "/dev/dri/card0", "/dev/dri/renderD128"]);
    let error = plan(&request(Some("mps")), &inventory).unwrap_err();
    assert_eq!((error.to_string().contains("mps is shared"), error.exit()), (true, Exit::Request), "{error}");
    let open = Request::parse("0", None, None).unwrap();
    assert_eq!(plan(&open, &inventory).unwrap().unseen, None);
}

#[test]
fn extras_come_with_their_nodes_and_files_and_only_when_asked_for() {
    let channel = |number| format!("/dev/nvidia-caps-imex-channels/channel{number}");
    for (list, expected) in [
        ("imex", vec![channel(0), channel(3)]),
        ("imex:3", vec![channel(3)]),
        ("imex,imex:3", vec![channel(0), channel(3)]),
        ("nvswitch", vec!["/dev/nvidia-nvswitch0".to_owned(), "/dev/nvidia-nvswitchctl".to_owned()]),
        ("gds", vec!["/dev/nvidia-fs0".to_owned()]),
    ] {
        assert_eq!(paths(&with_extras(list).unwrap()), expected, "{list}");
    }
    let of = |list| targets(&with_extras(list).unwrap());
    let cufile = "etc/cufile.json at /etc/cufile.json".to_owned();
    assert!(of("gds").contains(&cufile) && !of("imex").contains(&cufile));
}

#[test]
fn an_extra_that_is_not_there_is_named_with_what_brings_it() {
    for (list, says) in [
        (
            "imex:0,imex:7",
            "imex was asked for, but there is no /dev/nvidia-caps-imex-channels/channel7, or its kernel module is not loaded; ",
        ),
        ("gds,gdrcopy", "gdrcopy was asked for, but there is no /dev/gdrdrv, or its kernel module"),
        ("infiniband", "infiniband was asked for, but there is no /dev/infiniband/uverbs*, or its"),
        (
            "mps",
            "mps was asked for, but there is no directory /tmp/nvidia-mps; start nvidia-cuda-mps-control -d",
        ),
    ] {
        let error = with_extras(list).unwrap_err();
        assert!(error.to_string().starts_with(says), "{error}");
        assert_eq!(error.exit(), Exit::Driver);
    }
}

#[test]
fn sockets_of_daemons_come_with_utility_and_a_link_to_their_directory_but_not_with_isolation() {
    let machine = Machine::new();
    std::fs::create_dir_all(machine.path("run/nvidia-persistenced")).unwrap();
    let path = machine.path("run/nvidia-persistenced/socket");
    let _socket = std::os::unix::net::UnixListener::bind(path).unwrap();
    let of = |list| {
        let request = Request::parse("none", Some(list), None).unwrap();
        plan(&request, &machine.inventory().unwrap()).unwrap()
    };
    let utility = of("utility");
    let capabilities = Capabilities::parse("utility").0;
    let socket = Entry::Socket { host: "/run/nvidia-persistenced/socket".to_owned(), capabilities };
    assert_eq!(utility.view.get("run/nvidia-persistenced/socket"), Some(&socket));
    let link = "run/nvidia-persistenced at /run/nvidia-persistenced".to_owned();
    assert!(targets(&utility).contains(&link));
    assert!(utility.unused().contains(&"/run/nvidia-fabricmanager"));
    assert!(!of("compute").view.has_below("run"));
    assert!(!targets(&of("compute")).contains(&link));
    let isolated =
        Request::parse("none", Some("utility"), None).unwrap().with_isolation(Some("true")).unwrap();
    let isolated = plan(&isolated, &machine.inventory().unwrap()).unwrap();
    assert!(!isolated.view.has_below("run") && !targets(&isolated).contains(&link));
}

#[test]
fn in_wsl2_all_gpus_are_one_and_the_driver_store_keeps_its_path() {
    let inventory = Machine::wsl().inventory().unwrap();
    let of = |gpus, capabilities| plan(&Request::parse(gpus, Some(capabilities), None).unwrap(), &inventory);
    for (gpus, nodes) in [("all", vec!["/dev/dxg"]), ("0", vec!["/dev/dxg"]), ("none", vec![])] {
        assert_eq!(paths(&of(gpus, "all").unwrap()), nodes, "{gpus}");
    }
    for gpus in ["1", "0,1", "GPU-ab", "01:00.0"] {
        let error = of(gpus, "all").unwrap_err().to_string();
        assert!(error.starts_with("WSL2 has one device node for all GPUs"), "{gpus}: {error}");
    }
    for (allowed, is_allowed) in [("0", true), ("0-3", true), ("1-3", false), ("GPU-ab", false)] {
        let names = vec![GpuName::parse(allowed).unwrap()];
        let allowed =
            vec![Allowed { names, by: "/f".to_owned(), numbers: crate::security::Numbers::OfMachine }];
        for gpus in ["all", "0"] {
            let request = Request { allowed: allowed.clone(), ..Request::parse(gpus, None, None).unwrap() };
            let exit = plan(&request, &inventory).err().map(|error| error.exit());
            assert_eq!(exit, (!is_allowed).then_some(Exit::Permission), "{allowed:?} {gpus}");
        }
        let request = Request { allowed, ..Request::parse("none", None, None).unwrap() };
        assert_eq!(plan(&request, &inventory).unwrap().devices, []);
    }
    let plan = of("all", "utility").unwrap();
    let store = "wsl/drivers/nv_dispi.inf_amd64_5bf4a1";
    let expected = [
        "bin/nvidia-smi",
        "lib64/libdxcore.so",
        "lib64/libnvidia-ml.so.1",
        &format!("{store}/libcuda.so.1.1"),
        &format!("{store}/libcuda_loader.so"),
        &format!("{store}/libnvidia-ml.so.1"),
        &format!("{store}/nvcubins.bin"),
    ];
    assert_eq!(files(&plan), expected);
    assert_eq!(plan.proc, None);
    assert_eq!(links(&plan), [("wsl/lib".to_owned(), "../lib64".to_owned())]);
    assert!(targets(&plan).contains(&"wsl at /usr/lib/wsl".to_owned()));
    assert_eq!(sonames(&plan), ["libdxcore.so", "libnvidia-ml.so.1"]);
}

#[test]
fn two_libraries_that_claim_a_soname_share_one_link() {
    let mut inventory = machine::two_gpus();
    let mut other = inventory.libraries[0].clone();
    other.file_name = format!("libcuda-copy.so.{VERSION}");
    inventory.libraries.insert(0, other);
    let request = Request::parse("none", Some("compute"), None).unwrap();
    let plan = plan(&request, &inventory).unwrap();
    let target = format!("libcuda-copy.so.{VERSION}");
    assert_eq!(plan.view.get("lib64/libcuda.so.1"), Some(&Entry::Link { target }));
}
