//! `cargo xtask fuzz`: every target of `fuzz/` for its share of the time, with the stable compiler.
//!
//! What the compiler adds for libFuzzer is what `cargo fuzz --sanitizer none` asks it for; none of the flags is
//! unstable. A target starts from its small corpus in the repository and from what it found here before.

use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::limits::limited;
use nvbind_fixtures::process;
use nvbind_fixtures::tools::{self, Tool};
use nvbind_lanes::ARCHITECTURE;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Coverage that libFuzzer is guided by, and the switch for what is built for it alone.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// For all targets together, unless told otherwise.
const SECONDS: u64 = 60;

/// An input that takes longer, or more memory, is a finding.
const LONGEST_SECONDS: u64 = 10;
const MEMORY_MIB: u64 = 1024;

/// Runs the targets whose names are given, or all, each for its share of `--seconds N`; whether none found anything.
pub fn run(project: &Path, words: &[&str]) -> Result<bool> {
    let (seconds, wanted) = parse(words)?;
    let targets = list(project)?;
    if let Some(unknown) = wanted.iter().find(|name| !targets.iter().any(|target| target == *name)) {
        return Err(Error::failed(format!("no target {unknown}; there are {}", targets.join(", "))));
    }
    let targets: Vec<String> =
        targets.into_iter().filter(|name| wanted.is_empty() || wanted.contains(&name.as_str())).collect();
    let programs = build(project)?;
    let share = (seconds / u64::try_from(targets.len()).unwrap_or(1).max(1)).max(1);
    let mut failed = Vec::new();
    for name in &targets {
        if !run_target(project, &programs, name, share)? {
            failed.push(name.as_str());
        }
    }
    if !failed.is_empty() {
        println!("findings of {} are in {}", failed.join(", "), findings(project).display());
    }
    println!("fuzz: {} targets for {share} s each, {} with findings", targets.len(), failed.len());
    Ok(failed.is_empty())
}

/// The seconds, and the names of targets.
fn parse<'w>(words: &[&'w str]) -> Result<(u64, Vec<&'w str>)> {
    let (mut seconds, mut names) = (SECONDS, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "--seconds" {
            let number = words.next().and_then(|number| number.parse().ok());
            seconds = number.ok_or_else(|| Error::failed("--seconds needs a number"))?;
        } else if word.starts_with('-') {
            return Err(Error::failed(format!("unknown option {word}; there is --seconds N")));
        } else {
            names.push(*word);
        }
    }
    Ok((seconds, names))
}

/// The targets by name.
fn list(project: &Path) -> Result<Vec<String>> {
    let directory = project.join("fuzz/targets");
    let entries = fs::read_dir(&directory).doing(|| format!("read {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.doing(|| format!("read {}", directory.display()))?.path();
        names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn build(project: &Path) -> Result<PathBuf> {
    tools::install(&[Tool::Cxx])?;
    let target = format!("{ARCHITECTURE}-unknown-linux-gnu");
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--target",
        &target,
        "--target-dir",
        "../target/fuzz",
    ]);
    // Of this build alone: a wrapper or flags of the caller are for other programs.
    cargo.current_dir(project.join("fuzz")).env("RUSTFLAGS", FLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::run(&mut cargo)?;
    Ok(project.join("target/fuzz").join(target).join("release"))
}

fn findings(project: &Path) -> PathBuf {
    project.join("target/fuzz/findings")
}

/// Whether it found nothing.
fn run_target(project: &Path, programs: &Path, name: &str, seconds: u64) -> Result<bool> {
    let found = project.join("target/fuzz/corpus").join(name);
    for directory in [&found, &findings(project)] {
        fs::create_dir_all(directory).doing(|| format!("make {}", directory.display()))?;
    }
    let mut command = limited(Duration::from_secs(seconds + 10 * LONGEST_SECONDS), programs.join(name));
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-timeout={LONGEST_SECONDS}"));
    command.arg(format!("-rss_limit_mb={MEMORY_MIB}"));
    command.arg(format!("-artifact_prefix={}/{name}-", findings(project).display()));
    command.arg(&found).arg(project.join("fuzz/corpus").join(name));
    let output = command.output().doing(|| format!("run {name}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|line| line.contains("DONE")).unwrap_or("ended early");
    println!("{name}: {}", last.trim_start_matches('#').replace('\t', " "));
    if !output.status.success() {
        text.lines()
            .skip_while(|line| !line.contains("panicked") && !line.contains("ERROR"))
            .take(40)
            .for_each(|line| println!("    {line}"));
    }
    Ok(output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_seconds_and_targets() {
        assert_eq!(parse(&[]).unwrap(), (SECONDS, vec![]));
        assert_eq!(parse(&["--seconds", "7", "state"]).unwrap(), (7, vec!["state"]));
        for words in [&["--seconds"][..], &["--seconds", "x"], &["--minutes", "1"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn every_target_is_built_and_has_a_corpus() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let manifest = fs::read_to_string(project.join("fuzz/Cargo.toml")).unwrap();
        for name in list(project).unwrap() {
            assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
            assert!(fs::read_dir(project.join("fuzz/corpus").join(&name)).unwrap().count() > 0, "{name}");
        }
    }
}
