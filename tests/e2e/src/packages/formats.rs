//! Packages in the hands of the tools of their formats: what is in them, and what these tools do with it.

use crate::case::Case;
use crate::ended::{Ended, claim};
use crate::lane::Lane;
use crate::packages::policy::selinux_policy;
use crate::packages::{ARCH, DEB, DEBIAN_FILES, HOOK, JSON, OTHER_FILES, RPM, SCRIPT, place};
use crate::podman::{Podman, Said, said};
use nvbind_fixtures::error::{Doing, Error};
use nvbind_fixtures::limits::limited;
use nvbind_fixtures::tree::Packaged;
use nvbind_lanes::tree::USER_ID;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("deb-contents", deb_contents),
    Case::new("deb-lintian", deb_lintian).takes(5),
    Case::new("rpm-contents", rpm_contents),
    Case::new("rpm-life", rpm_life).takes(5),
    Case::new("arch-package", arch_package).takes(15),
    Case::new("install-script", install_script),
    Case::new("cdi-schema", cdi_schema),
    Case::new("selinux-policy", selinux_policy),
];

const LIMIT: Duration = Duration::from_secs(300);

/// How `tar` and `rpm` write the types and permissions of what packages have: files, programs and folders.
const MODES: [(&str, u32); 2] = [("-rw-r--r--", 0o644), ("-rwxr-xr-x", 0o755)];

/// Where packages of other systems are installed.
const ROOT: &str = "/tmp/root";

fn deb_contents(_: &Lane, _: Podman) -> Result<(), Ended> {
    let listed = run("dpkg-deb", &["--contents", &place(DEB)])?.must()?;
    claim_listed(&listed, DEBIAN_FILES, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mode, "root/root", _, _, _, path] = words[..] else { return None };
        Some((mode, path.trim_start_matches('.').to_owned()))
    })?;
    let info = run("dpkg-deb", &["--info", &place(DEB)])?.must()?;
    let members = info.out.lines().filter(|line| line.contains(" bytes, ")).count();
    // control, md5sums and the two scripts.
    claim(members == 4, "the package has other scripts or configuration files", || info.told())?;
    for script in ["postinst", "prerm"] {
        let text = run("dpkg-deb", &["--info", &place(DEB), script])?.must()?;
        let path = format!("/tmp/{script}");
        fs::write(&path, &text.out).on("write", Path::new(&path))?;
        claim_shell(&path)?;
    }
    Ok(())
}

fn deb_lintian(_: &Lane, _: Podman) -> Result<(), Ended> {
    let words = ["--allow-root", "--fail-on=error,warning", "--tag-display-limit=0", &place(DEB)];
    let judged = run("lintian", &words)?;
    claim(judged.code == 0, "lintian found something", || judged.told())
}

fn rpm_contents(_: &Lane, _: Podman) -> Result<(), Ended> {
    let format = "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]";
    let listed = run("rpm", &["-qp", "--queryformat", format, &place(RPM)])?.must()?;
    claim_listed(&listed, OTHER_FILES, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mode, "root/root", path] = words[..] else { return None };
        Some((mode, path.to_owned()))
    })?;
    let scripts = run("rpm", &["-qp", "--scripts", "--triggers", "--configfiles", &place(RPM)])?.must()?;
    let kinds: Vec<&str> =
        scripts.out.lines().filter_map(|line| line.split_once(" scriptlet ")).map(|(kind, _)| kind).collect();
    let right = kinds == ["postinstall", "preuninstall"]
        && scripts.out.contains("nvbind setup --cdi ||")
        && scripts.out.contains("nvbind cdi remove ||");
    claim(right, "the package has other scripts, triggers or configuration files", || scripts.told())?;
    let needs = run("rpm", &["-qp", "--requires", &place(RPM)])?.must()?;
    for need in ["podman >= 4.3", "libc.so.6(GLIBC_"] {
        claim(needs.out.contains(need), &format!("it does not require {need}"), || needs.told())?;
    }
    Ok(())
}

fn rpm_life(_: &Lane, _: Podman) -> Result<(), Ended> {
    empty_root("var/lib/rpm")?;
    // Without podman and the C library, of which this root knows nothing, nor of a shell.
    run("rpm", &["--root", ROOT, "--install", "--nodeps", "--noscripts", &place(RPM)])?.must()?;
    run("rpm", &["--root", ROOT, "--verify", "--nodeps", "nvbind"])?.must()?;
    let erased =
        run("rpm", &["--root", ROOT, "--erase", "--nodeps", "--noscripts", "-vv", "nvbind"])?.must()?;
    claim_json_first(&erased, |path| erased.err.find(path))?;
    claim_nothing_left()
}

fn arch_package(_: &Lane, _: Podman) -> Result<(), Ended> {
    let folder = "/tmp/arch";
    run("cp", &["--recursive", &place(ARCH), folder])?.must()?;
    run("chown", &["--recursive", &USER_ID.to_string(), folder])?.must()?;
    // The first compares the source with its checksum, the other runs package().
    for step in ["--verifysource", "--repackage"] {
        let mut makepkg = limited(LIMIT, "makepkg");
        makepkg.args(["--nodeps", step]).current_dir(folder).env("HOME", folder).uid(USER_ID).gid(USER_ID);
        let made = said(&mut makepkg)?;
        claim(made.code == 0, "makepkg failed", || made.told())?;
    }
    let package = run("sh", &["-c", "ls /tmp/arch/nvbind-*.pkg.tar.*"])?.must()?;
    let package = package.out.trim();
    let listed = run("bsdtar", &["--list", "--verbose", "--file", package])?.must()?;
    claim_listed(&listed, OTHER_FILES, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mode, _, "root", "root", _, _, _, _, path] = words[..] else { return None };
        // What makepkg says of the package itself.
        (!path.starts_with('.')).then(|| (mode, format!("/{path}")))
    })?;
    empty_root("var/lib/pacman")?;
    let pacman = |words: &[&str]| {
        run("pacman", &[&["--config=/dev/null", "--root", ROOT, "--noconfirm", "--debug"], words].concat())
    };
    let scripts = run("bsdtar", &["--extract", "--to-stdout", "--file", package, ".INSTALL"])?.must()?;
    let right =
        ["post_install()", "post_upgrade()", "pre_remove()"].iter().all(|name| scripts.out.contains(name));
    claim(right, "the package has not its scripts", || scripts.told())?;
    pacman(&["--upgrade", "--nodeps", "--nodeps", "--noscriptlet", package])?.must()?;
    let removed = pacman(&["--remove", "--nodeps", "--nodeps", "--noscriptlet", "nvbind"])?.must()?;
    claim_json_first(&removed, |path| removed.err.find(&format!("unlinking {ROOT}{path}")))?;
    claim_nothing_left()
}

fn install_script(_: &Lane, _: Podman) -> Result<(), Ended> {
    claim_shell(&place(SCRIPT))
}

/// CDI's own schema and a validator of JSON schemas, both as Debian packages them.
const VALIDATE: &str = "import json, pathlib, sys, jsonschema
schema = next(pathlib.Path('/usr/share/gocode/src').glob('**/container-device-interface/schema/schema.json'))
resolver = jsonschema.RefResolver(schema.parent.as_uri() + '/', None)
validator = jsonschema.Draft7Validator(json.loads(schema.read_text()), resolver=resolver)
document = json.load(sys.stdin)
validator.validate(document)
document['devices'][0]['name'] = 1
sys.exit('the schema takes anything' if validator.is_valid(document) else 0)";

fn cdi_schema(_: &Lane, _: Podman) -> Result<(), Ended> {
    run("dpkg-deb", &["--extract", &place(DEB), "/tmp/nvbind"])?.must()?;
    for kind in ["nvidia.com/gpu", "nvbind.io/gpu"] {
        let print = format!(
            "/tmp/nvbind/usr/bin/nvbind cdi print --kind {kind} --hook /usr/libexec/nvbind/nvbind-hook"
        );
        run(
            "sh",
            &["-ec", &format!("{print} > /tmp/cdi.json; python3 -c \"$0\" < /tmp/cdi.json"), VALIDATE],
        )?
        .must()?;
    }
    Ok(())
}

/// Fails the case unless a script is good for any shell.
fn claim_shell(script: &str) -> Result<(), Ended> {
    let judged = run("shellcheck", &["--shell=sh", "--severity=style", script])?;
    claim(judged.code == 0, "shellcheck found something", || judged.told())?;
    run("dash", &["-n", script])?.must().map(drop)
}

/// Fails the case unless a listing has exactly the files of the table, with their permissions and as root's; folders
/// may be in it, and only with the permissions that folders have.
fn claim_listed(
    listed: &Said,
    table: &str,
    parse: impl Fn(&str) -> Option<(&str, String)>,
) -> Result<(), Ended> {
    let table = place(table);
    let text = fs::read_to_string(&table).on("read", Path::new(&table))?;
    let expected: Vec<Packaged> =
        serde_json::from_str(&text).map_err(|error| Error::failed(format!("{table}: {error}")))?;
    let mut found = Vec::new();
    for (mode, path) in listed.out.lines().filter_map(parse) {
        if mode == "drwxr-xr-x" {
            continue;
        }
        let known = MODES.iter().find(|(text, _)| *text == mode);
        let mode = known.map(|(_, mode)| *mode);
        let mode = mode.ok_or_else(|| listed.failed(format!("{path} has strange permissions")))?;
        found.push(Packaged { path: path.into(), mode });
    }
    found.sort();
    claim(found == expected, "it does not hold what the table has", || {
        format!("{}\nexpected {expected:?}", listed.told())
    })
}

/// With the JSON and without the hook, podman would start containers without their GPUs.
fn claim_json_first(removed: &Said, place: impl Fn(&str) -> Option<usize>) -> Result<(), Ended> {
    let right = place(JSON).zip(place(HOOK)).is_some_and(|(json, hook)| json < hook);
    claim(right, "the hook is removed before the JSON that names it", || removed.told())
}

/// A root for another package manager, with its database.
fn empty_root(database: &str) -> Result<(), Ended> {
    run("rm", &["--recursive", "--force", ROOT])?.must()?;
    let database = Path::new(ROOT).join(database);
    fs::create_dir_all(&database).on("make", &database)?;
    Ok(())
}

/// Folders that other packages have as well may be left, and files of nobody but the package manager.
fn claim_nothing_left() -> Result<(), Ended> {
    let left = run("find", &[&format!("{ROOT}/usr"), "!", "-type", "d"])?;
    let own = run("find", &[ROOT, "-name", "*nvbind*", "!", "-path", "*/var/*"])?.must()?;
    claim(left.out.is_empty() && own.out.is_empty(), "something is left", || {
        format!("{}\n{}", left.told(), own.told())
    })
}

pub(super) fn run(program: &str, words: &[&str]) -> Result<Said, Error> {
    let mut command = limited(LIMIT, program);
    command.args(words).env("LC_ALL", "C");
    said(&mut command)
}
