//! What the installed text files say.

use super::Error;
use crate::generate::unit;
use nvbind_core::message::printable;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The hook JSON for the annotation, as a distribution's package installs it.
pub(super) const HOOK_JSON: &str = include_str!("../../../../../hooks.d/nvbind.json");

/// The one for the variable `NVIDIA_VISIBLE_DEVICES`.
pub(super) const VISIBLE_DEVICES_JSON: &str =
    include_str!("../../../../../hooks.d/nvbind-visible-devices.json");

/// What starts the unit.
pub(super) const RULE: &str = include_str!("../../../../../packaging/udev/71-nvbind.rules");

/// What SELinux is to allow containers with GPUs.
pub(super) const POLICY: &str = include_str!("../../../../../packaging/selinux/nvbind.cil");

/// What makes the driver's nodes.
pub(super) const UNIT: &str = include_str!("../../../../../packaging/systemd/nvbind-devices.service");

/// A container as a service, for either manager.
pub(super) const TEMPLATE: &str = include_str!("../../../../../packaging/systemd/nvbind@.service");

/// Where a distribution's package has the command line, which is what the units name.
const PACKAGED_CLI: &str = "/usr/bin/nvbind";

/// The first line of what is written where people edit files, for the installation that this command line makes.
pub(super) fn first_line(command: &str) -> String {
    let command = printable(command);
    format!("# Written by `{command}`, which replaces and removes it. Without this line it does neither.")
}

/// Whether a text begins with this line.
pub(super) fn begins_with(text: &str, line: &str) -> bool {
    text.lines().next() == Some(line)
}

/// One of the units, for a command line at this place.
pub(super) fn unit(packaged: &str, cli: &Path) -> Result<String, Error> {
    Ok(packaged.replace(PACKAGED_CLI, &unit::quote(text(cli)?)))
}

/// One of them for a hook at this place, with these further arguments.
pub(super) fn hook_json(template: &str, hook: &Path, options: &[String]) -> Result<String, Error> {
    let mut document: Value = serde_json::from_str(template).map_err(Error::Template)?;
    if let Some(command) = document.get_mut("hook").and_then(Value::as_object_mut) {
        command.insert("path".into(), json!(text(hook)?));
        if let Some(args) = command.get_mut("args").and_then(Value::as_array_mut) {
            args.extend(options.iter().map(|option| json!(option)));
        }
    }
    pretty(&document)
}

/// A document as it is installed.
pub(super) fn pretty(document: &Value) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(document).map_err(Error::Template)?;
    text.push('\n');
    Ok(text)
}

/// The lines of containers.conf(5) for these directories.
pub(super) fn hooks_dir_setting(directories: &[PathBuf]) -> Result<String, Error> {
    Ok(format!("[engine]\n{}\n", hooks_dir_key(directories)?))
}

/// The one that belongs into `[engine]`.
///
/// A plain list and no `{append = true}`, which Podman before 4.8 does not parse, and then does not start.
pub(super) fn hooks_dir_key(directories: &[PathBuf]) -> Result<String, Error> {
    let directories = directories.iter().map(|directory| text(directory)).collect::<Result<Vec<_>, _>>()?;
    // A list of strings in JSON is one in TOML.
    let list = serde_json::to_string(&directories).map_err(Error::Template)?;
    Ok(format!("hooks_dir = {list}"))
}

/// A path that is written into a file.
pub(super) fn text(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::NotText { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn the_hook_json_has_the_path_and_the_driver_root() {
        let options = ["--driver-root".to_owned(), "/driver \"x\"".to_owned()];
        let text = hook_json(HOOK_JSON, Path::new("/opt/nvbind-hook"), &options).unwrap();
        let mut expected = json!({
            "version": "1.0.0",
            "hook": {
                "path": "/opt/nvbind-hook",
                "args": ["nvbind-hook", "prestart", "--driver-root", "/driver \"x\""],
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
                "timeout": 30
            },
            "when": {"annotations": {"^io\\.nvbind\\.": "(?s)^.*$"}},
            "stages": ["prestart"]
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);

        // The other differs in what it is for, and in nothing else.
        expected["hook"]["args"] = json!(["nvbind-hook", "prestart", "--visible-devices"]);
        expected["when"] = json!({"always": true});
        let text = hook_json(VISIBLE_DEVICES_JSON, Path::new("/opt/nvbind-hook"), &[]).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn the_units_run_the_installed_command_line() {
        for (packaged, verb) in [(UNIT, "devices"), (TEMPLATE, "run")] {
            let begins = |cli, expected: &str| {
                let text = unit(packaged, Path::new(cli)).unwrap();
                let line = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
                assert!(line.starts_with(&format!("ExecStart={expected} {verb}")), "{line}");
                assert_eq!(text.lines().count(), packaged.lines().count());
            };
            begins("/opt/n/bin/nvbind", "/opt/n/bin/nvbind");
            begins("/opt/my 100%/nvbind", "\"/opt/my 100%%/nvbind\"");
        }
    }

    #[test]
    fn the_rule_starts_the_unit_for_the_modules_own_events() {
        let rules: Vec<&str> =
            RULE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let [rule] = rules[..] else { panic!("{rules:?}") };
        for word in
            ["ACTION==\"add\"", "SUBSYSTEM==\"module\"", "TAG+=\"systemd\"", "+=\"nvbind-devices.service\""]
        {
            assert!(rule.contains(word), "{word}");
        }
    }

    #[test]
    fn the_setting_is_toml_for_any_path() {
        let directories = ["/usr/share/containers/oci/hooks.d", "/a \"b\\c"].map(PathBuf::from);
        let table: toml::Table = hooks_dir_setting(&directories).unwrap().parse().unwrap();
        let list: Vec<_> = table["engine"]["hooks_dir"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item.as_str().unwrap())
            .collect();
        assert_eq!(list, ["/usr/share/containers/oci/hooks.d", "/a \"b\\c"]);
    }

    #[test]
    fn a_path_that_is_not_text_is_refused() {
        let path = Path::new(OsStr::from_bytes(b"/\xff"));
        assert!(matches!(hook_json(HOOK_JSON, path, &[]), Err(Error::NotText { .. })));
    }
}
