//! The links that update-alternatives makes when Debian's driver packages are installed, from the packages' own list.
//!
//! The list is in the maintainer script of `nvidia-alternative`, as calls of two shell functions:
//! `add_slave LINK NAME FILE` and `add_multiarch_slave LINK-DIR LINK-SUBDIR NAME FILE-DIR FILE-SUBDIR`.
use crate::driver_sim::TRIPLET;

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
    script.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Alternative> {
    let (_, call) = line.split_once("$(")?;
    let (call, _) = call.split_once(')')?;
    let words: Vec<&str> = call.split_whitespace().map(|word| word.trim_matches('"')).collect();
    match words.as_slice() {
        ["add_slave", link, name, file] => {
            Some(Alternative::of("nvidia", (*link).into(), name, (*file).into()))
        }
        ["add_multiarch_slave", link_dir, link_sub, name, file_dir, file_sub] => Some(Alternative::of(
            "nvidia",
            format!("{link_dir}/{TRIPLET}/{link_sub}{name}"),
            &format!("{name}-{TRIPLET}"),
            format!("{file_dir}/{TRIPLET}/{file_sub}{name}"),
        )),
        _ => None,
    }
}

/// The second stage, the `glx` group, which `glx-alternative-nvidia` registers on top of the `nvidia` group.
pub(super) fn glx() -> Vec<Alternative> {
    let lib = format!("/usr/lib/{TRIPLET}");
    let multiarch = |name: &str, file: String| {
        Alternative::of("glx", format!("{lib}/{name}"), &format!("{name}-{TRIPLET}"), file)
    };
    let modules = "/usr/lib/xorg/modules";
    vec![
        multiarch("libGLX_indirect.so.0", format!("{lib}/libGLX_nvidia.so.0")),
        multiarch("libnvidia-cfg.so.1", format!("{lib}/nvidia/libnvidia-cfg.so.1")),
        Alternative::of(
            "glx",
            format!("{modules}/drivers/nvidia_drv.so"),
            "nvidia_drv.so",
            "/usr/lib/nvidia/nvidia_drv.so".into(),
        ),
        Alternative::of(
            "glx",
            format!("{modules}/extensions/libglxserver_nvidia.so"),
            "libglxserver_nvidia.so",
            "/usr/lib/nvidia/libglxserver_nvidia.so".into(),
        ),
    ]
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
        let expected = [
            Alternative {
                link: format!("/usr/lib/{TRIPLET}/libcuda.so.1"),
                entry: format!("/etc/alternatives/nvidia--libcuda.so.1-{TRIPLET}"),
                file: format!("/usr/lib/{TRIPLET}/nvidia/current/libcuda.so.1"),
            },
            Alternative {
                link: format!("/usr/lib/{TRIPLET}/vdpau/libvdpau_nvidia.so.1"),
                entry: format!("/etc/alternatives/nvidia--libvdpau_nvidia.so.1-{TRIPLET}"),
                file: format!("/usr/lib/{TRIPLET}/nvidia/current/libvdpau_nvidia.so.1"),
            },
            Alternative {
                link: "/usr/bin/nvidia-smi".into(),
                entry: "/etc/alternatives/nvidia--nvidia-smi".into(),
                file: "/usr/lib/nvidia/current/nvidia-smi".into(),
            },
        ];
        assert_eq!(parse(script), expected);
    }
}
