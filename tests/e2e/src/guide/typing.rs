//! A reader who types the guide's commands, and what is claimed of each.

use crate::command_line::shim::LIMIT;
use crate::ended::{Ended, claim};
use crate::guide::containers::{Containers, has};
use crate::guide::markdown::{Block, Content, Typed};
use crate::podman::{Podman, Said, User, as_user, said};
use crate::profiles::desktop::{Desktop, home};
use crate::stand_in::{NO_DRIVER, Report, has_smi};
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use nvbind_lanes::tree::{USER, USER_ID, write};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The guide's name for an ordinary user.
const SOMEBODY: &str = "alice";

/// The directory that the reader begins in, below the home directory.
const DIRECTORY: &str = "project";

/// Where a shell leaves the directory that it was in.
const LAST_DIRECTORY: &str = "/tmp/guide-directory";

/// What all containers have while it is there: programs of stand-ins that servers run go on until they are stopped.
const SERVERS: &str = "/etc/containers/containers.conf.d/servers.conf";
const STAYS: &str = "[containers]\nenv = [\"TERM=xterm\", \"NVBIND_PROBE_STAYS=1\"]\n";

/// Whatever starts containers of a file.
const STARTS_SEVERAL: &[&str] = &["compose up", "kube play"];

/// What a device of CDI begins with, of either kind.
const DEVICE: &str = "/gpu=";

/// What `systemctl` is told to do.
const VERBS: &[&str] =
    &["cat", "daemon-reload", "disable", "enable", "is-active", "restart", "start", "status", "stop"];

/// Ends of the names of units that are no containers.
const OTHER_UNITS: &[&str] = &[".socket", ".target", ".timer", "nvbind-devices.service"];

/// What `podman run` goes into the background by.
const DETACHED: &[&str] = &["-d", "--detach", "-dit", "-itd", "-dti"];

/// The reader of one file.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    podman: Podman,
    desktop: &'a Desktop,
    directory: PathBuf,
    containers: Vec<Containers>,
    traces: Traces,
}

/// What a reader leaves that is to be found by its name alone.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// Files that were written.
    pub(super) files: BTreeSet<PathBuf>,
    /// Units that systemd was told of, and whose systemd it was.
    pub(super) units: BTreeSet<(String, bool)>,
}

impl<'a> Reader<'a> {
    /// In an empty directory; `podmans` are those of the users whose containers are looked at.
    pub(super) fn new(podman: Podman, podmans: &[Podman], desktop: &'a Desktop) -> Result<Self, Error> {
        let directory = home(podman.user).join(DIRECTORY);
        fs::create_dir_all(&directory).on("create", &directory)?;
        give_away(podman.user, &directory)?;
        let containers = podmans.iter().copied().map(Containers::of).collect();
        Ok(Self { podman, desktop, directory, containers, traces: Traces::default() })
    }

    /// Types nothing more.
    pub(super) fn done(mut self) -> Traces {
        std::mem::take(&mut self.traces)
    }

    /// Does what the block says.
    pub(super) fn does(&mut self, block: &Block) -> Result<(), Ended> {
        match &block.content {
            Content::Typed(commands) => commands.iter().try_for_each(|typed| self.types(typed)),
            Content::Written { path, text } => Ok(self.writes(path, text)?),
        }
    }

    fn writes(&mut self, path: &str, text: &str) -> Result<(), Error> {
        let (path, user) = match path.strip_prefix("~/") {
            Some(rest) => (home(self.podman.user).join(rest), self.podman.user),
            None if path.starts_with('/') => (PathBuf::from(path.replace(SOMEBODY, USER)), User::Root),
            None => (self.directory.join(path), self.podman.user),
        };
        write(&path, &text.replace(SOMEBODY, USER))?;
        let own = home(user);
        path.ancestors()
            .take_while(|above| above.starts_with(&own) && *above != own)
            .try_for_each(|above| give_away(user, above))?;
        self.traces.files.insert(path);
        Ok(())
    }

    fn types(&mut self, typed: &Typed) -> Result<(), Ended> {
        let text = typed.text.replace(SOMEBODY, USER);
        let starts = Starts::of(&text);
        self.traces.units.extend(units(&text));
        if starts == Starts::InForeground {
            // The reader would end a server that has the terminal.
            fs::remove_file(SERVERS).or_else(not_there).on("remove", Path::new(SERVERS))?;
        } else {
            write(Path::new(SERVERS), STAYS)?;
        }
        let user = if typed.is_root { User::Root } else { self.podman.user };
        let said = self.shell(user, &text)?;
        claim_as_told(typed, &said)?;
        if typed.code != 0 {
            return Ok(());
        }
        if starts == Starts::InForeground && asks(&text) {
            claim_sees(&text, &said)?;
        }
        let mut found = 0;
        for containers in &mut self.containers {
            found += containers.claim_gpus()?;
        }
        if starts == Starts::Several || starts == Starts::InBackground && asks(&text) {
            self.wait(found, &said)?;
        }
        Ok(())
    }

    /// A service's container need not be there at once.
    fn wait(&mut self, mut found: usize, said: &Said) -> Result<(), Ended> {
        let since = Instant::now();
        while found == 0 {
            claim(since.elapsed() < LIMIT, "no container with a GPU started", || said.told())?;
            thread::sleep(Duration::from_millis(300));
            for containers in &mut self.containers {
                found += containers.claim_gpus()?;
            }
        }
        Ok(())
    }

    fn shell(&mut self, user: User, text: &str) -> Result<Said, Ended> {
        let mut shell = as_user(user, limited(LIMIT, "bash"));
        if user == self.podman.user {
            shell.envs(self.desktop.variables());
        }
        shell.args(["-c", &format!("{text}\ncode=$?; pwd > {LAST_DIRECTORY}; exit $code")]);
        let mut said = said(shell.current_dir(&self.directory))?;
        text.clone_into(&mut said.line);
        if let Ok(directory) = fs::read_to_string(LAST_DIRECTORY) {
            self.directory = PathBuf::from(directory.trim_end());
            fs::remove_file(LAST_DIRECTORY).on("remove", Path::new(LAST_DIRECTORY))?;
        }
        Ok(said)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        // Written anew by the next reader, if it is left.
        drop(fs::remove_file(SERVERS));
    }
}

/// What a command does with containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Starts {
    /// Runs one to its end.
    InForeground,
    /// Runs one that goes on.
    InBackground,
    /// Has another program start some, which need not be there at once.
    Several,
    Else,
}

impl Starts {
    fn of(text: &str) -> Self {
        let runs = ["nvbind run", "podman run"].iter().any(|run| text.contains(run));
        let has = |words: &[&str]| text.split_whitespace().any(|word| words.contains(&word));
        if has(&["--dry-run"]) {
            return Self::Else;
        }
        if runs {
            return if has(DETACHED) { Self::InBackground } else { Self::InForeground };
        }
        let starts_unit =
            has(&["start", "restart", "--now"]) && units(text).any(|(unit, _)| is_container(&unit));
        if STARTS_SEVERAL.iter().any(|start| text.contains(start)) || starts_unit && !has(&["disable"]) {
            return Self::Several;
        }
        Self::Else
    }
}

/// The units of `systemctl` in a command, and whether they are the user's own.
fn units(text: &str) -> impl Iterator<Item = (String, bool)> {
    let words = text.split_whitespace().skip_while(|word| *word != "systemctl").skip(1);
    let names = words.filter(|word| !word.starts_with('-') && !VERBS.contains(word));
    names.map(|unit| (unit.to_owned(), text.contains("systemctl --user")))
}

/// Whether a unit is one that the guide's containers run in.
fn is_container(unit: &str) -> bool {
    !OTHER_UNITS.iter().any(|ending| unit.ends_with(ending))
}

/// Whether a container that the command runs asks for a GPU.
fn asks(text: &str) -> bool {
    let is_shim = text.contains("nvbind run") && !text.contains("--gpu none");
    let requests = ["io.nvbind.gpu", "NVIDIA_VISIBLE_DEVICES=", "--gpus", DEVICE];
    is_shim || text.contains("podman run") && requests.iter().any(|request| text.contains(request))
}

/// The command ended as the guide says; one that fails told what the guide says.
fn claim_as_told(typed: &Typed, said: &Said) -> Result<(), Ended> {
    let is_smi = typed.code == 0 && said.code == NO_DRIVER && has_smi(&said.out);
    claim(
        is_smi || said.code == typed.code,
        &format!("{} does not end with {}", said.line, typed.code),
        || said.told(),
    )?;
    if typed.code == 0 {
        return Ok(());
    }
    let told = format!("{}{}", said.out, said.err);
    typed.output.iter().try_for_each(|line| {
        claim(told.lines().any(|own| fits(own, line)), &format!("nobody said: {line}"), || said.told())
    })
}

/// Whether a line is as the guide has it, where `…` stands for anything.
fn fits(line: &str, pattern: &str) -> bool {
    let Some((first, more)) = pattern.split_once('…') else { return line == pattern };
    let Some(rest) = line.strip_prefix(first) else { return false };
    (0..=rest.len()).filter_map(|start| rest.get(start..)).any(|rest| fits(rest, more))
}

/// A container that has ended, and is perhaps removed, printed what it saw.
fn claim_sees(text: &str, said: &Said) -> Result<(), Ended> {
    let reports = Report::all(&said.out);
    for report in &reports {
        claim(report.unexpected.is_empty(), &report.unexpected.join("; "), || said.told())?;
    }
    let lists = said.out.lines().any(|line| line.contains("/dev/nvidia"));
    let devices = devices(text);
    let sees = reports.iter().any(|report| has(report, &devices)) || has_smi(&said.out) || lists;
    claim(sees, &format!("no GPU is in the container of {text}"), || said.told())
}

/// The GPUs that a command names as devices of CDI.
fn devices(text: &str) -> BTreeSet<String> {
    let names = text.split(DEVICE).skip(1).map(|rest| rest.split_whitespace().next().unwrap_or_default());
    names.map(str::to_owned).collect()
}

fn give_away(user: User, path: &Path) -> Result<(), Error> {
    let id = (user == User::Rootless).then_some(USER_ID);
    chown(path, id, id).on("give away", path)
}

fn not_there(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_starts_containers_in_one_of_these_ways() {
        for (text, expected) in [
            ("nvbind run --rm docker.io/a", Starts::InForeground),
            ("podman run -d \\\n  docker.io/a", Starts::InBackground),
            ("systemctl --user enable --now a", Starts::Several),
            ("systemctl --user enable --now podman.socket", Starts::Else),
            ("systemctl disable --now a", Starts::Else),
            ("systemctl daemon-reload", Starts::Else),
            ("podman-compose up -d", Starts::Several),
            ("podman kube play pod.yaml", Starts::Several),
            ("podman kube down pod.yaml", Starts::Else),
            ("nvbind run --dry-run docker.io/a", Starts::Else),
            ("nvbind kube play --dry-run pod.yaml", Starts::Else),
        ] {
            assert_eq!(Starts::of(text), expected, "{text}");
        }
    }

    #[test]
    fn systemd_is_told_of_units_by_their_names() {
        let of = |text| units(text).collect::<Vec<_>>();
        assert_eq!(of("systemctl --user status --no-pager a.b"), [("a.b".to_owned(), true)]);
        assert_eq!(of("systemctl stop a b"), [("a".to_owned(), false), ("b".to_owned(), false)]);
        assert_eq!(of("systemctl daemon-reload"), []);
        assert_eq!(of("podman stop a"), []);
    }

    #[test]
    fn only_who_asks_has_to_see_a_gpu() {
        assert!(asks("nvbind run --gpu 0 a"));
        assert!(asks("podman run --annotation io.nvbind.gpu=all a"));
        assert!(asks("podman run --device nvidia.com/gpu=0 a"));
        assert!(asks("podman run --gpus all a"));
        assert!(!asks("podman run a"));
    }

    #[test]
    fn devices_of_cdi_are_read_from_a_command() {
        let text = "podman run --device nvidia.com/gpu=0 --device=nvbind.io/gpu=1 a";
        assert_eq!(devices(text), BTreeSet::from(["0", "1"].map(str::to_owned)));
        assert!(devices("podman run --gpus all a").is_empty());
    }

    #[test]
    fn a_line_of_output_is_whole_but_for_what_is_left_out() {
        assert!(fits("error: no GPU 7 here", "error: no GPU … here"));
        assert!(fits("error: no GPU 7 here", "error: …"));
        assert!(fits("error: no GPU 7 here", "… GPU 7 …"));
        assert!(fits("a", "a"));
        assert!(!fits("ab", "a"));
        assert!(!fits("error: no GPU 7 here", "error: … there"));
        assert!(!fits("error: no GPU 7 here, or there", "error: … here"));
    }

    fn said(code: i32, out: &str) -> Said {
        Said { code, out: out.to_owned(), err: String::new(), line: String::new() }
    }

    #[test]
    fn a_command_ends_as_the_guide_says() {
        let typed = |code, output: &[&str]| Typed {
            text: String::new(),
            is_root: false,
            code,
            output: output.iter().map(|line| (*line).to_owned()).collect(),
        };
        let fails = |typed: &Typed, said: &Said| claim_as_told(typed, said).is_err();
        assert!(!fails(&typed(0, &["not claimed"]), &said(0, "")));
        assert!(!fails(&typed(0, &[]), &said(NO_DRIVER, "SIMULATED nvidia-smi nvmlInit_v2")));
        assert!(fails(&typed(0, &[]), &said(NO_DRIVER, "")));
        assert!(!fails(&typed(3, &["no … here"]), &said(3, "no GPU here")));
        assert!(fails(&typed(3, &["no … here"]), &said(3, "no GPU")));
        assert!(fails(&typed(3, &[]), &said(0, "")));
    }

    #[test]
    fn a_container_without_a_gpu_is_found_out() {
        let report = |node| {
            format!(
                "{{\n\"arguments\": [], \"directory\": \"\", \"devices\": [{{\"path\": \"{node}\"}}], \
                 \"mounts\": [], \"env\": {{}}, \"unexpected\": []}}"
            )
        };
        assert!(claim_sees("", &said(0, &report("/dev/nvidia0"))).is_ok());
        assert!(claim_sees("", &said(0, "/dev/nvidia0\n")).is_ok());
        assert!(claim_sees("", &said(0, "")).is_err());
        let unexpected = report("/dev/nvidia0").replace("\"unexpected\": []", "\"unexpected\": [\"x\"]");
        assert!(claim_sees("", &said(0, &unexpected)).is_err());
    }
}
