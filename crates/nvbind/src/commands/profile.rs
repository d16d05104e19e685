//! `nvbind profile`: which profiles there are, and what one adds on this machine.

use super::config::line;
use crate::additions::{self, Caller, This};
use crate::args;
use crate::config::{self, Configuration};
use crate::failure::Failure;
use crate::output;
use crate::podman::command_line::{CommandLine, Verb};
use crate::profiles::Profiles;
use nvbind_core::host::Roots;
use nvbind_core::message::printable;
use nvbind_core::settings::keys::PROFILES;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Does what the subcommand says.
pub(crate) fn profile(command: &args::Profile) -> Result<(), Failure> {
    let (args::Profile::List(files) | args::Profile::Show { files, .. }) = command;
    let configuration = Configuration::load(&config::layers(files.config.as_deref()))?;
    let profiles = Profiles::of(&configuration)?;
    let text = match command {
        args::Profile::List(_) => list(&profiles),
        args::Profile::Show { name, .. } => {
            let caller = Caller {
                verb: Verb::Run,
                is_root: nix::unistd::geteuid().is_root(),
                has_terminal: true,
                variable: &|name| std::env::var_os(name),
                host: &This,
            };
            show(&profiles, name, &configuration.settings.driver, caller)?
        }
    };
    Ok(output::print(text.as_bytes())?)
}

fn list(profiles: &Profiles) -> String {
    let width = profiles.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    profiles.iter().fold(String::new(), |mut text, (name, profile)| {
        let keys = profiles.keys(name);
        let files: BTreeSet<String> =
            keys.0.values().map(|set| set.origin.file.display().to_string()).collect();
        let files: Vec<String> = files.into_iter().collect();
        let gap = if profile.description.is_empty() { "" } else { " " };
        let rest = format!("{}{gap}({})", profile.description, files.join(", "));
        let name = printable(name);
        let _ = writeln!(text, "{name:width$}  {}", printable(&rest));
        text
    })
}

/// The profile as a table of a file, and as comments what this caller would not get of it.
fn show(profiles: &Profiles, name: &str, driver: &Roots, caller: Caller<'_>) -> Result<String, Failure> {
    profiles.find(name)?;
    let mut text = format!("[{PROFILES}]\n");
    text.extend(profiles.keys(name).0.iter().map(line));
    // Without what the configuration says for every container.
    let mut configuration = Configuration { values: profiles.keys(name), ..Configuration::default() };
    configuration.settings.driver = driver.clone();
    let mut line = CommandLine::default();
    line.options.own.profiles.push(name.to_owned());
    for note in additions::add(&mut line, &configuration, caller)? {
        let _ = writeln!(text, "# {}", printable(&note));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_core::failure::Explain as _;
    use std::fs;

    #[test]
    fn a_profile_is_shown_as_a_file_that_says_the_same_and_with_what_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(
            &path,
            "[profiles.gaming]\ndevices = ['/nonexistent/pad']\n[profiles.mine]\nisolate = true\n",
        )
        .unwrap();
        let layer = |path| config::Layer { path, kind: config::Kind::Named };
        let profiles = Profiles::of(&Configuration::load(&[layer(path.clone())]).unwrap()).unwrap();
        let caller = Caller {
            verb: Verb::Run,
            is_root: false,
            has_terminal: true,
            variable: &|_name| None,
            host: &This,
        };
        let shown = show(&profiles, "gaming", &Roots::default(), caller).unwrap();
        for line in [
            "gaming.capabilities = \"all\"  # built-in/gaming.toml:3\n".to_owned(),
            format!("gaming.devices = [\"/nonexistent/pad\"]  # {}:2\n", path.display()),
            "# --device /nonexistent/pad of the profile gaming is left out: it is not on this machine\n"
                .to_owned(),
            "# --env DISPLAY of the profile gaming is left out: DISPLAY is not set here\n".to_owned(),
        ] {
            assert!(shown.contains(&line), "{line} in\n{shown}");
        }
        let again = dir.path().join("again.toml");
        fs::write(&again, &shown).unwrap();
        let again = Profiles::of(&Configuration::load(&[layer(again)]).unwrap()).unwrap();
        assert_eq!(again.find("gaming").unwrap(), profiles.find("gaming").unwrap());
        let list = list(&profiles);
        assert!(list.contains(&format!("mine    ({})\n", path.display())), "{list}");
        assert!(list.contains(&format!("({}, built-in/gaming.toml)\n", path.display())), "{list}");
        let error = profiles.find("gamign").unwrap_err();
        assert_eq!(error.to_string(), "there is no profile gamign; there are ai-ml, gaming, mine, shared");
        assert_eq!(error.hint().unwrap(), "did you mean gaming?");
    }
}
