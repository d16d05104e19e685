//! What `nvbind setup` makes of where it is run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::world::World;

/// Everything in a directory that not everybody can read, or search.
fn closed(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let is_directory = entry.file_type().unwrap().is_dir();
        let needed = if is_directory { 0o555 } else { 0o444 };
        let mode = entry.metadata().unwrap().permissions().mode();
        if mode & needed != needed {
            found.push(format!("{} ({mode:o})", entry.path().display()));
        }
        if is_directory {
            found.extend(closed(&entry.path()));
        }
    }
    found
}

#[test]
fn what_is_installed_can_be_read_by_everybody_whatever_the_umask() {
    let world = World::new();
    world.write("bin/nvbind-hook", "the hook");
    world.allow("bin/nvbind-hook", 0o755);
    world.allow("home/.config/containers", 0o777);
    let said = world.nvbind_under("077", &["setup", "--user"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let hook = world.path("home/.local/libexec/nvbind/nvbind-hook");
    assert_eq!(fs::metadata(hook).unwrap().permissions().mode() & 0o7777, 0o755);
    for installed in ["home/.local", "home/.config/containers/containers.conf.d"] {
        assert_eq!(closed(&world.path(installed)), Vec::<String>::new());
    }
}

#[test]
fn a_hook_for_root_is_not_installed_where_others_can_write() {
    let world = World::new();
    world.write("bin/nvbind-hook", "the hook");
    world.allow("bin/nvbind-hook", 0o755);
    let prefix = world.path("prefix");
    fs::create_dir(&prefix).unwrap();
    world.allow("prefix", 0o777);
    // An ordinary user cannot install for root at all.
    let Some(said) = world.nvbind_as_root(&["setup", "--dry-run", "--prefix", prefix.to_str().unwrap()])
    else {
        return;
    };
    let says = format!("{} is not root's alone to write", prefix.display());
    assert!(said.code == 4 && said.err.contains(&says), "{said:?}");
    assert_eq!(said.out, "");
}
