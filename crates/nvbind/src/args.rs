//! The command line: clap's structures, and nothing that acts.

use clap::{Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// NVIDIA GPUs for Podman containers.
#[derive(Debug, Parser)]
#[command(name = "nvbind", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What nvbind can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a container with GPUs: `podman run`, with nvbind's annotation
    ///
    /// The options below may stand anywhere before IMAGE, mixed with those of `podman run` and with podman's global
    /// ones, which all reach podman untouched and in order.
    #[command(
        disable_help_flag = true,
        override_usage = "nvbind run [OPTIONS] [PODMAN OPTIONS] IMAGE [COMMAND [ARG...]]",
        after_help = RUN_OPTIONS
    )]
    Run {
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Show what a container would get, and why
    Plan(Plan),
    /// Show the driver and the GPUs of this machine
    Info(Info),
    /// Have the driver's modules loaded and its device nodes made, for rootless containers
    Devices,
    /// Check all that a container with GPUs needs of this machine
    ///
    /// Exit status: 1 where a check failed, else 0.
    Doctor(Doctor),
    /// Install nvbind and its hook
    Setup(Setup),
    /// Print what NVML says of GPUs and MIG devices, as JSON; the other commands and the hook run this
    #[command(hide = true)]
    Nvml(Nvml),
}

/// `nvbind run` is not parsed by clap (see `podman::command_line`), so its options are told here.
const RUN_OPTIONS: &str = "\
Options:
      --gpu <SEL>            GPUs: all, none, or a comma list of index, UUID, PCI address, MIG device [default: all]
      --gpus <SEL>           The same
      --capabilities <LIST>  Parts of the driver: compute, utility, graphics, video, display, ngx, compat32, all
      --extras <LIST>        Beyond the GPUs: mps, imex, imex:N, nvswitch, gds, gdrcopy, infiniband
      --isolate              Share nothing of the driver's, and refuse what would show other GPUs
      --device-rules         Rootful: tell podman the device rules, too, so that `podman update` keeps them
      --runtime <RUNTIME>    The OCI runtime that podman uses: crun, runc or a path; podman: its default
      --dry-run              Print the podman command instead of running it
      --help                 Print help

Exit status: 125 where nvbind or podman itself fails, else that of the container (see podman-run(1)).";

/// How a report is printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Options of `nvbind plan`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Plan {
    /// GPUs: all, none, or a comma list of index (0), range (0-3), UUID, PCI address, MIG device (0:1 or UUID)
    #[arg(long, value_name = "SEL", default_value = "all", alias = "gpus")]
    pub(crate) gpu: String,
    /// Parts of the driver: compute, utility, graphics, video, display, ngx, compat32, all
    #[arg(long, value_name = "LIST")]
    pub(crate) capabilities: Option<String>,
    /// Beyond the GPUs: mps, imex, imex:N, nvswitch, gds, gdrcopy, infiniband
    #[arg(long, value_name = "LIST")]
    pub(crate) extras: Option<String>,
    /// As for a container that shares nothing of the driver's with others
    #[arg(long)]
    pub(crate) isolate: bool,
    /// Take the driver from DIR; by default from where the installed hook takes it
    #[arg(long, value_name = "DIR")]
    pub(crate) driver_root: Option<PathBuf>,
    /// Format of the report
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Options of `nvbind info`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Info {
    /// Take the driver from DIR; by default from where the installed hook takes it
    #[arg(long, value_name = "DIR")]
    pub(crate) driver_root: Option<PathBuf>,
    /// Format of the report
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Options of `nvbind doctor`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Show why the hook last refused a container, instead of checking
    #[arg(long)]
    pub(crate) last: bool,
}

/// Options of `nvbind setup`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Setup {
    /// Install below DIR instead of /usr/local, the hook JSON too
    #[arg(long, value_name = "DIR")]
    pub(crate) prefix: Option<PathBuf>,
    /// Install below ~/.local and make this user's podman look there
    #[arg(long)]
    pub(crate) user: bool,
    /// Take the driver from DIR instead of /, at every start of a container
    #[arg(long, value_name = "DIR")]
    pub(crate) driver_root: Option<PathBuf>,
    /// Take the variable NVIDIA_VISIBLE_DEVICES for a request, too, by a second hook JSON
    #[arg(long)]
    pub(crate) visible_devices: bool,
    /// Remove what setup with the same options installed
    #[arg(long, conflicts_with_all = ["driver_root", "visible_devices"])]
    pub(crate) uninstall: bool,
}

/// Options of `nvbind nvml`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Nvml {
    /// The driver's libnvidia-ml.so, which only root may be able to write
    #[arg(long, value_name = "PATH")]
    pub(crate) library: PathBuf,
}
