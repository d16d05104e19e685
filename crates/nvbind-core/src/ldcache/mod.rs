//! glibc's `/etc/ld.so.cache`: reading it, and writing one that finds our libraries too.
//!
//! The loader answers `dlopen("libcuda.so.1")` from this file: a table sorted by soname, searched by
//! halves (`search_cache` in glibc's `elf/dl-cache.c`; the structures are in
//! `sysdeps/generic/dl-cache.h`, the writer in `elf/cache.c`). Writing it here means that a container
//! start executes no `ldconfig`, neither the host's nor the image's.
//!
//! Two layouts are read: the one of glibc 2.2 and newer, and the same behind the table of libc 5, which
//! `ldconfig` wrote by default before glibc 2.32. Only the first is written; every glibc since 2.2 takes
//! it. Since glibc 2.33 the file also has a byte order mark and extension sections: the program that wrote
//! it, and the names of the `glibc-hwcaps` subdirectories, which entries refer to by number.
//!
//! # An image without a cache
//!
//! A cache of ours alone hides nothing that the image had: what is not in the cache is looked for in
//! the loader's built-in directories next (`_dl_map_new_object` in `elf/dl-load.c` tries the cache, then
//! `__rtld_search_dirs`), and directories of `/etc/ld.so.conf` count for nothing until an `ldconfig`
//! has put them into a cache. Where one of ours alone covers a *damaged* cache, the image loses just those
//! directories.
//!
//! # Ours before the image's
//!
//! An image's own entry for one of our sonames stays, behind ours, as an `ldconfig` that finds both
//! directories would have it; the loader takes the first that suits. So taking ours out again gives the
//! image's cache back. Ours also stand before the image's `glibc-hwcaps` builds of the same soname: the
//! loader prefers those by position only.

#[cfg(test)]
mod loader;
mod merge;
mod order;
mod parse;
mod write;

use crate::abi::Abi;
use thiserror::Error;

pub use merge::merge;

/// Caches beyond this are refused, read or written: about 250 000 libraries. A large desktop's has some
/// 0.3 MB.
pub const MAX_BYTES: usize = 16 << 20;

/// The longest string taken from a cache: `PATH_MAX` of the kernel's `include/uapi/linux/limits.h`, which
/// counts the final NUL.
const MAX_STRING: usize = 4096;

/// A library to be found: ours, or one in any cache that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Library<'a> {
    /// The name that programs ask for.
    pub soname: &'a [u8],
    /// Where it lies, as the container sees it: an absolute path.
    pub path: &'a [u8],
    /// What machine it is for.
    pub abi: Abi,
}

/// One line of a cache (`struct file_entry_new`), its strings borrowed from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Kind of library and machine; compare with [`Abi::flags`].
    pub flags: u32,
    /// The name that programs ask for.
    pub soname: &'a [u8],
    /// Where it lies.
    pub path: &'a [u8],
    /// The kernel needed, as glibc before 2.36 had it; newer ones ignore it.
    pub os_version: u32,
    /// 0, or the processor needed: bit 62 and the number of a [`Cache::hwcaps`] name, or a bit mask that
    /// glibc before 2.37 understood.
    pub hwcap: u64,
}

/// A whole cache, borrowed from the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache<'a> {
    entries: Vec<Entry<'a>>,
    hwcaps: Vec<&'a [u8]>,
    generator: Option<&'a [u8]>,
}

impl<'a> Cache<'a> {
    /// Reads a cache. Every string and offset is checked, so that whatever comes out can be written again.
    ///
    /// # Errors
    ///
    /// The bytes are no cache, damaged, of the other byte order, or beyond [`MAX_BYTES`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        parse::parse(bytes)
    }

    /// The entries in the file's order, the one in which the loader prefers them.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The names of `glibc-hwcaps` subdirectories, such as `x86-64-v3`, in the order of their numbers.
    pub fn hwcaps(&self) -> &[&'a [u8]] {
        &self.hwcaps
    }

    /// What the writer of the cache called itself.
    pub fn generator(&self) -> Option<&'a [u8]> {
        self.generator
    }

    /// The file to write, in the layout of glibc 2.2 and newer.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where it would have more than [`MAX_BYTES`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        write::render(self)
    }
}

/// Why a cache could not be read, or written with our libraries in it. The texts do not name the file: its
/// reader knows it.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// Not the file that it should be.
    #[error("not a library cache: it does not begin with one of glibc's two magic strings")]
    Magic,
    /// Layout of libc 5 and glibc 2.0 and 2.1, without the newer one.
    #[error("a library cache of before glibc 2.2; run ldconfig to rebuild it")]
    OldLayout,
    /// For a machine of the other byte order, or marked as invalid.
    #[error("a library cache of another byte order (mark {mark}); run ldconfig to rebuild it")]
    ByteOrder { mark: u8 },
    /// Ends too early.
    #[error(
        "the library cache is cut off: {count} entries do not fit in {size} bytes; run ldconfig to rebuild it"
    )]
    Truncated { count: u32, size: usize },
    /// An entry's string is no string.
    #[error(
        "the {what} of entry {entry} of the library cache is outside the file, unterminated or too long; run ldconfig to rebuild it"
    )]
    String { what: &'static str, entry: usize },
    /// The extension sections are damaged.
    #[error("the library cache's extension sections are damaged; run ldconfig to rebuild it")]
    Extension,
    /// More than [`MAX_BYTES`], of the file or of all strings in it.
    #[error("the library cache has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// One of ours that no cache can hold.
    #[error(
        "{soname:?} at {path:?} cannot stand in a library cache: it needs a name, and an absolute path, without NUL and of less than {MAX_STRING} bytes"
    )]
    Library { soname: String, path: String },
}
