//! `nvbind config`: what is shown, checked and written.

use crate::world::World;
use std::fs;

#[test]
fn what_is_shown_has_its_file_and_line() {
    let world = World::new();
    let file = world.configure("[gpu]\ndefault_selection = '0'\n");
    let shown = world.nvbind(&["config", "show"]);
    let line = format!("default_selection = \"0\"  # {}:2\n", file.display());
    assert!(shown.code == 0 && shown.out.contains(&line), "{shown:?}");
    let paths = world.nvbind(&["config", "path"]);
    assert!(paths.out.starts_with("/etc/nvbind/config.toml"), "{paths:?}");
    assert!(paths.out.ends_with(&format!("\n{}\n", file.display())), "{paths:?}");
    assert_eq!(world.nvbind(&["config", "check"]).code, 0);
}

#[test]
fn a_broken_file_is_told_with_the_place() {
    let world = World::new();
    world.write("broken.toml", "[gpu]\nenable_isolation = 1\n");
    let broken = world.path("broken.toml").display().to_string();
    let place = format!("{broken}:2:20: invalid type");
    world.refuses(&["config", "check", "--config", &broken], 2, &[&place]);
}

#[test]
fn a_file_is_written_once() {
    let world = World::new();
    let file = world.path("home/.config/nvbind/config.toml");
    let written = world.nvbind(&["config", "init"]);
    assert_eq!((written.code, written.out), (0, format!("wrote {}\n", file.display())));
    assert_eq!(world.nvbind(&["config", "check"]).code, 0);
    let text = fs::read_to_string(&file).unwrap();
    world.refuses(&["config", "init"], 2, &["is there already, and stays as it is"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}
