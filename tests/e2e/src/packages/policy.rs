//! The SELinux policy module in the hands of SELinux's tools: what the type may in Debian's policy, compared with
//! container_t.

use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::packages::formats::run;
use crate::packages::{DEB, place};
use crate::podman::Podman;
use nvbind_fixtures::error::{Doing, Error};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What it is to be like.
const MODEL: &str = "container_t";
const OURS: &str = "nvbind_container_t";
/// What stands for either, so that they can be compared.
const EITHER: &str = "EITHER";

/// Where the package is unpacked.
const ROOT: &str = "/tmp/policy";
const MODULE: &str = "/tmp/policy/usr/share/selinux/packages/nvbind.cil";
/// Where the tools leave the policy that a kernel would load, and only that.
const POLICIES: &str = "/etc/selinux/default/policy";

/// All that it may beyond its model: as `sesearch` writes it.
const BEYOND: [&str; 2] = [
    "allow EITHER dri_device_t:chr_file { getattr ioctl map open read write };",
    "allow EITHER xserver_misc_device_t:chr_file { getattr ioctl map open read write };",
];

/// Rules of these kinds, by `sesearch`.
const KINDS: [&str; 3] = ["--allow", "--dontaudit", "--type_trans"];

pub(super) fn selinux_policy(_: &Lane, _: Podman) -> Result<(), Ended> {
    run("dpkg-deb", &["--extract", &place(DEB), ROOT])?.must()?;
    run("semodule", &["--noreload", "--install", MODULE])?.must()?;
    let ended = compared(&policy()?);
    run("semodule", &["--noreload", "--remove", "nvbind"])?.must()?;
    let left = run("seinfo", &[&policy()?, "--type", OURS])?;
    claim(!left.out.contains(&format!("type {OURS}")), "the module cannot be removed", || left.told())?;
    ended
}

fn compared(policy: &str) -> Result<(), Ended> {
    let mut rules = [BTreeSet::new(), BTreeSet::new()];
    for (of, rules) in [MODEL, OURS].into_iter().zip(&mut rules) {
        for kind in KINDS {
            for side in ["--source", "--target"] {
                let found = run("sesearch", &[kind, side, of, policy])?.must()?;
                rules
                    .extend(found.out.lines().filter(|line| !line.is_empty()).map(|line| replaced(line, of)));
            }
        }
        claim(rules.len() > 100, "its rules are not found", || format!("{of}: {rules:?}"))?;
    }
    let [model, ours] = rules;
    let beyond: Vec<&String> = ours.difference(&model).collect();
    claim(beyond == BEYOND, "it may more than it should, or not what it should", || format!("{beyond:#?}"))?;
    let missing: Vec<&String> = model.difference(&ours).collect();
    claim(missing.is_empty(), "it may not what its model may", || format!("{missing:#?}"))?;
    // What constraints go by, levels among them; and whose processes may be of the type.
    let attributes = [MODEL, OURS].map(|of| attributes(policy, of));
    claim_same(attributes, "attributes")?;
    let listed = run("seinfo", &[policy, "--role", "--expand"])?.must()?;
    let roles = |of| {
        let has = |line: &&str| words(line).any(|word| word == of);
        listed.out.lines().filter(has).filter_map(|line| words(line).nth(1)).map(str::to_owned).collect()
    };
    claim_same([Ok(roles(MODEL)), Ok(roles(OURS))], "roles")
}

fn attributes(policy: &str, of: &str) -> Result<BTreeSet<String>, Ended> {
    let told = run("seinfo", &[policy, "--type", of, "--expand"])?.must()?;
    let line = told.out.lines().find(|line| line.trim_start().starts_with("type "));
    let line = line.ok_or_else(|| told.failed(format!("there is no {of}")))?;
    // type NAME alias OTHER, ATTRIBUTE, …;
    Ok(line.split(',').skip(1).map(|word| word.trim_matches([' ', ';']).to_owned()).collect())
}

fn claim_same(sets: [Result<BTreeSet<String>, Ended>; 2], what: &str) -> Result<(), Ended> {
    let [model, ours] = sets;
    let (model, ours) = (model?, ours?);
    let right = model == ours && !model.is_empty();
    claim(right, &format!("its {what} are not its model's"), || format!("{model:?}\n{ours:?}"))
}

/// A rule with neither's name in it. One is a part of the other.
fn replaced(rule: &str, of: &str) -> String {
    let is_part = |byte: char| byte.is_ascii_alphanumeric() || byte == '_';
    let pieces = rule.split_inclusive(|byte| !is_part(byte));
    let pieces = pieces.map(|piece| {
        let word = piece.trim_end_matches(|byte| !is_part(byte));
        if word == of { piece.replacen(of, EITHER, 1) } else { piece.to_owned() }
    });
    pieces.collect()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split([' ', '{', '}', ';']).filter(|word| !word.is_empty())
}

/// The policy's place, whose name has the version of its format.
fn policy() -> Result<String, Error> {
    let folder = Path::new(POLICIES);
    let mut entries = fs::read_dir(folder).on("list", folder)?;
    let entry = entries.next().ok_or_else(|| Error::failed(format!("{POLICIES} is empty")))?;
    Ok(entry.on("list", folder)?.path().display().to_string())
}
