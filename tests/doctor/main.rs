//! `nvbind doctor` as a program, on whatever machine this is: what it finds differs, what it promises does not.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, in its helpers too")]

use serde_json::Value;
use std::process::{Command, Output};

fn doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nvbind")).arg("doctor").args(arguments).output().unwrap()
}

#[test]
fn the_exit_status_says_whether_a_check_failed() {
    let output = doctor(&["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|check| check["status"] == "fail").count();
    assert_eq!(output.status.code(), Some(i32::from(failed > 0)), "{report}");
    let says = if failed > 0 { format!("nvbind: {failed} of the checks failed\n") } else { String::new() };
    assert_eq!(String::from_utf8(output.stderr).unwrap(), says);
    for check in checks {
        let complains = ["warn", "fail"].contains(&check["status"].as_str().unwrap());
        assert!(complains || check.get("fix").is_none(), "{check}");
        let keys = ["command", "safe"].map(|key| check.get(key).is_some());
        assert_eq!(keys, [check.get("fix").is_some(); 2], "{check}");
    }
}

#[test]
fn nothing_is_mended_where_the_last_failure_is_asked_for() {
    let output = doctor(&["--fix", "--last"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
}

#[test]
fn programs_are_looked_for_in_path() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind"));
    let output = command.args(["doctor"]).env("PATH", "/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\nFAIL    podman       podman is not in PATH\n        fix: "), "{text}");
}

#[test]
fn a_recorded_failure_is_no_failure_of_doctor() {
    let output = doctor(&["--last", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let places = report["places"].as_array().unwrap();
    assert!(places.iter().all(|place| place.as_str().unwrap().ends_with("/failures")), "{report}");
    let text = String::from_utf8(doctor(&["--last"]).stdout).unwrap();
    assert_eq!(
        report["failures"].as_array().unwrap().is_empty(),
        text.starts_with("no failure is recorded in "),
        "{report}: {text}"
    );
}
