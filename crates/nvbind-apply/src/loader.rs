//! How the image's dynamic loader learns of the view: a merged ld.so.cache now, and a drop-in that keeps it when an
//! `ldconfig` runs inside later. Nothing of the image or the host is executed.

use crate::error::Error;
use crate::mount;
use crate::rootfs::{Directory, Missing, Rootfs};
use crate::view::View;
use nvbind_core::ldcache::{self, Abi, Library};
use nvbind_core::plan::{DROP_IN, LD_SO_CONF_D, OTHER_VIEWS, Plan, VIEW};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

/// The program interpreter of glibc: without it there is nobody to read a cache.
const INTERPRETER: (&str, &str) = if cfg!(target_arch = "aarch64") {
    ("/lib", "ld-linux-aarch64.so.1")
} else {
    ("/lib64", "ld-linux-x86-64.so.2")
};

const CACHE: &str = "ld.so.cache";
const CONF: &str = "ld.so.conf";
const INCLUDE: &str = "include /etc/ld.so.conf.d/*.conf\n";

/// Tells the loader of the plan's libraries.
pub(crate) fn teach(rootfs: &Rootfs<'_>, plan: &Plan, view: &mut View) -> Result<(), Error> {
    if !has_glibc(rootfs)? {
        log::info!("the image has no glibc; the driver's libraries are in {}", plan.inside("lib64"));
        return Ok(());
    }
    let Some(etc) = rootfs.directory("/etc", Missing::Create)? else {
        log::warn!("the container has no usable /etc; programs find the driver by LD_LIBRARY_PATH alone");
        return Ok(());
    };
    drop_in(rootfs, &etc, plan)?;
    // Last: a rename cannot fail half-way, so that nothing has to restore the image's cache.
    cache(rootfs, &etc, plan, view)
}

fn has_glibc(rootfs: &Rootfs<'_>) -> Result<bool, Error> {
    let (directory, name) = INTERPRETER;
    let Some(directory) = rootfs.directory(directory, Missing::Leave)? else { return Ok(false) };
    Ok(openat(&directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).is_ok())
}

fn cache(rootfs: &Rootfs<'_>, etc: &Directory, plan: &Plan, view: &mut View) -> Result<(), Error> {
    let Some(abi) = Abi::NATIVE else { return Ok(()) };
    let image = read(etc, CACHE, ldcache::MAX_BYTES)?;
    let paths: Vec<String> = plan.sonames.iter().map(|name| plan.inside(&format!("lib64/{name}"))).collect();
    let ours: Vec<Library<'_>> = plan
        .sonames
        .iter()
        .zip(&paths)
        .map(|(soname, path)| Library { soname: soname.as_bytes(), path: path.as_bytes(), abi })
        .collect();
    let views: Vec<&[u8]> = std::iter::once(VIEW).chain(OTHER_VIEWS).map(str::as_bytes).collect();
    let failed =
        |error| Error::system("write the container's /etc/ld.so.cache", std::io::Error::other(error));
    let merged = match ldcache::merge(image.as_deref(), &ours, &views) {
        Ok(merged) => merged,
        Err(error) => {
            log::warn!("the image's /etc/ld.so.cache is replaced: {error}");
            ldcache::merge(None, &ours, &views).map_err(failed)?
        }
    };
    if image.as_deref() == Some(&merged) {
        return Ok(());
    }
    let Some(closed) = etc.closed else { return replace(rootfs, etc, CACHE, &merged) };
    if image.is_none() {
        log::warn!(
            "no ld.so.cache in the container's /etc, and {}; programs find the driver by LD_LIBRARY_PATH alone",
            closed.why()
        );
        return Ok(());
    }
    mount::attach(view.write(CACHE, &merged)?, etc, CACHE)
        .map_err(|errno| Error::system("bind the merged cache over the container's /etc/ld.so.cache", errno))
}

fn drop_in(rootfs: &Rootfs<'_>, etc: &Directory, plan: &Plan) -> Result<(), Error> {
    let directory = match etc.closed {
        None => rootfs.directory(LD_SO_CONF_D, Missing::Create)?,
        Some(_) => None,
    };
    let Some(directory) = directory.filter(|directory| directory.closed.is_none()) else {
        log::warn!(
            "no drop-in in the container's {LD_SO_CONF_D}: an ldconfig inside will forget the driver's libraries"
        );
        return Ok(());
    };
    let content = plan.drop_in();
    if read(&directory, DROP_IN, 4096)?.as_deref() != Some(content.as_bytes()) {
        replace(rootfs, &directory, DROP_IN, content.as_bytes())?;
    }
    let conf = read(etc, CONF, 1 << 20)?.unwrap_or_default();
    if includes_drop_ins(&conf) {
        return Ok(());
    }
    let mut completed = conf;
    if !completed.is_empty() && !completed.ends_with(b"\n") {
        completed.push(b'\n');
    }
    completed.extend(INCLUDE.as_bytes());
    replace(rootfs, etc, CONF, &completed)
}

/// Whether ldconfig(8) reads the drop-ins: a relative pattern is relative to the file's directory.
fn includes_drop_ins(conf: &[u8]) -> bool {
    conf.split(|byte| *byte == b'\n').any(|line| {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        words.next() == Some("include")
            && words.any(|pattern| matches!(pattern, "/etc/ld.so.conf.d/*.conf" | "ld.so.conf.d/*.conf"))
    })
}

/// A regular file's content; none when it is not there, no regular file, or larger than `limit`.
fn read(directory: &Directory, name: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    let failed = |errno: Errno| Error::system(format!("read {name} in the container"), errno);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
        other => other.map_err(failed)?,
    };
    let stat = fstat(&fd).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    // Enough for one read and the one that finds the end.
    let size = usize::try_from(stat.st_size).unwrap_or_default().min(limit);
    let mut content = Vec::with_capacity(size.saturating_add(1));
    std::fs::File::from(fd)
        .take(limit as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| Error::system(format!("read {name} in the container"), error))?;
    Ok((content.len() <= limit).then_some(content))
}

/// Writes a file beside the old one and renames it over: a reader sees one or the other, and a link of the image is
/// replaced, not followed.
fn replace(rootfs: &Rootfs<'_>, directory: &Directory, name: &str, content: &[u8]) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::system(format!("write {name} in the container"), error);
    let is_new =
        openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).is_err();
    let temporary = format!(".{name}.nvbind");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || openat(directory, &*temporary, flags, Mode::from_raw_mode(0o644));
    let file: OwnedFd = match open() {
        // Left by a start that was killed.
        Err(Errno::EXIST) => unlinkat(directory, &*temporary, AtFlags::empty()).and_then(|()| open()),
        other => other,
    }
    .map_err(|errno| failed(errno.into()))?;
    let written = std::fs::File::from(file)
        .write_all(content)
        .and_then(|()| renameat(directory, &*temporary, directory, name).map_err(Into::into));
    if let Err(error) = written {
        // The write's error is the one to tell.
        let _ = unlinkat(directory, &*temporary, AtFlags::empty());
        return Err(failed(error));
    }
    if is_new {
        rootfs.record(|journal| journal.file(directory, name));
    }
    Ok(())
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
