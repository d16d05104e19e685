//! The program as a shell sees it: exit codes, what goes to stderr, and its colours.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its helpers too"
)]

mod asking;
mod config;
mod kube;
#[path = "../fixtures/machine.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod machine;
mod refusals;
mod setup;
mod world;

use std::process::{Command, Output};

/// nvbind on a machine of its own: no configuration, a home that is not there.
fn nvbind(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind"));
    command.env_clear().env("PATH", "/nonexistent").env("HOME", "/nonexistent").args(words);
    command.envs(variables.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn every_error_has_its_documented_code_and_says_on_stderr_alone_what_is_wrong() {
    let nowhere = ["--driver-root", "/nonexistent"];
    let broken = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(broken.path(), "[gpu]\ndefault_selektion = \"all\"\n").unwrap();
    let config = ["--config", broken.path().to_str().unwrap()];
    for (words, code, said) in [
        ([&["run"], config.as_slice(), &["IMAGE"]].concat(), 125, "there is no gpu.default_selektion"),
        (
            [&["create"], config.as_slice(), &["IMAGE"]].concat(),
            125,
            "hint: did you mean gpu.default_selection?",
        ),
        (vec!["run", "--runtime", "docker", "IMAGE"], 125, "hint: see `nvbind run --help`"),
        (vec!["run", "--color", "blue", "IMAGE"], 125, "--color takes auto, always or never"),
        ([&["config", "check"], config.as_slice()].concat(), 2, "there is no gpu.default_selektion"),
        ([&["plan"], nowhere.as_slice()].concat(), 3, "cannot read /nonexistent"),
        ([&["info"], nowhere.as_slice()].concat(), 3, "cannot read /nonexistent"),
        (vec!["plan", "--driver-root", "/var", "--gpu", "all"], 3, "no NVIDIA driver is loaded"),
        (vec!["plan", "--driver-root", "/var", "--gpu", "?"], 2, "\"?\""),
        (vec!["profile", "show", "gamin"], 2, "gaming"),
        (vec!["run", "--dry-run", "--capabilities", "foo", "IMAGE"], 125, "\"foo\" is no driver capability"),
        (vec!["run", "--dry-run", "--isolate", "--privileged", "IMAGE"], 125, "cannot be --privileged"),
        (vec!["generate", "quadlet", "--", "--gpu", "bogus", "IMAGE"], 2, "\"bogus\" is no GPU"),
        (vec!["generate", "kube", "--", "--pod", "p", "IMAGE"], 2, "--pod"),
        (vec!["setup", "--driver-root", "/nonexistent"], 2, "/nonexistent"),
        (vec!["man", "/nonexistent"], 4, "/nonexistent"),
        (vec!["doctor", "--nonsense"], 2, "--nonsense"),
        (vec![], 2, "Usage: nvbind"),
    ] {
        let output = nvbind(&words, &[]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "nvbind {words:?}: {told}");
        assert!(told.contains(said), "nvbind {words:?}: {told}");
        assert!(output.stdout.is_empty(), "nvbind {words:?}");
    }
}

#[test]
fn colour_is_for_terminals_and_for_who_asks_for_it() {
    let coloured = |words: &[&str], variables: &[(&str, &str)]| {
        let output = nvbind(words, variables);
        assert_eq!(output.status.code(), Some(2), "nvbind {words:?}");
        stderr(&output).contains("\u{1b}[")
    };
    let plan = ["plan", "--gpu", "?"];
    assert!(!coloured(&plan, &[]), "stderr is a pipe");
    assert!(coloured(&[&plan[..], &["--color", "always"]].concat(), &[("NO_COLOR", "1")]));
    assert!(coloured(&plan, &[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&plan, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!coloured(&[&["--color=never"], &plan[..]].concat(), &[("CLICOLOR_FORCE", "1")]));
    assert!(coloured(&["--color=always", "plan", "--nonsense"], &[]));
    assert!(!coloured(&["plan", "--nonsense", "--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    let table = |words: &[&str]| nvbind(&[&["doctor"], words].concat(), &[]).stdout.contains(&0x1b);
    assert!(table(&["--color=always"]) && !table(&[]) && !table(&["--color=always", "--json"]));
}

#[test]
fn verbose_tells_what_is_read_and_nothing_else_changes() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().to_str().unwrap();
    let file = directory.path().join("nvbind/config.toml");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "[gpu]\ndefault_selection = \"none\"\n").unwrap();
    let quiet = nvbind(&["run", "--dry-run", "IMAGE"], &[("XDG_CONFIG_HOME", home)]);
    assert_eq!(stderr(&quiet), "");
    for words in [["run", "--verbose", "--dry-run", "IMAGE"], ["-v", "run", "--dry-run", "IMAGE"]] {
        let output = nvbind(&words, &[("XDG_CONFIG_HOME", home)]);
        assert_eq!(output.stdout, quiet.stdout, "{words:?}");
        let line = format!("nvbind: reads the configuration {}\n", file.display());
        assert!(stderr(&output).contains(&line), "{words:?}: {}", stderr(&output));
    }
}
