//! `NVIDIA_VISIBLE_DEVICES` of a container's environment as a request, by the rules of NVIDIA's own hook
//! (NVIDIA/nvidia-container-toolkit: `internal/config/image/cuda_image.go`, and `container_config.go` of
//! `cmd/nvidia-container-runtime-hook`).
//!
//! An image can set these variables: so they count only for a hook that is told so.

use crate::capability::Capabilities;
use crate::exit::Exit;
use crate::failure::Explain;
use crate::oci::{Config, is_dockers_name_for_nvbind, is_nvidias_hook};
use crate::request::{self, CAPABILITIES_VARIABLE, LIST_LIMIT, Request, VOID};
use std::path::Path;

/// The variable by which NVIDIA's own hook is asked for GPUs, and programs are told of them.
pub const VARIABLE: &str = "NVIDIA_VISIBLE_DEVICES";

/// What is given where [`CAPABILITIES_VARIABLE`] names nothing known.
const DEFAULT_CAPABILITIES: &str = "utility,compute";

/// Why the variable is no request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than any list of GPUs.
    #[error("NVIDIA_VISIBLE_DEVICES is longer than {LIST_LIMIT} bytes")]
    TooLong,
    /// The name of a device in a CDI specification.
    #[error(
        "NVIDIA_VISIBLE_DEVICES has {0:?}, a name of CDI; give that to podman as --device, or name the GPU by its index or UUID"
    )]
    Cdi(String),
    /// Not in the grammar of `io.nvbind.gpu`.
    #[error("NVIDIA_VISIBLE_DEVICES is no list of GPUs")]
    Selection(#[source] request::Error),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Request
    }
}

/// What the container's environment asks NVIDIA's hook for: the variable's value, or `all` for an image of CUDA from
/// before there was the variable. None where it asks for nothing.
#[must_use]
pub fn find_value(config: &Config) -> Option<&str> {
    match config.env(VARIABLE) {
        Some(value) if split_words(value).next().is_none() || split_words(value).any(|word| word == VOID) => {
            None
        }
        Some(value) => Some(value),
        None => is_legacy(config).then_some("all"),
    }
}

/// NVIDIA's own hook, where the container has it as well, and it would act: it does what the variable says.
#[must_use]
pub fn find_nvidias_hook(config: &Config) -> Option<(&Path, &str)> {
    let value = find_value(config)?;
    Some((config.hook_programs().find(|path| is_nvidias_hook(path))?, value))
}

/// What Docker asks for by `--gpus`, in a container that it runs nvbind's hook for under the name that it knows: it
/// puts the variable behind all that the image and the user say, and only a specification of CDI may put `void` behind
/// it.
#[must_use]
pub fn find_dockers(config: &Config) -> Option<&str> {
    if !config.hook_programs().any(is_dockers_name_for_nvbind) {
        return None;
    }
    let values = config.environment().filter(|(name, value)| *name == VARIABLE && *value != VOID);
    values.map(|(_, value)| value).last()
}

/// The request that this is, if it asks for something.
///
/// # Errors
/// When it names no GPUs.
pub fn parse_request(config: &Config) -> Result<Option<Request>, Error> {
    find_value(config).map(|value| parse(config, value)).transpose()
}

/// The request that this value of the variable is, with the capabilities of the container's environment.
///
/// # Errors
/// When it names no GPUs.
pub fn parse(config: &Config, value: &str) -> Result<Request, Error> {
    if value.len() > LIST_LIMIT {
        return Err(Error::TooLong);
    }
    if let Some(name) = split_words(value).find(|word| is_cdi(word)) {
        return Err(Error::Cdi(name.to_owned()));
    }
    let selection: Vec<&str> = split_words(value).collect();
    Request::parse(&selection.join(","), None, Some(find_capabilities(config))).map_err(Error::Selection)
}

/// Empty ones are passed over.
fn split_words(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Images of CUDA have told what they require since NVIDIA's second hook, and have had the variable since then, too.
fn is_legacy(config: &Config) -> bool {
    let has = |name| config.env(name).is_some_and(|value| !value.is_empty());
    has("CUDA_VERSION") && !has("NVIDIA_REQUIRE_CUDA")
}

fn find_capabilities(config: &Config) -> &str {
    match config.env(CAPABILITIES_VARIABLE) {
        Some(list) if !Capabilities::parse(list).0.is_empty() => list,
        None if is_legacy(config) => "all",
        Some(_) | None => DEFAULT_CAPABILITIES,
    }
}

/// Whether it is `vendor/class=name`. A MIG device's old UUID has slashes as well.
fn is_cdi(word: &str) -> bool {
    word.split_once('=').is_some_and(|(kind, _)| kind.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(environment: &[&str]) -> Config {
        let text = serde_json::json!({"process": {"env": environment}}).to_string();
        Config::parse(text.as_bytes(), Path::new("c")).unwrap()
    }

    /// The request as `GPUs/capabilities`, or `-`.
    fn asked(environment: &[&str]) -> Result<String, Error> {
        let of = |request: Request| format!("{}/{}", request.gpus, request.capabilities);
        Ok(parse_request(&config(environment))?.map_or_else(|| "-".to_owned(), of))
    }

    #[test]
    fn the_variable_means_what_it_means_to_nvidia_s_hook() {
        for (value, expected) in [
            ("", "-"),
            (" , ", "-"),
            ("void", "-"),
            ("0,void", "-"),
            ("none", "none"),
            ("all", "all"),
            (" all ", "all"),
            ("0", "0"),
            ("0,2,", "0,2"),
            ("GPU-AB12,MIG-CD34", "GPU-ab12,MIG-cd34"),
            ("0:1,1:0", "0:1,1:0"),
            ("MIG-GPU-ab/1/0", "MIG-GPU-ab/1/0"),
        ] {
            let variable = format!("{VARIABLE}={value}");
            let expected =
                if expected == "-" { "-".to_owned() } else { format!("{expected}/compute,utility") };
            assert_eq!(asked(&["A=1", &variable]).unwrap(), expected, "{value:?}");
        }
        assert_eq!(asked(&[]).unwrap(), "-");
        // The last of several counts.
        assert_eq!(asked(&["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_VISIBLE_DEVICES=void"]).unwrap(), "-");
    }

    #[test]
    fn capabilities_are_utility_and_compute_unless_named() {
        for (list, expected) in [
            ("graphics,video", "graphics,video"),
            ("all", "all"),
            ("utility,next-year", "utility"),
            ("next-year", "compute,utility"),
            ("", "compute,utility"),
        ] {
            let list = format!("NVIDIA_DRIVER_CAPABILITIES={list}");
            let asked = asked(&["NVIDIA_VISIBLE_DEVICES=0", &list]).unwrap();
            assert_eq!(asked, format!("0/{expected}"), "{list}");
        }
    }

    #[test]
    fn an_image_of_cuda_without_requirements_asks_for_all() {
        let cuda = "CUDA_VERSION=8.0.61";
        for (environment, expected) in [
            (&[cuda][..], "all/all"),
            (&[cuda, "NVIDIA_REQUIRE_CUDA="], "all/all"),
            (&[cuda, "NVIDIA_REQUIRE_CUDA=cuda>=8.0"], "-"),
            (&["CUDA_VERSION="], "-"),
            (&[cuda, "NVIDIA_DRIVER_CAPABILITIES=utility"], "all/utility"),
            (&[cuda, "NVIDIA_DRIVER_CAPABILITIES="], "all/compute,utility"),
            (&[cuda, "NVIDIA_VISIBLE_DEVICES=0"], "0/all"),
            (&[cuda, "NVIDIA_VISIBLE_DEVICES="], "-"),
            (&[cuda, "NVIDIA_VISIBLE_DEVICES=void"], "-"),
        ] {
            assert_eq!(asked(environment).unwrap(), expected, "{environment:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_gpus_is_refused() {
        let of = |value: &str| asked(&[&format!("{VARIABLE}={value}")]).unwrap_err();
        for value in ["nvidia.com/gpu=0", "runtime.nvidia.com/gpu=all", "0,nvidia.com/gpu=GPU-ab"] {
            let error = of(value).to_string();
            assert!(error.contains("a name of CDI; give that to podman as --device"), "{error}");
        }
        for value in ["gpu0", "all,0", "0,none", "0=1"] {
            assert!(matches!(of(value), Error::Selection(request::Error::Name(_))), "{value}");
        }
        let long = "0,".repeat(LIST_LIMIT / 2);
        assert_eq!(
            asked(&[&format!("{VARIABLE}={long}")]).unwrap().len(),
            LIST_LIMIT - 1 + "/compute,utility".len()
        );
        assert_eq!(of(&format!("{long}0")), Error::TooLong);
    }

    #[test]
    fn nvidia_s_hook_is_told_where_it_would_act() {
        let with_hooks = |hooks: &str, env: &str| {
            let text = format!(r#"{{"hooks":{hooks},"process":{{"env":["A=b"{env}]}}}}"#);
            Config::parse(text.as_bytes(), Path::new("c")).unwrap()
        };
        let theirs = r#"{"prestart":[{"path":"/x/nvbind-hook"},{"path":"/usr/bin/nvidia-container-runtime-hook","args":[]}]}"#;
        for (hooks, env, found) in [
            (theirs, r#","NVIDIA_VISIBLE_DEVICES=all""#, Some("all")),
            (theirs, r#","NVIDIA_VISIBLE_DEVICES=all","NVIDIA_VISIBLE_DEVICES=void""#, None),
            (theirs, r#","NVIDIA_VISIBLE_DEVICES=""#, None),
            (theirs, "", None),
            (theirs, r#","CUDA_VERSION=8.0""#, Some("all")),
            ("null", r#","NVIDIA_VISIBLE_DEVICES=all""#, None),
            (
                r#"{"prestart":[{"path":"/x/other"}],"poststop":[7]}"#,
                r#","NVIDIA_VISIBLE_DEVICES=all""#,
                None,
            ),
            (
                r#"{"createRuntime":[{"path":"/nvidia-container-toolkit"}]}"#,
                r#","NVIDIA_VISIBLE_DEVICES=0""#,
                Some("0"),
            ),
        ] {
            let config = with_hooks(hooks, env);
            assert_eq!(find_nvidias_hook(&config).map(|(_, value)| value), found, "{hooks} {env}");
        }
    }
}
