//! A driver whose files are replaced one by one, as by a package manager, while the hook reads them.

use super::Disturbance;
use crate::extent;
use crate::picture::Picture;
use crate::quiet;
use crate::scenarios;
use crate::setting::Setting;
use std::fs;
use std::path::{Path, PathBuf};

/// How often a file is replaced before the next way of doing it.
const ROUND: usize = 40;

/// The files of a driver, with what is in them.
fn read_files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// What is seen of a start. A file that was replaced since is still the one that was mounted, and is called so.
fn picture(setting: &Setting) -> Picture {
    let mut picture = Picture::of(setting);
    picture.mounts.iter_mut().for_each(|mount| *mount = mount.replace("//deleted ", " "));
    picture
}

/// Takes one file away or puts it back.
fn replace(files: &[(PathBuf, Vec<u8>)], number: usize) {
    let (step, way) = (number / 2 % files.len(), number / ROUND % 4);
    let step = if way == 1 { files.len() - 1 - step } else { step };
    let (path, content) = &files[step];
    let aside = path.with_file_name("aside");
    match (way, number % 2) {
        (0 | 1, 0) => fs::remove_file(path).unwrap(),
        (0 | 1, _) => fs::write(path, content).unwrap(),
        (2, 0) => fs::write(&aside, content).unwrap(),
        (2, _) => fs::rename(&aside, path).unwrap(),
        (_, 0) => fs::rename(path, &aside).unwrap(),
        (..) => fs::rename(&aside, path).unwrap(),
    }
}

#[test]
fn a_start_while_the_driver_changes_is_whole_or_refused() {
    let _others = quiet::share();
    let Some(mut setting) = Setting::new(&scenarios::TWO_GPUS) else { return };
    setting.begin();
    let ended = setting.world.hook();
    assert_eq!(ended.code, Some(0), "{}", ended.says);
    let whole = Picture::of(&setting);
    let files = read_files(&setting.world.driver.path("usr/lib64"));
    let (mut starts, mut refusals) = (0, 0);
    Disturbance::run(
        |number| replace(&files, number),
        |disturbance| {
            for _ in 0..extent::times(4, 150) {
                setting.begin();
                let ended = setting.world.hook();
                let wrong = match ended.code {
                    Some(0) => disturbance.between(|| whole.difference(&picture(&setting))),
                    Some(3) => Vec::new(),
                    _ => vec![format!("{:?}", ended.code)],
                };
                if ended.code == Some(0) {
                    starts += 1
                } else {
                    refusals += 1
                }
                assert!(wrong.is_empty(), "{}\n{}", ended.says, wrong.join("\n"));
            }
        },
    );
    extent::tell(format_args!("a changing driver: {starts} starts, {refusals} refusals"));
}
