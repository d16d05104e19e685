//! A small container image made without any registry, from the programs of a machine or of a tree that stands for one.
//!
//! It has a shell, coreutils, ldconfig and the probe, the libraries that they need, and a linker configuration and
//! cache as a stock Debian container has them, and nothing else.
pub mod source;

use crate::elf::ElfError;
use crate::process::{self, ProcessError};
use crate::tree::{STAMP, Tree, TreeError};
use source::Source;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file of it.
    #[error("cannot make the container image")]
    Tree(#[from] TreeError),
    /// A program to be put into it.
    #[error("cannot read a program for the container image")]
    Elf(#[from] ElfError),
    /// A program that it cannot do without.
    #[error("no {name} in {}: the container image needs it", root.display())]
    Missing {
        /// The program or library.
        name: String,
        /// The tree it was looked for in.
        root: PathBuf,
    },
    /// A program that packs or loads it.
    #[error("cannot pack the container image")]
    Pack(#[source] ProcessError),
}

/// What the image cannot do without.
const PROGRAMS: &[&str] = &[
    "sh", "ldconfig", "cat", "chmod", "chown", "cp", "dd", "echo", "env", "false", "head", "id", "ln", "ls",
    "mkdir", "mknod", "mv", "od", "readlink", "realpath", "rm", "rmdir", "sleep", "sort", "stat", "tail",
    "test", "touch", "tr", "true", "wc",
];

/// What it has where the machine has it.
const PROGRAMS_IF_THERE: &[&str] = &["bash", "find", "grep", "mount", "ps", "sed", "umount", "unshare"];

/// The rest of the C library's package, and what every Debian image has besides: a driver's libraries need them.
const LIBRARIES: &[&str] = &[
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libutil.so.1",
];

/// Accounts: container engines look up `root`, and tests run as someone else too.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    user:x:1000:1000::/home/user:/bin/sh\n\
    nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n";

/// What the image is made from.
#[derive(Debug)]
pub struct Image<'a> {
    /// The tree whose programs are taken; `/` for this machine's.
    pub from: &'a Path,
    pub probe: &'a Path,
}

impl Image<'_> {
    /// Makes the root file system of the image in the directory `root`, unless it is there already.
    pub fn ensure(&self, root: &Path) -> Result<(), ImageError> {
        let description = self.description();
        if Tree::is_made(root, &description) {
            return Ok(());
        }
        let source = Source::new(self.from);
        let tree = Tree::create(root)?;
        for path in ["dev", "proc", "sys", "run", "root", "home/user", "var/tmp", "var/cache/ldconfig"] {
            tree.dir(path)?;
        }
        tree.dir("tmp")?;
        tree.file_mode("tmp", 0o1777)?;
        source.system_links(&tree)?;
        tree.file("etc/passwd", PASSWD, 0o644)?;
        tree.file("etc/group", GROUP, 0o644)?;
        source.linker_configuration(&tree)?;
        for name in PROGRAMS {
            source.program(&tree, name)?;
        }
        for name in PROGRAMS_IF_THERE {
            if source.has_program(name) {
                source.program(&tree, name)?;
            }
        }
        for name in LIBRARIES {
            source.library(&tree, name)?;
        }
        tree.copy(self.probe, "usr/bin/nvbind-probe")?;
        source.libraries_of(&tree, self.probe)?;
        tree.linker_cache()?;
        tree.finish(&description)?;
        Ok(())
    }

    /// Changes with the probe, and with the source's programs as far as its C library tells of them.
    fn description(&self) -> String {
        let state = |path: &Path| {
            fs::metadata(path).map(|meta| format!("{} {}", meta.size(), meta.mtime())).unwrap_or_default()
        };
        let source = Source::new(self.from);
        let library = source.find_library("libc.so.6").map(|path| state(&source.real(&path)));
        format!("image of {}, format 2, probe {}, libc {library:?}", self.from.display(), state(self.probe))
    }

    /// A name for the image that changes when its content does.
    pub fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.description().hash(&mut hasher);
        format!("localhost/nvbind-demo:{:016x}", hasher.finish())
    }

    /// Packs such a directory into `archive`, for `podman import`.
    pub fn pack(root: &Path, archive: &Path) -> Result<(), ImageError> {
        process::read(
            Command::new("tar")
                .args(["--numeric-owner", "--owner=0", "--group=0", "--sort=name", "--mtime=@0"])
                .arg(format!("--exclude=./{STAMP}"))
                .arg("-C")
                .arg(root)
                .arg("-cf")
                .args([archive, Path::new(".")]),
        )
        .map(drop)
        .map_err(ImageError::Pack)
    }

    /// Puts one more program into a packed image.
    pub fn append(archive: &Path, program: &Path) -> Result<(), ImageError> {
        let name = program.file_name().unwrap_or_default();
        process::read(
            Command::new("tar")
                .args(["--append", "--owner=0", "--group=0", "--transform=s,^,./usr/bin/,", "-f"])
                .arg(archive)
                .arg("-C")
                .arg(program.parent().unwrap_or_else(|| Path::new(".")))
                .arg(name),
        )
        .map(drop)
        .map_err(ImageError::Pack)
    }
}
