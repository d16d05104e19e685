//! `nvbind completions`: completions for shells, from the definitions that clap parses by.

use crate::args::{self, Cli};
use crate::failure::Failure;
use crate::output;
use clap::CommandFactory;
use clap_complete::Shell;

pub(crate) fn completions(options: &args::Completions) -> Result<(), Failure> {
    Ok(output::print(&script(options.shell))?)
}

/// The completions themselves.
pub(super) fn script(shell: Shell) -> Vec<u8> {
    let cli = Cli::command();
    // The generator does not leave out what is hidden.
    let visible = cli.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut visible = clap::Command::new("nvbind")
        .version(env!("CARGO_PKG_VERSION"))
        .args(cli.get_arguments())
        .subcommands(visible);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible, "nvbind", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    /// What bash offers at the end of this command line.
    fn offered(arguments: &[&str]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nvbind.bash");
        fs::write(&path, script(Shell::Bash)).unwrap();
        assert!(Command::new("bash").arg("-n").arg(&path).status().unwrap().success());
        // compopt works inside a completion alone.
        let line = "compopt() { :; }; source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))
                    _nvbind nvbind \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let output =
            Command::new("bash").args(["-c", line, "bash"]).arg(&path).args(arguments).output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_completes_commands_and_leaves_out_hidden_ones() {
        let commands = offered(&["nvbind", ""]);
        for command in Cli::command().get_subcommands() {
            let is_offered = commands.iter().any(|offered| offered == command.get_name());
            assert_eq!(is_offered, !command.is_hide_set(), "{}: {commands:?}", command.get_name());
        }
    }

    #[test]
    fn bash_completes_the_options_of_a_command_that_clap_does_not_parse() {
        let mut options: Vec<_> =
            args::run_options().iter().map(|option| format!("--{}", option.get_id())).collect();
        options.sort();
        let mut all = offered(&["nvbind", "run", ""]);
        all.sort();
        assert_eq!(all, options);
        assert_eq!(offered(&["nvbind", "run", "--gpu"]), ["--gpu", "--gpus"]);
        assert_eq!(offered(&["nvbind", "run", "--gpu", ""]), [""], "files are no GPUs");
        assert_eq!(offered(&["nvbind", "info", "--j"]), ["--json"]);
        assert_eq!(offered(&["nvbind", "kube", "play", "--r"]), ["--runtime", "--rootless"]);
    }

    #[test]
    fn every_shell_has_a_script() {
        for shell in [Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            for option in args::run_options() {
                assert!(script.contains(option.get_id().as_str()), "{shell}: {}", option.get_id());
            }
        }
    }
}
