//! `nvbind nvml`, and the commands that run it, with a mock of NVML that the machine's C compiler makes.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its helpers too"
)]

#[path = "../fixtures/machine.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod machine;

use machine::{Machine, VERSION};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

const NVBIND: &str = env!("CARGO_BIN_EXE_nvbind");
const MOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/nvml/mock.c");

/// The driver with this mock as its NVML, and three GPUs, one of them divided; its files are this user's.
fn machine(define: Option<&str>) -> Machine {
    let machine = Machine::new();
    machine.gpu("0000:01:00.0", 2, "GPU-aaaa0000-0000-0000-0000-000000000001", &[]);
    machine.gpu("0000:41:00.0", 0, "GPU-????????", &[]);
    machine.gpu("0000:c1:00.0", 1, "GPU-cccc0000-0000-0000-0000-000000000003", &[]);
    machine.mig(0, &[(1, 0, 12, 13), (1, 1, 12, 14), (9, 0, 84, 85)]);
    let library = machine.path(&library());
    fs::remove_file(&library).unwrap();
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-Wl,-soname,libnvidia-ml.so.1", "-o"])
        .arg(&library)
        .args(define.map(|define| format!("-D{define}")))
        .arg(MOCK)
        .status()
        .unwrap();
    assert!(compiler.success());
    fs::set_permissions(&library, fs::Permissions::from_mode(0o644)).unwrap();
    machine
}

fn library() -> String {
    format!("/usr/lib64/libnvidia-ml.so.{VERSION}")
}

fn nvml(library: &Path) -> Output {
    Command::new(NVBIND).args(["nvml", "--library"]).arg(library).env_clear().output().unwrap()
}

/// Whether this user is root: only root's library is loaded.
fn is_root() -> bool {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        return true;
    }
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    // Past the capture of test output: a skip has to be seen.
    let _ = std::io::Write::write_all(
        &mut std::io::stdout(),
        format!("test {test} ... SKIPPED: a library that is not root's is not loaded\n").as_bytes(),
    );
    false
}

fn listing(define: Option<&str>) -> Value {
    let machine = machine(define);
    printed(nvml(&machine.path(&library())))
}

/// The same with what a report tells besides.
fn details(define: Option<&str>) -> Value {
    let machine = machine(define);
    let library = machine.path(&library());
    let words = ["nvml", "--details", "--library"];
    printed(Command::new(NVBIND).args(words).arg(library).env_clear().output().unwrap())
}

fn printed(output: Output) -> Value {
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is said on stderr, and the exit code.
fn failure(library: &Path) -> (String, Option<i32>) {
    let output = nvml(library);
    assert_eq!(output.stdout, b"");
    let says = String::from_utf8(output.stderr).unwrap();
    (says.replace(&library.display().to_string(), "@library"), output.status.code())
}

const GPUS: [(&str, &str); 3] = [
    ("0000:01:00.0", "GPU-aaaa0000-0000-0000-0000-000000000001"),
    ("0000:41:00.0", "GPU-bbbb0000-0000-0000-0000-000000000002"),
    ("0000:c1:00.0", "GPU-cccc0000-0000-0000-0000-000000000003"),
];

fn gpus() -> Vec<Value> {
    GPUS.iter().map(|(pci, uuid)| json!({"pci": pci, "uuid": uuid})).collect()
}

#[test]
fn gpus_and_mig_devices_are_listed_with_their_indexes_and_instances() {
    if !is_root() {
        return;
    }
    let mut gpus = gpus();
    gpus[1]["mig"] = json!([
        {"gpu_instance": 9, "compute_instance": 0, "index": 0,
         "uuid": "MIG-11111111-0000-0000-0000-000000000001", "profile": "1g.10gb"},
        {"gpu_instance": 1, "compute_instance": 1, "index": 2,
         "uuid": "MIG-22222222-0000-0000-0000-000000000002", "profile": "1c.2g.20gb"},
    ]);
    assert_eq!(listing(None), json!({"gpus": gpus}));
}

#[test]
fn a_library_from_before_mig_lists_gpus_by_its_older_functions() {
    if is_root() {
        assert_eq!(listing(Some("OLD")), json!({"gpus": gpus()}));
    }
}

#[test]
fn memory_and_the_version_of_cuda_are_told_when_asked_for_and_known() {
    if !is_root() {
        return;
    }
    for (define, cuda) in [(None, Some(12090)), (Some("OLD"), Some(10020)), (Some("NO_CUDA=12"), None)] {
        let details = details(define);
        assert_eq!(details.get("cuda").and_then(Value::as_u64), cuda, "{define:?}");
        let memory: Vec<_> =
            details["gpus"].as_array().unwrap().iter().map(|gpu| gpu.get("memory")).collect();
        assert_eq!(memory, [Some(&json!(80_u64 << 30)), None, None], "{define:?}");
        assert_eq!(details.get("errors"), None, "{define:?}");
    }
    let error = "CUDA's version: nvmlSystemGetCudaDriverVersion_v2 failed: NVML_ERROR_UNKNOWN (Mock error)";
    assert_eq!(details(Some("NO_CUDA=999"))["errors"], json!([error]));
}

#[test]
fn a_gpu_that_is_lost_is_left_out_with_the_reason() {
    if !is_root() {
        return;
    }
    let listing = listing(Some("LOST"));
    let error =
        "GPU 0 in NVML's order: nvmlDeviceGetHandleByIndex_v2 failed: NVML_ERROR_GPU_IS_LOST (GPU is lost)";
    assert_eq!(listing["errors"], json!([error]));
    assert_eq!(listing["gpus"].as_array().unwrap().len(), 2);
}

#[test]
fn a_failure_has_its_code_its_name_and_nvml_s_own_words() {
    if !is_root() {
        return;
    }
    for (define, says) in [
        ("INIT=9", "nvbind: nvmlInit_v2 failed: NVML_ERROR_DRIVER_NOT_LOADED (Driver Not Loaded)\n"),
        ("INIT=18", "nvbind: nvmlInit_v2 failed: NVML_ERROR_LIB_RM_VERSION_MISMATCH (Mock error)\n"),
        ("INIT=77", "nvbind: nvmlInit_v2 failed: NVML return code 77 (Mock error)\n"),
    ] {
        let machine = machine(Some(define));
        assert_eq!(failure(&machine.path(&library())), (says.to_owned(), Some(3)));
    }
}

#[test]
fn a_text_that_does_not_end_is_not_read_further() {
    if is_root() {
        let errors = listing(Some("NO_NUL"))["errors"].to_string();
        assert!(errors.contains("nvmlDeviceGetUUID gave an unusable answer"), "{errors}");
        assert!(!errors.contains(&"x".repeat(97)), "{errors}");
    }
}

#[test]
fn what_is_no_nvml_is_told_so() {
    if !is_root() {
        return;
    }
    let machine = machine(None);
    let library = machine.path(&library());
    machine.write("usr/lib64/libempty.so", "");
    let (says, code) = failure(&machine.path("usr/lib64/libempty.so"));
    assert!(says.starts_with("nvbind: cannot load @library: ") && code == Some(3), "{says}");
    machine.write("usr/lib64/mock.c", "int nvmlInit_v2(void) { return 0; }");
    let source = machine.path("usr/lib64/mock.c");
    let compiler =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(compiler.success());
    let (says, code) = failure(&library);
    let expected = "nvbind: @library has no nvmlShutdown; is it the driver's libnvidia-ml?: ";
    assert!(says.starts_with(expected) && code == Some(3), "{says}");
}

#[test]
fn a_library_that_others_can_write_is_not_loaded() {
    let machine = machine(Some("CRASH"));
    let library = machine.path(&library());
    fs::set_permissions(&library, fs::Permissions::from_mode(0o666)).unwrap();
    let says = "nvbind: the library is not loaded: @library is not root's alone to write\n";
    assert_eq!(failure(&library), (says.to_owned(), Some(4)));
}

/// Runs a command that finds the driver as the hook with a configuration file does.
fn with_configuration(machine: &Machine, words: &[&str]) -> Output {
    let keys = ["root", "dev_root", "proc_root", "sys_root"];
    let root = machine.path("").display().to_string();
    machine.write("dev/nvidiactl", "");
    machine.write("config.toml", keys.map(|key| format!("driver.{key} = {root:?}\n")).concat());
    let config = machine.path("config.toml");
    let hook = json!({"version": "1.0.0", "stages": ["prestart"], "when": {"annotations": {"^io\\.nvbind\\.gpu$": ".*"}},
        "hook": {"path": "/bin/sh", "args": ["nvbind-hook", "prestart", "--config", config]}});
    machine.write("hooks.d/nvbind.json", hook.to_string());
    let directory = machine.path("hooks.d").display().to_string();
    machine.write("containers.conf", format!("[engine]\nhooks_dir = [{directory:?}]\n"));
    Command::new(NVBIND).args(words).env("CONTAINERS_CONF", machine.path("containers.conf")).output().unwrap()
}

#[test]
fn a_plan_for_a_mig_index_or_uuid_has_its_nodes() {
    if !is_root() {
        return;
    }
    let machine = machine(None);
    for (name, instances, minors) in
        [("1:0", (9, 0), [84, 85]), ("1:2", (1, 1), [12, 14]), ("MIG-2222", (1, 1), [12, 14])]
    {
        let words = ["plan", "--gpu", name, "--capabilities=utility", "--json"];
        let output = with_configuration(&machine, &words);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{name}");
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mig = &plan["gpus"][0]["mig"][0];
        assert_eq!(
            (&mig["gpu_instance"], &mig["compute_instance"]),
            (&json!(instances.0), &json!(instances.1))
        );
        assert_eq!(plan["gpus"][0]["uuid"], "GPU-bbbb0000-0000-0000-0000-000000000002");
        let is_device = |step: &&Value| step["kind"] == "device";
        let paths: Vec<&str> = plan["steps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(is_device)
            .map(|step| step["path"].as_str().unwrap())
            .collect();
        let caps = minors.map(|minor| format!("/dev/nvidia-caps/nvidia-cap{minor}"));
        assert_eq!(paths, [&caps[0], &caps[1], "/dev/nvidia0", "/dev/nvidiactl"], "{name}");
    }
}

#[test]
fn an_unknown_mig_device_is_answered_with_those_there_are() {
    if !is_root() {
        return;
    }
    let output = with_configuration(&machine(None), &["plan", "--gpu", "1:1"]);
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(says.starts_with("nvbind: there is no GPU 1:1; this machine has 0 (GPU-aaaa"), "{says}");
    assert!(says.contains(", 1:0 (MIG-11111111-0000-0000-0000-000000000001, 1g.10gb), "), "{says}");
    // One that NVML does not list.
    assert!(says.contains(", MIG-GPU-bbbb0000-0000-0000-0000-000000000002/1/0, "), "{says}");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn nvml_that_fails_or_crashes_takes_the_request_with_it_and_not_the_report() {
    if !is_root() {
        return;
    }
    for (define, reason) in
        [("INIT=9", "NVML_ERROR_DRIVER_NOT_LOADED (Driver Not Loaded)"), ("CRASH", "signal: 6 (SIGABRT)")]
    {
        let machine = machine(Some(define));
        let output = with_configuration(&machine, &["plan", "--gpu", "1:0"]);
        let says = String::from_utf8(output.stderr).unwrap();
        assert!(says.starts_with("nvbind: NVML cannot be asked: "), "{says}");
        assert!(says.contains(reason), "{says}");
        assert_eq!(output.status.code(), Some(3));
        let output = with_configuration(&machine, &["info"]);
        let says = String::from_utf8(output.stderr).unwrap();
        assert!(says.starts_with("nvbind: note: NVML cannot be asked") && says.contains(reason), "{says}");
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("\n  mig   MIG-GPU-?/9/0 GPU instance 9, compute instance 0\n"), "{text}");
    }
}

#[test]
fn nvml_that_never_answers_is_given_up() {
    if !is_root() {
        return;
    }
    let output = with_configuration(&machine(Some("FOREVER")), &["plan", "--gpu", "1:0"]);
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(says.contains(" did not answer within 10 seconds; does `nvidia-smi` answer?"), "{says}");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_driver_root_of_the_command_line_is_not_asked() {
    let machine = machine(Some("CRASH"));
    let root = machine.path("").display().to_string();
    let output =
        Command::new(NVBIND).args(["plan", "--gpu", "MIG-1111", "--driver-root", &root]).output().unwrap();
    let says = String::from_utf8(output.stderr).unwrap();
    let expected = "nvbind: MIG-1111 is a MIG device that only NVML could look up, which is not asked with --driver-root; \
                    name it MIG-GPU-UUID/GI/CI, by its GPU's UUID and the numbers of its GPU instance and compute instance\n";
    assert_eq!((says.as_str(), output.status.code()), (expected, Some(2)));
}

#[test]
fn info_tells_what_nvml_alone_knows_in_json_too() {
    if !is_root() {
        return;
    }
    let info = printed(with_configuration(&machine(None), &["info", "--json"]));
    assert_eq!(info["cuda"], "12.9");
    let memory: Vec<_> = info["gpus"].as_array().unwrap().iter().map(|gpu| &gpu["memory"]).collect();
    assert_eq!(memory, [&json!(80_u64 << 30), &json!(null), &json!(null)]);
    assert_eq!(info["gpus"][1]["mig"][1]["uuid"], "MIG-22222222-0000-0000-0000-000000000002");
}

#[test]
fn info_lists_mig_devices_as_nvml_calls_them() {
    if !is_root() {
        return;
    }
    let output = with_configuration(&machine(None), &["info"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = "\n  mig   1:2 (MIG-22222222-0000-0000-0000-000000000002, 1c.2g.20gb) GPU instance 1, compute instance 1\n";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("GPU-bbbb0000-0000-0000-0000-000000000002"), "{text}");
}
