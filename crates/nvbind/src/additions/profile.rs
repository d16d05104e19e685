//! The options that profiles become, and what is left out of them on this machine and beside the user's own.

use super::taken::Taken;
use super::{Additions, Mode};
use crate::config::expand::{self, expand};
use crate::podman::lexer::Origin;
use crate::podman::options::Options;
use crate::podman::own;
use nvbind_core::catalogue::{EXTRA_NODES, SHARED};
use nvbind_core::extras::{Extra, Extras};
use nvbind_core::host::Roots;
use nvbind_core::request::CAPABILITIES_VARIABLE;
use nvbind_core::settings::Profile;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Variables that name a directory in which the driver keeps what it compiled, for other containers to run.
const CACHES: &[&str] = &["CUDA_CACHE_PATH", "__GL_SHADER_DISK_CACHE_PATH"];

/// The profiles of a command line, and what stands on it beside them.
pub(super) struct Selection<'a> {
    /// By name, a later one over an earlier.
    pub(super) profiles: &'a [(&'a str, &'a Profile)],
    /// Options of the configuration, before those of the profiles.
    pub(super) before: &'a Options,
    pub(super) typed: &'a Options,
    pub(super) mode: &'a Mode<'a>,
    /// The directories below which the hook looks for the driver.
    pub(super) driver: &'a Roots,
}

/// A place in the container at which a profile puts nothing.
struct Absent {
    place: PathBuf,
    entry: String,
    why: String,
}

/// What one profile adds.
struct Part<'a> {
    profile: &'a Profile,
    origin: Origin,
    additions: Additions,
}

impl Part<'_> {
    fn add(&mut self, option: &str, value: impl AsRef<OsStr>) {
        self.additions.options.add(option, value, &self.origin);
    }

    /// Notes that something of the profile is left out.
    fn leave_out(&mut self, what: &str, why: &str) {
        self.additions.notes.push(format!("{what} of {} is left out: {why}", self.origin));
    }
}

impl Selection<'_> {
    pub(super) fn additions(&self) -> Result<Additions, own::Error> {
        let is_isolated = self.is_isolated();
        let mut all = self.of_nvbind(is_isolated);
        let mut taken = Taken::default();
        taken.extend(self.before);
        taken.extend(self.typed);
        let mut parts = Vec::new();
        // A place or limit belongs to the last profile that names it.
        for (name, profile) in self.profiles.iter().rev() {
            let origin = Origin::Profile((*name).to_owned());
            let mut part = Part { profile, origin, additions: Additions::default() };
            let mut list = profile.args.clone();
            list.extend(profile.shm_size.iter().map(|size| format!("--shm-size={size}")));
            part.additions.add_arguments(&list, &part.origin, self.mode)?;
            taken.extend(&part.additions.options);
            let absent = self.add_volumes(is_isolated, &mut taken, &mut part);
            self.add_environment(absent, &mut part);
            self.add_devices(&mut taken, &mut part);
            self.add_limits(&mut taken, &mut part);
            parts.push(part);
        }
        for part in parts.into_iter().rev() {
            all.extend(part.additions);
        }
        Ok(all)
    }

    /// What the hook will be asked beside the GPUs.
    fn of_nvbind(&self, is_isolated: bool) -> Additions {
        let mut additions = Additions::default();
        let capabilities = self.profiles.iter().rev().find_map(|(_, profile)| profile.capabilities.clone());
        // The option would win over the variable, which the user typed.
        additions.options.own.capabilities = capabilities.filter(|_| !self.types_capabilities());
        additions.options.own.isolate = self.isolation();
        let mut extras: Vec<&str> = Vec::new();
        for (name, profile) in self.profiles {
            for extra in &profile.extras {
                let why = match Extras::parse(extra).0.iter().find(|extra| !self.has(*extra)) {
                    Some(_) => Some("this user has none on this machine"),
                    None if extra == Extra::Mps.name() && is_isolated => Some("isolation shares nothing"),
                    None => None,
                };
                match why {
                    Some(why) => {
                        let origin = Origin::Profile((*name).to_owned());
                        additions.notes.push(format!("--extras {extra} of {origin} is left out: {why}"));
                    }
                    None if extras.contains(&extra.as_str()) => {}
                    None => extras.push(extra),
                }
            }
        }
        additions.options.own.extras = (!extras.is_empty()).then(|| extras.join(","));
        additions
    }

    fn types_capabilities(&self) -> bool {
        let is_it = |value: &OsStr| value.to_string_lossy().split('=').next() == Some(CAPABILITIES_VARIABLE);
        self.typed.values("env").any(is_it)
    }

    fn isolation(&self) -> Option<bool> {
        self.profiles.iter().rev().find_map(|(_, profile)| profile.isolate)
    }

    fn is_isolated(&self) -> bool {
        let typed = self.typed.own.isolate;
        typed.or_else(|| self.isolation()).or(self.before.own.isolate).unwrap_or_default()
    }

    /// Whether the host has it, where the hook looks, in a way that this user may have it in a container.
    fn has(&self, extra: Extra) -> bool {
        // The hook takes the directory of MPS only where it is root's, rootless the user's own.
        let is_shared = || {
            let mut rows = SHARED.iter().filter(|row| row.extra == extra);
            rows.any(|row| self.mode.caller.host.is_own(&below(&self.driver.root, row.host)))
        };
        let has_node = || {
            EXTRA_NODES.iter().filter(|row| row.extra == extra && row.required).any(|row| {
                let directory = below(&self.driver.dev_root, row.directory);
                let is_it = |name: &OsString| match row.name.strip_suffix('*') {
                    Some(prefix) => name.as_bytes().starts_with(prefix.as_bytes()),
                    None => name == row.name,
                };
                let names = self.mode.caller.host.names(&directory);
                names
                    .iter()
                    .any(|name| is_it(name) && self.mode.caller.host.is_readable(&directory.join(name)))
            })
        };
        is_shared() || has_node()
    }

    fn add_volumes(&self, is_isolated: bool, taken: &mut Taken, part: &mut Part<'_>) -> Vec<Absent> {
        let profile = part.profile;
        let mut absent: Vec<Absent> = Vec::new();
        for entry in &profile.volumes {
            let parts: Vec<&str> = entry.split(':').collect();
            // A checked file has both.
            let [_, place, ..] = parts.as_slice() else { continue };
            let place =
                PathBuf::from(expand(place, self.mode.caller.variable).unwrap_or_else(|_| place.into()));
            if taken.has_place(&place) {
                continue;
            }
            let is_cache = CACHES
                .iter()
                .any(|cache| profile.environment.get(*cache).map(Path::new) == Some(place.as_path()));
            let parts = parts.into_iter().map(|part| expand(part, self.mode.caller.variable));
            let why = match parts.collect::<Result<Vec<OsString>, _>>() {
                Err(expand::Error::Unset(unset)) => format!("{unset} is not set here"),
                // Not in a checked file.
                Err(expand::Error::Dollar) => continue,
                // A variable may hold a path or the name of something else; podman would make a volume of that name.
                Ok(parts) if entry.starts_with('$') && !parts.first().is_some_and(|host| is_path(host)) => {
                    format!("{} is no path", parts.first().cloned().unwrap_or_default().display())
                }
                Ok(parts) => match self.why_no_volume(&parts, is_isolated && is_cache) {
                    Some(why) => why,
                    None => {
                        let value = parts.join(OsStr::new(":"));
                        taken.add("volume", &value);
                        part.add("volume", value);
                        continue;
                    }
                },
            };
            absent.push(Absent { place, entry: entry.clone(), why });
        }
        // Another entry may have brought the place; of several that did not the last one's reason is given.
        absent.retain(|absent| !taken.has_place(&absent.place));
        absent.reverse();
        let mut seen = BTreeSet::new();
        absent.retain(|absent| seen.insert(absent.place.clone()));
        absent.reverse();
        absent
    }

    fn why_no_volume(&self, parts: &[OsString], is_shared_cache: bool) -> Option<String> {
        if let Some(part) = parts.iter().find(|part| part.as_bytes().contains(&b':')) {
            return Some(format!("podman can't mount {}: it has a colon", part.display()));
        }
        let host = parts.first()?;
        if is_path(host) {
            let is_there = self.mode.caller.host.exists(Path::new(host));
            return (!is_there).then(|| format!("{} is not on this machine", host.display()));
        }
        is_shared_cache.then(|| "isolation shares no cache of the driver".to_owned())
    }

    /// Those variables that lead to an absent place go with it.
    fn add_environment(&self, absent: Vec<Absent>, part: &mut Part<'_>) {
        let mut along: Vec<(Absent, Vec<&str>)> =
            absent.into_iter().map(|absent| (absent, Vec::new())).collect();
        let mut unset = Vec::new();
        for (variable, value) in &part.profile.environment {
            match expand(value, self.mode.caller.variable) {
                Ok(value) => {
                    let leads = |absent: &Absent| leads_to(&value, &absent.place);
                    if let Some((_, variables)) = along.iter_mut().find(|(absent, _)| leads(absent)) {
                        variables.push(variable);
                        continue;
                    }
                    part.additions.add_variable(variable, &value, &part.origin);
                }
                Err(expand::Error::Unset(name)) => unset.push((variable, name)),
                // Not in a checked file.
                Err(expand::Error::Dollar) => {}
            }
        }
        for (Absent { entry, why, .. }, variables) in along {
            let whys = match variables.as_slice() {
                [] => why,
                variables => format!("{why}; {} with it", variables.join(", ")),
            };
            part.leave_out(&format!("--volume {entry}"), &whys);
        }
        for (variable, unset) in unset {
            part.leave_out(&format!("--env {variable}"), &format!("{unset} is not set here"));
        }
    }

    fn add_devices(&self, taken: &mut Taken, part: &mut Part<'_>) {
        for entry in &part.profile.devices {
            let what = format!("--device {entry}");
            let value = match expand(entry, self.mode.caller.variable) {
                Ok(value) => value,
                Err(expand::Error::Unset(unset)) => {
                    part.leave_out(&what, &format!("{unset} is not set here"));
                    continue;
                }
                Err(expand::Error::Dollar) => continue,
            };
            let text = value.to_string_lossy();
            let mut parts = text.split(':');
            let host = Path::new(parts.next().unwrap_or_default());
            let place = parts.next().map(Path::new).filter(|place| place.is_absolute()).unwrap_or(host);
            if taken.has_place(place) {
                continue;
            }
            if let Some(why) = self.why_no_device(host) {
                part.leave_out(&what, why);
                continue;
            }
            taken.add("device", &value);
            part.add("device", &value);
        }
    }

    /// Of a directory podman takes all nodes, and fails where there is none.
    fn why_no_device(&self, host: &Path) -> Option<&'static str> {
        if !self.mode.caller.host.exists(host) {
            return Some("it is not on this machine");
        }
        let names = self.mode.caller.host.names(host);
        let is_readable = match names.as_slice() {
            [] => self.mode.caller.host.is_readable(host),
            names => names.iter().any(|name| self.mode.caller.host.is_readable(&host.join(name))),
        };
        (!is_readable).then_some("this user may not read it")
    }

    fn add_limits(&self, taken: &mut Taken, part: &mut Part<'_>) {
        for entry in &part.profile.ulimits {
            let (limit, value) = entry.split_once('=').unwrap_or((entry, ""));
            if taken.has_limit(limit) {
                continue;
            }
            let wanted = value.split(':').filter_map(number).max();
            if let Some(hard) = wanted.and_then(|wanted| self.mode.caller.host.limit_below(limit, wanted)) {
                let why = format!("this user's hard limit is {hard}; see limits.conf(5)");
                part.leave_out(&format!("--ulimit {entry}"), &why);
                continue;
            }
            taken.add("ulimit", OsStr::new(entry));
            part.add("ulimit", entry);
        }
    }
}

/// A path of the catalogue below a directory.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Whether podman takes it for a path, and not for the name of a volume.
fn is_path(host: &OsStr) -> bool {
    matches!(host.as_bytes(), [b'/' | b'.', ..])
}

/// Whether a variable's value has this path in it, or one below it: `unix:/run/x`.
fn leads_to(value: &OsStr, place: &Path) -> bool {
    let value = value.to_string_lossy();
    let mut parts = value.split([':', ',', ';', '=']);
    parts.any(|part| Path::new(part).starts_with(place))
}

/// A limit's number; the largest there is, for none at all.
fn number(text: &str) -> Option<u64> {
    if text == "-1" { Some(u64::MAX) } else { text.parse().ok() }
}
