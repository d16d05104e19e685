//! The hook that podman would run.

use super::{Facts, Finding, Fix, Machine};
use crate::podman::containers_conf::{self, Engine};
use crate::podman::hooks::{self, Error, Installed};
use nvbind_core::message::line;
use object::Endianness;
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The file header and the program headers of every known program fit in this.
const HEADERS: u64 = 4096;

/// Podman's settings, if its hooks are this machine's; else why that is not so.
fn engine<'f>(facts: &'f Facts<'_>) -> Result<&'f Engine, &'static str> {
    match &facts.engine {
        Err(_) => Err("podman's configuration cannot be read"),
        Ok(engine) if engine.remote => Err("podman starts containers on another machine"),
        Ok(engine) => Ok(engine),
    }
}

/// Installs the hook, its JSON and what makes podman look there, for the same driver as before. Safe but where the JSON
/// names a configuration, which it would no longer.
fn setup(machine: &Machine, before: Option<&Installed>) -> Fix {
    let mut command = vec![machine.nvbind.clone(), "setup".to_owned()];
    command.extend((!machine.user.is_root()).then(|| "--user".to_owned()));
    if let Some(root) = before.and_then(|hook| hook.driver_root.as_ref()) {
        command.extend(["--driver-root".to_owned(), root.display().to_string()]);
    }
    let fix = Fix::new(command);
    if before.is_some_and(|hook| hook.config.is_some()) { fix } else { fix.safe() }
}

/// Everybody may read it.
fn open(machine: &Machine, path: &Path) -> Fix {
    Fix::as_root(machine, ["chmod".to_owned(), "a+rX".to_owned(), path.display().to_string()])
}

/// Podman's configuration and everybody's hooks.
pub(super) fn json(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    let engine = match (engine(facts), &facts.engine) {
        (Ok(engine), _) => engine,
        (Err(_), Err(error)) => {
            let fix = match error {
                containers_conf::Error::Read { path, .. } => open(machine, path),
                containers_conf::Error::Parse { path, .. }
                | containers_conf::Error::NoModule { name: path } => {
                    Fix::edit(machine, &path.display().to_string())
                }
            };
            return Finding::fail(line(error), fix);
        }
        (Err(why), Ok(_)) => return Finding::skipped(why),
    };
    match hooks::check_below(&machine.root, &engine.hooks_dirs) {
        Ok(count) => Finding::ok(format!("{count} read")),
        Err(error) => {
            let fix = match &error {
                Error::Parse { path, .. } | Error::Unknown { path, .. } => {
                    let path = path.display().to_string();
                    let away = format!("{path}.broken");
                    Fix::as_root(machine, ["mv".to_owned(), path, away])
                }
                Error::Read { path, .. } => open(machine, path),
                Error::NotInstalled { .. } => setup(machine, None),
                Error::NoBinary { hook, .. } => setup(machine, Some(hook)),
            };
            Finding::fail(line(&error), fix)
        }
    }
}

pub(super) fn installed(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    match (&facts.hook, engine(facts)) {
        (Some(Ok(hook)), _) => Finding::ok(format!("{} runs {}", hook.json.display(), hook.binary.display())),
        (Some(Err(error @ Error::NotInstalled { .. })), _) => {
            Finding::fail(line(error), setup(machine, None))
        }
        (Some(Err(error @ Error::NoBinary { hook, .. })), _) => {
            Finding::fail(line(error), setup(machine, Some(hook)))
        }
        (Some(Err(_)), _) => Finding::skipped("a hook JSON is broken"),
        (None, engine) => Finding::skipped(engine.err().unwrap_or("podman has no settings")),
    }
}

/// In a container's mount namespace there may be no loader, or the image's.
pub(super) fn is_static(facts: &Facts<'_>) -> Finding {
    let Some(Ok(hook)) = &facts.hook else {
        return Finding::skipped("podman finds no hook");
    };
    let path = facts.machine.path(&hook.binary);
    let shown = path.display();
    match has_interpreter(&path) {
        Ok(Some(false)) => Finding::ok("it is a static executable"),
        Ok(Some(true)) => Finding::fail(
            format!("{shown} needs a dynamic loader, and with it what LD_PRELOAD names"),
            setup(facts.machine, Some(hook)),
        ),
        Ok(None) => Finding::fail(format!("{shown} is no 64-bit ELF file"), setup(facts.machine, Some(hook))),
        Err(error) => Finding::warn(format!("cannot read {shown}: {error}"), open(facts.machine, &path)),
    }
}

/// Whether it names a dynamic loader (`PT_INTERP`, elf(5)); none when it is no ELF file of a 64-bit machine.
fn has_interpreter(path: &Path) -> io::Result<Option<bool>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(HEADERS).read_to_end(&mut bytes)?;
    let headers = bytes.as_slice();
    let names_loader = || -> Option<bool> {
        let header = FileHeader64::<Endianness>::parse(headers).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, headers).ok()?;
        Some(segments.iter().any(|segment| segment.p_type(endian) == PT_INTERP))
    };
    Ok(names_loader())
}

pub(super) fn nvidias(facts: &Facts<'_>) -> Finding {
    let engine = match engine(facts) {
        Ok(engine) => engine,
        Err(why) => return Finding::skipped(why),
    };
    match hooks::nvidias_below(&facts.machine.root, &engine.hooks_dirs) {
        None => Finding::ok("it is not there"),
        Some(json) => Finding::warn(
            format!(
                "{} runs NVIDIA's own hook beside nvbind's: a container that asks both is refused, unless it has NVIDIA_VISIBLE_DEVICES=void",
                json.display()
            ),
            Fix::as_root(facts.machine, ["rm".to_owned(), json.display().to_string()]),
        ),
    }
}
