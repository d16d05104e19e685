//! Tells systemd of the devices that a unit may use, so that the filter that it attaches at its next reload has them.

use super::DeviceNumber;
use super::bus::{Bus, Error};
use super::wire::{Method, Reader, Writer};
use std::path::Path;

const SYSTEMD: &str = "org.freedesktop.systemd1";

/// Whether systemd is this system's manager, as sd_booted(3) tells.
pub(super) fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Adds the devices to the unit's `DeviceAllow=`, for as long as the unit lives.
///
/// A unit with `DevicePolicy=auto` is left alone: there systemd filters nothing (`--privileged`), and a first
/// `DeviceAllow=` would make it begin.
pub(super) fn allow(unit: &str, devices: &[DeviceNumber]) -> Result<(), Error> {
    let mut bus = Bus::system()?;
    if device_policy(&mut bus, unit)? == "auto" {
        return Ok(());
    }
    let method = Method {
        destination: SYSTEMD,
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        name: "SetUnitProperties",
        signature: "sba(sv)",
    };
    bus.call(&method, &device_allow(unit, devices))?;
    // systemd attaches its changed filter after it has answered, and before it takes the next request: having asked
    // once more, we meet no filter that is about to be exchanged.
    device_policy(&mut bus, unit).map(|_| ())
}

/// The arguments of `SetUnitProperties`: unit, "for this boot only", and the property with its value.
fn device_allow(unit: &str, devices: &[DeviceNumber]) -> Writer {
    let mut rules = Writer::default();
    for device in devices {
        // systemd takes the numbers from a path of this form; it need not exist.
        rules.align(8).string(&format!("/dev/char/{device}")).string("rwm");
    }
    let mut properties = Writer::default();
    properties.string("DeviceAllow").signature("a(ss)").array(&rules);
    let mut arguments = Writer::default();
    arguments.string(unit).number(1).array(&properties);
    arguments
}

fn device_policy(bus: &mut Bus, unit: &str) -> Result<String, Error> {
    let method = Method {
        destination: SYSTEMD,
        path: &format!("/org/freedesktop/systemd1/unit/{}", escape(unit)),
        interface: "org.freedesktop.DBus.Properties",
        name: "Get",
        signature: "ss",
    };
    let mut arguments = Writer::default();
    arguments.string("org.freedesktop.systemd1.Scope").string("DevicePolicy");
    let body = bus.call(&method, &arguments)?;
    let mut reader = Reader::new(&body);
    if reader.signature() != Some("s") {
        return Err(Error::Malformed);
    }
    reader.string().map(str::to_owned).ok_or(Error::Malformed)
}

/// A unit's name as a part of an object path, as sd_bus_path_encode(3) makes it.
fn escape(unit: &str) -> String {
    let escaped = unit.bytes().enumerate().map(|(at, byte)| {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            char::from(byte).to_string()
        } else {
            format!("_{byte:02x}")
        }
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_name_becomes_a_part_of_an_object_path() {
        assert_eq!(escape("libpod-4f0c.scope"), "libpod_2d4f0c_2escope");
        assert_eq!(escape("4f.scope"), "_34f_2escope");
    }

    #[test]
    fn each_device_is_one_rule_of_the_property() {
        let devices = [DeviceNumber { major: 195, minor: 0 }, DeviceNumber { major: 195, minor: 255 }];
        let arguments = device_allow("a.scope", &devices);
        let expected: &[&[u8]] = &[
            b"\x07\0\0\0a.scope\0\x01\0\0\0",        // unit, runtime; ends at 16
            b"\x60\0\0\0\0\0\0\0",                   // length of the properties
            b"\x0b\0\0\0DeviceAllow\0\x05a(ss)\0\0", // at 24, the variant's array at 48
            b"\x40\0\0\0\0\0\0\0",
            b"\x0f\0\0\0/dev/char/195:0\0\x03\0\0\0rwm\0\0\0\0\0",
            b"\x11\0\0\0/dev/char/195:255\0\0\0\x03\0\0\0rwm\0",
        ];
        assert_eq!(arguments.bytes(), expected.concat());
    }
}
