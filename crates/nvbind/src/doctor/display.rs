//! The display that graphical programs in a container would use: its sockets, and the cookie for X11.

use super::{Facts, Finding, Fix, Machine};
use nix::unistd::{AccessFlags, access};
use nvbind_core::input;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// A file of cookies has a few.
const SIZE_LIMIT: u64 = 1 << 20;

/// What is wrong, and its fix.
type Wrong = (String, Option<Fix>);

pub(super) fn display(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    let checks = [("WAYLAND_DISPLAY", wayland as fn(&Machine, &str) -> _), ("DISPLAY", x11)];
    let mut told = Vec::new();
    for (name, check) in checks {
        let Some(value) = machine.environment.get(name).and_then(|value| value.to_str()) else { continue };
        if let Err((why, fix)) = check(machine, value) {
            return Finding::warn(format!("{name}={value}: {why}"), fix);
        }
        told.push(format!("{name}={value}"));
    }
    match told.as_slice() {
        [] => Finding::skipped("neither DISPLAY nor WAYLAND_DISPLAY is set"),
        told => Finding::ok(told.join(", ")),
    }
}

/// A name below `XDG_RUNTIME_DIR`, or an absolute path (wl_display_connect, libwayland).
fn wayland(machine: &Machine, name: &str) -> Result<(), Wrong> {
    let path = match machine.environment.get("XDG_RUNTIME_DIR") {
        _ if name.starts_with('/') => PathBuf::from(name),
        Some(directory) => Path::new(directory).join(name),
        None => return Err(("XDG_RUNTIME_DIR is not set, so nobody knows where that is".into(), None)),
    };
    socket(machine, &path)
}

/// `[HOST]:NUMBER[.SCREEN]` (X(7)).
fn x11(machine: &Machine, name: &str) -> Result<(), Wrong> {
    let (host, number) = name.rsplit_once(':').ok_or_else(|| ("this is no display".to_owned(), None))?;
    let number = number.split('.').next().unwrap_or_default();
    if !matches!(host, "" | "unix") {
        let run = Fix::new([machine.nvbind.as_str(), "run", "--network=host", "IMAGE"]);
        return Err((
            "it is reached over the network, which a container has only with --network=host".into(),
            Some(run),
        ));
    }
    socket(machine, Path::new(&format!("/tmp/.X11-unix/X{number}")))?;
    cookie(machine, number)
}

fn socket(machine: &Machine, path: &Path) -> Result<(), Wrong> {
    let shown = path.display();
    let inside = machine.path(path);
    match fs::metadata(&inside) {
        Err(error) => Err((format!("{shown} cannot be used: {error}"), None)),
        Ok(found) if !found.file_type().is_socket() => Err((format!("{shown} is no socket"), None)),
        Ok(_) => access(&inside, AccessFlags::W_OK)
            .map_err(|errno| (format!("{} may not use {shown}: {errno}", machine.name), None)),
    }
}

/// Without a file of that name the server may know its user in another way; one that is named has to be there.
fn cookie(machine: &Machine, number: &str) -> Result<(), Wrong> {
    let named = machine.environment.get("XAUTHORITY").map(PathBuf::from);
    let usual = machine.environment.get("HOME").map(|home| Path::new(home).join(".Xauthority"));
    let Some(path) = named.clone().or(usual) else { return Ok(()) };
    let shown = path.display();
    let wrong = |why: String| {
        Err((why, Some(Fix::new(["xhost".to_owned(), format!("+si:localuser:{}", machine.name)]))))
    };
    match input::read(&machine.path(&path), SIZE_LIMIT) {
        Err(_) if named.is_none() => Ok(()),
        Err(error) => wrong(format!("the cookies in {shown} (XAUTHORITY) cannot be read: {error}")),
        Ok((bytes, _)) if has_cookie(&bytes, number) => Ok(()),
        Ok(_) => wrong(format!("{shown} has no cookie for it")),
    }
}

/// Whether an entry is for this display, or for any. An entry is a number for the kind of address and four counted strings:
/// address, display, name and data (XauReadAuth, libXau); numbers have the high byte first.
fn has_cookie(mut bytes: &[u8], number: &str) -> bool {
    while let Some((display, rest)) = entry(bytes) {
        if display.is_empty() || display == number.as_bytes() {
            return true;
        }
        bytes = rest;
    }
    false
}

/// The display of the first entry, and what follows that entry.
fn entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_family, rest) = bytes.split_first_chunk::<2>()?;
    let (_address, rest) = counted(rest)?;
    let (display, rest) = counted(rest)?;
    let (_name, rest) = counted(rest)?;
    let (_data, rest) = counted(rest)?;
    Some((display, rest))
}

fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file with one entry for this display.
    pub(in crate::doctor) fn cookies(number: &str) -> Vec<u8> {
        let mut bytes = vec![1, 0];
        for text in ["host", number, "MIT-MAGIC-COOKIE-1", "0123456789abcdef"] {
            bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    #[test]
    fn a_cookie_is_for_its_display_or_for_all() {
        let two = [cookies("0"), cookies("10")].concat();
        for (bytes, number, expected) in [
            (two.as_slice(), "10", true),
            (&two, "1", false),
            (&cookies(""), "7", true),
            (&[], "0", false),
            (&two[..two.len() - 1], "10", false),
            (&[1, 0, 0xff, 0xff, b'x'], "0", false),
        ] {
            assert_eq!(has_cookie(bytes, number), expected, "{number} {bytes:?}");
        }
    }
}
