//! What NVIDIA's management library says, asked in a process of its own: `nvbind nvml --library PATH`.
//!
//! The hook is static and cannot load a library; and a library that talks with a driver can take long or crash. So both
//! the hook and the command line start the dynamic `nvbind`, with an empty environment and a time limit, and only for a
//! request that procfs does not answer. Its answer is a [`Listing`] in JSON on stdout.

use crate::child;
use crate::exit::Exit;
use crate::failure::Explain;
use crate::gpu_name::GpuName;
use crate::host::Host;
use crate::inventory::{self, Inventory};
use crate::listing::Listing;
use crate::request::{Gpus, Request};
use crate::supervisor::supervised;
use crate::trust;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A driver that does not answer within this does not answer at all; loading and starting it takes a second or two per
/// GPU where nothing keeps the driver's state (persistence mode).
const TIMEOUT: Duration = Duration::from_secs(10);

/// Who is asked: a library that talks with a driver is loaded in a process of its own, and only by `nvbind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// This program, which is `nvbind`.
    Itself,
    /// The `nvbind` that was installed with this program, the hook.
    Installed,
    /// No program: NVML is not asked.
    None {
        /// When NVML is not asked, for the message.
        when: &'static str,
    },
}

impl Program {
    /// With a driver root of the command line: its library would be run as this user, who may be root, and could be
    /// anything.
    pub const OTHER_ROOT: Program = Program::None { when: "with --driver-root" };

    /// At stage createContainer: the container's namespaces are joined already, and what is where in them is its own
    /// matter.
    pub const IN_CONTAINER: Program = Program::None { when: "at stage createContainer" };

    /// Its path, if nobody but root could have put it there; this program's own is trusted already. `name` is what NVML
    /// is asked for.
    fn path(self, name: &str) -> Result<PathBuf, Error> {
        let own = || std::env::current_exe().map_err(Error::Program);
        match self {
            Program::Itself => own(),
            Program::Installed => {
                let [installed, beside] = places(&own()?);
                Ok(trust::check_file(if beside.exists() { &beside } else { &installed })?)
            }
            Program::None { when } => Err(Error::NotAsked { name: name.to_owned(), when }),
        }
    }
}

/// Where `nvbind` is installed with a hook: `bin/nvbind` of a prefix that has the hook in `libexec/nvbind`, or beside
/// it, in a build.
fn places(hook: &Path) -> [PathBuf; 2] {
    let above = |levels| hook.ancestors().nth(levels).unwrap_or_else(|| Path::new("/"));
    [above(3).join("bin/nvbind"), above(1).join("nvbind")]
}

/// How much NVML is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which GPUs and MIG devices there are: all that a request needs.
    Devices,
    /// What a report tells of them besides.
    Details,
}

/// Why NVML was not asked, or gave no answer.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It must not be asked here.
    #[error(
        "{name} is a MIG device that only NVML could look up, which is not asked {when}; name it MIG-GPU-UUID/GI/CI, by its GPU's UUID and the numbers of its GPU instance and compute instance"
    )]
    NotAsked { name: String, when: &'static str },
    /// Its library, or the program that loads it, could be somebody's else than root's.
    #[error("NVML is not asked")]
    Untrusted(#[from] trust::Error),
    /// This program, which is to ask it or was installed with what does.
    #[error("cannot tell where this program is")]
    Program(#[source] std::io::Error),
    /// There is no such library.
    #[error(transparent)]
    Inventory(#[from] inventory::Error),
    /// The process failed.
    #[error("NVML cannot be asked")]
    Child(#[from] child::Error),
    /// What it printed is no listing.
    #[error("{program} printed no list of GPUs; is it of the same version?")]
    Answer { program: String, source: serde_json::Error },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::NotAsked { .. } => Exit::Request,
            Error::Untrusted(error) => error.exit(),
            Error::Inventory(error) => error.exit(),
            Error::Child(error) => error.exit(),
            Error::Program(_) | Error::Answer { .. } => Exit::Driver,
        }
    }
}

/// The first name of a request for which NVML has to be asked: there are MIG devices, and it names one as NVML does, or
/// it means some and those that are allowed are named so.
#[must_use]
pub fn needed_for<'a>(request: &'a Request, inventory: &Inventory) -> Option<&'a GpuName> {
    if inventory.gpus.iter().all(|gpu| gpu.mig.is_empty()) {
        return None;
    }
    let (names, means_mig): (&[GpuName], _) = match &request.gpus {
        Gpus::All => (&[], true),
        Gpus::None => (&[], false),
        Gpus::Listed(names) => (names, names.iter().any(GpuName::is_mig)),
    };
    let allowed = request.allowed.iter().filter(|_| means_mig).flat_map(|allowed| &allowed.names);
    names.iter().chain(allowed).find(|name| name.needs_nvml())
}

/// Asks NVML. `name` is what it is asked for, for messages.
///
/// # Errors
/// When there is nobody to ask, the library or the program is not there or not root's, or the process cannot be
/// started, fails, takes too long, or says something else.
pub fn ask(
    program: Program,
    name: &str,
    host: &Host,
    inventory: &Inventory,
    question: Question,
) -> Result<Listing, Error> {
    let program = program.path(name)?;
    let library = trust::check_file(Path::new(&host.files.display(&inventory.nvml(host)?)))?;
    log::debug!("asks NVML: {}", library.display());
    run(supervised(&program), &program, &library, question)
}

fn run(mut command: Command, program: &Path, library: &Path, question: Question) -> Result<Listing, Error> {
    command.args(["nvml", "--library"]).arg(library);
    if question == Question::Details {
        command.arg("--details");
    }
    let output = child::read_output(&mut command, program, TIMEOUT)?;
    serde_json::from_slice(&output)
        .map_err(|source| Error::Answer { program: program.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::settings::Settings;

    #[test]
    fn nvml_is_asked_only_for_names_of_its_own_and_where_there_are_mig_devices() {
        let machine = Machine::new();
        machine.gpu("0000:01:00.0", 0, "GPU-aa", &[]);
        let is_needed = |selection: &str| {
            let request = Request::parse(selection, None, None).unwrap();
            needed_for(&request, &machine.inventory().unwrap()).map(ToString::to_string)
        };
        assert_eq!(is_needed("0:0,MIG-aa"), None);
        machine.mig(0, &[(1, 0, 12, 13)]);
        for selection in ["all", "none", "0", "0-0", "GPU-aa", "01:00.0", "MIG-GPU-aa/1/0"] {
            assert_eq!(is_needed(selection), None, "{selection}");
        }
        assert_eq!(is_needed("0,0:0"), Some("0:0".to_owned()));
        assert_eq!(is_needed("MIG-aa"), Some("MIG-aa".to_owned()));
    }

    #[test]
    fn nvml_is_asked_for_allowed_mig_devices_where_a_request_means_some() {
        let machine = Machine::new();
        machine.gpu("0000:01:00.0", 0, "GPU-aa", &[]);
        let is_needed = |selection: &str, allowed: &str| {
            let text = format!("[security]\nrestrict_devices = true\nallowed_devices = [{allowed}]");
            let security = Settings::parse(&text, "f").unwrap().security;
            let request = Request::parse(selection, None, None).unwrap().within(&security);
            needed_for(&request, &machine.inventory().unwrap()).map(ToString::to_string)
        };
        assert_eq!(is_needed("all", "\"0\", \"MIG-aa\""), None);
        machine.mig(0, &[(1, 0, 12, 13)]);
        for selection in ["all", "MIG-GPU-aa/1/0", "0,MIG-GPU-aa/1/0"] {
            assert_eq!(is_needed(selection, "\"0\", \"MIG-aa\", \"0:1\""), Some("MIG-aa".to_owned()));
            assert_eq!(is_needed(selection, "\"0\", \"MIG-GPU-aa/1/0\""), None);
        }
        for selection in ["none", "0", "0-0", "GPU-aa", "01:00.0"] {
            assert_eq!(is_needed(selection, "\"MIG-aa\", \"0:1\""), None, "{selection}");
        }
    }

    #[test]
    fn a_program_that_prints_something_else_is_named() {
        let echo = Path::new("/bin/echo");
        let error = run(Command::new(echo), echo, Path::new("/x"), Question::Devices).unwrap_err();
        assert_eq!(error.to_string(), "/bin/echo printed no list of GPUs; is it of the same version?");
        assert_eq!(error.exit(), Exit::Driver);
    }

    #[test]
    fn nvbind_is_looked_for_where_setup_installs_it_and_beside() {
        for (hook, installed, beside) in [
            (
                "/usr/local/libexec/nvbind/nvbind-hook",
                "/usr/local/bin/nvbind",
                "/usr/local/libexec/nvbind/nvbind",
            ),
            (
                "/home/u/.local/libexec/nvbind/nvbind-hook",
                "/home/u/.local/bin/nvbind",
                "/home/u/.local/libexec/nvbind/nvbind",
            ),
            ("/nvbind-hook", "/bin/nvbind", "/nvbind"),
        ] {
            assert_eq!(places(Path::new(hook)), [installed, beside].map(PathBuf::from));
        }
    }
}
