//! What follows `nvbind kube play`: options, nvbind's and podman's mixed, and the files, which podman takes anywhere among its
//! options.

use super::known::KUBE_PLAY;
use super::lexer::{Group, Origin};
use super::options::Options;
use super::own::{Error, Runtime};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The annotation that is `--group-add keep-groups` to crun.
pub(crate) const KEEP_GROUPS: (&str, &str) = ("run.oci.keep_original_groups", "1");

/// A command line of `nvbind kube play`, read once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KubePlay {
    pub(crate) options: Options,
    /// The files, or `-`.
    pub(crate) files: Vec<OsString>,
}

impl KubePlay {
    /// Reads the arguments after `nvbind kube play`.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<KubePlay, Error> {
        let mut line = KubePlay::default();
        let mut arguments = arguments.into_iter();
        while let Some(file) = line.options.read(&KUBE_PLAY, &mut arguments, &Origin::Typed)? {
            if file == "--" {
                line.files.extend(arguments.by_ref());
            } else {
                line.files.push(file);
            }
        }
        Ok(line)
    }

    /// podman's `--annotation`: names and values.
    pub(crate) fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.values("annotation").filter_map(|value| value.to_str()?.split_once('='))
    }

    /// podman's arguments, without `podman` itself. `runtime` is for a command line without one, and `files` replace its own.
    pub(crate) fn podman_arguments(&self, runtime: &Runtime, files: &[OsString]) -> Vec<OsString> {
        let Runtime(runtime) = self.options.own.runtime.as_ref().unwrap_or(runtime);
        let runtime = runtime.iter().flat_map(|name| [OsString::from("--runtime"), name.clone()]);
        let (global, after): (Vec<&Group>, Vec<&Group>) =
            self.options.for_podman().partition(|group| group.is_global());
        // A file can have the name of an option.
        let is_like_option = |file: &OsString| file.as_bytes().starts_with(b"--");
        runtime
            .chain(global.into_iter().flat_map(Group::arguments))
            .chain(["kube".into(), "play".into()])
            .chain(after.into_iter().flat_map(Group::arguments))
            .chain(files.iter().any(is_like_option).then(|| "--".into()))
            .chain(files.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn parse(line: &str) -> KubePlay {
        KubePlay::parse(line.split(' ').map(OsString::from)).unwrap()
    }

    fn told(line: &str) -> String {
        let line = parse(line);
        let arguments = line.podman_arguments(&Runtime(Some("runc".into())), &line.files);
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
        assert!(line.annotations().eq([("io.nvbind.gpu", "0"), ("a", "b=c")]));
        assert!(line.options.is_on("down"));
        assert!(line.options.values("hooks-dir").eq(["/h"]));
        assert!(line.options.is_on("remote"));
        assert!(parse("-h").options.own.help && parse("--help pod.yaml").options.own.help);
        assert!(!parse("--down=false f").options.is_on("down"));
    }

    #[test]
    fn an_option_without_its_value_is_an_error() {
        for (arguments, option) in
            [(["pod.yaml", "--config"], "--config"), (["--color", "--runtime"], "--color")]
        {
            let error = KubePlay::parse(arguments.map(OsString::from));
            assert!(error.is_err(), "{option}");
        }
    }
}
