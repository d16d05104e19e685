//! The hook that podman would run.

use super::{Facts, Finding, Machine};
use crate::failure::line;
use crate::podman::containers_conf::{self, Engine};
use crate::podman::hooks::{self, Error};
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

fn setup(machine: &Machine) -> &'static str {
    if machine.is_root() { "nvbind setup" } else { "nvbind setup --user" }
}

/// Podman's configuration and everybody's hooks.
pub(super) fn json(facts: &Facts<'_>) -> Finding {
    let engine = match (engine(facts), &facts.engine) {
        (Ok(engine), _) => engine,
        (Err(_), Err(error)) => {
            let fix = match error {
                containers_conf::Error::Read { path, .. } => format!("chmod a+rX {}", path.display()),
                containers_conf::Error::Parse { path, .. }
                | containers_conf::Error::NoModule { name: path } => {
                    format!("vi {}", path.display())
                }
            };
            return Finding::fail(line(error), facts.machine.as_root(&fix));
        }
        (Err(why), Ok(_)) => return Finding::skipped(why),
    };
    match hooks::check_below(&facts.machine.root, &engine.hooks_dirs) {
        Ok(count) => Finding::ok(format!("{count} read")),
        Err(error) => {
            let fix = match &error {
                Error::Parse { path, .. } | Error::Unknown { path, .. } => {
                    format!("mv {0} {0}.broken", path.display())
                }
                Error::Read { path, .. } => format!("chmod a+rX {}", path.display()),
                Error::NotInstalled { .. } | Error::NoBinary { .. } => setup(facts.machine).to_owned(),
            };
            Finding::fail(line(&error), facts.machine.as_root(&fix))
        }
    }
}

pub(super) fn installed(facts: &Facts<'_>) -> Finding {
    match (&facts.hook, engine(facts)) {
        (Some(Ok(hook)), _) => Finding::ok(format!("{} runs {}", hook.json.display(), hook.binary.display())),
        (Some(Err(error @ (Error::NotInstalled { .. } | Error::NoBinary { .. }))), _) => {
            Finding::fail(line(error), setup(facts.machine))
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
            setup(facts.machine),
        ),
        Ok(None) => Finding::fail(format!("{shown} is no 64-bit ELF file"), setup(facts.machine)),
        Err(error) => {
            let fix = facts.machine.as_root(&format!("chmod a+r {shown}"));
            Finding::warn(format!("cannot read {shown}: {error}"), fix)
        }
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
            facts.machine.as_root(&format!("rm {}", json.display())),
        ),
    }
}
