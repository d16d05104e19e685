//! Every key of a configuration file, as data: for the template, for `nvbind config` and for messages.

/// Who acts on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The hook, from the system's file alone: nothing that a user writes reaches it.
    Hook,
    /// `nvbind run` and `nvbind create`, from all files.
    CommandLine,
}

/// A key of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The table that it is in.
    pub table: &'static str,
    /// Its name in that table.
    pub name: &'static str,
    /// Its value where no file has it, as TOML.
    pub default: &'static str,
    /// What it means, in a line.
    pub meaning: &'static str,
    /// Who acts on it.
    pub reader: Reader,
}

const fn hook(table: &'static str, name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { table, name, default, meaning, reader: Reader::Hook }
}

const fn run(table: &'static str, name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { table, name, default, meaning, reader: Reader::CommandLine }
}

/// All of them, table by table.
pub const KEYS: &[Key] = &[
    hook("driver", "root", "\"/\"", "directory in whose place of / libraries and programs are found"),
    hook("driver", "dev_root", "\"/\"", "the same for the device nodes, below its dev/"),
    hook("driver", "proc_root", "\"/\"", "the same for driver/nvidia and devices, below its proc/"),
    hook("driver", "sys_root", "\"/\"", "the same for the PCI devices, below its sys/"),
    run(
        "runtime",
        "default_runtime",
        "\"podman\"",
        "--runtime: podman for its own default; crun, runc or a path for podman with that OCI runtime",
    ),
    run("runtime", "default_args", "[]", "options before those of the command line: [\"--rm\", \"-it\"]"),
    run(
        "runtime",
        "environment",
        "{}",
        "variables of the container; $NAME and ${NAME} stand for the caller's, $$ for a dollar",
    ),
    run("gpu", "default_selection", "\"all\"", "--gpu where the command line has none"),
    run("gpu", "enable_isolation", "false", "--isolate; --isolate=false on the command line is without"),
    run("gpu", "additional_devices", "[]", "podman's --device for each: [\"/dev/input\"]"),
    run(
        "gpu",
        "additional_libraries",
        "[]",
        "files of the host that the container sees at the same path, read-only",
    ),
    hook(
        "security",
        "restrict_devices",
        "false",
        "true: containers may have the GPUs of allowed_devices alone",
    ),
    hook(
        "security",
        "allowed_devices",
        "[]",
        "GPUs and MIG devices, named as for --gpu: [\"0\", \"GPU-5c…\"]",
    ),
    hook(
        "security",
        "visible_devices_when_unprivileged",
        "false",
        "true: NVIDIA_VISIBLE_DEVICES asks for any container, where setup --visible-devices installed its hook",
    ),
    hook(
        "security",
        "annotations",
        "true",
        "false: annotations ask for nothing, and refuse; for Podman up to 4.5.0, where an image can bring them",
    ),
    run("security", "allow_rootless", "true", "false: nvbind run starts containers for root alone"),
    run("security", "security_opts", "[]", "podman's --security-opt for each: [\"label=disable\"]"),
];

/// The table of the profiles, whose entries have names of the user's own.
pub const PROFILES: &str = "profiles";

/// A key of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileKey {
    /// Its name in that table.
    pub name: &'static str,
    /// A value, as TOML.
    pub example: &'static str,
    /// What it means, in a line.
    pub meaning: &'static str,
}

const fn of_profile(name: &'static str, example: &'static str, meaning: &'static str) -> ProfileKey {
    ProfileKey { name, example, meaning }
}

/// All keys of a `[profiles.NAME]`; `nvbind run` and `nvbind create` read them, from all files.
pub const PROFILE_KEYS: &[ProfileKey] = &[
    of_profile("description", "\"Blender\"", "what nvbind profile list says of it"),
    of_profile("capabilities", "\"graphics,utility\"", "--capabilities"),
    of_profile("isolate", "true", "--isolate; false: --isolate=false"),
    of_profile("extras", "[\"infiniband\"]", "--extras, those that this machine has"),
    of_profile("args", "[\"--network=host\"]", "further options, as in runtime.default_args"),
    of_profile("environment", "{ DISPLAY = \"$DISPLAY\" }", "variables, as in runtime.environment"),
    of_profile(
        "volumes",
        "[\"/tmp/.X11-unix:/tmp/.X11-unix:ro\"]",
        "podman's --volume for each; one whose path is not on this machine is left out",
    ),
    of_profile(
        "devices",
        "[\"/dev/input\"]",
        "podman's --device for each; one that this user cannot read is left out",
    ),
    of_profile(
        "ulimits",
        "[\"memlock=-1\"]",
        "podman's --ulimit for each; one that this user may not have is left out",
    ),
    of_profile("shm_size", "\"8g\"", "podman's --shm-size"),
];

/// The key of this table and name.
#[must_use]
pub fn find(table: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.table == table && key.name == name)
}

/// A file with every key, as a comment with its default.
#[must_use]
pub fn template() -> String {
    let mut text = String::from(
        "# The configuration of nvbind. Every key is optional; after the # of each is its default.\n",
    );
    let mut table = "";
    for key in KEYS {
        if key.table != table {
            table = key.table;
            text.push_str(&format!("\n[{table}]\n"));
        }
        let place = match key.reader {
            Reader::Hook => " (in /etc/nvbind/config.toml alone)",
            Reader::CommandLine => "",
        };
        text.push_str(&format!("# {}{place}\n#{} = {}\n", key.meaning, key.name, key.default));
    }
    text.push_str(&format!(
        "\n# Profiles, for nvbind run --profile NAME, of any name. One of a built-in profile's name changes that key by key.\n# [{PROFILES}.NAME]\n"
    ));
    for ProfileKey { name, example, meaning } in PROFILE_KEYS {
        text.push_str(&format!("# {name} = {example}  # {meaning}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    /// The fields that serde knows in a table, from its own message; the whole file's, for the name "".
    fn fields(table: &str) -> Vec<String> {
        let text = if table.is_empty() { "x = 1".to_owned() } else { format!("[{table}]\nx = 1") };
        let error = toml::from_str::<Settings>(&text).unwrap_err();
        let known = error.message().split_once("expected ").unwrap().1;
        known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_table_has_all_that_the_parser_takes() {
        let mut tables: Vec<&str> = KEYS.iter().map(|key| key.table).collect();
        tables.dedup();
        assert_eq!(fields(""), [tables.as_slice(), &[PROFILES]].concat());
        let names: Vec<&str> = PROFILE_KEYS.iter().map(|key| key.name).collect();
        assert_eq!(fields("profiles.x"), names);
        for table in tables {
            let names: Vec<&str> = KEYS.iter().filter(|key| key.table == table).map(|key| key.name).collect();
            assert_eq!(fields(table), names, "[{table}]");
        }
    }

    #[test]
    fn the_template_says_nothing_and_with_everything_uncommented_the_defaults() {
        let template = template();
        let defaults = Settings::parse("", "f").unwrap();
        assert_eq!(Settings::parse(&template, "f").unwrap(), defaults);
        // A sentence begins after a space, a key does not.
        let uncomment = |line| match str::strip_prefix(line, "#") {
            Some(key) if !key.starts_with(' ') => key,
            _ => line,
        };
        let all: Vec<&str> = template.lines().map(uncomment).collect();
        let all = all.join("\n");
        let table: toml::Table = all.parse().unwrap();
        let keys: usize = table.values().map(|table| table.as_table().unwrap().len()).sum();
        assert_eq!(keys, KEYS.len());
        assert_eq!(Settings::parse(&all, "f").unwrap(), defaults);
    }

    #[test]
    fn the_templates_profile_is_one() {
        let template = template();
        let (_, profile) = template.split_once("\n# [profiles.NAME]\n").unwrap();
        let lines = profile.lines().map(|line| line.strip_prefix("# ").unwrap());
        let profile: String = lines.map(|line| format!("{line}\n")).collect();
        let settings = Settings::parse(&format!("[profiles.NAME]\n{profile}"), "f").unwrap();
        assert_eq!(settings.profiles["NAME"].volumes, ["/tmp/.X11-unix:/tmp/.X11-unix:ro"]);
        assert_eq!(profile.lines().count(), PROFILE_KEYS.len());
    }

    #[test]
    fn the_reference_has_every_key_with_its_default() {
        let reference = include_str!("../../../../docs/reference.md");
        for Key { table, name, default, .. } in KEYS {
            let row = format!("| `{table}.{name}` | `{default}` |");
            assert!(reference.contains(&row), "{row}");
        }
        for ProfileKey { name, .. } in PROFILE_KEYS {
            let row = format!("| `profiles.NAME.{name}` |");
            assert!(reference.contains(&row), "{row}");
        }
    }
}
