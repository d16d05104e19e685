//! A lane that is a virtual machine: Debian's own kernel under an emulator. It needs nothing of the host but time: no
//! KVM, no network, no module, no loop device.

use super::enter::{BeforeBoot, overlay};
use super::spec::{CONSOLE, DONE, LOG, Machine, PAYLOAD, REPORT, RESULTS, Security, Spec};
use super::systemd::install_service;
use super::tree::{self, EMULATOR, label};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot};
use nvbind_fixtures::error::{Doing, Error, Result};
use nvbind_fixtures::limits::limited;
use nvbind_fixtures::process::read;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Duration;

const NONE: Option<&str> = None;

/// The architecture whose kernel and emulator these machines have.
pub const ARCHITECTURE: &str = "x86_64";

/// Where a run's folder is in the emulator's tree.
const RUN: &str = "/mnt";

/// The serial ports, `ttyS0` and so on: the console, and the files that a lane writes its results to.
const PORTS: &[&str] = &[CONSOLE, REPORT, LOG, DONE];

/// More processors only wait for each other.
const PROCESSORS: usize = 4;

/// The kernel's command line. The disk's driver and file system are built into the kernel, so that it needs no initial
/// RAM disk. What it would measure of the processor's own clock is wrong by factors where the host is busy meanwhile.
const KERNEL: &str = "root=/dev/nvme0n1 rootfstype=ext4 rw console=ttyS0 quiet panic=-1 mitigations=off tsc=unstable \
    clocksource=hpet no_timer_check nowatchdog systemd.show_status=error";

/// What runs cases as a person who has logged in does, whom the policy of SELinux lets do what she wants to.
const LOGGED_IN: &str = "/usr/bin/runcon unconfined_u:unconfined_r:unconfined_t:s0 ";

impl Security {
    /// What the kernel is told.
    fn parameters(self) -> &'static str {
        match self {
            Self::AppArmor => "security=apparmor apparmor=1",
            Self::SeLinux => "security=selinux selinux=1 enforcing=1",
        }
    }

    /// What starts the cases in its place.
    fn launcher(self) -> &'static str {
        match self {
            Self::AppArmor => "",
            Self::SeLinux => LOGGED_IN,
        }
    }
}

/// Makes the emulator ready.
pub(crate) fn ready(security: Security, trees: &Path) -> Result<Machine> {
    let own = std::env::consts::ARCH;
    if own != ARCHITECTURE {
        return Err(Error::failed(format!(
            "there are virtual machines for {ARCHITECTURE} alone, and this is {own}"
        )));
    }
    Ok(Machine { security, emulator: tree::ready(&EMULATOR, trees)? })
}

/// Makes the machine's disk, and replaces this process by the machine.
pub(crate) fn become_machine(spec: &Spec, machine: &Machine, before_boot: BeforeBoot) -> Result<()> {
    let root = overlay(spec)?;
    furnish(spec, machine.security, &root, before_boot)?;
    fs::copy(kernel(&spec.tree)?, spec.run.join("kernel")).on("copy the kernel to", &spec.run)?;
    let at = machine.emulator.join(RUN.trim_start_matches('/'));
    mount(Some(&spec.run), &at, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).on("bind", &spec.run)?;
    chroot(&machine.emulator).on("enter", &machine.emulator)?;
    chdir("/").doing(|| "enter the emulator's tree".into())?;
    read(limited(Duration::from_secs(300), "mke2fs").args(DISK).args([
        &format!("{RUN}/root/merged"),
        &format!("{RUN}/disk"),
        SIZE,
    ]))?;
    Err(emulator(machine.security).exec()).doing(|| "start the emulator".into())
}

/// How its disk is made: nothing on it outlives the machine.
const DISK: &[&str] =
    &["-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", "-m", "0", "-d"];

/// Its size; what is empty takes no room.
const SIZE: &str = "8G";

/// Everything that the machine has beside its tree.
fn furnish(spec: &Spec, security: Security, root: &Path, before_boot: BeforeBoot) -> Result<()> {
    let payload = (spec.payload(), PathBuf::from(PAYLOAD));
    for (source, place) in spec.binds.iter().chain([&payload]) {
        let at = below(root, place);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent).on("create", parent)?;
        }
        read(Command::new("cp").args(["--archive", "--no-target-directory"]).arg(source).arg(&at))?;
    }
    let results = below(root, Path::new(RESULTS));
    fs::create_dir_all(&results).on("create", &results)?;
    for (number, name) in PORTS.iter().enumerate() {
        symlink(format!("/dev/ttyS{number}"), results.join(name)).on("link into", &results)?;
    }
    install_service(root, security.launcher())?;
    let proc = root.join("proc");
    mount(Some("proc"), &proc, Some("proc"), MsFlags::empty(), NONE).on("mount proc on", &proc)?;
    let ready = before_boot(root, security);
    umount2(&proc, MntFlags::empty()).on("unmount", &proc)?;
    ready?;
    match security {
        Security::AppArmor => Ok(()),
        // What was added, that is: the rest has its labels.
        Security::SeLinux => label(root),
    }
}

fn below(root: &Path, place: &Path) -> PathBuf {
    root.join(place.strip_prefix("/").unwrap_or(place))
}

/// The kernel of a tree, which has one.
fn kernel(tree: &Path) -> Result<PathBuf> {
    let boot = tree.join("boot");
    for entry in fs::read_dir(&boot).on("list", &boot)? {
        let entry = entry.on("list", &boot)?;
        if entry.file_name().to_string_lossy().starts_with("vmlinuz-") {
            return Ok(entry.path());
        }
    }
    Err(Error::failed(format!("no kernel in {}", boot.display())))
}

/// The machine, as a command in the emulator's tree.
fn emulator(security: Security) -> Command {
    let mut command = Command::new("/usr/bin/qemu-system-x86_64");
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    command.args(["-machine", "q35", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max", "-m", "3072"]);
    let processors = available_parallelism().map_or(1, usize::from).min(PROCESSORS);
    command.arg("-smp").arg(processors.to_string());
    command.arg("-kernel").arg(format!("{RUN}/kernel"));
    command.arg("-append").arg(format!("{KERNEL} {}", security.parameters()));
    command
        .arg("-drive")
        .arg(format!("file={RUN}/disk,format=raw,if=none,id=disk,cache=unsafe,discard=unmap"));
    command.args(["-device", "nvme,drive=disk,serial=disk", "-device", "virtio-rng-pci"]);
    for name in PORTS {
        command.arg("-chardev").arg(format!("file,id={name},path={RUN}/results/{name},append=on"));
        command.arg("-serial").arg(format!("chardev:{name}"));
    }
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(security: Security) -> Vec<String> {
        emulator(security).get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn results_are_serial_ports_in_the_order_of_their_names_in_the_machine() {
        let all = words(Security::AppArmor);
        let ports: Vec<&str> = all.iter().filter_map(|word| word.strip_prefix("chardev:")).collect();
        assert_eq!(ports, [CONSOLE, REPORT, LOG, DONE]);
        assert!(all.contains(&"file,id=cases,path=/mnt/results/cases,append=on".to_owned()), "{all:?}");
    }

    #[test]
    fn the_command_line_of_the_kernel_says_which_of_the_two_it_is() {
        let of = |security| words(security).into_iter().find(|word| word.starts_with("root=")).unwrap();
        assert!(of(Security::SeLinux).ends_with(" security=selinux selinux=1 enforcing=1"));
        assert!(of(Security::AppArmor).ends_with(" security=apparmor apparmor=1"));
    }

    #[test]
    fn a_tree_without_a_kernel_is_no_machine() {
        let tree = tempfile::tempdir().unwrap();
        let boot = tree.path().join("boot");
        fs::create_dir(&boot).unwrap();
        fs::write(boot.join("config-6.12"), "").unwrap();
        assert_eq!(kernel(tree.path()).unwrap_err().to_string(), format!("no kernel in {}", boot.display()));
        fs::write(boot.join("vmlinuz-6.12"), "").unwrap();
        assert_eq!(kernel(tree.path()).unwrap(), boot.join("vmlinuz-6.12"));
    }
}
