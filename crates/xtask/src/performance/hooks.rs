//! The hook directories of the variants: the JSON as nvbind installed it, with another program for each.

use super::programs::{FLOOR, NOOP, TIMER};
use super::sample::Variant;
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_lanes::spec::PAYLOAD;
use nvbind_lanes::tree::write;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The hook JSON that `nvbind setup` made in the lane.
const INSTALLED: &str = "/usr/share/containers/oci/hooks.d/nvbind.json";

const FOLDER: &str = "/opt/performance";

/// Hook directories in a lane.
#[derive(Debug)]
pub(crate) struct Hooks {
    installed: Value,
}

impl Hooks {
    /// Makes a directory for every variant, the hook by itself and under the timer; `steps` is the floor's work.
    pub(crate) fn make(steps: &str) -> Result<Self> {
        let text = fs::read_to_string(INSTALLED).on("read", Path::new(INSTALLED))?;
        let installed = serde_json::from_str(&text)
            .map_err(|error| Error::failed(format!("cannot read {INSTALLED}: {error}")))?;
        let hooks = Self { installed };
        write(&Path::new(FOLDER).join("steps"), steps)?;
        let records = Path::new(FOLDER).join("records");
        fs::create_dir_all(&records).on("create", &records)?;
        fs::set_permissions(&records, fs::Permissions::from_mode(0o777)).on("open", &records)?;
        for variant in Variant::ALL {
            let plain = Self::directory(variant, false);
            fs::create_dir_all(&plain).on("create", &plain)?;
            let Some(command) = hooks.command(variant) else { continue };
            hooks.write(&plain, &command)?;
            let record = record(variant).display().to_string();
            let timer = vec![program(TIMER), TIMER.to_owned(), record];
            hooks.write(&Self::directory(variant, true), &[timer, command].concat())?;
        }
        Ok(hooks)
    }

    /// The directory for `--hooks-dir`.
    pub(crate) fn directory(variant: Variant, timed: bool) -> PathBuf {
        Path::new(FOLDER).join(if timed { "timed" } else { "hooks" }).join(variant.name())
    }

    /// The program and its arguments, its name first, as in the hook JSON.
    fn command(&self, variant: Variant) -> Option<Vec<String>> {
        let installed = |key: &str| self.installed.pointer(&format!("/hook/{key}"));
        match variant {
            Variant::Plain => None,
            Variant::NoopHook => Some(vec![program(NOOP), NOOP.to_owned()]),
            Variant::CFloor => Some(vec![program(FLOOR), FLOOR.to_owned(), format!("{FOLDER}/steps")]),
            Variant::Nvbind => {
                let mut command = vec![installed("path")?.as_str()?.to_owned()];
                let args = installed("args")?.as_array()?.iter().filter_map(Value::as_str);
                command.extend(args.map(str::to_owned));
                Some(command)
            }
        }
    }

    fn write(&self, directory: &Path, command: &[String]) -> Result<()> {
        let mut hook = self.installed.clone();
        if let Some(fields) = hook.get_mut("hook").and_then(Value::as_object_mut)
            && let Some((path, args)) = command.split_first()
        {
            fields.insert("path".to_owned(), json!(path));
            fields.insert("args".to_owned(), json!(args));
        }
        write(&directory.join("hook.json"), &hook.to_string())
    }
}

fn program(name: &str) -> String {
    format!("{PAYLOAD}/bin/{name}")
}

/// Where the timer writes for a variant.
pub(crate) fn record(variant: Variant) -> PathBuf {
    Path::new(FOLDER).join("records").join(variant.name())
}
