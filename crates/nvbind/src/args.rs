//! The command line: clap's structures, and nothing that acts.

use crate::cdi;
use crate::messages::Messages;
use crate::watcher;
use clap::{Arg, ArgAction, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;

/// NVIDIA GPUs for Podman containers.
#[derive(Debug, Parser)]
#[command(name = "nvbind", version, arg_required_else_help = true, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) messages: Messages,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What stands before `run`, `create` or `kube play`, and then that command with its arguments.
#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct Leading {
    #[command(flatten)]
    pub(crate) messages: Messages,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
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
        args = run_options(),
        after_help = EXIT_STATUS_OF_RUN
    )]
    Run {
        #[arg(skip)]
        arguments: Vec<OsString>,
    },
    /// Create a container with GPUs: `podman create`, otherwise as `nvbind run`
    #[command(
        disable_help_flag = true,
        override_usage = "nvbind create [OPTIONS] [PODMAN OPTIONS] IMAGE [COMMAND [ARG...]]",
        args = run_options(),
        after_help = EXIT_STATUS_OF_RUN
    )]
    Create {
        #[arg(skip)]
        arguments: Vec<OsString>,
    },
    /// Start the pods of Kubernetes files with the GPUs that they ask for
    #[command(subcommand)]
    Kube(Kube),
    /// Show what a container would get, and why
    Plan(Plan),
    /// Show the driver and the GPUs of this machine
    Info(Info),
    /// Have the driver's modules loaded and its device nodes made, for rootless containers
    Devices,
    /// Show, check or begin the configuration
    #[command(subcommand)]
    Config(Config),
    /// Show the profiles of `nvbind run --profile`
    #[command(subcommand)]
    Profile(Profile),
    /// The specifications by which engines are asked for GPUs as devices of CDI
    #[command(subcommand)]
    Cdi(Cdi),
    /// Check all that a container with GPUs needs of this machine
    ///
    /// Exit status: 1 where a check failed (with --fix: still fails), or nothing could be told; else 0.
    Doctor(Doctor),
    /// Install nvbind and its hook
    Setup(Setup),
    /// Print a file that starts the container of an `nvbind run` command line
    ///
    /// Example: `nvbind generate quadlet -- --gpu 0 --name worker IMAGE >
    /// ~/.config/containers/systemd/worker.container`. What the file cannot hold is told on stderr, or is an error.
    #[command(
        override_usage = "nvbind generate <KIND> -- [OPTIONS] [PODMAN OPTIONS] IMAGE [COMMAND [ARG...]]"
    )]
    Generate(Generate),
    /// Print completions for a shell, to be put where it looks for them
    Completions(Completions),
    /// Write the man pages into a directory, for packages
    #[command(hide = true)]
    Man(Man),
    /// Print what NVML says of GPUs and MIG devices, as JSON; the other commands and the hook run this
    #[command(hide = true)]
    Nvml(Nvml),
    /// Print why the hook refused a container; `nvbind run` starts this beside podman
    #[command(hide = true, name = watcher::COMMAND)]
    Watch(Watch),
}

/// The numbers of `nvbind_core::exit`.
const EXIT_STATUS: &str = "Exit status: 0 done; 2 the request, the configuration or the command line is wrong; 3 the \
    driver or a GPU is not there; 4 not permitted; 70 a bug in nvbind. `run`, `create` and `kube play`: 125, as podman's own. `doctor`: 1 \
    where a check failed.";

/// What podman-run(1) and podman-create(1) say, too.
const EXIT_STATUS_OF_RUN: &str =
    "Exit status: 125 where nvbind or podman itself fails, else that of the container (see podman-run(1)).";

/// The options of `nvbind run` and `create`, for their help, man pages and completions: clap does not parse them (see
/// `podman::command_line`).
pub(crate) fn run_options() -> [Arg; 14] {
    let value =
        |name, what, help| Arg::new(name).long(name).value_name(what).value_hint(ValueHint::Other).help(help);
    let switch = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    [
        value(
            "gpu",
            "SEL",
            "GPUs: all, none, any:N (so many), or a comma list of index, range, UUID, PCI address, MIG device; may be \
             repeated [default: gpu.default_selection of the configuration, or all]",
        ),
        value(
            "gpus",
            "REQUEST",
            "GPUs as `docker run` has them: all, a number, or device=0,1, also with capabilities=utility",
        ),
        value(
            "capabilities",
            "LIST",
            "Parts of the driver: compute, utility, graphics, video, display, ngx, compat32, all",
        ),
        value("extras", "LIST", "Beyond the GPUs: mps, imex, imex:N, nvswitch, gds, gdrcopy, infiniband"),
        switch(
            "isolate",
            "Share nothing of the driver's, and refuse what would show other GPUs; --isolate=false: not",
        ),
        switch(
            "device-rules",
            "Rootful: tell podman the device rules, too, so that `podman update` keeps them",
        ),
        value(
            "runtime",
            "RUNTIME",
            "The OCI runtime that podman uses: crun, runc or a path; podman, and Docker's nvidia: podman's default",
        )
        .value_hint(ValueHint::AnyPath),
        switch("rootless", "Refuse to start a container as root"),
        value(
            "profile",
            "NAME",
            "Add what this profile says, of what this machine has: ai-ml, gaming, shared or one of the configuration's; \
             may be repeated",
        ),
        value("config", "FILE", "Read this configuration as well, after the system's and the user's")
            .value_hint(ValueHint::FilePath),
        switch("dry-run", "Print the podman command instead of running it"),
        // Without short forms: -h is podman's --hostname, -v its --volume.
        switch("verbose", "Tell on stderr what is read, looked at and run"),
        value("color", "WHEN", "Colour of messages: auto, always, never"),
        switch("help", "Print help"),
    ]
}

/// What `nvbind kube` can do.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Kube {
    /// `podman kube play`, with GPUs for containers whose resources are `nvidia.com/gpu`
    ///
    /// Every container that has `nvidia.com/gpu: N` among its limits gets N GPUs of its own, one with
    /// `nvidia.com/gpu=0: 1` that one, and the other containers of its pod none. The options below may be mixed with
    /// those of `podman kube play` and with podman's global ones, which all reach podman untouched. `podman kube down`
    /// takes the same file.
    #[command(
        disable_help_flag = true,
        override_usage = "nvbind kube play [OPTIONS] [PODMAN OPTIONS] FILE...|-",
        args = kube_play_options(),
        after_help = "Exit status: 125 where nvbind or podman itself fails, else podman's (see podman-kube-play(1))."
    )]
    Play {
        #[arg(skip)]
        arguments: Vec<OsString>,
    },
}

/// The options of `nvbind kube play`, which clap does not parse either (see `podman::kube_play`).
pub(crate) fn kube_play_options() -> Vec<Arg> {
    let names = ["runtime", "rootless", "config", "verbose", "color", "help"];
    let dry_run = Arg::new("dry-run")
        .long("dry-run")
        .action(ArgAction::SetTrue)
        .help("Print what podman would be given to play, and start nothing");
    let files = Arg::new("files")
        .value_name("FILE")
        .num_args(0..)
        .value_hint(ValueHint::FilePath)
        .help("A Kubernetes file");
    let options = run_options().into_iter().filter(|option| names.contains(&option.get_id().as_str()));
    options.chain([dry_run, files]).collect()
}

/// What `nvbind config` can do.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every key with its value and where that comes from
    Show(ConfigFiles),
    /// Check all files: exit status 2 if one of them cannot be used
    Check(ConfigFiles),
    /// Print which files are looked at, in the order in which they override
    Path(ConfigFiles),
    /// Write a file with every key as a comment: the user's own, as root the system's
    Init,
}

/// Options of `nvbind config show`, `check` and `path`, and of `nvbind profile`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConfigFiles {
    /// As `nvbind run --config FILE` reads it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What `nvbind profile` can do.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Profile {
    /// Print every profile with what it is for and where it comes from
    List(ConfigFiles),
    /// Print the keys of a profile, where each comes from, and what would be left out here
    Show {
        /// The profile
        name: String,
        #[command(flatten)]
        files: ConfigFiles,
    },
}

/// Subcommands of `nvbind cdi`.
#[derive(Debug, Subcommand)]
pub(crate) enum Cdi {
    /// Print one as JSON: it is the same for every driver. `nvbind setup --cdi` installs both kinds
    Print {
        /// By which names devices are asked for
        #[arg(long, value_enum, default_value_t = cdi::Kind::Nvidia)]
        kind: cdi::Kind,
        /// Where the hook is installed [default: the hook of this nvbind]
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        hook: Option<PathBuf>,
        /// With names for this machine's GPUs by UUID and PCI address, and for its MIG devices
        #[arg(long)]
        names: bool,
    },
    /// Print which files have which devices, and which of them engines take
    List,
    /// Check them: exit status 2 where a container that asks for a device of nvbind's would not start
    Check,
    /// Remove nvbind's
    Remove,
}

/// Options of `nvbind plan`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Plan {
    /// GPUs: all (the default), none, any:N (so many), or a comma list of index (0), range (0-3), UUID, PCI address,
    /// MIG device (0:1 or UUID)
    #[arg(long, value_name = "SEL")]
    pub(crate) gpu: Option<String>,
    /// GPUs as Docker has them: all, a number, or device=0,1
    #[arg(long, value_name = "REQUEST", conflicts_with = "gpu")]
    pub(crate) gpus: Option<String>,
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
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `nvbind info`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Info {
    /// Take the driver from DIR; by default from where the installed hook takes it
    #[arg(long, value_name = "DIR")]
    pub(crate) driver_root: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Run the fixes that are safe, those of nvbind's own files and the driver's nodes, and check again
    #[arg(long, conflicts_with = "last")]
    pub(crate) fix: bool,
}

/// Options of `nvbind setup`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Setup {
    /// Install below DIR instead of /usr/local, and nothing elsewhere
    #[arg(long, value_name = "DIR")]
    pub(crate) prefix: Option<PathBuf>,
    /// With a prefix of one's own: also write into /etc what makes podman, udev and systemd look there
    #[arg(long, requires = "prefix")]
    pub(crate) etc: bool,
    /// Install below ~/.local and make this user's podman look there
    #[arg(long, conflicts_with_all = ["etc", "device_mode", "device_group"])]
    pub(crate) user: bool,
    /// Take the driver from DIR instead of /, at every start of a container
    #[arg(long, value_name = "DIR")]
    pub(crate) driver_root: Option<PathBuf>,
    /// Take the variable NVIDIA_VISIBLE_DEVICES for a request, too, by a second hook JSON
    #[arg(long)]
    pub(crate) visible_devices: bool,
    /// Also install specifications for the Container Device Interface, so that engines take `--device nvidia.com/gpu=0`
    #[arg(long, conflicts_with = "user")]
    pub(crate) cdi: bool,
    /// With names for this machine's GPUs by UUID and PCI address, and for its MIG devices
    #[arg(long)]
    pub(crate) cdi_names: bool,
    /// Also install what Docker needs, by its version, for `docker run --device nvidia.com/gpu=0` and `--gpus`: with
    /// --cdi, features.cdi in daemon.json, a link to the hook under the name that Docker looks for
    #[arg(long, conflicts_with = "user")]
    pub(crate) docker: bool,
    /// Move others' specifications of nvidia.com/gpu away that are in the way of nvbind's
    #[arg(long)]
    pub(crate) replace: bool,
    /// Mode of the driver's device nodes from its next load on: 0600 (root alone), 0660 (a group), 0666 (everybody,
    /// which is the driver's own default)
    #[arg(long, value_name = "MODE")]
    pub(crate) device_mode: Option<String>,
    /// The group that may use the driver's device nodes, with mode 0660
    #[arg(long, value_name = "GROUP")]
    pub(crate) device_group: Option<String>,
    /// Remove what setup with the same prefix installed
    #[arg(long, conflicts_with_all = ["driver_root", "visible_devices", "cdi", "docker", "device_mode", "device_group"])]
    pub(crate) uninstall: bool,
    /// Print what would be installed or removed, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Options of `nvbind generate`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Generate {
    /// What to print
    pub(crate) kind: Kind,
    /// What would follow `nvbind run`
    #[arg(last = true, required = true, value_name = "RUN ARGUMENTS")]
    pub(crate) arguments: Vec<OsString>,
}

/// What `nvbind generate` can print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A `.container` file (podman-systemd.unit(5)), for Podman 5.4 or newer
    Quadlet,
    /// A systemd service that calls `nvbind run`
    Systemd,
    /// A pod for `podman kube play`, in JSON, which is YAML as well
    Kube,
}

/// Options of `nvbind completions`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// Options of `nvbind man`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Man {
    /// The directory, which has to be there
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// Options of `nvbind nvml`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Nvml {
    /// The driver's libnvidia-ml.so, which only root may be able to write
    #[arg(long, value_name = "PATH")]
    pub(crate) library: PathBuf,
    /// Ask for memory and CUDA's version, too
    #[arg(long)]
    pub(crate) details: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// What the record of the start has to say
    #[arg(long, value_name = "TOKEN")]
    pub(crate) start: String,
    /// The process that starts the container: this one's parent
    #[arg(long, value_name = "PID")]
    pub(crate) podman: i32,
    /// The container has a terminal
    #[arg(long)]
    pub(crate) terminal: bool,
}
