//! How the image's dynamic loader learns of the view: a merged ld.so.cache now, and a drop-in that keeps it when an
//! `ldconfig` runs inside later. Nothing of the image or the host is executed.

use crate::draft::Draft;
use crate::error::Error;
use crate::rootfs::{Directory, Missing, Rootfs};
use crate::view::View;
use nvbind_core::ldcache::{self, Library};
use nvbind_core::plan::{DROP_IN, LD_SO_CONF_D, Plan, Soname, VIEWS};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use std::io::Read;

/// The program interpreter of glibc: without it there is nobody to read a cache.
const INTERPRETER: &str =
    if cfg!(target_arch = "aarch64") { "/lib/ld-linux-aarch64.so.1" } else { "/lib64/ld-linux-x86-64.so.2" };

const CACHE: &str = "ld.so.cache";
const CONF: &str = "ld.so.conf";
const INCLUDE: &str = "include /etc/ld.so.conf.d/*.conf\n";

/// What tells the loader of the plan's libraries: files to be put in place when all else is done.
pub(crate) fn draft(rootfs: &Rootfs<'_>, plan: &Plan, view: &mut View) -> Result<Vec<Draft>, Error> {
    if !rootfs.has(INTERPRETER) {
        log::info!("the image has no glibc; the driver's libraries are in {}", plan.inside("lib64"));
        return Ok(Vec::new());
    }
    let Some(etc) = rootfs.directory("/etc", Missing::Create)? else {
        log::warn!("the container has no usable /etc; programs find the driver by LD_LIBRARY_PATH alone");
        return Ok(Vec::new());
    };
    let mut drafts = drop_in(rootfs, &etc, plan)?;
    drafts.extend(cache(rootfs, &etc, plan, view)?);
    Ok(drafts)
}

fn cache(rootfs: &Rootfs<'_>, etc: &Directory, plan: &Plan, view: &mut View) -> Result<Option<Draft>, Error> {
    let image = read(etc, CACHE, ldcache::MAX_BYTES)?;
    let paths: Vec<String> = plan.sonames.iter().map(|soname| plan.path_of(soname)).collect();
    let mut ours = Vec::with_capacity(paths.len());
    for (Soname { name, abi }, path) in plan.sonames.iter().zip(&paths) {
        ours.push(Library { soname: name.as_bytes(), path: path.as_bytes(), abi: *abi });
    }
    let views: Vec<&[u8]> = VIEWS.into_iter().map(str::as_bytes).collect();
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
        return Ok(None);
    }
    let Some(closed) = rootfs.closed_file(etc, CACHE)? else {
        return Draft::write(etc, CACHE, &merged).map(Some);
    };
    if image.is_none() {
        log::warn!(
            "no ld.so.cache in the container's /etc, and {}; programs find the driver by LD_LIBRARY_PATH alone",
            closed.why()
        );
        return Ok(None);
    }
    view.write(CACHE, &merged)?;
    rootfs.cover(&view.clone_file(CACHE)?, etc, CACHE)?;
    Ok(None)
}

fn drop_in(rootfs: &Rootfs<'_>, etc: &Directory, plan: &Plan) -> Result<Vec<Draft>, Error> {
    let mut drafts = Vec::new();
    let directory = match etc.closed {
        None => rootfs.directory(LD_SO_CONF_D, Missing::Create)?,
        Some(_) => None,
    };
    let Some(directory) = directory.filter(|directory| directory.closed.is_none()) else {
        log::warn!(
            "no drop-in in the container's {LD_SO_CONF_D}: an ldconfig inside will forget the driver's libraries"
        );
        return Ok(drafts);
    };
    let content = plan.drop_in();
    if read(&directory, DROP_IN, 4096)?.as_deref() != Some(content.as_bytes()) {
        drafts.push(Draft::write(&directory, DROP_IN, content.as_bytes())?);
    }
    let mut completed = match read(etc, CONF, 1 << 20)? {
        Some(conf) if includes_drop_ins(&conf) => return Ok(drafts),
        Some(_) if rootfs.closed_file(etc, CONF)?.is_some() => {
            log::warn!(
                "the container's /etc/{CONF} is a volume's; an ldconfig inside will not read {LD_SO_CONF_D}"
            );
            return Ok(drafts);
        }
        Some(conf) => conf,
        None if statat(etc, CONF, AtFlags::SYMLINK_NOFOLLOW).is_ok() => {
            log::warn!(
                "the container's /etc/{CONF} is no ordinary file; an ldconfig inside may not read {LD_SO_CONF_D}"
            );
            return Ok(drafts);
        }
        None => Vec::new(),
    };
    if !completed.is_empty() && !completed.ends_with(b"\n") {
        completed.push(b'\n');
    }
    completed.extend(INCLUDE.as_bytes());
    drafts.push(Draft::write(etc, CONF, &completed)?);
    Ok(drafts)
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
    // Asked before it is opened: to open a device node of the image is to use that device of the host.
    let is_file = |mode| FileType::from_raw_mode(mode) == FileType::RegularFile;
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        other if !is_file(other.map_err(failed)?.st_mode) => return Ok(None),
        _file => {}
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = openat(directory, name, flags, Mode::empty()).map_err(failed)?;
    let stat = fstat(&fd).map_err(failed)?;
    if !is_file(stat.st_mode) {
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
