//! What an isolated container is given on its command line.

use crate::failure::Failure;
use crate::podman::options::Options;
use nvbind_core::host::Host;
use nvbind_core::inventory::DeviceNode;
use nvbind_core::isolation::{Hidden, Seen};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Fails where one of podman's options would show a GPU that was not asked for.
pub(super) fn check(options: &Options, unseen: &[DeviceNode], host: &Host) -> Result<(), Failure> {
    if shows_proc(options) {
        return Err(Seen::proc("--security-opt unmask").into());
    }
    for node in unseen {
        if texts(options, "device").any(|device| is_device(device, node)) {
            return Err(Seen::new(&node.path, "--device").into());
        }
        // Podman refuses rules of a user's container: nothing filters its devices.
        if texts(options, "device-cgroup-rule").any(|rule| allows(rule, node)) {
            return Err(Seen::new(&node.path, "--device-cgroup-rule").into());
        }
    }
    let hidden = Hidden::find(unseen, host)?;
    let volumes = texts(options, "volume").filter_map(|volume| Some((volume.split(':').next()?, "--volume")));
    let mounts = texts(options, "mount").filter_map(|mount| Some((bound(mount)?, "--mount")));
    for (source, by) in volumes.chain(mounts).filter(|(source, _)| is_path(source)) {
        // What podman itself cannot mount is podman's to tell.
        if hidden.is_shown_by(Path::new(source)).unwrap_or_default() {
            return Err(Seen::new(&format!("{source} of the host"), by).into());
        }
    }
    Ok(())
}

fn texts<'o>(options: &'o Options, name: &'o str) -> impl Iterator<Item = &'o str> {
    options.values(name).filter_map(OsStr::to_str)
}

/// `unmask=ALL`, and nothing masked besides (podman's `pkg/specgen/generate/config_linux.go`, `shouldMask`).
fn shows_proc(options: &Options) -> bool {
    let has =
        |key: &'static str| texts(options, "security-opt").filter_map(move |value| value.strip_prefix(key));
    let first_is_all =
        |paths: &str| paths.split(':').next().is_some_and(|path| path.eq_ignore_ascii_case("all"));
    has("unmask=").last().is_some_and(first_is_all) && has("mask=").next().is_none()
}

/// `SOURCE[:DESTINATION][:PERMISSIONS]`, a node by whatever name. The devices of a directory are left to the hook.
fn is_device(device: &str, node: &DeviceNode) -> bool {
    let path = device.split(':').next().unwrap_or_default();
    let number = rustix::fs::makedev(node.major, node.minor);
    is_path(path)
        && fs::metadata(path).is_ok_and(|file| file.file_type().is_char_device() && file.rdev() == number)
}

/// `TYPE MAJOR:MINOR ACCESS`, with `*` for any number.
fn allows(rule: &str, node: &DeviceNode) -> bool {
    let mut parts = rule.split_whitespace();
    let (Some(kind), Some(number), Some(access)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let is = |text: &str, number: u32| text == "*" || text.parse() == Ok(number);
    let matches =
        number.split_once(':').is_some_and(|(major, minor)| is(major, node.major) && is(minor, node.minor));
    matches!(kind, "a" | "c") && matches && access.contains('r') && access.contains('w')
}

/// The source of a `type=bind` mount.
fn bound(mount: &str) -> Option<&str> {
    let value = |keys: &[&str]| {
        mount.split(',').find_map(|field| field.split_once('=').filter(|(key, _)| keys.contains(key)))
    };
    value(&["type"]).filter(|(_, kind)| *kind == "bind")?;
    value(&["source", "src"]).map(|(_, source)| source)
}

/// Whether a source is no name of a volume or of a CDI device.
fn is_path(source: &str) -> bool {
    source.starts_with(['/', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::podman::command_line::CommandLine;
    use nvbind_core::host::Roots;
    use std::ffi::OsString;

    fn node(major: u32, minor: u32) -> DeviceNode {
        DeviceNode { path: "/dev/nvidia1".to_owned(), major, minor }
    }

    fn options(line: &str) -> Options {
        CommandLine::parse(line.split(';').map(OsString::from)).unwrap().options
    }

    #[test]
    fn what_would_show_another_gpu_is_refused_as_the_hook_refuses_it() {
        let machine = fixture::Machine::new();
        machine.gpu("0000:01:00.0", 0, "GPU-1", &[]);
        machine.write("dev/nvidia1", "");
        let host = Host::open(&Roots::below(&machine.path("/"))).unwrap();
        let dev = machine.path("dev").display().to_string();
        let above = machine.path("/").display().to_string();
        let other = machine.path("usr").display().to_string();
        // The numbers of /dev/zero, which every machine has.
        let unseen = [node(1, 5)];
        for (line, seen) in [
            ("--rm;I".to_owned(), None),
            ("--security-opt;unmask=ALL;I".to_owned(), Some("all of /proc by --security-opt unmask")),
            ("--security-opt=unmask=all:/x;I".to_owned(), Some("all of /proc by --security-opt unmask")),
            ("--security-opt;unmask=/proc/x;I".to_owned(), None),
            ("--security-opt;unmask=ALL;--security-opt;mask=/x;I".to_owned(), None),
            ("--device;/dev/zero;I".to_owned(), Some("/dev/nvidia1 by --device")),
            ("--device=/dev/zero:/dev/x:rw;I".to_owned(), Some("/dev/nvidia1 by --device")),
            ("--device;/dev/null;--device;nvidia.com/gpu=0;I".to_owned(), None),
            ("--device-cgroup-rule;c 1:* rwm;I".to_owned(), Some("/dev/nvidia1 by --device-cgroup-rule")),
            ("--device-cgroup-rule;a *:* rw;I".to_owned(), Some("/dev/nvidia1 by --device-cgroup-rule")),
            ("--device-cgroup-rule;c 1:3 rwm;--device-cgroup-rule;c 1:5 m;I".to_owned(), None),
            ("--device-cgroup-rule;b 1:5 rwm;--device-cgroup-rule;c;I".to_owned(), None),
            (format!("-v;{dev}:/x;I"), Some("DEV of the host by --volume")),
            (format!("--volume={dev}/nvidia1:/x:ro;I"), Some("DEV/nvidia1 of the host by --volume")),
            (format!("--volume={dev}/not-there:/x;-v;name:/y;-v;/x;I"), None),
            (format!("-v;{other}:/x;I"), None),
            ("-v;/proc/1:/x;I".to_owned(), Some("/proc/1 of the host by --volume")),
            (format!("-v;{above}:/x;I"), Some("/ of the host by --volume")),
            (format!("--mount;type=bind,src={dev},dst=/x;I"), Some("DEV of the host by --mount")),
            (format!("--mount=destination=/x,type=bind,source={dev};I"), Some("DEV of the host by --mount")),
            (format!("--mount;type=volume,src={dev},dst=/x;--mount;dst=/x;I"), None),
        ] {
            let told = check(&options(&line), &unseen, &host).err().map(|failure| failure.message());
            let told = told.map(|told| told.replace(&dev, "DEV").replace(&above, "/"));
            let expected = seen.map(|seen| {
                format!("isolation was asked for, but the container would see {seen}; leave one of them out")
            });
            assert_eq!(told, expected, "{line}");
        }
    }
}
