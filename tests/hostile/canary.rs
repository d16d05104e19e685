//! What a hook must not touch: the host's files, the sources of volumes, the image's layer, and the machine's mounts.

use crate::listing;
use crate::world::World;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What happens to a file that is changed, made, removed or only opened for writing; to be read is nothing.
const TOUCHED: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVE);

/// The directories before a start, watched from then on.
pub(crate) struct Canary {
    /// The test's directory.
    own: PathBuf,
    directories: Vec<PathBuf>,
    before: Vec<String>,
    inotify: Inotify,
    watched: HashMap<WatchDescriptor, PathBuf>,
}

impl Canary {
    pub(crate) fn watch(world: &World) -> Canary {
        let own = ["image", "outside", "plain", "userdata", "scratch/volume"].map(|name| world.path(name));
        let directories = own.into_iter().chain([world.driver.path("")]).collect();
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
        let mut canary =
            Canary { own: world.path(""), directories, before: Vec::new(), inotify, watched: HashMap::new() };
        for directory in canary.directories.clone() {
            canary.add(&directory);
        }
        canary.before = canary.list();
        canary
    }

    fn add(&mut self, directory: &Path) {
        self.watched.insert(self.inotify.add_watch(directory, TOUCHED).unwrap(), directory.to_owned());
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                self.add(&entry.path());
            }
        }
    }

    fn list(&self) -> Vec<String> {
        let mounts = listing::mounts("thread-self", &self.own).into_iter();
        mounts.chain(self.directories.iter().flat_map(|directory| listing::exact(directory))).collect()
    }

    /// Fails where anything was changed or mounted, or a file was opened for writing.
    pub(crate) fn assert_untouched(self) {
        let events = match self.inotify.read_events() {
            Err(Errno::EAGAIN) => Vec::new(),
            events => events.unwrap(),
        };
        let events: Vec<_> =
            events.iter().map(|event| (self.watched.get(&event.wd), &event.name, event.mask)).collect();
        assert!(events.is_empty(), "touched: {events:?}");
        assert_eq!(listing::difference(&self.before, &self.list()), Vec::<String>::new(), "outside");
    }
}
