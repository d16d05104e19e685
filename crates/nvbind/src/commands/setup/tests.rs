//! Installations below a directory of a test's own.

use super::steps::Removal;
use super::*;
use crate::cdi::{File, Kind};
use crate::podman::{containers_conf, hooks};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tempfile::TempDir;

struct Machine {
    dir: TempDir,
    layout: Layout,
    options: args::Setup,
    executables: Executables,
    sources: Sources,
}

fn machine(options: args::Setup) -> Machine {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    for name in ["nvbind", "nvbind-hook"] {
        fs::write(root.join(name), name).unwrap();
    }
    let options = args::Setup { prefix: Some(root.join("prefix")), ..options };
    let bases = Bases {
        home: root.to_owned(),
        containers: root.join("config"),
        data: root.join("prefix/data"),
        etc: root.join("etc"),
    };
    Machine {
        layout: Layout::new(&options, &bases),
        options,
        executables: Executables { cli: root.join("nvbind"), hook: root.join("nvbind-hook") },
        sources: Sources {
            vendor: root.join("usr"),
            admin: root.join("etc/containers"),
            user: Some(root.join("config")),
            instead: None,
            on_top: None,
            rootless: true,
        },
        dir,
    }
}

fn for_user() -> args::Setup {
    args::Setup { user: true, ..args::Setup::default() }
}

fn with_etc() -> args::Setup {
    args::Setup { etc: true, ..args::Setup::default() }
}

impl Machine {
    fn install(&self) -> Result<(), Error> {
        self.install_with(&self.options)
    }

    fn install_with(&self, options: &args::Setup) -> Result<(), Error> {
        install(&self.layout, &self.executables, options, &self.sources)
    }

    fn path(&self, item: Item) -> &Path {
        self.layout.path(item).unwrap()
    }

    /// Every file with its content, mode, inode and time of change.
    fn state(&self) -> Vec<(PathBuf, Vec<u8>, u32, u64, i64)> {
        let mut paths = Vec::new();
        walk(self.dir.path(), &mut paths);
        let state = |path: PathBuf| {
            let metadata = fs::metadata(&path).unwrap();
            let content = fs::read(&path).unwrap_or_default();
            (path, content, metadata.mode(), metadata.ino(), metadata.mtime_nsec())
        };
        paths.into_iter().map(state).collect()
    }

    /// The files below the directories of installations.
    fn installed(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        ["prefix", "config", "etc"].iter().for_each(|name| walk(&self.dir.path().join(name), &mut paths));
        paths.retain(|path| !path.is_dir());
        paths
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, found);
        }
        found.push(path);
    }
}

#[test]
fn a_users_podman_finds_the_installed_hook_and_after_uninstall_no_file_is_left() {
    let machine = machine(args::Setup { driver_root: Some("/driver".into()), ..for_user() });
    machine.install().unwrap();
    assert!(!machine.path(Item::VisibleDevicesJson).exists());

    let directories = machine.sources.read(&[]).unwrap().hooks_dirs;
    let hooks_dir = machine.layout.hooks_dir().to_owned();
    assert_eq!(directories, [Path::new(containers_conf::DEFAULT_HOOKS_DIR), &hooks_dir]);
    let expected = Installed {
        json: machine.path(Item::Json).to_owned(),
        binary: machine.path(Item::Hook).to_owned(),
        driver_root: Some("/driver".into()),
        config: None,
    };
    assert_eq!(hooks::find(&[hooks_dir]).unwrap(), expected);
    assert_eq!(fs::read(machine.path(Item::Cli)).unwrap(), b"nvbind");

    uninstall(&machine.layout, false).unwrap();
    uninstall(&machine.layout, false).unwrap();
    assert_eq!(machine.installed(), Vec::<PathBuf>::new());
    assert!(!machine.dir.path().join("prefix/libexec/nvbind").exists());
}

#[test]
fn a_second_installation_changes_nothing_and_repairs_what_differs() {
    for options in [for_user(), with_etc()] {
        let machine = machine(options);
        machine.install().unwrap();
        let first = machine.state();
        machine.install().unwrap();
        assert_eq!(machine.state(), first);

        let hook = machine.path(Item::Hook);
        fs::write(hook, "damaged").unwrap();
        fs::set_permissions(machine.path(Item::Cli), fs::Permissions::from_mode(0o777)).unwrap();
        machine.install().unwrap();
        assert_eq!(fs::read(hook).unwrap(), b"nvbind-hook");
        assert_eq!(fs::metadata(machine.path(Item::Cli)).unwrap().mode() & 0o7777, 0o755);
    }
}

#[test]
fn a_dry_run_changes_nothing_and_knows_what_the_installation_would() {
    for options in [for_user(), with_etc()] {
        let machine = machine(args::Setup { visible_devices: true, ..options });
        let dry = args::Setup { dry_run: true, ..machine.options.clone() };
        let before = machine.state();
        machine.install_with(&dry).unwrap();
        assert_eq!(machine.state(), before);
        let Decision { steps, .. } =
            decide(&machine.layout, &machine.executables, &dry, &machine.sources, &[]).unwrap();
        let planned: Vec<PathBuf> = steps.into_iter().map(|step| step.wanted.path).collect();

        machine.install().unwrap();
        let installed = machine.installed();
        assert_eq!(planned.len(), installed.len());
        assert!(planned.iter().all(|path| installed.contains(path)), "{planned:?}");

        let before = machine.state();
        uninstall(&machine.layout, true).unwrap();
        assert_eq!(machine.state(), before);
    }
}

#[test]
fn nothing_outside_of_a_prefix_is_written_unless_asked_for_and_then_it_is_kept_up_and_removed() {
    let machine = machine(with_etc());
    let without = args::Setup { etc: false, ..machine.options.clone() };
    let etc = machine.dir.path().join("etc");
    machine.install_with(&without).unwrap();
    assert!(!etc.exists());

    machine.install().unwrap();
    for item in [Item::Unit, Item::Rule, Item::Template, Item::UserTemplate, Item::DropIn] {
        assert!(machine.path(item).starts_with(&etc) && machine.path(item).exists(), "{item:?}");
    }
    let unit = fs::read_to_string(machine.path(Item::Unit)).unwrap();
    assert!(unit.contains(&format!("ExecStart={} devices\n", machine.path(Item::Cli).display())), "{unit}");
    let directories = machine.sources.read(&[]).unwrap().hooks_dirs;
    assert_eq!(directories, [Path::new(containers_conf::DEFAULT_HOOKS_DIR), machine.layout.hooks_dir()]);

    let line = content::first_line(machine.layout.command());
    fs::write(machine.path(Item::Rule), format!("{line}\nof an older version\n")).unwrap();
    machine.install_with(&without).unwrap();
    let rule = fs::read_to_string(machine.path(Item::Rule)).unwrap();
    assert_eq!(rule, format!("{line}\n{}", content::RULE));

    uninstall(&machine.layout, false).unwrap();
    assert_eq!(machine.installed(), Vec::<PathBuf>::new());
}

#[test]
fn what_somebody_wrote_or_made_their_own_is_left() {
    let machine = machine(with_etc());
    let own = ["# mine\n", "# Written by `nvbind setup --prefix /elsewhere`\n", ""];
    for (item, text) in [Item::Unit, Item::Rule, Item::DropIn].into_iter().zip(own) {
        fs::create_dir_all(machine.path(item).parent().unwrap()).unwrap();
        fs::write(machine.path(item), text).unwrap();
    }
    machine.install().unwrap();
    uninstall(&machine.layout, false).unwrap();
    for (item, text) in [Item::Unit, Item::Rule, Item::DropIn].into_iter().zip(own) {
        assert_eq!(fs::read_to_string(machine.path(item)).unwrap(), text);
    }
    assert_eq!(machine.installed().len(), 3);
}

#[test]
fn a_link_or_a_fifo_among_settings_is_somebodys_own_and_not_waited_for() {
    let machine = machine(with_etc());
    let (unit, rule) = (machine.path(Item::Unit), machine.path(Item::Rule));
    for path in [unit, rule] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    // As `systemctl mask` does.
    std::os::unix::fs::symlink("/dev/null", unit).unwrap();
    nix::unistd::mkfifo(rule, Mode::S_IRWXU).unwrap();
    machine.install().unwrap();
    uninstall(&machine.layout, false).unwrap();
    assert_eq!(fs::read_link(unit).unwrap(), Path::new("/dev/null"));
    assert!(fs::symlink_metadata(rule).is_ok());
}

#[test]
fn what_is_no_file_in_the_place_of_one_is_told_before_anything_is_installed() {
    let machine = machine(args::Setup::default());
    let json = machine.path(Item::Json);
    fs::create_dir_all(json).unwrap();
    let error = machine.install().unwrap_err();
    assert_eq!(error.to_string(), format!("{} is in the way: it is no regular file", json.display()));
    assert!(!machine.path(Item::Hook).exists());
    fs::remove_dir(json).unwrap();
    // A link is replaced, and what it leads to stays.
    let other = machine.dir.path().join("other");
    fs::write(&other, "other").unwrap();
    std::os::unix::fs::symlink(&other, json).unwrap();
    machine.install().unwrap();
    assert!(fs::symlink_metadata(json).unwrap().is_file());
    assert_eq!(fs::read(&other).unwrap(), b"other");
}

#[test]
fn a_prefix_that_leads_upwards_is_refused() {
    let options = args::Setup { prefix: Some("/usr/local/../local".into()), ..args::Setup::default() };
    assert!(matches!(absolute(&options), Err(Error::Upwards { .. })));
}

#[test]
fn the_mode_of_device_nodes_is_written_when_asked_for_stays_and_goes_with_the_rest() {
    let machine = machine(args::Setup::default());
    let path = machine.path(Item::DeviceFiles);
    machine.install().unwrap();
    assert!(!path.exists());
    let asked = args::Setup { device_group: Some("44".into()), ..machine.options.clone() };
    machine.install_with(&asked).unwrap();
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("\noptions nvidia NVreg_DeviceFileGID=44 NVreg_DeviceFileMode=0660\n"), "{text}");
    machine.install().unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), text);

    let wrong = args::Setup { device_mode: Some("0777".into()), ..machine.options.clone() };
    assert!(matches!(machine.install_with(&wrong), Err(Error::DeviceMode { .. })));
    assert_eq!(fs::read_to_string(path).unwrap(), text);
    uninstall(&machine.layout, false).unwrap();
    assert_eq!(machine.installed(), Vec::<PathBuf>::new());
}

#[test]
fn the_json_for_the_variable_comes_when_asked_for_stays_and_goes_with_the_other() {
    let machine = machine(args::Setup { visible_devices: true, ..args::Setup::default() });
    machine.install().unwrap();
    let json = machine.path(Item::VisibleDevicesJson);
    let directories = [machine.layout.hooks_dir().to_owned()];
    assert_eq!(json.parent(), Some(machine.layout.hooks_dir()));
    // What `nvbind run` looks for is the other one.
    assert_eq!(hooks::find(&directories).unwrap().json, machine.path(Item::Json));
    fs::remove_file(machine.path(Item::Json)).unwrap();
    assert!(hooks::find(&directories).is_err());

    let options = args::Setup {
        driver_root: Some("/driver".into()),
        visible_devices: false,
        ..machine.options.clone()
    };
    machine.install_with(&options).unwrap();
    let text = fs::read_to_string(json).unwrap();
    assert!(text.contains("\"--visible-devices\"") && text.contains("\"/driver\""), "{text}");

    uninstall(&machine.layout, false).unwrap();
    assert_eq!(machine.installed(), Vec::<PathBuf>::new());
}

#[test]
fn directories_that_another_file_sets_are_kept() {
    let machine = machine(for_user());
    fs::create_dir_all(&machine.sources.admin).unwrap();
    fs::write(machine.sources.admin.join("containers.conf"), "[engine]\nhooks_dir = [\"/theirs\"]\n")
        .unwrap();
    machine.install().unwrap();
    let directories = machine.sources.read(&[]).unwrap().hooks_dirs;
    assert_eq!(directories, [Path::new("/theirs"), machine.layout.hooks_dir()]);
}

#[test]
fn a_failed_installation_leaves_nothing_behind() {
    let machine = machine(args::Setup::default());
    // The directory of the JSON, the last to be written, can't be made.
    let hooks_dir = machine.layout.hooks_dir();
    fs::create_dir_all(hooks_dir.parent().unwrap()).unwrap();
    fs::write(hooks_dir, "").unwrap();
    let error = machine.install().unwrap_err();
    assert_eq!(error.to_string(), format!("cannot install {}", machine.path(Item::Json).display()));
    assert_eq!(machine.installed(), [hooks_dir]);
}

#[test]
fn the_jsons_are_the_first_to_go_and_the_executables_the_last() {
    let machine = machine(args::Setup { visible_devices: true, ..for_user() });
    machine.install().unwrap();
    let paths = machine.layout.targets().iter().rev().map(|place| (place.path.as_path(), None));
    let removals = steps::removals(paths.filter(|(path, _)| !path.is_dir()));
    let order = [
        Item::VisibleDevicesJson,
        Item::Json,
        Item::DropIn,
        Item::UserTemplate,
        Item::Policy,
        Item::Completions(clap_complete::Shell::Fish),
        Item::Completions(clap_complete::Shell::Bash),
        Item::Cli,
        Item::Hook,
    ];
    let mut expected: Vec<Removal> =
        order.iter().map(|item| Removal::File(machine.path(*item).to_owned())).collect();
    expected.push(Removal::Directory(machine.dir.path().join("prefix/libexec/nvbind")));
    assert_eq!(removals, expected);

    // A directory in the binary's place can't be removed as a file.
    fs::remove_file(machine.path(Item::Hook)).unwrap();
    fs::create_dir(machine.path(Item::Hook)).unwrap();
    let error = uninstall(&machine.layout, false).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot remove {}", machine.path(Item::Hook).display()));
    assert!(!machine.path(Item::Json).exists() && !machine.path(Item::VisibleDevicesJson).exists());
}

#[test]
fn a_directory_of_nvbinds_with_anothers_file_stays() {
    let machine = machine(args::Setup::default());
    machine.install().unwrap();
    let theirs = machine.path(Item::Hook).with_file_name("theirs");
    fs::write(&theirs, "").unwrap();
    uninstall(&machine.layout, false).unwrap();
    assert_eq!(machine.installed(), [theirs]);
}

#[test]
fn what_is_left_to_do_is_told_until_it_is_done() {
    let mut machine = machine(with_etc());
    let without = args::Setup { etc: false, ..machine.options.clone() };
    let told = |machine: &Machine, options: &args::Setup| {
        decide(&machine.layout, &machine.executables, options, &machine.sources, &[])
            .unwrap()
            .notes
            .join("\n")
    };
    let notes = told(&machine, &without);
    assert!(notes.contains("podman does not look in ") && notes.contains(" --etc` does"), "{notes}");
    assert!(notes.contains("nothing has the driver's device nodes made"), "{notes}");
    let notes = told(&machine, &machine.options);
    assert!(!notes.contains("podman"), "{notes}");
    assert!(
        notes.contains("systemctl daemon-reload && udevadm control --reload && nvbind devices"),
        "{notes}"
    );
    machine.install().unwrap();
    assert_eq!(told(&machine, &machine.options), "");

    let theirs = machine.sources.admin.join("containers.conf");
    fs::write(&theirs, "[engine]\nhooks_dir = [\"/theirs\"]\n").unwrap();
    let notes = told(&machine, &machine.options);
    assert!(notes.starts_with(&format!("{} sets hooks_dir too", theirs.display())), "{notes}");
    // The only file that podman reads.
    let only = machine.dir.path().join("only");
    fs::write(&only, "").unwrap();
    machine.sources.instead = Some(only.clone());
    let notes = told(&machine, &machine.options);
    assert!(notes.contains(&format!("below [engine] into {}", only.display())), "{notes}");
}

#[test]
fn the_hook_of_another_installation_is_kept_until_that_is_removed() {
    let machine = machine(with_etc());
    machine.install().unwrap();
    let (json, hook) =
        (machine.path(Item::Json).to_owned(), machine.dir.path().join("usr/libexec/nvbind-hook"));
    let text = fs::read_to_string(&json).unwrap();
    let theirs = text.replace(machine.path(Item::Hook).to_str().unwrap(), hook.to_str().unwrap());
    fs::write(&json, &theirs).unwrap();
    // Nobody's, as long as its hook is not there.
    machine.install().unwrap();
    assert_eq!(fs::read_to_string(&json).unwrap(), text);

    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&json, &theirs).unwrap();
    let before = machine.state();
    let error = machine.install().unwrap_err();
    assert_eq!(machine.state(), before);
    // But who may use the nodes is not that installation's matter.
    machine
        .install_with(&args::Setup { device_mode: Some("0666".into()), ..machine.options.clone() })
        .unwrap();
    assert!(
        fs::read_to_string(machine.path(Item::DeviceFiles)).unwrap().contains("NVreg_DeviceFileMode=0666")
    );
    fs::remove_file(machine.path(Item::DeviceFiles)).unwrap();
    assert!(matches!(&error, Error::OtherInstallation { hook: found, .. } if *found == hook), "{error}");
    uninstall(&machine.layout, false).unwrap();
    assert_eq!(fs::read_to_string(&json).unwrap(), theirs);
    assert!(!machine.path(Item::Hook).exists());
}

#[test]
fn a_later_installation_keeps_the_driver_root_and_the_configuration_until_told_otherwise() {
    let machine = machine(args::Setup { driver_root: Some("/driver".into()), ..with_etc() });
    machine.install().unwrap();
    let arguments = || {
        let found = hooks::find(&[machine.layout.hooks_dir().to_owned()]).unwrap();
        (found.driver_root, found.config)
    };
    let json = machine.path(Item::Json);
    let text = fs::read_to_string(json).unwrap();
    fs::write(json, text.replace("\"--driver-root\"", "\"--config\", \"/c.toml\", \"--driver-root\""))
        .unwrap();
    let later = args::Setup { driver_root: None, ..machine.options.clone() };
    machine.install_with(&later).unwrap();
    assert_eq!(arguments(), (Some("/driver".into()), Some("/c.toml".into())));
    machine.install_with(&args::Setup { driver_root: Some("/other".into()), ..later.clone() }).unwrap();
    assert_eq!(arguments(), (Some("/other".into()), Some("/c.toml".into())));
    machine.install_with(&args::Setup { driver_root: Some("/".into()), ..later }).unwrap();
    assert_eq!(arguments(), (None, Some("/c.toml".into())));
}

fn with_cdi() -> args::Setup {
    args::Setup { cdi: true, ..args::Setup::default() }
}

/// Another's specification, with a device that nvbind's has, too.
const RIVAL: &str = "kind: nvidia.com/gpu\ndevices:\n- name: '0'\n  containerEdits: {}\n";

fn names(machine: &Machine, kind: Kind) -> Vec<String> {
    File::read(machine.path(Item::Specification(kind))).unwrap().names
}

#[test]
fn specifications_come_when_asked_for_stay_with_their_names_and_are_the_first_to_go() {
    let machine = machine(with_cdi());
    let plain = args::Setup { cdi: false, ..machine.options.clone() };
    machine.install_with(&plain).unwrap();
    assert!(!machine.path(Item::Specification(Kind::Own)).exists());
    machine.install().unwrap();
    for kind in Kind::ALL {
        let file = File::read(machine.path(Item::Specification(kind))).unwrap();
        assert_eq!(file.hook.as_deref(), Some(machine.path(Item::Hook)));
        assert_eq!((file.kind.as_str(), file.names.len()), (kind.name(), 18));
    }
    let named = ["GPU-ab".to_owned(), "0".to_owned()];
    let Decision { steps, .. } =
        decide(&machine.layout, &machine.executables, &machine.options, &machine.sources, &named).unwrap();
    steps::install(&steps, false).unwrap();
    // A later one without them keeps them, and tells the hook of its driver root.
    machine.install_with(&args::Setup { driver_root: Some("/driver".into()), ..plain }).unwrap();
    assert_eq!(names(&machine, Kind::Nvidia).last().unwrap(), "GPU-ab");
    assert_eq!(names(&machine, Kind::Own).len(), 19);
    let text = fs::read_to_string(machine.path(Item::Specification(Kind::Own))).unwrap();
    assert!(text.contains("\"--driver-root\",\n          \"/driver\""), "{text}");
    let last = machine.layout.targets().last().unwrap().item;
    assert!(matches!(last, Item::Specification(_)), "{last:?}");
    uninstall(&machine.layout, false).unwrap();
    assert_eq!(machine.installed(), Vec::<PathBuf>::new());
}

#[test]
fn anothers_specification_stays_unless_it_is_to_be_replaced() {
    for directory in ["etc/cdi", "var/run/cdi"] {
        let machine = machine(with_cdi());
        let rival = machine.dir.path().join(directory).join("nvidia.yaml");
        fs::create_dir_all(rival.parent().unwrap()).unwrap();
        fs::write(&rival, RIVAL).unwrap();
        let notes = |options: &args::Setup| {
            decide(&machine.layout, &machine.executables, options, &machine.sources, &[])
                .unwrap()
                .notes
                .join("\n")
        };
        let says = format!("{} has devices nvidia.com/gpu already", rival.display());
        assert!(notes(&machine.options).contains(&says), "{}", notes(&machine.options));
        machine.install().unwrap();
        assert!(!machine.path(Item::Specification(Kind::Nvidia)).exists());
        assert_eq!(names(&machine, Kind::Own).len(), 18);

        let unit = machine.dir.path().join("usr/lib/systemd/system/nvidia-cdi-refresh.path");
        fs::create_dir_all(unit.parent().unwrap()).unwrap();
        fs::write(&unit, "").unwrap();
        let replace = args::Setup { replace: true, ..machine.options.clone() };
        let notes = notes(&replace);
        assert!(notes.contains("systemctl disable --now nvidia-cdi-refresh.path`"), "{notes}");
        machine.install_with(&args::Setup { dry_run: true, ..replace.clone() }).unwrap();
        assert!(rival.exists());
        machine.install_with(&replace).unwrap();
        assert!(!rival.exists());
        assert_eq!(names(&machine, Kind::Nvidia).len(), 18);
        let away = rival.with_file_name("nvidia.yaml.replaced-by-nvbind");
        assert_eq!(fs::read_to_string(&away).unwrap(), RIVAL);
        let removed = Removal::File(machine.path(Item::Specification(Kind::Nvidia)).to_owned());
        let notes = notes::removed(&machine.layout, &[removed]).join("\n");
        assert!(notes.starts_with(&away.display().to_string()), "{notes}");
    }
}

#[test]
fn a_file_of_the_same_name_that_is_not_nvbinds_stays() {
    let machine = machine(with_cdi());
    let path = machine.path(Item::Specification(Kind::Own));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let theirs = "{\"cdiVersion\": \"0.5.0\", \"kind\": \"example.com/x\", \"devices\": []}";
    fs::write(path, theirs).unwrap();
    machine.install().unwrap();
    uninstall(&machine.layout, false).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), theirs);
}

#[test]
fn specifications_run_the_hook_of_the_installation_that_is_there() {
    let machine = machine(args::Setup { etc: true, ..with_cdi() });
    let hook = machine.dir.path().join("usr/libexec/nvbind/nvbind-hook");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let json = machine.path(Item::Json);
    fs::create_dir_all(json.parent().unwrap()).unwrap();
    fs::write(json, content::hook_json(content::HOOK_JSON, &hook, &[]).unwrap()).unwrap();
    // Whatever others' JSONs are like.
    fs::write(json.with_file_name("a.json"), "{").unwrap();
    machine.install().unwrap();
    let file = File::read(machine.path(Item::Specification(Kind::Own))).unwrap();
    assert_eq!(file.hook.as_deref(), Some(hook.as_path()));
    assert!(!machine.path(Item::Hook).exists());
    // They are not this installation's to remove.
    uninstall(&machine.layout, false).unwrap();
    assert!(machine.path(Item::Specification(Kind::Own)).exists());
}
