//! What all options that ask for GPUs ask for together.

use super::lexer::Origin;
use super::options::Options;
use super::ways::{Asks, Way};
use crate::choice::{Choice, Error};
use nvbind_core::capability::Capabilities;
use nvbind_core::request::Gpus;
use nvbind_core::visible_devices;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) choice: Choice,
    /// Parts of the driver, where a way names them.
    pub(crate) capabilities: Option<String>,
    /// Whether who typed the line asks, and not the configuration.
    pub(crate) is_typed: bool,
    /// Whether `options=` of a `--gpus` is among it, which does nothing.
    pub(crate) has_options: bool,
}

/// What podman would read by itself.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The caller's variables.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The text of a file.
    pub(crate) file: &'a dyn Fn(&Path) -> Option<String>,
}

impl Way {
    /// The way that a line of a file with variables is.
    fn of_file(path: &OsStr, caller: Caller<'_>) -> Result<Option<Way>, Error> {
        let text = (caller.file)(Path::new(path)).unwrap_or_default();
        let value = text.lines().rev().find_map(|line| {
            let rest = line.trim_start().strip_prefix(visible_devices::VARIABLE)?;
            if rest.is_empty() { Some(None) } else { rest.strip_prefix('=').map(Some) }
        });
        let Some(value) = value else { return Ok(None) };
        let typed = format!("{} of {}", visible_devices::VARIABLE, Path::new(path).display());
        let asks = match value {
            Some(value) => match Choice::parse_variable(value) {
                Ok(choice) => Asks::Variable(choice),
                Err(source) => return Err(Error::Typed { typed, source: Box::new(source) }),
            },
            None => Asks::Inherited,
        };
        Ok(Some(Way { typed, asks, capabilities: None, has_options: false, origin: Origin::Typed }))
    }

    /// With the caller's own variable, where it is taken from there; none, if the caller has none.
    fn inherit(self, caller: Caller<'_>) -> Result<Option<Way>, Error> {
        if self.asks != Asks::Inherited {
            return Ok(Some(self));
        }
        let Some(value) = (caller.variable)(visible_devices::VARIABLE) else { return Ok(None) };
        let choice = Choice::parse_variable(&value.to_string_lossy());
        let typed = format!("{} ({}={})", self.typed, visible_devices::VARIABLE, value.to_string_lossy());
        match choice {
            Ok(choice) => Ok(Some(Way { asks: Asks::Variable(choice), typed, ..self })),
            Err(source) => Err(Error::Typed { typed, source: Box::new(source) }),
        }
    }
}

impl Options {
    /// Whether the caller's own variable is to say which GPUs.
    pub(crate) fn inherits_gpus(&self) -> bool {
        self.own.ways.iter().any(|way| way.asks == Asks::Inherited)
    }

    /// What the options ask for.
    pub(crate) fn asked(&self, caller: Caller<'_>) -> Result<Asked, Error> {
        let mut ways = Vec::new();
        for way in &self.own.ways {
            ways.extend(way.clone().inherit(caller)?);
        }
        // podman looks into files for what no option says.
        if !ways.iter().any(Way::is_variable) {
            let typed = self.groups().filter(|group| group.origin == Origin::Typed);
            let files = typed.flat_map(|group| &group.options).filter(|given| given.name == "env-file");
            let mut files: Vec<&OsStr> = files.filter_map(|given| given.value.as_deref()).collect();
            files.reverse();
            for way in files.into_iter().map(|path| Way::of_file(path, caller)) {
                if let Some(way) = way?.map(|way| way.inherit(caller)).transpose()?.flatten() {
                    ways.push(way);
                    break;
                }
            }
        }
        let Some(last) = ways.last().cloned() else {
            let choice = self.own.default_gpus.clone().unwrap_or(Choice::Named(Gpus::All));
            return Ok(Asked { choice, capabilities: None, is_typed: false, has_options: false });
        };
        ways.retain(|way| way.is_beside(&last));
        Ok(Asked {
            choice: unite(&ways)?,
            capabilities: self.capabilities_of(&ways)?,
            is_typed: last.origin == Origin::Typed,
            has_options: ways.iter().any(|way| way.has_options),
        })
    }

    /// The parts of the driver that the ways name, where they and the option agree.
    fn capabilities_of(&self, ways: &[Way]) -> Result<Option<String>, Error> {
        let mut found: Option<(&str, &str)> = None;
        let of_ways = ways.iter().filter_map(|way| Some((way.typed.as_str(), way.capabilities.as_deref()?)));
        let typed = self.groups().filter(|group| group.origin == Origin::Typed);
        let options = typed.flat_map(|group| &group.options).filter(|given| given.name == "capabilities");
        let of_option = options.last().and_then(|given| given.value.as_deref()?.to_str());
        let all: Vec<(&str, &str)> = of_ways.collect();
        if all.is_empty() {
            return Ok(None);
        }
        for (typed, list) in all.into_iter().chain(of_option.map(|list| ("--capabilities", list))) {
            match found {
                Some((one, other)) if Capabilities::parse(other).0 != Capabilities::parse(list).0 => {
                    return Err(Error::Capabilities { one: one.to_owned(), other: typed.to_owned() });
                }
                Some(_) => {}
                None => found = Some((typed, list)),
            }
        }
        Ok(found.map(|(_, list)| list.to_owned()))
    }
}

/// What all ask for together. The variable names all that the container has, so that it has to agree with the others.
fn unite(ways: &[Way]) -> Result<Choice, Error> {
    let mut united: Option<(Choice, String)> = None;
    let (variables, others): (Vec<&Way>, Vec<&Way>) = ways.iter().partition(|way| way.is_variable());
    for way in others.into_iter().chain(variables) {
        let (choice, is_all) = match &way.asks {
            Asks::For(choice) => (choice, false),
            Asks::Variable(choice) => (choice, true),
            Asks::Inherited => continue,
        };
        united = Some(match united {
            None => (choice.clone(), way.typed.clone()),
            Some((known, typed)) => {
                let disagree = || Error::Disagree { one: typed.clone(), other: way.typed.clone() };
                let both =
                    if is_all { known.is_like(choice).then_some(known) } else { known.union(choice.clone()) };
                (both.ok_or_else(disagree)?, format!("{typed} {}", way.typed))
            }
        });
    }
    Ok(united.map_or(Choice::Named(Gpus::All), |(choice, _)| choice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::podman::command_line::CommandLine;
    use crate::podman::mistakes;
    use nvbind_core::failure::Explain;
    use nvbind_core::message::line;

    /// A caller with NVIDIA_VISIBLE_DEVICES=3, and files of variables by their names.
    const CALLER: Caller<'static> = Caller {
        variable: &|name| (name == "NVIDIA_VISIBLE_DEVICES").then(|| "3".into()),
        file: &|path| match path.to_str() {
            Some("one") => Some("A=b\nNVIDIA_VISIBLE_DEVICES=1\n".into()),
            Some("void") => Some("NVIDIA_VISIBLE_DEVICES=1\nNVIDIA_VISIBLE_DEVICES=\n".into()),
            Some("other") => Some("# NVIDIA_VISIBLE_DEVICES=1\nNVIDIA_VISIBLE_DEVICES_=1\n".into()),
            Some("own") => Some("NVIDIA_VISIBLE_DEVICES\n".into()),
            _ => None,
        },
    };

    const NOBODY: Caller<'static> = Caller { variable: &|_name| None, ..CALLER };

    /// What `nvbind run TYPED` asks for, and the parts of the driver; or why it does not start, and the hint.
    fn asked_by(typed: &str, caller: Caller<'_>) -> Result<String, String> {
        let parsed = CommandLine::parse(typed.split(' ').map(OsString::from));
        let told = |error: &dyn Explain| {
            let hint = error.hint().map(|hint| format!(" | {hint}")).unwrap_or_default();
            format!("{}{hint}", line(error))
        };
        let parsed = parsed.map_err(|error| told(&error))?;
        let asked = parsed.options.asked(caller).map_err(|error| told(&error))?;
        mistakes::find(&parsed.options, &asked).map_err(|error| told(&error))?;
        let parts = asked.capabilities.map(|list| format!(" {list}")).unwrap_or_default();
        Ok(format!("{}{parts}", asked.choice))
    }

    #[test]
    fn every_way_asks_for_exactly_what_it_says() {
        for (typed, expected) in [
            ("I", "all"),
            ("--gpu 0 --gpu 1 I", "0,1"),
            ("--gpu 0,1 --gpu=1,2 I", "0,1,2"),
            ("--gpu any:2 I", "any:2"),
            ("--gpu nvidia.com/gpu=1 I", "1"),
            ("--gpus all I", "all"),
            ("--gpus 2 I", "any:2"),
            ("--gpus=1 I", "any:1"),
            ("--gpus device=1 I", "1"),
            ("--gpus \"device=0,1\" I", "0,1"),
            ("--gpus \"device=0,1\",capabilities=utility I", "0,1 utility"),
            ("--gpus device=0 --gpus device=1 I", "0,1"),
            ("--gpus all,capabilities=utility --capabilities utility I", "all utility"),
            ("--gpu 0 --gpus device=1 I", "0,1"),
            ("--gpus all --gpu all I", "all"),
            ("--device nvidia.com/gpu=1 I", "1"),
            ("--device=nvbind.io/gpu=0 --device /dev/dri I", "0"),
            ("--device nvidia.com/gpu=0 --device nvidia.com/gpu=1 I", "0,1"),
            ("--device nvidia.com/gpu=all I", "all"),
            ("--device nvidia.com/gpu=0 --gpu 1 I", "0,1"),
            ("--device nvidia.com/gpu=0 --annotation io.nvbind.gpu=1 I", "0,1"),
            ("--device amd.com/gpu=0 I", "all"),
            ("--annotation io.nvbind.gpu=1 I", "1"),
            ("--annotation io.nvbind.gpu=0+1 --annotation a=b I", "0,1"),
            ("-e NVIDIA_VISIBLE_DEVICES=1 I", "1"),
            ("--env NVIDIA_VISIBLE_DEVICES=1,0 I", "1,0"),
            ("--env=NVIDIA_VISIBLE_DEVICES=all I", "all"),
            ("-iteNVIDIA_VISIBLE_DEVICES=1 I", "1"),
            ("-e NVIDIA_VISIBLE_DEVICES=none I", "none"),
            ("-e NVIDIA_VISIBLE_DEVICES=void I", "void"),
            ("-e NVIDIA_VISIBLE_DEVICES= I", "void"),
            ("-e NVIDIA_VISIBLE_DEVICES=0,1 --gpu 1,0 I", "1,0"),
            ("-e NVIDIA_VISIBLE_DEVICES=all --gpus all I", "all"),
            ("--env-file one I", "1"),
            ("--env-file one --env-file void I", "void"),
            ("--env-file one --env-file other I", "1"),
            ("--env-file other I", "all"),
            ("--env-file missing I", "all"),
            ("--env-file one -e NVIDIA_VISIBLE_DEVICES=0 I", "0"),
            ("I -e NVIDIA_VISIBLE_DEVICES=1 --gpu 1", "all"),
            ("--gpus all --device /dev/nvidia1 I", "all"),
            ("--device /dev/nvidiactl --device /dev/nvidia-uvm I", "all"),
            ("--label a=b --annotation io.podman.x=y -e A=b I", "all"),
        ] {
            assert_eq!(asked_by(typed, NOBODY).as_deref(), Ok(expected), "nvbind run {typed}");
        }
    }

    #[test]
    fn the_callers_variable_counts_where_podman_would_take_it() {
        for (typed, of_caller, of_nobody) in [
            ("-e NVIDIA_VISIBLE_DEVICES I", "3", "all"),
            ("--env NVIDIA_* I", "3", "all"),
            ("--env-file own I", "3", "all"),
            ("--env * I", "3", "all"),
            ("--env CUDA_* I", "all", "all"),
            ("--env-host I", "all", "all"),
        ] {
            assert_eq!(asked_by(typed, CALLER).as_deref(), Ok(of_caller), "nvbind run {typed}");
            assert_eq!(asked_by(typed, NOBODY).as_deref(), Ok(of_nobody), "nvbind run {typed}");
        }
        let error = asked_by("-e NVIDIA_VISIBLE_DEVICES --gpu 1 I", CALLER).unwrap_err();
        let expected = "--gpu 1 and --env NVIDIA_VISIBLE_DEVICES (NVIDIA_VISIBLE_DEVICES=3) do not agree | name the GPUs once, as in `--gpu 0,1`";
        assert_eq!(error, expected);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        for (typed, expected) in [
            (
                "--gpu all --gpu 0 I",
                "--gpu all and --gpu 0 do not agree | name the GPUs once, as in `--gpu 0,1`",
            ),
            (
                "--gpu none --device nvidia.com/gpu=all I",
                "--gpu none and --device nvidia.com/gpu=all do not agree | name the GPUs once, as in `--gpu 0,1`",
            ),
            (
                "--gpus 2 --gpu 0 I",
                "--gpus 2 and --gpu 0 do not agree | name the GPUs once, as in `--gpu 0,1`",
            ),
            (
                "-e NVIDIA_VISIBLE_DEVICES=0 --gpu 1 I",
                "--gpu 1 and --env NVIDIA_VISIBLE_DEVICES=0 do not agree | name the GPUs once, as in `--gpu 0,1`",
            ),
            (
                "-e NVIDIA_VISIBLE_DEVICES=void --gpus 1 I",
                "--gpus 1 and --env NVIDIA_VISIBLE_DEVICES=void do not agree | name the GPUs once, as in `--gpu 0,1`",
            ),
            (
                "-e NVIDIA_VISIBLE_DEVICES=0 -e NVIDIA_VISIBLE_DEVICES=1 I",
                "--env NVIDIA_VISIBLE_DEVICES=0 and --env NVIDIA_VISIBLE_DEVICES=1 do not agree | name the GPUs once, as in `--gpu 0,1`",
            ),
            (
                "--env-file one --gpu 0 I",
                "--gpu 0 and NVIDIA_VISIBLE_DEVICES of one do not agree | name the GPUs once, as in `--gpu 0,1`",
            ),
            (
                "--gpus all,capabilities=utility --capabilities compute I",
                "--gpus all,capabilities=utility and --capabilities do not agree on the parts of the driver | name them once, by --capabilities",
            ),
            (
                "--gpus 0 I",
                "--gpus 0: 0 is no number of GPUs | `--gpu 0` is the first GPU, `--gpu none` is no GPU",
            ),
            (
                "--gpus 0,1 I",
                "--gpus 0,1: 0 is no number of GPUs | `--gpu 0` is the first GPU, `--gpu none` is no GPU",
            ),
            (
                "--gpus=count=0 I",
                "--gpus count=0: 0 is no number of GPUs | `--gpu 0` is the first GPU, `--gpu none` is no GPU",
            ),
            (
                "--annotation io.nvbind.gpus=0 I",
                "nvbind has no annotation io.nvbind.gpus | did you mean io.nvbind.gpu?",
            ),
            (
                "--annotation io.nvbind.GPU=0 I",
                "nvbind has no annotation io.nvbind.GPU | did you mean io.nvbind.gpu?",
            ),
            (
                "--annotation nvbind.io/gpu=0 I",
                "nvbind has no annotation nvbind.io/gpu | there are io.nvbind.gpu, io.nvbind.capabilities, io.nvbind.extras, io.nvbind.isolate",
            ),
            (
                "--annotation io.nvbind.isolated=true I",
                "nvbind has no annotation io.nvbind.isolated | did you mean io.nvbind.isolate?",
            ),
            (
                "--label io.nvbind.gpu=0 I",
                "io.nvbind.gpu is a label, and nvbind reads annotations | write the annotation io.nvbind.gpu",
            ),
            (
                "-e NVBIND_DEVICES=0 I",
                "NVBIND_DEVICES is for the containers of a pod | name the GPUs by `--gpu`",
            ),
            (
                "--device /dev/nvidia0 I",
                "--device /dev/nvidia0 gives the container a GPU beside those that nvbind gives it | leave it out, and name the GPU by `--gpu`: `nvbind info` shows which one has this node",
            ),
            (
                "--gpu 1 --device=/dev/nvidia0:rw I",
                "--device /dev/nvidia0 gives the container a GPU beside those that nvbind gives it | leave it out, and name the GPU by `--gpu`: `nvbind info` shows which one has this node",
            ),
        ] {
            assert_eq!(asked_by(typed, NOBODY), Err(expected.to_owned()), "nvbind run {typed}");
        }
        for typed in [
            "--device nvidia.com/gpu=gpu0 I",
            "--device nvidia.com/gpu=0:rwm I",
            "--annotation io.nvbind.gpu=x I",
            "-e NVIDIA_VISIBLE_DEVICES=x I",
            "--gpu device=0 I",
            "--gpus device=x I",
        ] {
            let error = asked_by(typed, NOBODY).unwrap_err();
            assert!(
                error.starts_with("--") && error.contains("is no GPU: write an index"),
                "{typed}: {error}"
            );
        }
        for typed in ["--gpus device= I", "--gpu= I", "--gpus= I", "--device nvidia.com/gpu I", "--gpus x I"]
        {
            assert!(asked_by(typed, NOBODY).is_err(), "{typed}");
        }
    }
}
