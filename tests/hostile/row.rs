//! A row of the table: what is built, and how the start has to end.

use crate::world::World;
use nix::mount::{MsFlags, mount};
use std::path::Path;

/// How a start ends.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// The container has all of the driver.
    Works,
    /// It has all but what a loader reads, and a warning has this text.
    Warned(&'static str),
    /// The start is refused with this documented exit code, and the message has this text; no file of the container is
    /// another.
    Refused(i32, String),
}

pub(crate) use Expected::{Refused, Warned, Works};

/// A refusal of the root filesystem.
pub(crate) fn refused(text: &str) -> Expected {
    Refused(5, text.to_owned())
}

/// What of the container's mounts is shared with the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    None,
    /// `$OUTSIDE`, wherever it is mounted.
    Volume,
    /// The whole root filesystem, as for a volume that is to be shared.
    Root,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Lines for a shell in the image's directory.
    image: String,
    /// Lines that mount what lies on the root filesystem at `$ROOT`.
    mounts: String,
    /// Its LD_LIBRARY_PATH.
    search_path: Option<String>,
    pub(crate) sharing: Sharing,
    /// Whether the kernel of some machines does not let the hook see what is asked for: exit code 4.
    pub(crate) may_be_denied: bool,
    /// Places of the image that nothing may be mounted over.
    pub(crate) bare: Vec<String>,
    /// Files of the image that have to be as they were.
    pub(crate) kept: Vec<String>,
    /// Whether the image's libraries of CUDA's forward compatibility win.
    pub(crate) has_own_cuda: bool,
    /// Whether it is for musl's loader.
    pub(crate) is_musl: bool,
    pub(crate) expected: Expected,
}

/// Starts a row: nothing is odd in it yet.
pub(crate) fn row(name: impl Into<String>, expected: Expected) -> Row {
    Row {
        name: name.into(),
        image: String::new(),
        mounts: String::new(),
        search_path: None,
        sharing: Sharing::None,
        may_be_denied: false,
        bare: Vec::new(),
        kept: Vec::new(),
        has_own_cuda: false,
        is_musl: false,
        expected,
    }
}

impl Row {
    pub(crate) fn image(mut self, script: impl AsRef<str>) -> Row {
        self.image.push_str(script.as_ref());
        self.image.push('\n');
        self
    }

    pub(crate) fn mounts(mut self, script: impl AsRef<str>) -> Row {
        self.mounts.push_str(script.as_ref());
        self.mounts.push('\n');
        self
    }

    /// Lines for a shell in the container's root, for what is to be in a place that is mounted at each start.
    pub(crate) fn at(self, path: &str, script: &str) -> Row {
        if path.starts_with("dev/") {
            self.mounts(format!("cd $ROOT\n{script}\ncd /"))
        } else {
            self.image(script)
        }
    }

    pub(crate) fn search_path(self, value: &str) -> Row {
        Row { search_path: Some(value.to_owned()), ..self }
    }

    pub(crate) fn shared_root(self) -> Row {
        Row { sharing: Sharing::Root, ..self }
    }

    pub(crate) fn shared_volume(self) -> Row {
        Row { sharing: Sharing::Volume, ..self }
    }

    pub(crate) fn may_be_denied(self) -> Row {
        Row { may_be_denied: true, ..self }
    }

    pub(crate) fn bares(mut self, path: &str) -> Row {
        self.bare.push(path.to_owned());
        self
    }

    pub(crate) fn keeps(mut self, path: &str) -> Row {
        self.kept.push(path.to_owned());
        self
    }

    pub(crate) fn own_cuda(self) -> Row {
        Row { has_own_cuda: true, ..self }
    }

    pub(crate) fn musl(self) -> Row {
        Row { is_musl: true, ..self }
    }

    /// Its part of config.json.
    pub(crate) fn configuration(&self) -> String {
        let path = self.search_path.as_ref().map(|value| {
            let variable = serde_json::json!([format!("LD_LIBRARY_PATH={value}")]);
            format!(r#","process":{{"env":{variable}}}"#)
        });
        let linux =
            if self.sharing == Sharing::Root { r#","linux":{"rootfsPropagation":"rshared"}"# } else { "" };
        format!("{}{linux}", path.unwrap_or_default())
    }

    /// Makes a world what the row says.
    pub(crate) fn build(&self, world: &mut World) {
        self.share(world);
        let image = format!("cd $IMAGE\n{}\ncd /", self.image);
        world.mounts.insert(0, image.leak());
        world.mounts.push(self.mounts.clone().leak());
    }

    fn share(&self, world: &mut World) {
        let none: Option<&Path> = None;
        let place = match self.sharing {
            Sharing::None => return,
            Sharing::Volume => world.path("outside"),
            Sharing::Root => world.path("scratch"),
        };
        mount(Some(&place), &place, none, MsFlags::MS_BIND, none).unwrap();
        mount(none, &place, none, MsFlags::MS_SHARED, none).unwrap();
        world.namespaces = &["--mount", "--propagation=unchanged"];
    }
}

/// Lines that put a link at a path, whatever is there.
pub(crate) fn link(path: &str, target: &str) -> String {
    format!("{}ln -s \"{target}\" {path}", clear(path))
}

/// Lines after which nothing is at a path, in a directory that is there.
pub(crate) fn clear(path: &str) -> String {
    let parent = path.rsplit_once('/').map_or(".", |(parent, _)| parent);
    format!("rm -rf {path}; mkdir -p {parent}\n")
}
