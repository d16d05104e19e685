//! glibc's way to libraries: a merged ld.so.cache now, and a drop-in that keeps it when an `ldconfig` runs inside
//! later.

use super::file::{self, Found};
use crate::draft::Draft;
use crate::error::Error;
use crate::layout::Layout;
use crate::rootfs::{Directory, Missing, Rootfs};
use crate::view::ViewMount;
use nvbind_core::abi::Abi;
use nvbind_core::ldcache::{self, Library};
use nvbind_core::plan::{DROP_IN, LD_SO_CONF_D, library_directory};

/// The program interpreters of glibc, of both widths: without any there is nobody to read a cache.
const INTERPRETERS: &[&str] = if cfg!(target_arch = "aarch64") {
    &["/lib/ld-linux-aarch64.so.1"]
} else {
    &["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux.so.2"]
};

const CACHE: &str = "ld.so.cache";
const CONF: &str = "ld.so.conf";
const INCLUDE: &str = "include /etc/ld.so.conf.d/*.conf\n";

/// Whether the image has a loader of glibc.
pub(super) fn is_in(rootfs: &Rootfs) -> Result<bool, Error> {
    for path in INTERPRETERS {
        if rootfs.has(path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The image's cache with ours in front. One that cannot be read stays, covered by ours alone.
pub(super) fn draft_cache(
    rootfs: &Rootfs,
    etc: &Directory,
    layout: &Layout<'_>,
    view: &mut ViewMount,
    earlier: &[&str],
) -> Result<Option<Draft>, Error> {
    let found = file::read(etc, CACHE, ldcache::MAX_BYTES)?;
    let abis = [Abi::NATIVE, Abi::COMPAT32].into_iter().flatten();
    let names = abis.flat_map(|abi| layout.view.sonames(abi).map(move |name| (name, abi)));
    let names: Vec<(&str, Abi)> = names.collect();
    let path = |(name, abi): &(&str, Abi)| format!("{}/{}/{name}", layout.place, library_directory(*abi));
    let paths: Vec<String> = names.iter().map(path).collect();
    let mut ours = Vec::with_capacity(paths.len());
    for ((name, abi), path) in names.iter().zip(&paths) {
        ours.push(Library { soname: name.as_bytes(), path: path.as_bytes(), abi: *abi });
    }
    let earlier: Vec<&[u8]> = earlier.iter().map(|view| view.as_bytes()).collect();
    let merged = match &found {
        Found::TooLarge => Err(ldcache::Error::TooLarge),
        // An empty file says as much as none.
        Found::File(image) => {
            ldcache::merge((!image.is_empty()).then_some(image.as_slice()), &ours, &earlier)
        }
        Found::Nothing | Found::Directory | Found::Special => ldcache::merge(None, &ours, &earlier),
    };
    match merged {
        Ok(merged) if matches!(&found, Found::File(image) if *image == merged) => Ok(None),
        Ok(merged) => file::replace(rootfs, etc, view, CACHE, (&found, &merged)),
        Err(error) => {
            let alone = ldcache::merge(None, &ours, &earlier).map_err(|error| {
                Error::system("write the container's /etc/ld.so.cache", std::io::Error::other(error))
            })?;
            if file::cover(rootfs, etc, view, CACHE, &alone)? {
                log::warn!(
                    "the container's /etc/{CACHE} is covered by one of the driver's libraries alone: {error}"
                );
            }
            Ok(None)
        }
    }
}

/// What an `ldconfig` inside reads: the drop-in, and the `ld.so.conf` that includes it.
pub(super) fn draft_drop_in(
    rootfs: &Rootfs,
    etc: &Directory,
    layout: &Layout<'_>,
) -> Result<Vec<Draft>, Error> {
    let mut drafts = Vec::new();
    let directory = match etc.closed {
        None => rootfs.open_directory(LD_SO_CONF_D, Missing::Create)?,
        Some(_) => None,
    };
    let Some(directory) = directory.filter(|directory| directory.closed.is_none()) else {
        log::warn!(
            "no drop-in in the container's {LD_SO_CONF_D}: an ldconfig inside will forget the driver's libraries"
        );
        return Ok(drafts);
    };
    let content = layout.view.drop_in(layout.place);
    if file::read(&directory, DROP_IN, 4096)? != Found::File(content.as_bytes().to_vec()) {
        if rootfs.find_closed_file(&directory, DROP_IN)?.is_some() {
            log::warn!(
                "the container's {LD_SO_CONF_D}/{DROP_IN} is a volume's: an ldconfig inside will forget the driver's libraries"
            );
            return Ok(drafts);
        }
        drafts.push(Draft::write(&directory, DROP_IN, content.as_bytes())?);
    }
    let mut completed = match file::read(etc, CONF, 1 << 20)? {
        Found::File(conf) if includes_drop_ins(&conf) => return Ok(drafts),
        Found::File(_) if rootfs.find_closed_file(etc, CONF)?.is_some() => {
            log::warn!(
                "the container's /etc/{CONF} is a volume's; an ldconfig inside will not read {LD_SO_CONF_D}"
            );
            return Ok(drafts);
        }
        Found::File(conf) => conf,
        Found::Nothing => Vec::new(),
        Found::TooLarge | Found::Directory | Found::Special => {
            log::warn!(
                "the container's /etc/{CONF} is no ordinary file; an ldconfig inside may not read {LD_SO_CONF_D}"
            );
            return Ok(drafts);
        }
    };
    if !completed.is_empty() && !completed.ends_with(b"\n") {
        completed.push(b'\n');
    }
    completed.extend(INCLUDE.as_bytes());
    drafts.push(Draft::write(etc, CONF, &completed)?);
    Ok(drafts)
}

/// Whether ldconfig(8) reads the drop-ins: a relative pattern is relative to the file's directory.
pub(super) fn includes_drop_ins(conf: &[u8]) -> bool {
    conf.split(|byte| *byte == b'\n').any(|line| {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        words.next() == Some("include")
            && words.any(|pattern| matches!(pattern, "/etc/ld.so.conf.d/*.conf" | "ld.so.conf.d/*.conf"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_include_of_the_drop_ins_is_seen_in_every_spelling() {
        for (conf, included) in [
            ("include /etc/ld.so.conf.d/*.conf\n", true),
            ("/opt/lib\n  include\tld.so.conf.d/*.conf # here", true),
            ("include /etc/other.conf /etc/ld.so.conf.d/*.conf", true),
            ("# include /etc/ld.so.conf.d/*.conf\n", false),
            ("include /etc/ld.so.conf.d/a.conf\n", false),
            ("", false),
        ] {
            assert_eq!(includes_drop_ins(conf.as_bytes()), included, "{conf}");
        }
    }
}
