//! Our caches against the real `ldconfig` and the real loader, in a small root filesystem of their own.
//!
//! What cannot be tried on a machine is said on its terminal, past the capture of test output.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, in its helpers too")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nvbind_core::abi::Abi;
use nvbind_core::ldcache::{Cache, Library, merge};

const CACHE: &str = "/etc/ld.so.cache";
const VIEW: &str = "/usr/local/nvidia/lib64";
/// Where programs for this machine say that their loader is.
const LOADER: &str =
    if cfg!(target_arch = "aarch64") { "/lib/ld-linux-aarch64.so.1" } else { "/lib64/ld-linux-x86-64.so.2" };
const LDCONFIG: [&str; 2] = ["/usr/sbin/ldconfig", "/sbin/ldconfig"];

fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "test {test} ... SKIPPED: {reason}");
}

/// Held by each test that starts programs: a process that another thread forks inherits a program's file that is just
/// written here, and while it has that open for writing nobody can execute it.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A root filesystem, to be used by one test at a time.
struct Root {
    directory: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Root {
    fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn ldconfig() -> Option<&'static str> {
    let found = LDCONFIG.into_iter().find(|program| Path::new(program).exists());
    if found.is_none() {
        skip("no ldconfig");
    }
    found
}

/// A command that may change its root: by right, or in a user namespace.
fn rooted(program: &str) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", program]);
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// The libraries that an `ldconfig -p` lists, without the lines around them.
fn listed(ldconfig: &str, cache: &Path) -> Vec<String> {
    let output = run(Command::new(ldconfig).arg("-p").arg("-C").arg(cache));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_prefix('\t')).map(String::from).collect()
}

/// A root filesystem whose libraries lie in a directory of its `ld.so.conf`, one of them also in a
/// `glibc-hwcaps` build, and a view with a libc of ours. None where this machine has not what it takes.
fn machine() -> Option<Root> {
    let Ok(host) = fs::read(CACHE) else {
        skip("no ld.so.cache on this machine to take libraries from");
        return None;
    };
    let host = Cache::parse(&host).unwrap();
    let native = Abi::NATIVE.unwrap().flags();
    let find = |soname: &str| {
        let entry = host
            .entries()
            .iter()
            .find(|entry| entry.flags == native && entry.hwcap == 0 && entry.soname == soname.as_bytes());
        entry.map(|entry| PathBuf::from(str::from_utf8(entry.path).unwrap()))
    };
    let root = Root { _alone: alone(), directory: tempfile::tempdir().unwrap() };
    let copy = |from: &Path, to: &str| {
        let to = root.path().join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    for soname in ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"] {
        let Some(library) = find(soname) else {
            skip(&format!("no {soname} in this machine's ld.so.cache"));
            return None;
        };
        copy(&library, &format!("/opt/image/{soname}"));
        if soname == "libm.so.6" && cfg!(target_arch = "x86_64") {
            copy(&library, "/opt/image/glibc-hwcaps/x86-64-v2/libm.so.6");
        }
        if soname == "libc.so.6" {
            copy(&library, &format!("{VIEW}/libc.so.6"));
        }
    }
    copy(Path::new(LOADER), LOADER);
    copy(Path::new("/bin/true"), "/bin/true");
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/ld.so.conf"), "/opt/image\n").unwrap();
    let mut probe = rooted("chroot");
    let probe = probe.arg(root.path()).args([LOADER, "--version"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        skip("this user may not change the root directory, nor make a user namespace");
        return None;
    }
    Some(root)
}

/// Which file the loader of the root filesystem takes for the libc of its `/bin/true`.
fn libc_of_true(root: &Path) -> String {
    let mut command = rooted("chroot");
    command.arg(root).args([LOADER, "--list", "/bin/true"]).env_remove("LD_LIBRARY_PATH");
    let text = String::from_utf8(run(&mut command).stdout).unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("libc.so.6 => ")).unwrap();
    line.split(" (").next().unwrap().to_owned()
}

/// Copies the libc to where the loaders of Debian and of the RPM distributions look without a cache.
fn in_built_in_directories(root: &Path) -> [PathBuf; 3] {
    ["lib", "lib64", "usr/lib64"].map(|directory| {
        let copy = root.join(directory).join("libc.so.6");
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(root.join("opt/image/libc.so.6"), &copy).unwrap();
        copy
    })
}

#[test]
fn a_merged_cache_lists_and_loads_ours_first_and_all_of_the_image() {
    let (Some(ldconfig), Some(root)) = (ldconfig(), machine()) else {
        return;
    };
    let cache = root.path().join("etc/ld.so.cache");
    for format in ["new", "compat"] {
        run(rooted(ldconfig).arg("-r").arg(root.path()).args(["-X", "-c", format]));
        let image = fs::read(&cache).unwrap();
        let before = listed(ldconfig, &cache);
        assert_eq!(libc_of_true(root.path()), "/opt/image/libc.so.6");

        let path = |soname: &str| format!("{VIEW}/{soname}");
        let sonames = ["libcuda.so.1", "libnvidia-ml.so.1", "libc.so.6"];
        let paths = sonames.map(path);
        let ours: Vec<_> = sonames
            .iter()
            .zip(&paths)
            .map(|(soname, path)| Library {
                soname: soname.as_bytes(),
                path: path.as_bytes(),
                abi: Abi::NATIVE.unwrap(),
            })
            .collect();
        let merged = merge(Some(&image), &ours, &[]).unwrap();
        fs::write(&cache, &merged).unwrap();
        let after = listed(ldconfig, &cache);
        assert_eq!(libc_of_true(root.path()), "/usr/local/nvidia/lib64/libc.so.6");
        let (of_view, of_image): (Vec<_>, Vec<_>) =
            after.iter().cloned().partition(|line| line.contains(VIEW));
        let of_view: Vec<_> = of_view.iter().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(of_view, ["libnvidia-ml.so.1", "libcuda.so.1", "libc.so.6"]);
        // What `ldconfig -c compat` writes it lists with an empty name for each glibc-hwcaps directory.
        let before: Vec<_> =
            before.iter().map(|line| line.replace("hwcap: \"\"", "hwcap: \"x86-64-v2\"")).collect();
        assert_eq!(of_image, before, "{format}");

        fs::write(&cache, merge(Some(&merged), &[], &[VIEW.as_bytes()]).unwrap()).unwrap();
        assert_eq!(listed(ldconfig, &cache), before, "{format}");
        assert_eq!(libc_of_true(root.path()), "/opt/image/libc.so.6");
    }
}

/// The ends of the lines that an `ldconfig -p` lists for a soname: in brackets what programs it is for, and where it is.
fn lines_of(listed: &[String], soname: &str) -> Vec<String> {
    let rest = listed.iter().filter_map(|line| line.strip_prefix(soname)?.strip_prefix(' '));
    rest.map(str::to_owned).collect()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn libraries_of_both_widths_are_listed_each_as_what_it_is() {
    let (Some(ldconfig), Some(root)) = (ldconfig(), machine()) else {
        return;
    };
    let cache = root.path().join("etc/ld.so.cache");
    for format in ["new", "compat"] {
        run(rooted(ldconfig).arg("-r").arg(root.path()).args(["-X", "-c", format]));
        let before = listed(ldconfig, &cache);
        let library = |soname, path, abi| Library { soname, path, abi };
        // The image's own 32-bit libraries, as an `ldconfig` would have found them.
        let image = [
            library(&b"libc.so.6"[..], &b"/lib32/libc.so.6"[..], Abi::I386),
            library(b"libcuda.so.1", b"/opt/lib32/libcuda.so.1", Abi::I386),
            library(b"libcuda.so.1", b"/opt/lib/libcuda.so.1", Abi::X86_64),
        ];
        let image = merge(Some(&fs::read(&cache).unwrap()), &image, &[]).unwrap();
        let ours = [
            library(b"libcuda.so.1", b"/usr/local/nvidia/lib64/libcuda.so.1", Abi::X86_64),
            library(b"libcuda.so.1", b"/usr/local/nvidia/lib/libcuda.so.1", Abi::I386),
            library(b"libnvidia-tls.so.570", b"/usr/local/nvidia/lib/libnvidia-tls.so.570", Abi::I386),
        ];
        fs::write(&cache, merge(Some(&image), &ours, &[]).unwrap()).unwrap();
        let after = listed(ldconfig, &cache);
        assert_eq!(after.len(), before.len() + 6, "{format}");
        let expected = [
            "(libc6,x86-64) => /usr/local/nvidia/lib64/libcuda.so.1",
            "(libc6,x86-64) => /opt/lib/libcuda.so.1",
            "(libc6) => /usr/local/nvidia/lib/libcuda.so.1",
            "(libc6) => /opt/lib32/libcuda.so.1",
        ];
        assert_eq!(lines_of(&after, "libcuda.so.1"), expected, "{format}");
        let tls = ["(libc6) => /usr/local/nvidia/lib/libnvidia-tls.so.570"];
        assert_eq!(lines_of(&after, "libnvidia-tls.so.570"), tls, "{format}");
        // The loader of this machine passes over the 32-bit ones.
        assert_eq!(libc_of_true(root.path()), "/opt/image/libc.so.6", "{format}");
        fs::write(&cache, merge(Some(&image), &[], &[b"/usr/local/nvidia"]).unwrap()).unwrap();
        assert_eq!(fs::read(&cache).unwrap(), image, "{format}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn ours_win_over_the_image_s_builds_for_this_processor() {
    let (Some(ldconfig), Some(root)) = (ldconfig(), machine()) else {
        return;
    };
    let build = "/opt/image/glibc-hwcaps/x86-64-v2/libc.so.6";
    fs::copy(root.path().join("opt/image/libc.so.6"), root.path().join(build.trim_start_matches('/')))
        .unwrap();
    run(rooted(ldconfig).arg("-r").arg(root.path()).arg("-X"));
    if libc_of_true(root.path()) != build {
        return skip("this machine's loader or processor does not know x86-64-v2");
    }
    let cache = root.path().join("etc/ld.so.cache");
    let path = format!("{VIEW}/libc.so.6");
    let ours = [Library { soname: b"libc.so.6", path: path.as_bytes(), abi: Abi::X86_64 }];
    fs::write(&cache, merge(Some(&fs::read(&cache).unwrap()), &ours, &[]).unwrap()).unwrap();
    assert_eq!(libc_of_true(root.path()), path);
}

#[test]
fn an_entry_whose_file_is_gone_leaves_the_loader_its_built_in_directories_until_an_ldconfig() {
    let (Some(ldconfig), Some(root)) = (ldconfig(), machine()) else {
        return;
    };
    let cache = root.path().join("etc/ld.so.cache");
    run(rooted(ldconfig).arg("-r").arg(root.path()).arg("-X"));
    let gone = [Library { soname: b"libc.so.6", path: b"/gone/libc.so.6", abi: Abi::NATIVE.unwrap() }];
    let merged = merge(Some(&fs::read(&cache).unwrap()), &gone, &[]).unwrap();
    fs::write(&cache, &merged).unwrap();
    let runs_true = || {
        let mut command = rooted("chroot");
        command
            .arg(root.path())
            .arg("/bin/true")
            .env_remove("LD_LIBRARY_PATH")
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(!runs_true(), "the image's entry behind ours is not tried");
    let copies = in_built_in_directories(root.path());
    assert!(runs_true(), "a built-in directory is");
    copies.iter().for_each(|copy| fs::remove_file(copy).unwrap());
    run(rooted(ldconfig).arg("-r").arg(root.path()).arg("-X"));
    assert_eq!(libc_of_true(root.path()), "/opt/image/libc.so.6");
}

#[test]
fn a_cache_of_ours_alone_hides_no_default_directory() {
    let (Some(_), Some(root)) = (ldconfig(), machine()) else {
        return;
    };
    in_built_in_directories(root.path());
    let ours = [Library { soname: b"libcuda.so.1", path: b"/v/libcuda.so.1", abi: Abi::NATIVE.unwrap() }];
    fs::write(root.path().join("etc/ld.so.cache"), merge(None, &ours, &[]).unwrap()).unwrap();
    run(rooted("chroot").arg(root.path()).arg("/bin/true"));
}

#[test]
fn this_machine_s_cache_is_written_as_it_was_read() {
    let _alone = alone();
    let (Some(ldconfig), Ok(file)) = (ldconfig(), fs::read(CACHE)) else {
        return skip("no ldconfig or no ld.so.cache on this machine");
    };
    let cache = Cache::parse(&file).unwrap();
    let again = cache.to_bytes().unwrap();
    assert_eq!(Cache::parse(&again).unwrap(), cache);
    let copy = tempfile::NamedTempFile::new().unwrap();
    fs::write(copy.path(), &again).unwrap();
    assert_eq!(listed(ldconfig, copy.path()), listed(ldconfig, Path::new(CACHE)));
    // In order by our measure too: nothing was sorted anew.
    assert_eq!(merge(Some(&file), &[], &[]).unwrap(), again);
}
