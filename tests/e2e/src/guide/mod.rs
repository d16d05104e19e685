//! The user guide, as its reader does it: what its files say is typed and written, with stand-ins for the images, on a
//! simulated desktop.

mod containers;
mod machine;
mod markdown;
mod named;
mod needs;
mod typing;

use crate::case::{
    BOOKWORM_PODMAN, CRUN, Case, NO_SYSTEMD, RELEASE, ROOTFUL, ROOTLESS, RUNC, SYSTEMD, TRIXIE_PODMAN, V1,
    WHO, Where,
};
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::podman::{Podman, User};
use crate::profiles::command_lines::with_runtime;
use crate::profiles::desktop;
use machine::Machine;
use markdown::{Block, Content};
use needs::Need;
use typing::Reader;

/// The files by the name of their case: one word each, and a test finds a file that has none.
macro_rules! guide {
    ($($name:literal: $path:literal, $only:ident, $seconds:literal;)*) => {
        /// The cases, by name.
        pub(crate) const CASES: &[Case] = &[$(
            Case::new(concat!("guide/", $name), |lane, podman| judge(lane, podman, $name))
                .each(&[WHO, RELEASE])
                .only($only)
                .takes($seconds),
        )*];

        /// The files' names, paths below `docs`, and texts.
        const FILES: &[(&str, &str, &str)] =
            &[$(($name, $path, include_str!(concat!("../../../../docs/", $path)))),*];
    };
}

/// Each release has ordinary users, and the newer one root too, not every user with every runtime: that is what the
/// other cases have.
const ALL: Where = &[
    &[BOOKWORM_PODMAN, V1, NO_SYSTEMD, RUNC, ROOTLESS],
    &[TRIXIE_PODMAN, SYSTEMD, CRUN, ROOTLESS],
    &[TRIXIE_PODMAN, SYSTEMD, RUNC, ROOTFUL],
];

/// The lane that has both systemd and Quadlet.
const WITH_SERVICES: Where =
    &[&[TRIXIE_PODMAN, SYSTEMD, CRUN, ROOTLESS], &[TRIXIE_PODMAN, SYSTEMD, RUNC, ROOTFUL]];

guide! {
    "README": "guide/README.md", ALL, 3;
    "asking": "guide/asking.md", ALL, 15;
    "gaming": "guide/gaming.md", ALL, 6;
    "computing": "guide/computing.md", ALL, 11;
    "services": "guide/services.md", WITH_SERVICES, 15;
    "compose": "guide/compose.md", ALL, 12;
    "kube": "guide/kube.md", ALL, 13;
    "selinux": "guide/selinux.md", ALL, 3;
    "rootless": "guide/rootless.md", ALL, 4;
    "troubleshooting": "guide/troubleshooting.md", ALL, 6;
    "configuration": "guide/configuration.md", ALL, 4;
    "migration": "migration.md", ALL, 6;
}

fn judge(lane: &Lane, podman: Podman, name: &str) -> Result<(), Ended> {
    let text = FILES.iter().find(|(known, ..)| *known == name).map(|(.., text)| *text).unwrap_or_default();
    let blocks = markdown::parse(text).map_err(|what| Ended::failed(what, ""))?;
    let blocks: Vec<&Block> = blocks.iter().filter(|block| is_run(block, lane, podman)).collect();
    claim(!blocks.is_empty(), &format!("{name}.md has nothing to do here"), String::new)?;
    let texts: Vec<String> = blocks.iter().map(|block| block.text()).collect();
    let stand_ins = named::in_texts(texts.iter().map(String::as_str));
    let podmans = readers(podman, &blocks);
    with_runtime(podman, || {
        desktop::with(podman.user, |desktop| {
            let machine = Machine::before(&podmans)?;
            let mut reader = Reader::new(podman, &podmans, desktop)?;
            let ended = stand_ins.with(&podmans, || {
                blocks.iter().try_for_each(|block| reader.does(block).map_err(|ended| at(name, block, ended)))
            });
            let restored = machine.restore(&reader.done());
            ended.and(restored)
        })
    })
}

fn is_run(block: &Block, lane: &Lane, podman: Podman) -> bool {
    let is_of_user = Need::is_of_user(&block.text())
        || matches!(&block.content, Content::Written { path, .. } if Need::is_of_user(path));
    let implied = is_of_user.then_some(Need::User);
    block.not_run.is_none() && block.needs.iter().chain(&implied).all(|need| need.is_met(lane, podman))
}

/// Whose containers there may be: where root types something, root's, and those of a service of an ordinary user's.
fn readers(podman: Podman, blocks: &[&Block]) -> Vec<Podman> {
    let has_root = blocks.iter().any(|block| match &block.content {
        Content::Typed(commands) => commands.iter().any(|typed| typed.is_root),
        Content::Written { .. } => false,
    });
    if !has_root {
        return vec![podman];
    }
    [User::Root, User::Rootless].map(|user| Podman { user, ..podman }).to_vec()
}

fn at(name: &str, block: &Block, ended: Ended) -> Ended {
    match ended {
        Ended::Failed { reason, output } => {
            Ended::failed(format!("{name}.md, block of line {}: {reason}", block.line), output)
        }
        Ended::Skipped(_) => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Why a block is not run in any lane, and nothing else is a reason.
    const REASONS: &[&str] = &[
        "a part of a file",
        "changes the machine's kernel",
        "installs packages",
        "needs Docker",
        "needs a machine with SELinux",
        "needs NVIDIA's driver",
        "needs NVIDIA's toolkit",
        "needs a machine with SELinux",
        "needs a second machine",
        "needs an X server",
        "needs the internet",
    ];

    fn docs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
    }

    fn blocks() -> Vec<(&'static str, Block)> {
        let of = |(name, _, text): &(&'static str, &str, &str)| {
            let blocks = markdown::parse(text).unwrap_or_else(|what| panic!("{name}.md, {what}"));
            let name = *name;
            blocks.into_iter().map(move |block| (name, block))
        };
        FILES.iter().flat_map(of).collect()
    }

    #[test]
    fn no_file_of_the_guide_is_left_out() {
        let listed: BTreeSet<String> =
            FILES.iter().filter_map(|(_, path, _)| path.strip_prefix("guide/")).map(str::to_owned).collect();
        let there: BTreeSet<String> = fs::read_dir(docs().join("guide"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(listed, there);
    }

    /// A block that the parser took for something else would silently not be run.
    #[test]
    fn every_fence_is_a_block_of_its_kind() {
        for (name, _, text) in FILES {
            let blocks = markdown::parse(text).unwrap_or_else(|what| panic!("{name}.md, {what}"));
            let typed = blocks.iter().filter(|block| matches!(block.content, Content::Typed(_))).count();
            let languages: Vec<&str> = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("```"))
                .filter(|language| !["", "text"].contains(language))
                .collect();
            let consoles = languages.iter().filter(|language| **language == "console").count();
            assert_eq!((typed, blocks.len()), (consoles, languages.len()), "{name}");
        }
    }

    #[test]
    fn few_blocks_are_not_run_and_for_known_reasons() {
        let blocks = blocks();
        let not_run: Vec<(&str, &str)> =
            blocks.iter().filter_map(|(name, block)| Some((*name, block.not_run.as_deref()?))).collect();
        let unknown: Vec<_> = not_run.iter().filter(|(_, reason)| !REASONS.contains(reason)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(not_run.len() * 5 <= blocks.len(), "{} of {}: {not_run:?}", not_run.len(), blocks.len());
    }

    #[test]
    fn links_lead_to_files_that_are_there() {
        for (name, path, text) in FILES {
            let links =
                text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link));
            for link in links.filter(|link| !link.contains("://")) {
                let file = link.split('#').next().unwrap_or_default();
                let folder = docs().join(path).parent().unwrap().to_owned();
                let is_there = file.is_empty() || folder.join(file).exists();
                assert!(is_there, "{name}.md: {link}");
            }
        }
    }
}
