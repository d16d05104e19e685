//! What follows `nvbind kube play`: nvbind's own options taken out, podman's kept, and the files apart, since podman takes
//! these anywhere among its options.

use super::command_line::{Error, Remote, color, oci_runtime};
use super::lexer::{self, Item, Options};
use super::options;
use clap::ColorChoice;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A scanned command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KubePlay {
    /// `--help`.
    pub(crate) help: bool,
    /// `--verbose`.
    pub(crate) verbose: bool,
    /// `--color`.
    pub(crate) color: Option<ColorChoice>,
    /// `--dry-run`.
    pub(crate) dry_run: bool,
    /// `--rootless`.
    pub(crate) rootless: bool,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--runtime` as it was typed.
    pub(crate) runtime: Option<OsString>,
    /// podman's `--down`: nothing is started.
    pub(crate) down: bool,
    /// podman's `--annotation`: names and values.
    pub(crate) annotations: Vec<(String, String)>,
    /// Values of podman's `--hooks-dir`.
    pub(crate) hooks_dirs: Vec<OsString>,
    /// Values of podman's `--module`.
    pub(crate) modules: Vec<PathBuf>,
    /// What podman's `--remote` says, and whether an option names another service.
    pub(crate) remote: Remote,
    /// The files, or `-`.
    pub(crate) files: Vec<OsString>,
    /// Options that podman takes only before `kube play`.
    before: Vec<OsString>,
    /// podman's other options.
    after: Vec<OsString>,
}

impl KubePlay {
    /// Scans the words after `nvbind kube play`.
    pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<KubePlay, Error> {
        let mut line = KubePlay::default();
        let mut words = words.into_iter();
        while let Some(item) = lexer::next_of(options::OF_KUBE_PLAY, &mut words) {
            match item {
                Item::Options(options) => {
                    if !line.take_own(&options)? {
                        line.pass_on(options);
                    }
                }
                Item::End(word) if word == "--" => line.files.extend(words.by_ref()),
                Item::End(word) => line.files.push(word),
            }
        }
        Ok(line)
    }

    /// Takes an option of nvbind's own; whether it was one.
    fn take_own(&mut self, options: &Options) -> Result<bool, Error> {
        let Some(given) = options.all.first() else { return Ok(false) };
        let option = || format!("--{}", given.name);
        let value = || given.value.clone().ok_or_else(|| Error::NoValue { option: option() });
        let switch = || given.switch().ok_or_else(|| Error::Switch { option: option() });
        match given.name.as_str() {
            "help" => self.help = switch()?,
            "verbose" => self.verbose = switch()?,
            "color" => self.color = Some(color(&value()?)?),
            "dry-run" => self.dry_run = switch()?,
            "rootless" => self.rootless = switch()?,
            "config" => self.config = Some(value()?.into()),
            "runtime" => self.runtime = Some(value()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Keeps podman's options for it, and remembers what the pre-flight has to know of them.
    fn pass_on(&mut self, options: Options) {
        let is_global = matches!(options.all.as_slice(), [only] if options::long(&only.name).before_run);
        for given in options.all {
            let is_on = given.is_on();
            match (given.name.as_str(), given.value) {
                ("down", _) => self.down = is_on,
                ("annotation", Some(value)) => self.annotations.extend(pair(&value)),
                ("hooks-dir", Some(value)) => self.hooks_dirs.push(value),
                ("module", Some(value)) => self.modules.push(value.into()),
                ("remote", _) => self.remote.switch = Some(is_on),
                ("url" | "connection" | "context" | "host", _) => self.remote.service = true,
                _ => {}
            }
        }
        let target = if is_global { &mut self.before } else { &mut self.after };
        target.push(options.word);
        target.extend(options.separate);
    }

    /// podman's arguments, without `podman` itself. `runtime` is one that the command line need not have, and `files` stand
    /// in the place of its own.
    pub(crate) fn podman_arguments(
        &self,
        runtime: Option<OsString>,
        files: &[OsString],
    ) -> Result<Vec<OsString>, Error> {
        let mut arguments = Vec::new();
        if let Some(runtime) = self.runtime.clone().or(runtime).map(oci_runtime).transpose()?.flatten() {
            arguments.extend(["--runtime".into(), runtime]);
        }
        arguments.extend_from_slice(&self.before);
        arguments.extend(["kube".into(), "play".into()]);
        arguments.extend_from_slice(&self.after);
        // A file can have the name of an option.
        arguments.extend(files.iter().any(|file| file.as_bytes().starts_with(b"--")).then(|| "--".into()));
        arguments.extend_from_slice(files);
        Ok(arguments)
    }
}

fn pair(value: &OsStr) -> Option<(String, String)> {
    let (name, value) = value.to_str()?.split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> KubePlay {
        KubePlay::parse(line.split(' ').map(OsString::from)).unwrap()
    }

    fn told(line: &str) -> String {
        let line = parse(line);
        let arguments = line.podman_arguments(Some("runc".into()), &line.files).unwrap();
        arguments.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn podmans_options_and_files_reach_it_wherever_they_stand() {
        for (line, expected) in [
            ("pod.yaml", "--runtime runc kube play pod.yaml"),
            ("-", "--runtime runc kube play -"),
            ("pod.yaml --replace", "--runtime runc kube play --replace pod.yaml"),
            (
                "--configmap a.yaml one.yaml --network none two.yaml",
                "--runtime runc kube play --configmap a.yaml --network none one.yaml two.yaml",
            ),
            ("-qw pod.yaml", "--runtime runc kube play -qw pod.yaml"),
            ("--runtime crun --dry-run --rootless pod.yaml", "--runtime crun kube play pod.yaml"),
            ("--runtime=podman pod.yaml", "kube play pod.yaml"),
            (
                "--context-dir d --seccomp-profile-root s --service-exit-code-propagation all f",
                "--runtime runc kube play --context-dir d --seccomp-profile-root s --service-exit-code-propagation all f",
            ),
            ("--module m --root /r pod.yaml", "--runtime runc --module m kube play --root /r pod.yaml"),
            ("-- --replace", "--runtime runc kube play -- --replace"),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }

    #[test]
    fn what_matters_before_podman_starts_is_known() {
        let line = parse("--annotation io.nvbind.gpu=0 --annotation=a=b=c --down --hooks-dir /h -r pod.yaml");
        let pairs = [("io.nvbind.gpu", "0"), ("a", "b=c")];
        assert_eq!(line.annotations, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(line.down);
        assert_eq!(line.hooks_dirs, ["/h"]);
        assert_eq!(line.remote.switch, Some(true));
        assert!(parse("-h").help && parse("--help pod.yaml").help);
        assert!(!parse("--down=false f").down);
    }

    #[test]
    fn an_option_without_its_value_is_an_error() {
        for (words, option) in [(["pod.yaml", "--config"], "--config"), (["--color", "--runtime"], "--color")]
        {
            let error = KubePlay::parse(words.map(OsString::from));
            assert!(error.is_err(), "{option}");
        }
    }
}
