//! The words that profiles become, and what is left out of them on this machine and beside the user's own words.

use super::Host;
use super::taken::Taken;
use crate::config::Words;
use crate::config::expand::{self, expand};
use crate::podman::lexer;
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
pub(crate) struct Selection<'a> {
    /// By name, a later one over an earlier.
    pub(crate) profiles: &'a [(&'a str, &'a Profile)],
    /// Options of the configuration, before those of the profiles.
    pub(crate) before: &'a [OsString],
    /// What the user typed.
    pub(crate) typed: &'a [OsString],
    /// The caller's variables.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The machine.
    pub(crate) host: &'a dyn Host,
    /// The directories below which the hook looks for the driver.
    pub(crate) driver: &'a Roots,
}

/// A place in the container at which a profile puts nothing.
struct Absent {
    place: PathBuf,
    entry: String,
    why: String,
}

impl Selection<'_> {
    /// The words of the profiles. `arguments` leaves out of their options what this start cannot have.
    pub(crate) fn additions(&self, arguments: &dyn Fn(&[String], &str) -> Words) -> Words {
        let is_isolated = self.is_isolated();
        let mut all = self.of_nvbind(is_isolated);
        let mut taken = Taken::of(self.before);
        taken.extend(self.typed);
        let mut parts = Vec::new();
        // A place or limit belongs to the last profile that names it.
        for (name, profile) in self.profiles.iter().rev() {
            let mut part = Words::default();
            let mut list = profile.args.clone();
            list.extend(profile.shm_size.iter().map(|size| format!("--shm-size={size}")));
            part.extend(arguments(&list, &format!("the profile {name}")));
            taken.extend(&part.words);
            let absent = self.volumes(profile, is_isolated, &mut taken, &mut part);
            self.environment(name, profile, absent, &mut part);
            self.devices(name, profile, &mut taken, &mut part);
            self.limits(name, profile, &mut taken, &mut part);
            parts.push(part);
        }
        for part in parts.into_iter().rev() {
            all.extend(part);
        }
        all
    }

    /// What the hook will be asked beside the GPUs.
    fn of_nvbind(&self, is_isolated: bool) -> Words {
        let mut part = Words::default();
        let capabilities =
            self.profiles.iter().rev().find_map(|(_, profile)| profile.capabilities.as_deref());
        // The option would win over the variable, which the user typed.
        if let Some(list) = capabilities.filter(|_| !self.types_capabilities()) {
            part.add("--capabilities", list);
        }
        match self.profiles.iter().rev().find_map(|(_, profile)| profile.isolate) {
            Some(true) => part.words.push("--isolate".into()),
            Some(false) => part.words.push("--isolate=false".into()),
            None => {}
        }
        let mut extras: Vec<&str> = Vec::new();
        for (name, profile) in self.profiles {
            for word in &profile.extras {
                let why = match Extras::parse(word).0.iter().find(|extra| !self.has(*extra)) {
                    Some(_) => Some("this user has none on this machine"),
                    None if word == Extra::Mps.name() && is_isolated => Some("isolation shares nothing"),
                    None => None,
                };
                match why {
                    Some(why) => part.notes.push(left_out(&format!("--extras {word}"), name, why)),
                    None if extras.contains(&word.as_str()) => {}
                    None => extras.push(word),
                }
            }
        }
        if !extras.is_empty() {
            part.add("--extras", extras.join(","));
        }
        part
    }

    fn types_capabilities(&self) -> bool {
        let is_it = |value: &OsStr| value.to_string_lossy().split('=').next() == Some(CAPABILITIES_VARIABLE);
        lexer::options(self.typed)
            .any(|given| given.name == "env" && given.value.as_deref().is_some_and(is_it))
    }

    fn is_isolated(&self) -> bool {
        let last = |words| lexer::options(words).filter(|given| given.name == "isolate").last();
        let typed = last(self.typed).map(|given| given.is_on());
        let of_profile = || self.profiles.iter().rev().find_map(|(_, profile)| profile.isolate);
        typed.or_else(of_profile).unwrap_or_else(|| last(self.before).is_some_and(|given| given.is_on()))
    }

    /// Whether the host has it, where the hook looks, in a way that this user may have it in a container.
    fn has(&self, extra: Extra) -> bool {
        // The hook takes the directory of MPS only where it is root's, rootless the user's own.
        let is_shared = || {
            let mut rows = SHARED.iter().filter(|row| row.extra == extra);
            rows.any(|row| self.host.is_own(&below(&self.driver.root, row.host)))
        };
        let has_node = || {
            EXTRA_NODES.iter().filter(|row| row.extra == extra && row.required).any(|row| {
                let directory = below(&self.driver.dev_root, row.directory);
                let is_it = |name: &OsString| match row.name.strip_suffix('*') {
                    Some(prefix) => name.as_bytes().starts_with(prefix.as_bytes()),
                    None => name == row.name,
                };
                let names = self.host.names(&directory);
                names.iter().any(|name| is_it(name) && self.host.is_readable(&directory.join(name)))
            })
        };
        is_shared() || has_node()
    }

    fn volumes(
        &self,
        profile: &Profile,
        is_isolated: bool,
        taken: &mut Taken,
        part: &mut Words,
    ) -> Vec<Absent> {
        let mut absent: Vec<Absent> = Vec::new();
        for entry in &profile.volumes {
            let parts: Vec<&str> = entry.split(':').collect();
            // A checked file has both.
            let [_, place, ..] = parts.as_slice() else { continue };
            let place = PathBuf::from(expand(place, self.variable).unwrap_or_else(|_| place.into()));
            if taken.has_place(&place) {
                continue;
            }
            let is_cache = CACHES
                .iter()
                .any(|cache| profile.environment.get(*cache).map(Path::new) == Some(place.as_path()));
            let parts = parts.into_iter().map(|part| expand(part, self.variable));
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
                        part.add("--volume", &value);
                        taken.extend(&["--volume".into(), value]);
                        continue;
                    }
                },
            };
            absent.push(Absent { place, entry: entry.clone(), why });
        }
        // Another entry may have brought the place; of several that did not the last one tells why.
        absent.retain(|absent| !taken.has_place(&absent.place));
        absent.reverse();
        let mut told = BTreeSet::new();
        absent.retain(|absent| told.insert(absent.place.clone()));
        absent.reverse();
        absent
    }

    fn why_no_volume(&self, parts: &[OsString], is_shared_cache: bool) -> Option<String> {
        if let Some(part) = parts.iter().find(|part| part.as_bytes().contains(&b':')) {
            return Some(format!("podman can't mount {}: it has a colon", part.display()));
        }
        let host = parts.first()?;
        if is_path(host) {
            let is_there = self.host.exists(Path::new(host));
            return (!is_there).then(|| format!("{} is not on this machine", host.display()));
        }
        is_shared_cache.then(|| "isolation shares no cache of the driver".to_owned())
    }

    /// Those variables that lead to an absent place go with it.
    fn environment(&self, name: &str, profile: &Profile, absent: Vec<Absent>, part: &mut Words) {
        let mut along: Vec<(Absent, Vec<&str>)> =
            absent.into_iter().map(|absent| (absent, Vec::new())).collect();
        let mut unset = Vec::new();
        for (variable, value) in &profile.environment {
            match expand(value, self.variable) {
                Ok(value) => {
                    let leads = |absent: &Absent| leads_to(&value, &absent.place);
                    if let Some((_, variables)) = along.iter_mut().find(|(absent, _)| leads(absent)) {
                        variables.push(variable);
                        continue;
                    }
                    let mut assignment = OsString::from(format!("{variable}="));
                    assignment.push(value);
                    part.add("--env", assignment);
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
            part.notes.push(left_out(&format!("--volume {entry}"), name, &whys));
        }
        for (variable, unset) in unset {
            part.notes.push(left_out(
                &format!("--env {variable}"),
                name,
                &format!("{unset} is not set here"),
            ));
        }
    }

    fn devices(&self, name: &str, profile: &Profile, taken: &mut Taken, part: &mut Words) {
        for entry in &profile.devices {
            let what = format!("--device {entry}");
            let value = match expand(entry, self.variable) {
                Ok(value) => value,
                Err(expand::Error::Unset(unset)) => {
                    part.notes.push(left_out(&what, name, &format!("{unset} is not set here")));
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
                part.notes.push(left_out(&what, name, why));
                continue;
            }
            part.add("--device", &value);
            taken.extend(&["--device".into(), value.clone()]);
        }
    }

    /// Of a directory podman takes all nodes, and fails where there is none.
    fn why_no_device(&self, host: &Path) -> Option<&'static str> {
        if !self.host.exists(host) {
            return Some("it is not on this machine");
        }
        let names = self.host.names(host);
        let is_readable = match names.as_slice() {
            [] => self.host.is_readable(host),
            names => names.iter().any(|name| self.host.is_readable(&host.join(name))),
        };
        (!is_readable).then_some("this user may not read it")
    }

    fn limits(&self, name: &str, profile: &Profile, taken: &mut Taken, part: &mut Words) {
        for entry in &profile.ulimits {
            let (limit, value) = entry.split_once('=').unwrap_or((entry, ""));
            if taken.has_limit(limit) {
                continue;
            }
            let wanted = value.split(':').filter_map(number).max();
            if let Some(hard) = wanted.and_then(|wanted| self.host.limit_below(limit, wanted)) {
                let why = format!("this user's hard limit is {hard}; see limits.conf(5)");
                part.notes.push(left_out(&format!("--ulimit {entry}"), name, &why));
                continue;
            }
            part.add("--ulimit", entry);
            taken.extend(&["--ulimit".into(), entry.into()]);
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
    let mut words = value.split([':', ',', ';', '=']);
    words.any(|word| Path::new(word).starts_with(place))
}

/// A limit's number; the largest there is, for none at all.
fn number(text: &str) -> Option<u64> {
    if text == "-1" { Some(u64::MAX) } else { text.parse().ok() }
}

fn left_out(what: &str, profile: &str, why: &str) -> String {
    format!("{what} of the profile {profile} is left out: {why}")
}
