//! The links that update-alternatives makes when Debian's driver packages are installed, from the packages' own list.
//!
//! The list is in the maintainer script of `nvidia-alternative`, as calls of two shell functions:
//! `add_slave LINK NAME FILE` and `add_multiarch_slave LINK-DIR LINK-SUBDIR NAME FILE-DIR FILE-SUBDIR`.
use crate::driver_sim::{TRIPLET, TRIPLET_32};

/// The multiarch directories that are looked into.
const TRIPLETS: &[&str] = &[TRIPLET, TRIPLET_32];

/// One alternative: where the link is, and the file that it leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alternative {
    /// The public name's path.
    pub(super) link: String,
    /// The entry in `/etc/alternatives`.
    pub(super) entry: String,
    /// The file of the driver.
    pub(super) file: String,
}

impl Alternative {
    fn of(group: &str, link: String, name: &str, file: String) -> Self {
        Self { entry: format!("/etc/alternatives/{group}--{name}"), link, file }
    }
}

/// The alternatives that the maintainer script `script` would register; which of the files are there is the caller's to
/// see.
pub(super) fn parse(script: &str) -> Vec<Alternative> {
    script.lines().flat_map(parse_line).collect()
}

fn parse_line(line: &str) -> Vec<Alternative> {
    match words(line).unwrap_or_default().as_slice() {
        ["add_slave", link, name, file] => {
            vec![Alternative::of("nvidia", (*link).into(), name, (*file).into())]
        }
        ["add_multiarch_slave", link_dir, link_sub, name, file_dir, file_sub] => TRIPLETS
            .iter()
            .map(|triplet| {
                let link = format!("{link_dir}/{triplet}/{link_sub}{name}");
                let file = format!("{file_dir}/{triplet}/{file_sub}{name}");
                Alternative::of("nvidia", link, &format!("{name}-{triplet}"), file)
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The words of the call `$(…)` in a line.
fn words(line: &str) -> Option<Vec<&str>> {
    let (_, call) = line.split_once("$(")?;
    let (call, _) = call.split_once(')')?;
    Some(call.split_whitespace().map(|word| word.trim_matches('"')).collect())
}

/// Of the second stage, the `glx` group, which `glx-alternative-nvidia` registers on top of the `nvidia` group: in each
/// multiarch directory the link, and what it leads to.
const GLX_LIBRARIES: &[(&str, &str)] =
    &[("libGLX_indirect.so.0", "libGLX_nvidia.so.0"), ("libnvidia-cfg.so.1", "nvidia/libnvidia-cfg.so.1")];
/// Of the same group, what there is once: the link's directory, its name, and the directory of what it leads to.
const GLX_FILES: &[(&str, &str, &str)] = &[
    ("/usr/lib/xorg/modules/drivers", "nvidia_drv.so", "/usr/lib/nvidia"),
    ("/usr/lib/xorg/modules/extensions", "libglxserver_nvidia.so", "/usr/lib/nvidia"),
    ("/usr/share/X11/xorg.conf.d", "nvidia-drm-outputclass.conf", "/etc/nvidia"),
];

/// The second stage.
pub(super) fn glx() -> Vec<Alternative> {
    let libraries = TRIPLETS.iter().flat_map(|triplet| {
        let folder = format!("/usr/lib/{triplet}");
        GLX_LIBRARIES.iter().map(move |(name, file)| {
            let link = format!("{folder}/{name}");
            Alternative::of("glx", link, &format!("{name}-{triplet}"), format!("{folder}/{file}"))
        })
    });
    let files = GLX_FILES.iter().map(|(folder, name, from)| {
        Alternative::of("glx", format!("{folder}/{name}"), name, format!("{from}/{name}"))
    });
    libraries.chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_the_maintainer_script_are_understood() {
        let script = "\tslaves=\"\n\
            \t\t$(add_multiarch_slave /usr/lib \"\" libcuda.so.1 /usr/lib nvidia/current/)\n\
            \t\t$(add_multiarch_slave /usr/lib vdpau/ libvdpau_nvidia.so.1 /usr/lib nvidia/current/)\n\
            \t\t$(add_slave /usr/bin/nvidia-smi nvidia-smi /usr/lib/nvidia/current/nvidia-smi)\n\
            \"\n\
            add_slave()\n";
        let multiarch = |triplet: &str, folder: &str, name: &str| Alternative {
            link: format!("/usr/lib/{triplet}/{folder}{name}"),
            entry: format!("/etc/alternatives/nvidia--{name}-{triplet}"),
            file: format!("/usr/lib/{triplet}/nvidia/current/{name}"),
        };
        let expected = [
            multiarch(TRIPLET, "", "libcuda.so.1"),
            multiarch("i386-linux-gnu", "", "libcuda.so.1"),
            multiarch(TRIPLET, "vdpau/", "libvdpau_nvidia.so.1"),
            multiarch("i386-linux-gnu", "vdpau/", "libvdpau_nvidia.so.1"),
            Alternative {
                link: "/usr/bin/nvidia-smi".into(),
                entry: "/etc/alternatives/nvidia--nvidia-smi".into(),
                file: "/usr/lib/nvidia/current/nvidia-smi".into(),
            },
        ];
        assert_eq!(parse(script), expected);
    }

    #[test]
    fn the_second_stage_leads_to_the_first_ones_links() {
        let alternatives = glx();
        let file = |link: &str| alternatives.iter().find(|it| it.link == link).unwrap().file.as_str();
        assert_eq!(
            file("/usr/lib/i386-linux-gnu/libGLX_indirect.so.0"),
            "/usr/lib/i386-linux-gnu/libGLX_nvidia.so.0"
        );
        assert_eq!(
            file("/usr/share/X11/xorg.conf.d/nvidia-drm-outputclass.conf"),
            "/etc/nvidia/nvidia-drm-outputclass.conf"
        );
    }
}
