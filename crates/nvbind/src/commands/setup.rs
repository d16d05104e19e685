//! `nvbind setup`: installs nvbind, its hook and what makes podman run it, or removes them.

mod content;
mod error;
mod executables;
mod layout;
mod staged;

use crate::args;
use crate::failure::Failure;
use crate::podman::containers_conf::{Engine, Sources};
use error::Error;
use executables::Executables;
use layout::Layout;
use nix::sys::stat::{Mode, umask};
use staged::Staged;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{self, Path, PathBuf};

/// Installs or removes.
pub(crate) fn setup(options: &args::Setup) -> Result<(), Failure> {
    act(options).map_err(|error| error.into_failure(options))
}

fn act(options: &args::Setup) -> Result<(), Error> {
    if options.user && nix::unistd::geteuid().is_root() {
        return Err(Error::UserIsRoot);
    }
    let options = absolute(options)?;
    let sources = Sources::of_this_process();
    let (home, user_config) = match (env::home_dir(), &sources.user) {
        (Some(home), Some(config)) => (home, config.clone()),
        _ if options.user => return Err(Error::NoHome),
        _ => (PathBuf::new(), PathBuf::new()),
    };
    let layout = Layout::new(&options, &home, &user_config);
    if options.uninstall {
        return uninstall(&layout);
    }
    // Every user's podman runs the hook, whatever the umask of who installs it.
    umask(Mode::from_bits_truncate(0o022));
    install(&layout, &executables::find()?, &options, &sources)
}

fn absolute(options: &args::Setup) -> Result<args::Setup, Error> {
    let resolve = |path: &Option<PathBuf>| match path {
        Some(path) => match path::absolute(path) {
            Ok(absolute) => Ok(Some(absolute)),
            Err(source) => Err(Error::Read { path: path.clone(), source }),
        },
        None => Ok(None),
    };
    let driver_root = resolve(&options.driver_root)?;
    if let Some(path) = driver_root.as_ref().filter(|path| !path.is_dir()) {
        return Err(Error::DriverRoot { path: path.clone() });
    }
    Ok(args::Setup { prefix: resolve(&options.prefix)?, driver_root, ..options.clone() })
}

fn install(
    layout: &Layout,
    executables: &Executables,
    options: &args::Setup,
    sources: &Sources,
) -> Result<(), Error> {
    let json = |template| content::hook_json(template, &layout.hook, options.driver_root.as_deref());
    let (for_annotation, for_variable) = (json(content::HOOK_JSON)?, json(content::VISIBLE_DEVICES_JSON)?);
    let before = sources.read(&[])?;
    // All are written before the first is moved to its place; the JSON goes there after the binary that it names.
    let mut staged = Vec::new();
    staged.extend(stage_executable(&layout.hook, &executables.hook)?);
    staged.extend(stage_executable(&layout.cli, &executables.cli)?);
    staged.push(stage_text(&layout.json, &for_annotation)?);
    // One that is there stays, for the same driver root as the other.
    if options.visible_devices || layout.visible_devices_json.exists() {
        staged.push(stage_text(&layout.visible_devices_json, &for_variable)?);
    }
    if let Some(drop_in) = &layout.drop_in {
        let mut directories = before.hooks_dirs.clone();
        directories.retain(|directory| directory != layout.hooks_dir());
        directories.push(layout.hooks_dir().to_owned());
        staged.push(stage_text(drop_in, &content::hooks_dir_setting(&directories)?)?);
    }
    for file in staged {
        let path = file.target().to_owned();
        file.commit().map_err(|source| Error::Write { path: path.clone(), source })?;
        say(&format!("installed {}", path.display()));
    }
    tell_where_podman_looks(layout, &before, sources)
}

fn stage_executable(target: &Path, source: &Path) -> Result<Option<Staged>, Error> {
    let mut file =
        File::open(source).map_err(|error| Error::Read { path: source.to_owned(), source: error })?;
    Staged::copy(target, &mut file).map_err(|source| Error::Write { path: target.to_owned(), source })
}

fn stage_text(target: &Path, text: &str) -> Result<Staged, Error> {
    Staged::write(target, 0o644, &mut text.as_bytes())
        .map_err(|source| Error::Write { path: target.to_owned(), source })
}

/// What a user has to do, or know, so that podman finds the hook.
fn tell_where_podman_looks(layout: &Layout, before: &Engine, sources: &Sources) -> Result<(), Error> {
    let after = sources.read(&[])?;
    let directory = layout.hooks_dir();
    if !after.hooks_dirs.iter().any(|read| read == directory) {
        let mut all = after.hooks_dirs.clone();
        all.push(directory.to_owned());
        let setting = content::hooks_dir_setting(&all)?;
        let place = match sources.instead.as_ref().or_else(|| after.hooks_dirs_from.last()) {
            Some(file) => file.clone(),
            None => sources.admin.join("containers.conf.d/nvbind.conf"),
        };
        say(&format!(
            "note: podman does not look in {}: give it `--hooks-dir {0}`, or write into {}\n{setting}",
            directory.display(),
            place.display()
        ));
    } else if let Some(drop_in) = &layout.drop_in {
        for other in before.hooks_dirs_from.iter().filter(|file| *file != drop_in) {
            say(&format!(
                "note: {} sets hooks_dir too; {} replaces that, with its directories as they are now",
                other.display(),
                drop_in.display()
            ));
        }
    }
    Ok(())
}

/// The JSONs first: without the binary that they name, podman would start containers without their GPUs.
fn uninstall(layout: &Layout) -> Result<(), Error> {
    let jsons = [&layout.visible_devices_json, &layout.json];
    for path in jsons.into_iter().chain(layout.drop_in.as_ref()).chain([&layout.hook, &layout.cli]) {
        match fs::remove_file(path) {
            Ok(()) => say(&format!("removed {}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(Error::Remove { path: path.clone(), source });
            }
        }
    }
    if let Some(directory) = layout.hook.parent() {
        // Not empty or not there: not ours to remove.
        let _ = fs::remove_dir(directory);
    }
    Ok(())
}

fn say(line: &str) {
    // A closed stdout does not undo the installation.
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::podman::{containers_conf, hooks};
    use tempfile::TempDir;

    struct Machine {
        dir: TempDir,
        layout: Layout,
        executables: Executables,
        sources: Sources,
    }

    fn machine(user: bool) -> Machine {
        let dir = TempDir::new().unwrap();
        let root = dir.path();
        for name in ["nvbind", "nvbind-hook"] {
            fs::write(root.join(name), name).unwrap();
        }
        let prefix = Some(root.join("prefix"));
        let options = args::Setup { prefix, user, ..args::Setup::default() };
        Machine {
            layout: Layout::new(&options, root, &root.join("config")),
            executables: Executables { cli: root.join("nvbind"), hook: root.join("nvbind-hook") },
            sources: Sources {
                vendor: root.join("usr"),
                admin: root.join("etc"),
                user: Some(root.join("config")),
                instead: None,
                on_top: None,
                rootless: true,
            },
            dir,
        }
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
        }
        found.sort();
        found
    }

    #[test]
    fn a_users_podman_finds_the_installed_hook_and_after_uninstall_no_file_is_left() {
        let Machine { dir, layout, executables, sources } = machine(true);
        let options = args::Setup { driver_root: Some("/driver".into()), ..args::Setup::default() };
        install(&layout, &executables, &options, &sources).unwrap();
        install(&layout, &executables, &options, &sources).unwrap();
        assert!(!layout.visible_devices_json.exists());

        let directories = sources.read(&[]).unwrap().hooks_dirs;
        assert_eq!(directories, [Path::new(containers_conf::DEFAULT_HOOKS_DIR), layout.hooks_dir()]);
        let expected = hooks::Installed {
            json: layout.json.clone(),
            binary: layout.hook.clone(),
            driver_root: Some("/driver".into()),
            config: None,
        };
        assert_eq!(hooks::find(&[layout.hooks_dir().to_owned()]).unwrap(), expected);
        assert_eq!(fs::read(&layout.cli).unwrap(), b"nvbind");

        uninstall(&layout).unwrap();
        uninstall(&layout).unwrap();
        assert_eq!(files(&dir.path().join("prefix")), Vec::<PathBuf>::new());
        assert_eq!(files(&dir.path().join("config")), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_json_for_the_variable_comes_when_asked_for_stays_and_goes_with_the_other() {
        let Machine { dir, layout, executables, sources } = machine(false);
        let options = args::Setup { visible_devices: true, ..args::Setup::default() };
        install(&layout, &executables, &options, &sources).unwrap();
        assert_eq!(layout.visible_devices_json.parent(), Some(layout.hooks_dir()));
        let first = fs::read(&layout.visible_devices_json).unwrap();
        install(&layout, &executables, &options, &sources).unwrap();
        assert_eq!(fs::read(&layout.visible_devices_json).unwrap(), first);
        // What `nvbind run` looks for is the other one.
        let found = hooks::find(&[layout.hooks_dir().to_owned()]).unwrap();
        assert_eq!(found.json, layout.json);
        fs::remove_file(&layout.json).unwrap();
        assert!(hooks::find(&[layout.hooks_dir().to_owned()]).is_err());

        let options = args::Setup { driver_root: Some("/driver".into()), ..args::Setup::default() };
        install(&layout, &executables, &options, &sources).unwrap();
        let text = fs::read_to_string(&layout.visible_devices_json).unwrap();
        assert!(text.contains("\"--visible-devices\"") && text.contains("\"/driver\""), "{text}");

        uninstall(&layout).unwrap();
        assert_eq!(files(&dir.path().join("prefix")), Vec::<PathBuf>::new());
    }

    #[test]
    fn directories_that_another_file_sets_are_kept() {
        let Machine { layout, executables, sources, dir: _dir } = machine(true);
        fs::create_dir_all(&sources.admin).unwrap();
        fs::write(sources.admin.join("containers.conf"), "[engine]\nhooks_dir = [\"/theirs\"]\n").unwrap();
        install(&layout, &executables, &args::Setup::default(), &sources).unwrap();
        assert_eq!(sources.read(&[]).unwrap().hooks_dirs, [Path::new("/theirs"), layout.hooks_dir()]);
    }

    #[test]
    fn a_failed_installation_leaves_nothing_behind() {
        let Machine { dir, layout, executables, sources } = machine(false);
        // the directory of the JSON, the last to be written, can't be made
        fs::create_dir_all(dir.path().join("prefix")).unwrap();
        fs::write(dir.path().join("prefix/share"), "").unwrap();
        let error = install(&layout, &executables, &args::Setup::default(), &sources).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot install {}", layout.json.display()));
        assert_eq!(files(&dir.path().join("prefix")), [dir.path().join("prefix/share")]);
    }

    #[test]
    fn the_jsons_are_the_first_to_go() {
        let Machine { layout, executables, sources, dir: _dir } = machine(false);
        let options = args::Setup { visible_devices: true, ..args::Setup::default() };
        install(&layout, &executables, &options, &sources).unwrap();
        // a directory in the binary's place can't be removed as a file
        fs::remove_file(&layout.hook).unwrap();
        fs::create_dir(&layout.hook).unwrap();
        let error = uninstall(&layout).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot remove {}", layout.hook.display()));
        assert!(!layout.json.exists() && !layout.visible_devices_json.exists() && layout.cli.exists());
    }
}
