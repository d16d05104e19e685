//! What follows `nvbind run`: nvbind's own options taken out, all others kept for podman, untouched and in order.
//!
//! It ends at IMAGE as podman's own parser (spf13/pflag, not interspersed) would: at the first word that is neither an
//! option nor the value of one. clap can't do this, because it has to know every option, and loses their order.

use super::options::{self, Form};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The annotation that asks for GPUs.
pub(crate) const GPU_ANNOTATION: &str = "io.nvbind.gpu";
/// The annotation that asks for parts of the driver.
pub(crate) const CAPABILITIES_ANNOTATION: &str = "io.nvbind.capabilities";

/// A scanned command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `--help` before IMAGE.
    pub(crate) help: bool,
    /// `--dry-run`.
    pub(crate) dry_run: bool,
    /// `--gpu` or `--gpus`.
    pub(crate) gpu: Option<String>,
    /// `--capabilities`.
    pub(crate) capabilities: Option<String>,
    /// `--runtime`, except for `podman`.
    pub(crate) runtime: Option<OsString>,
    /// Values of podman's `--annotation`.
    pub(crate) annotations: Vec<OsString>,
    /// Values of podman's `--hooks-dir`.
    pub(crate) hooks_dirs: Vec<OsString>,
    /// Values of podman's `--module`.
    pub(crate) modules: Vec<PathBuf>,
    /// What podman's `--remote` says, and whether an option names another service.
    pub(crate) remote: Remote,
    /// Options that podman takes only before `run`.
    pub(crate) before_run: Vec<OsString>,
    /// The rest as it was typed: podman's options, IMAGE, COMMAND.
    pub(crate) after_run: Vec<OsString>,
}

/// Where the command line puts podman's service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remote {
    /// `--remote`, `-r` or `--remote=BOOL`.
    pub(crate) switch: Option<bool>,
    /// `--url`, `--connection`, `--context` or `--host`.
    pub(crate) service: bool,
}

/// Why a command line can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// An option of nvbind stands last.
    #[error("{option} needs a value")]
    NoValue {
        /// The option as it was typed.
        option: String,
    },
    /// A selection can only be text.
    #[error("the value of {option} is not UTF-8")]
    NotText {
        /// The option as it was typed.
        option: String,
    },
}

impl CommandLine {
    /// Scans the words after `nvbind run`.
    pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<CommandLine, Error> {
        let mut line = CommandLine::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            if bytes == b"--" {
                line.after_run.push(word);
                break;
            } else if let Some(option) = bytes.strip_prefix(b"--") {
                line.take_long(&word, option, &mut words)?;
            } else if let Some(cluster) = bytes.strip_prefix(b"-").filter(|cluster| !cluster.is_empty()) {
                line.take_cluster(&word, cluster, &mut words);
            } else {
                line.after_run.push(word);
                break;
            }
        }
        line.after_run.extend(words);
        Ok(line)
    }

    fn take_long(
        &mut self,
        word: &OsStr,
        option: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Error> {
        let (name, attached) = split_at_equals(option);
        let name = String::from_utf8_lossy(name);
        let mut own_value = || {
            attached
                .clone()
                .or_else(|| rest.next())
                .ok_or_else(|| Error::NoValue { option: format!("--{name}") })
        };
        match &*name {
            "help" if attached.is_none() => self.help = true,
            "dry-run" if attached.is_none() => self.dry_run = true,
            "gpu" | "gpus" => self.gpu = Some(text(own_value()?, &name)?),
            "capabilities" => self.capabilities = Some(text(own_value()?, &name)?),
            "runtime" => self.runtime = Some(own_value()?).filter(|runtime| runtime != "podman"),
            _ => {
                let known = options::long(&name);
                let separate =
                    if known.form == Form::Value && attached.is_none() { rest.next() } else { None };
                self.note(&name, attached.as_deref().or(separate.as_deref()));
                let target = if known.before_run { &mut self.before_run } else { &mut self.after_run };
                target.push(word.to_owned());
                target.extend(separate);
            }
        }
        Ok(())
    }

    fn take_cluster(&mut self, word: &OsStr, cluster: &[u8], rest: &mut impl Iterator<Item = OsString>) {
        if let Some((letter, attached)) = cluster.split_first()
            && let Some(name) = options::short_before_run(*letter)
        {
            // `-r`, `-D`, `-H VALUE`, `-HVALUE`; in a longer cluster podman refuses them by itself.
            let takes_value = options::long(name).form == Form::Value;
            if attached.is_empty() || takes_value {
                self.note(name, None);
                self.before_run.push(word.to_owned());
                if takes_value && attached.is_empty() {
                    self.before_run.extend(rest.next());
                }
                return;
            }
        }
        self.after_run.push(word.to_owned());
        let value_at =
            cluster.iter().position(|letter| *letter == b'=' || options::short(*letter) == Form::Value);
        // In `-itv a:b` the value is the next word, in `-itva:b` and `-t=false` the rest of this one.
        if value_at.is_some_and(|at| at + 1 == cluster.len()) && !cluster.ends_with(b"=") {
            self.after_run.extend(rest.next());
        }
    }

    /// Remembers what the pre-flight has to know of an option that goes to podman.
    fn note(&mut self, name: &str, value: Option<&OsStr>) {
        match (name, value) {
            ("annotation", Some(value)) => self.annotations.push(value.to_owned()),
            ("hooks-dir", Some(value)) => self.hooks_dirs.push(value.to_owned()),
            ("module", Some(value)) => self.modules.push(PathBuf::from(value)),
            ("remote", value) => self.remote.switch = Some(value.is_none_or(go_bool)),
            ("url" | "connection" | "context" | "host", _) => self.remote.service = true,
            _ => {}
        }
    }

    /// podman's arguments, without `podman` itself. The annotations come first, so that one that the user gives wins.
    #[must_use]
    pub(crate) fn podman_arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::with_capacity(self.before_run.len() + self.after_run.len() + 7);
        if let Some(runtime) = &self.runtime {
            arguments.push("--runtime".into());
            arguments.push(runtime.clone());
        }
        arguments.extend_from_slice(&self.before_run);
        arguments.push("run".into());
        let capabilities = self.capabilities.as_deref().map(|list| (CAPABILITIES_ANNOTATION, list));
        for (key, value) in
            [(GPU_ANNOTATION, self.gpu.as_deref().unwrap_or("all"))].into_iter().chain(capabilities)
        {
            arguments.push("--annotation".into());
            arguments.push(format!("{key}={}", comma_free(value)).into());
        }
        arguments.extend_from_slice(&self.after_run);
        arguments
    }
}

/// Podman before 5.0 splits the value of `--annotation` at commas (pflag's StringSlice), later ones don't, so a list
/// gets through both only with another separator.
fn comma_free(list: &str) -> String {
    list.replace(',', "+")
}

fn split_at_equals(option: &[u8]) -> (&[u8], Option<OsString>) {
    match option.iter().position(|byte| *byte == b'=').and_then(|at| option.split_at_checked(at)) {
        Some((name, value)) => (name, value.get(1..).map(|value| OsString::from_vec(value.to_vec()))),
        None => (option, None),
    }
}

fn text(value: OsString, name: &str) -> Result<String, Error> {
    value.into_string().map_err(|_value| Error::NotText { option: format!("--{name}") })
}

/// Go's strconv.ParseBool, which podman's switches use; what it refuses, podman refuses too.
fn go_bool(value: &OsStr) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"].iter().any(|word| value == *word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn scan(line: &str) -> CommandLine {
        CommandLine::parse(words(line)).unwrap()
    }

    fn podman(line: &str) -> String {
        let arguments = scan(line).podman_arguments();
        arguments.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn what_podman_gets() {
        let table = [
            ("IMAGE", "run --annotation io.nvbind.gpu=all IMAGE"),
            ("--gpu 0 IMAGE", "run --annotation io.nvbind.gpu=0 IMAGE"),
            ("--gpu=0 IMAGE", "run --annotation io.nvbind.gpu=0 IMAGE"),
            ("--gpus all IMAGE", "run --annotation io.nvbind.gpu=all IMAGE"),
            ("--gpu 0 --gpu 1 IMAGE", "run --annotation io.nvbind.gpu=1 IMAGE"),
            ("--gpu 0,1 IMAGE", "run --annotation io.nvbind.gpu=0+1 IMAGE"),
            (
                "--capabilities compute,utility IMAGE",
                "run --annotation io.nvbind.gpu=all --annotation io.nvbind.capabilities=compute+utility IMAGE",
            ),
            (
                "-it --gpu 1 -v a:b --name x IMAGE --gpu is-the-commands",
                "run --annotation io.nvbind.gpu=1 -it -v a:b --name x IMAGE --gpu is-the-commands",
            ),
            ("--rm IMAGE --help", "run --annotation io.nvbind.gpu=all --rm IMAGE --help"),
            // values that look like options or images are values
            ("--name --gpu --gpu 1 I", "run --annotation io.nvbind.gpu=1 --name --gpu I"),
            ("-v --gpu I --gpu 1", "run --annotation io.nvbind.gpu=all -v --gpu I --gpu 1"),
            ("--gpu --rm I", "run --annotation io.nvbind.gpu=--rm I"),
            // clusters
            ("-itv a:b --gpu 1 I", "run --annotation io.nvbind.gpu=1 -itv a:b I"),
            ("-itva:b I --gpu 1", "run --annotation io.nvbind.gpu=all -itva:b I --gpu 1"),
            ("-eFOO --gpu 1 I", "run --annotation io.nvbind.gpu=1 -eFOO I"),
            ("-e=FOO --gpu 1 I", "run --annotation io.nvbind.gpu=1 -e=FOO I"),
            ("-t=false --gpu 1 I", "run --annotation io.nvbind.gpu=1 -t=false I"),
            ("-e= --gpu 1 I", "run --annotation io.nvbind.gpu=1 -e= I"),
            ("-dPh host --gpu 1 I", "run --annotation io.nvbind.gpu=1 -dPh host I"),
            // the end of options
            ("-it -- IMAGE --gpu 1", "run --annotation io.nvbind.gpu=all -it -- IMAGE --gpu 1"),
            ("--gpu 1 -- --gpu 2", "run --annotation io.nvbind.gpu=1 -- --gpu 2"),
            ("- --gpu 1", "run --annotation io.nvbind.gpu=all - --gpu 1"),
            // what no table knows goes on, without a separate value
            ("--new-in-6 I --gpu 1", "run --annotation io.nvbind.gpu=all --new-in-6 I --gpu 1"),
            ("--new-in-6=x --gpu 1 I", "run --annotation io.nvbind.gpu=1 --new-in-6=x I"),
            ("-Z --gpu 1 I", "run --annotation io.nvbind.gpu=1 -Z I"),
            ("--dry-run=x I", "run --annotation io.nvbind.gpu=all --dry-run=x I"),
            // podman's global options
            ("--root /r --gpu 1 I", "run --annotation io.nvbind.gpu=1 --root /r I"),
            ("--log-level=debug --gpu 1 I", "run --annotation io.nvbind.gpu=1 --log-level=debug I"),
            ("-it -r --gpu 1 I", "-r run --annotation io.nvbind.gpu=1 -it I"),
            ("-it --url ssh://h --rm I", "--url ssh://h run --annotation io.nvbind.gpu=all -it --rm I"),
            ("--rm --connection=c I", "--connection=c run --annotation io.nvbind.gpu=all --rm I"),
            (
                "--module m -H tcp://h -c 512 I",
                "--module m -H tcp://h run --annotation io.nvbind.gpu=all -c 512 I",
            ),
            ("-rit I", "run --annotation io.nvbind.gpu=all -rit I"),
            // the OCI runtime
            ("--runtime podman I", "run --annotation io.nvbind.gpu=all I"),
            ("--rm --runtime crun I", "--runtime crun run --annotation io.nvbind.gpu=all --rm I"),
            ("--runtime=/opt/runc I", "--runtime /opt/runc run --annotation io.nvbind.gpu=all I"),
            ("--runtime crun --runtime podman I", "run --annotation io.nvbind.gpu=all I"),
        ];
        for (typed, expected) in table {
            assert_eq!(podman(typed), expected, "nvbind run {typed}");
        }
    }

    #[test]
    fn what_the_pre_flight_learns() {
        let line = scan(
            "--annotation a=b --hooks-dir /x --hooks-dir=/y --module m --dry-run --remote=false --url u I --help",
        );
        let expected = CommandLine {
            dry_run: true,
            annotations: words("a=b"),
            hooks_dirs: words("/x /y"),
            modules: vec![PathBuf::from("m")],
            remote: Remote { switch: Some(false), service: true },
            before_run: words("--module m --remote=false --url u"),
            after_run: words("--annotation a=b --hooks-dir /x --hooks-dir=/y I --help"),
            ..CommandLine::default()
        };
        assert_eq!(line, expected);
    }

    #[test]
    fn a_switch_of_another_service_is_seen_in_every_spelling() {
        let table = [
            ("I --remote", Remote::default()),
            ("--remote I", Remote { switch: Some(true), service: false }),
            ("-r I", Remote { switch: Some(true), service: false }),
            ("--remote=0 I", Remote { switch: Some(false), service: false }),
            ("-Htcp://h I", Remote { switch: None, service: true }),
            ("--connection c I", Remote { switch: None, service: true }),
        ];
        for (typed, expected) in table {
            assert_eq!(scan(typed).remote, expected, "nvbind run {typed}");
        }
    }

    #[test]
    fn help_is_nvbinds_only_before_the_image() {
        assert!(scan("-it --help IMAGE").help);
        assert!(!scan("-it IMAGE --help").help);
        assert!(!scan("-h IMAGE").help, "-h is podman's --hostname");
    }

    #[test]
    fn an_option_of_nvbind_without_a_value_is_refused() {
        for option in ["--gpu", "--gpus", "--capabilities", "--runtime"] {
            assert_eq!(
                CommandLine::parse(words(&format!("-it {option}"))),
                Err(Error::NoValue { option: option.into() })
            );
        }
        // podman words its own
        assert_eq!(podman("--name"), "run --annotation io.nvbind.gpu=all --name");
    }

    #[test]
    fn bytes_that_are_not_text_reach_podman_and_are_no_selection() {
        let raw = OsString::from_vec(b"-v/\xff:/x".to_vec());
        let line = CommandLine::parse([raw.clone(), OsString::from("I")]).unwrap();
        assert_eq!(line.after_run, [raw, OsString::from("I")]);
        let gpu = OsString::from_vec(b"--gpu=\xff".to_vec());
        assert_eq!(CommandLine::parse([gpu]), Err(Error::NotText { option: "--gpu".into() }));
    }
}
