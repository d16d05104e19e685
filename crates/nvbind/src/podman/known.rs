//! Which of podman's options take a value, and which ones podman takes only before `run`.
//!
//! The union of Podman 4.3 to 5.8, hidden options included, as `cmd/podman/common/create.go`, `netflags.go`,
//! `containers/run.go`, `containers/create.go`, `kube/play.go`, `root.go` and `utils/alias.go` of its source define them: no
//! option takes a value of one command and none of another. A switch needs no entry here, and an
//! option that is in no table counts as a switch: a newer podman's `--option=value` works without a newer nvbind.

/// How an option is written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Stands alone: `--rm`.
    Switch,
    /// Needs a value, in the same argument or in the next: `--name x`, `--name=x`.
    Value,
}

/// An option as podman sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) form: Form,
    /// Podman knows it before its subcommand only; `podman run` calls it an unknown flag.
    pub(super) before_run: bool,
}

/// The option `--name`.
#[must_use]
pub(super) fn long(name: &str) -> Known {
    if let Some((_, form)) = BEFORE_RUN.iter().find(|(known, _)| *known == name) {
        return Known { form: *form, before_run: true };
    }
    let has_value = [OWN_WITH_VALUE, WITH_VALUE].iter().any(|table| table.contains(&name));
    Known { form: if has_value { Form::Value } else { Form::Switch }, before_run: false }
}

/// What sets a command's options apart from those of another.
#[derive(Debug)]
pub(super) struct Syntax {
    /// The short options, by their long names.
    letters: &'static [(u8, &'static str)],
    /// The options that nvbind takes for itself.
    pub(super) own: &'static [&'static str],
}

impl Syntax {
    /// The long name of the option `-letter`, inside a cluster too.
    #[must_use]
    pub(super) fn short(&self, letter: u8) -> Option<&'static str> {
        self.letters.iter().find(|(known, _)| *known == letter).map(|(_, name)| *name)
    }
}

/// nvbind's own. podman's `--config`, which names a directory with credentials, is one of them: `--authfile` does the same.
const OWN_WITH_VALUE: &[&str] = &["capabilities", "color", "config", "extras", "gpu", "gpus", "profile"];

/// Of `podman run`, and of podman's global options those whose letters it does not reuse (as it does `-c` and `-v`).
pub(super) const RUN: Syntax = Syntax {
    letters: &[
        (b'D', "debug"),
        (b'H', "host"),
        (b'P', "publish-all"),
        (b'a', "attach"),
        (b'c', "cpu-shares"),
        (b'd', "detach"),
        (b'e', "env"),
        (b'h', "hostname"),
        (b'i', "interactive"),
        (b'l', "label"),
        (b'm', "memory"),
        (b'p', "publish"),
        (b'q', "quiet"),
        (b'r', "remote"),
        (b't', "tty"),
        (b'u', "user"),
        (b'v', "volume"),
        (b'w', "workdir"),
    ],
    own: &[
        "capabilities",
        "color",
        "config",
        "device-rules",
        "dry-run",
        "extras",
        "gpu",
        "gpus",
        "help",
        "isolate",
        "profile",
        "rootless",
        "runtime",
        "verbose",
    ],
};

/// Of `podman kube play`, and podman's global options.
pub(super) const KUBE_PLAY: Syntax = Syntax {
    letters: &[
        (b'D', "debug"),
        (b'H', "host"),
        (b'c', "connection"),
        (b'h', "help"),
        (b'q', "quiet"),
        (b'r', "remote"),
        (b'w', "wait"),
    ],
    own: &["color", "config", "dry-run", "help", "rootless", "runtime", "verbose"],
};

/// What `podman run` has and `podman create` lacks.
pub(crate) const OF_RUN_ONLY: &[&str] =
    &["detach", "detach-keys", "passwd", "preserve-fd", "preserve-fds", "rmi", "sig-proxy"];

const BEFORE_RUN: &[(&str, Form)] = &[
    ("connection", Form::Value),
    ("context", Form::Value),
    ("debug", Form::Switch),
    ("host", Form::Value),
    ("identity", Form::Value),
    ("module", Form::Value),
    ("noout", Form::Switch),
    ("out", Form::Value),
    ("remote", Form::Switch),
    ("ssh", Form::Value),
    ("tls-ca", Form::Value),
    ("tls-cert", Form::Value),
    ("tls-details", Form::Value),
    ("tls-key", Form::Value),
    ("url", Form::Value),
];

const WITH_VALUE: &[&str] = &[
    "add-host",
    "annotation",
    "arch",
    "attach",
    "authfile",
    "blkio-weight",
    "blkio-weight-device",
    "cap-add",
    "cap-drop",
    "cdi-spec-dir",
    "cert-dir",
    "cgroup-conf",
    "cgroup-manager",
    "cgroup-parent",
    "cgroupns",
    "cgroups",
    "chrootdirs",
    "cidfile",
    "configmap",
    "conmon",
    "conmon-pidfile",
    "context-dir",
    "cpu-period",
    "cpu-profile",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpus",
    "cpuset-cpus",
    "cpuset-mems",
    "creds",
    "db-backend",
    "decryption-key",
    "default-mounts-file",
    "detach-keys",
    "device",
    "device-cgroup-rule",
    "device-read-bps",
    "device-read-iops",
    "device-write-bps",
    "device-write-iops",
    "dns",
    "dns-opt",
    "dns-option",
    "dns-search",
    "entrypoint",
    "env",
    "env-file",
    "env-merge",
    "events-backend",
    "expose",
    "gidmap",
    "group-add",
    "group-entry",
    "health-cmd",
    "health-interval",
    "health-log-destination",
    "health-max-log-count",
    "health-max-log-size",
    "health-on-failure",
    "health-retries",
    "health-start-period",
    "health-startup-cmd",
    "health-startup-interval",
    "health-startup-retries",
    "health-startup-success",
    "health-startup-timeout",
    "health-timeout",
    "healthcheck-command",
    "healthcheck-interval",
    "healthcheck-retries",
    "healthcheck-start-period",
    "healthcheck-timeout",
    "hooks-dir",
    "hostname",
    "hosts-file",
    "hostuser",
    "image-volume",
    "imagestore",
    "init-ctr",
    "init-path",
    "ip",
    "ip6",
    "ipc",
    "kernel-memory",
    "label",
    "label-file",
    "log-driver",
    "log-level",
    "log-opt",
    "mac-address",
    "max-workers",
    "memory",
    "memory-profile",
    "memory-reservation",
    "memory-swap",
    "memory-swappiness",
    "mount",
    "name",
    "namespace",
    "net",
    "network",
    "network-alias",
    "network-backend",
    "network-cmd-path",
    "network-config-dir",
    "ns",
    "oom-score-adj",
    "os",
    "override-arch",
    "override-os",
    "override-variant",
    "passwd-entry",
    "personality",
    "pid",
    "pidfile",
    "pids-limit",
    "platform",
    "pod",
    "pod-id-file",
    "preserve-fd",
    "preserve-fds",
    "publish",
    "pull",
    "pull-option",
    "rdt-class",
    "registries-conf",
    "requires",
    "restart",
    "retry",
    "retry-delay",
    "root",
    "runroot",
    "runtime",
    "runtime-flag",
    "sdnotify",
    "seccomp-policy",
    "seccomp-profile-root",
    "secret",
    "security-opt",
    "service-exit-code-propagation",
    "shm-size",
    "shm-size-systemd",
    "signature-policy",
    "stop-signal",
    "stop-timeout",
    "storage-driver",
    "storage-opt",
    "subgidname",
    "subuidname",
    "sysctl",
    "systemd",
    "timeout",
    "tmpdir",
    "tmpfs",
    "tz",
    "uidmap",
    "ulimit",
    "umask",
    "unsetenv",
    "user",
    "userns",
    "uts",
    "variant",
    "volume",
    "volumepath",
    "volumes-from",
    "workdir",
];
