//! What the container's environment requires of the driver, as far as it is known before podman has the container.

use crate::failure::Failure;
use crate::podman::command_line::{CommandLine, Verb};
use crate::podman::{engine, lexer::Group};
use nvbind_core::input;
use nvbind_core::plan::Plan;
use nvbind_core::requirements;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// No file of variables is larger, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Options by which the environment is another one than typed here.
const OTHERWISE: &[&str] = &["env-host", "env-merge", "unsetenv", "unsetenv-all"];

type Variable = (String, String);

/// Fails where the variables of the command line require another driver. Those of the image are asked for where podman
/// is only to create the container, since nobody tells why it does not start later, and where the command line alone is
/// refused, since an image can switch off what it is asked for. A start does not wait for them.
pub(super) fn check(line: &CommandLine, verb: Verb, plan: &Plan) -> Result<(), Failure> {
    if plan.gpus.is_empty() || OTHERWISE.iter().any(|name| line.options.last(name).is_some()) {
        return Ok(());
    }
    check_with(verb, &typed(line), &plan.driver.version, || of_image(line))
}

fn check_with(
    verb: Verb,
    typed: &[Variable],
    driver: &str,
    of_image: impl Fn() -> Vec<Variable>,
) -> Result<(), Failure> {
    let check = |variables: &[Variable]| {
        let variables = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        requirements::check(variables, driver).map(drop)
    };
    if verb == Verb::Run && check(typed).is_ok() {
        return Ok(());
    }
    Ok(check(&[of_image().as_slice(), typed].concat())?)
}

/// The variables of the command line, those that count last: podman prefers `--env` to `--env-file`.
fn typed(line: &CommandLine) -> Vec<Variable> {
    let files =
        line.options.values("env-file").filter_map(|file| input::read(Path::new(file), FILE_LIMIT).ok());
    let files: Vec<String> =
        files.map(|(content, _)| String::from_utf8_lossy(&content).into_owned()).collect();
    let lines = files.iter().flat_map(|file| file.lines()).map(str::trim_start);
    let lines = lines.filter(|line| !line.starts_with('#'));
    let words = line.options.values("env").filter_map(OsStr::to_str);
    lines.chain(words).filter_map(variable).collect()
}

/// `NAME=VALUE`, or `NAME` with the caller's value. A pattern (`NAME*`) names none of those that count.
fn variable(word: &str) -> Option<Variable> {
    match word.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => Some((word.to_owned(), env::var(word).ok()?)),
    }
}

/// Those of the image, if podman has it; none where it would have to be pulled first.
fn of_image(line: &CommandLine) -> Vec<Variable> {
    let Some(image) = line.container.image.as_deref().filter(|_| line.options.last("rootfs").is_none())
    else {
        return Vec::new();
    };
    let global = line.options.for_podman().filter(|group| group.is_global()).flat_map(Group::arguments);
    let inspect = ["image", "inspect", "--format", "{{json .Config.Env}}", "--"].map(OsString::from);
    let arguments: Vec<OsString> = global.chain(inspect).chain([image.to_owned()]).collect();
    let entries: Vec<String> =
        engine::ask(&arguments).and_then(|answer| serde_json::from_slice(&answer).ok()).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn pairs(text: &str) -> Vec<Variable> {
        text.split_whitespace().filter_map(variable).collect()
    }

    #[test]
    fn variables_of_files_come_before_those_of_options() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "# A=0\nA=1\n  B=2 3\nNVBIND_TEST_NOT_SET\n").unwrap();
        let words = format!("-e;C=4;--env-file={};--env=A=5;-eNVBIND_TEST_NOT_SET;I;-e;D=6", file.display());
        let line = CommandLine::parse(words.split(';').map(OsString::from)).unwrap();
        let expected = [("A", "1"), ("B", "2 3"), ("C", "4"), ("A", "5")];
        let expected: Vec<Variable> =
            expected.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        assert_eq!(typed(&line), expected);
    }

    #[test]
    fn a_start_asks_for_the_image_only_where_it_would_be_refused() {
        let (new, old, off) =
            ("NVIDIA_REQUIRE_CUDA=cuda>=13.0", "NVIDIA_REQUIRE_CUDA=cuda>=11", "NVIDIA_DISABLE_REQUIRE=1");
        for (verb, typed, image, is_asked, is_refused) in [
            (Verb::Run, "", new, false, false),
            (Verb::Run, old, new, false, false),
            (Verb::Run, new, "", true, true),
            (Verb::Run, new, old, true, true),
            (Verb::Run, new, off, true, false),
            (Verb::Run, &format!("{new} {off}"), "", false, false),
            (Verb::Create, "", new, true, true),
            (Verb::Create, old, new, true, false),
            (Verb::Create, off, new, true, false),
            (Verb::Create, "", "", true, false),
        ] {
            let asked = std::cell::Cell::new(false);
            let checked = check_with(verb, &pairs(typed), "570.172.08", || {
                asked.set(true);
                pairs(image)
            });
            assert_eq!((asked.get(), checked.is_err()), (is_asked, is_refused), "{verb:?} {typed} {image}");
        }
    }
}
