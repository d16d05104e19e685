//! Pods of Kubernetes files: `nvbind kube play`, `podman kube play` with annotations, and what `podman kube generate`
//! keeps.

use crate::case::{Case, ONE_OF_EACH_RELEASE, QUADLET, RELEASE, SYSTEMD, TRIXIE_PODMAN, WHO};
use crate::command_line::shim::{LIMIT, NOT_STARTED, NVBIND, nvbind};
use crate::container::STAYS;
use crate::containers::cdi::with_specification;
use crate::devices::mig;
use crate::ended::{Ended, claim};
use crate::lane::{DRIVER, Lane, use_driver};
use crate::podman::{Podman, Said, User, said};
use crate::probe::{self, BOTH, NOTHING, OTHER};
use crate::services::quadlet::{GENERATOR, install, journal, systemctl};
use nvbind_fixtures::error::Doing;
use nvbind_fixtures::limits::limited;
use nvbind_lanes::spec::PAYLOAD;
use nvbind_lanes::tree::{USER, write};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The cases, by name.
pub(crate) const CASES: &[Case] = &[
    Case::new("kube/containers", containers).each(&[WHO, RELEASE]).only(ONE_OF_EACH_RELEASE).takes(7),
    Case::new("kube/init", init).each(&[WHO]).only(&[&[TRIXIE_PODMAN, SYSTEMD]]).takes(2),
    Case::new("kube/requirement", requirement).each(&[WHO, RELEASE]).only(ONE_OF_EACH_RELEASE).takes(3),
    Case::new("kube/variable", variable).each(&[WHO, RELEASE]).only(ONE_OF_EACH_RELEASE).takes(3),
    Case::new("kube/templates", templates).each(&[WHO, RELEASE]).only(ONE_OF_EACH_RELEASE).takes(3),
    Case::new("kube/annotation", annotation).each(&[WHO, RELEASE]).only(ONE_OF_EACH_RELEASE).takes(7),
    Case::new("kube/cdi", devices).each(&[WHO]).only(&[&[TRIXIE_PODMAN, SYSTEMD]]).takes(3),
    Case::new("kube/values", values).each(&[WHO, RELEASE]).only(ONE_OF_EACH_RELEASE).takes(5),
    Case::new("kube/files", files).each(&[WHO, RELEASE]).only(ONE_OF_EACH_RELEASE).takes(7),
    Case::new("kube/wait", wait).each(&[WHO]).only(QUADLET),
    Case::new("kube/mig", of_mig).each(&[WHO, RELEASE]).only(ONE_OF_EACH_RELEASE).takes(2),
    Case::new("kube/errors", errors).each(&[RELEASE]).only(ONE_OF_EACH_RELEASE),
    Case::new("kube/generate", generate).each(&[WHO, RELEASE]).only(ONE_OF_EACH_RELEASE).takes(9),
    Case::new("kube/quadlet", quadlet).each(&[WHO]).only(QUADLET),
];

/// The test image with a PATH, as all images have one: `podman kube play` of Podman 4.3 gives none.
const IMAGE: &str = "localhost/nvbind-kube";

const ONE: &str = "resources: {limits: {nvidia.com/gpu: 1}}";

/// A container of a pod that runs until it is stopped.
fn container(name: &str, more: &str) -> String {
    format!("  - {{name: {name}, image: {IMAGE}, command: [sh, -c, '{STAYS}'], {more}}}\n")
}

fn pod(name: &str, annotations: &str, containers: &[String]) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n{}",
        containers.concat()
    )
}

/// Makes the image, and skips the case where podman itself can make no pod: rootful with cgroupfs it wants to hand on
/// controllers, which the root of a lane of version 2, where processes are, cannot do.
fn needs_pods(_: &Lane, podman: Podman) -> Result<(), Ended> {
    if podman.run(&["image", "exists", IMAGE])?.code != 0 {
        let path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        podman.must(&["import", "--change", path, &format!("{PAYLOAD}/image.tar"), IMAGE])?;
    }
    let made = podman.run(&["pod", "create", "--network=none", "--name=control"])?;
    let started = if made.code == 0 { podman.run(&["pod", "start", "control"])? } else { made };
    podman.run(&["pod", "rm", "--force", "--ignore", "control"])?;
    if started.code == 0 { Ok(()) } else { Err(Ended::Skipped(started.last_words().to_owned())) }
}

/// A file of the case's own.
fn file(podman: Podman, name: &str, text: &str) -> Result<String, Ended> {
    let path = format!("/tmp/kube-{}-{name}", podman.name().replace('/', "-"));
    fs::write(&path, text).on("write", Path::new(&path))?;
    Ok(path)
}

/// What nvbind says of a file that it is to play.
fn played(podman: Podman, words: &[&str]) -> Result<Said, Ended> {
    let runtime = format!("--runtime={}", podman.runtime());
    Ok(nvbind(podman.user, &[&["kube", "play", "--network=none", &runtime], words].concat())?)
}

/// Takes down what the original file made, whatever the case came to. What is left then counts, and not how podman
/// ends: sometimes it does not, as rootful after `--wait`, which takes down as well, without nvbind too.
fn then_down(podman: Podman, file: &str, body: impl FnOnce() -> Result<(), Ended>) -> Result<(), Ended> {
    let ended = body();
    let mut command = limited(Duration::from_secs(30), "podman");
    command.args(["--runtime", podman.runtime(), "kube", "down", file]);
    let down = said(&mut podman.started(command))?;
    ended?;
    for list in [&["ps", "--all", "--quiet"][..], &["pod", "ps", "--quiet"]] {
        let left = podman.must(list)?;
        claim(left.out.is_empty(), "something is left after podman kube down", || down.told())?;
    }
    Ok(())
}

fn look(podman: Podman, container: &str, command: &str) -> Result<Said, Ended> {
    Ok(podman.run(&["exec", container, "sh", "-c", command])?)
}

fn claim_has_nothing(podman: Podman, container: &str) -> Result<(), Ended> {
    let said = look(podman, container, NOTHING)?;
    claim(said.code == 0, "a container that asks for nothing has something of the driver", || said.told())
}

/// Every container has GPUs of its own or none, and again after a restart of the pod.
fn containers(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    let all = [container("one", ONE), container("two", ONE), container("none", "tty: false")];
    let file = file(podman, "containers.yaml", &pod("kube", "", &all))?;
    then_down(podman, &file, || {
        played(podman, &[&file])?.must()?;
        claim_each(podman)?;
        podman.must(&["pod", "restart", "kube"])?;
        claim_each(podman)?;
        played(podman, &["--replace", &file])?.must()?;
        claim_each(podman)?;
        claim_infra_has_nothing(podman, "kube")
    })
}

/// A container that runs before the others has what it asks for itself. Podman 4.3, which has no Quadlet either, often
/// fails to remove one that has ended, whatever was in it.
fn init(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    let before = |name: &str, look: &str, more: &str| {
        let mounts = "volumeMounts: [{name: s, mountPath: /shared}]";
        format!(
            "  - {{name: {name}, image: {IMAGE}, command: [sh, -c, '{look} && touch /shared/{name}'], {mounts}{more}}}\n"
        )
    };
    let text = |first: &str, second: &str| {
        let shared = "volumeMounts: [{name: s, mountPath: /shared}]";
        let inits =
            format!("{}{}", before("first", first, ""), before("second", second, &format!(", {ONE}")));
        let volumes = "  volumes: [{name: s, emptyDir: {}}]\n";
        format!("{}  initContainers:\n{inits}{volumes}", pod("kube", "", &[container("one", shared)]))
    };
    let file = file(podman, "init.yaml", &text(NOTHING, "test -e /dev/nvidia1 && test ! -e /dev/nvidia0"))?;
    then_down(podman, &file, || {
        played(podman, &[&file])?.must()?;
        look(podman, "kube-one", "test -e /shared/first && test -e /shared/second")?.must()?;
        claim_has_nothing(podman, "kube-one")
    })?;
    // One that has ended leaves its GPUs to the others: together they ask for more than there are.
    let first = before("first", BOTH, ", resources: {limits: {nvidia.com/gpu: 2}}");
    let app = format!("volumeMounts: [{{name: s, mountPath: /shared}}], {ONE}");
    let volumes = "  volumes: [{name: s, emptyDir: {}}]\n";
    let text = format!("{}  initContainers:\n{first}{volumes}", pod("kube", "", &[container("one", &app)]));
    let file = self::file(podman, "init-shares.yaml", &text)?;
    then_down(podman, &file, || {
        played(podman, &[&file])?.must()?;
        probe::claim_works(&look(
            podman,
            "kube-one",
            &format!("test -e /shared/first && {}", probe::command(None)),
        )?)
    })
}

/// What NVIDIA's runtime is asked by, in files for clusters that have it.
fn variable(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    let asks = |value: &str| format!("env: [{{name: NVIDIA_VISIBLE_DEVICES, value: '{value}'}}]");
    let all = [container("one", &asks("1")), container("none", "tty: false")];
    let text = format!("{}  runtimeClassName: nvidia\n", pod("kube", "", &all));
    let file = file(podman, "variable.yaml", &text)?;
    then_down(podman, &file, || {
        played(podman, &[&file])?.must()?;
        let told = format!("test $NVIDIA_VISIBLE_DEVICES = 1 && {OTHER}");
        probe::claim_works(&look(podman, "kube-one", &told)?)?;
        claim_has_nothing(podman, "kube-none")
    })?;
    let silent = self::file(podman, "class.yaml", &text.replace(&asks("1"), "tty: false"))?;
    let said = played(podman, &[&silent])?;
    let is_told = said.code == NOT_STARTED && said.err.contains("has the runtime class nvidia");
    claim(is_told, "a pod of NVIDIA's class that asks for nothing is started", || said.told())
}

fn claim_each(podman: Podman) -> Result<(), Ended> {
    let sees =
        |gpu: &str| format!(" && test \"$NVIDIA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER\" = '{gpu} PCI_BUS_ID'");
    probe::claim_works(&look(podman, "kube-one", &format!("{}{}", probe::command(None), sees("0")))?)?;
    probe::claim_works(&look(podman, "kube-two", &format!("{OTHER}{}", sees("1")))?)?;
    claim_has_nothing(podman, "kube-none")?;
    look(podman, "kube-none", "test $NVIDIA_VISIBLE_DEVICES = void")?.must().map(drop)
}

/// podman gives the pod's annotations to its containers, and not to the one that holds its namespaces.
fn claim_infra_has_nothing(podman: Podman, pod: &str) -> Result<(), Ended> {
    let id = podman.must(&["pod", "inspect", "--format", "{{.InfraContainerID}}", pod])?;
    let shown = podman.must(&["inspect", id.out.trim()])?;
    claim(!shown.out.contains("io.nvbind"), "the pod's own container asks for GPUs", || shown.told())
}

/// What people write who take nvbind for a program of the container, and what they mean by it.
const NESTED: &str = "apiVersion: v1
kind: Pod
metadata:
  name: gpu-pod
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: gpu-container
    image: IMAGE
    command: [\"nvbind\", \"run\", \"--runtime\", \"podman\", \"--gpu\", \"all\", \"IMAGE\", \"sleep\", \"1000\"]
    resources:
      limits:
        nvidia.com/gpu: 1
";

/// nvbind is nowhere in the image; the program itself, started by `nvbind kube play`, has the GPU.
fn requirement(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    let nested = file(podman, "nested.yaml", &NESTED.replace("IMAGE", IMAGE))?;
    then_down(podman, &nested, || {
        let said = played(podman, &[&nested])?;
        let is_told =
            said.code == NOT_STARTED && said.err.contains("write `command: [\"sleep\",\"1000\"]` alone");
        claim(is_told, "nobody says what to write instead of nvbind", || said.told())
    })?;
    let words = "\"nvbind\", \"run\", \"--runtime\", \"podman\", \"--gpu\", \"all\", \"IMAGE\", ";
    let file = file(podman, "gpu-pod.yaml", &NESTED.replace(words, "").replace("IMAGE", IMAGE))?;
    then_down(podman, &file, || {
        played(podman, &[&file])?.must()?;
        probe::claim_works(&look(podman, "gpu-pod-gpu-container", &probe::command(None))?)
    })
}

/// A template's pod, and an annotation where Kubernetes has it and podman does not look.
fn templates(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    for (metadata, asks, command) in [
        ("", ONE, probe::command(None)),
        ("metadata: {annotations: {io.nvbind.gpu: '1'}}, ", "tty: false", OTHER.to_owned()),
    ] {
        let one = container("c", asks);
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: kube}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  template: {{{metadata}spec: {{terminationGracePeriodSeconds: 0, containers: [{}]}}}}\n",
            one.trim().trim_start_matches("- ")
        );
        let file = file(podman, "template.yaml", &text)?;
        then_down(podman, &file, || {
            played(podman, &[&file])?.must()?;
            // Older ones count the pods of a Deployment.
            let names = podman.must(&["ps", "--format", "{{.Names}}"])?.out;
            let name = names.lines().find(|name| name.ends_with("-c")).unwrap_or("none");
            probe::claim_works(&look(podman, name, &command)?)
        })?;
    }
    Ok(())
}

/// Without nvbind's command, and with an annotation beside resources.
fn annotation(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    let variable = |value: &str| format!("env: [{{name: NVBIND_DEVICES, value: '{value}'}}]");
    let all =
        [container("one", &variable("0")), container("two", &variable("1")), container("both", "tty: false")];
    let gpus = "io.nvbind.gpu: 0+1";
    let plain = file(
        podman,
        "annotation.yaml",
        &pod("kube", gpus, &[&all[..], &[container("none", &variable("void"))]].concat()),
    )?;
    for by_nvbind in [false, true] {
        then_down(podman, &plain, || {
            match by_nvbind {
                true => played(podman, &[&plain])?.must()?,
                false => podman.must(&["kube", "play", "--network=none", &plain])?,
            };
            probe::claim_works(&look(podman, "kube-one", &probe::command(None))?)?;
            probe::claim_works(&look(podman, "kube-two", OTHER)?)?;
            probe::claim_works(&look(podman, "kube-both", BOTH)?)?;
            claim_has_nothing(podman, "kube-none")?;
            claim_infra_has_nothing(podman, "kube")
        })?;
    }
    let one = file(podman, "limited.yaml", &pod("kube", "io.nvbind.gpu: '1'", &[container("one", ONE)]))?;
    then_down(podman, &one, || {
        played(podman, &[&one])?.must()?;
        probe::claim_works(&look(podman, "kube-one", OTHER)?)
    })
}

/// Podman's own spelling of devices, with nvbind's specification and without nvbind's command.
fn devices(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    let limit = |name: &str| format!("resources: {{limits: {{nvidia.com/gpu={name}: 1}}}}");
    let all = [
        container("one", &limit("0")),
        container("two", &limit("1")),
        container("both", &limit("all")),
        container("none", "tty: false"),
    ];
    let file = file(podman, "devices.yaml", &pod("kube", "", &all))?;
    with_specification(|| {
        then_down(podman, &file, || {
            podman.must(&["kube", "play", "--network=none", &file])?;
            probe::claim_works(&look(podman, "kube-one", &probe::command(None))?)?;
            probe::claim_works(&look(podman, "kube-two", OTHER)?)?;
            probe::claim_works(&look(podman, "kube-both", BOTH)?)?;
            claim_has_nothing(podman, "kube-none")
        })
    })
}

/// All that readers of YAML differ in; what podman makes of it is the measure.
const VALUES: &str = r#"
    env:
    - {name: A, value: "yes"}
    - {name: B, value: '0644'}
    - {name: C, value: "1e3"}
    - {name: D, value: " a: b #c\t\\ \u00e9 "}
    - name: E
      value: |
        one
         two

    - name: F
      value: >-
        folded
        text
    - {name: G, value: !!str 0o17}
    - {name: H, value: "~"}
    - &twice {name: I, value: twice}
    - {<<: *twice, name: J}
    - {name: K, value: 2001-12-14x}
    volumeMounts:
    - {name: config, mountPath: /config}
    securityContext: {runAsUser: 0x3E8, runAsGroup: 0o12, readOnlyRootFilesystem: false}
"#;
const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: files}\ndata:\n  script: |\n    #!/bin/sh\n    echo \"x\\ty\"\n  empty: ''\n---\n";
const VOLUMES: &str = "  volumes:\n  - name: config\n    configMap: {name: files, defaultMode: 0444}\n";

/// Tells what the container is like.
const SHOW: &str = "env | grep -E '^([A-K]|PATH)=|^( two|$)'; id -u; id -g; stat -Lc '%a %n' /config/*; cat /config/*; touch /tmp/x && echo writable";

/// What nvbind does not touch means to podman what it meant in the file.
fn values(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    let text = |asks: &str| {
        let body = VALUES.trim_end().replace("RESOURCES", asks);
        let one =
            format!("  - name: c\n    image: {IMAGE}\n    command: [sh, -c, '{STAYS}']\n    {asks}{body}\n");
        format!("{CONFIG}{}{VOLUMES}", pod("kube", "", &[one]))
    };
    let plain = file(podman, "values-plain.yaml", &text("tty: false"))?;
    let asking = file(podman, "values.yaml", &text("resources: {limits: {nvidia.com/gpu: 1}}"))?;
    let mut shown = Vec::new();
    then_down(podman, &plain, || {
        podman.must(&["kube", "play", "--network=none", &plain])?;
        shown.push(look(podman, "kube-c", SHOW)?.must()?.out);
        Ok(())
    })?;
    then_down(podman, &asking, || {
        played(podman, &[&asking])?.must()?;
        shown.push(look(podman, "kube-c", SHOW)?.must()?.out);
        look(podman, "kube-c", "test -e /dev/nvidiactl")?.must().map(drop)
    })?;
    let is_whole = shown.iter().all(|text| text.contains("B=0644") && text.contains("writable"));
    claim(is_whole && shown.first() == shown.last(), "the values are not podman's", || shown.join("--\n"))
}

/// A file comes from stdin, or is several; what asks for nothing is podman's as it is, and images are built beside it.
fn files(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    let text = pod("kube", "", &[container("one", ONE)]);
    let one = file(podman, "one.yaml", &text)?;
    let script = |line: &str| -> Result<Said, Ended> {
        let line = format!("nvbind kube play --runtime={} --network=none {line}", podman.runtime());
        let mut command = limited(LIMIT, "sh");
        command.args(["-c", &line]);
        Ok(said(&mut podman.started(command))?)
    };
    then_down(podman, &one, || {
        script(&format!("- < {one}"))?.must()?;
        probe::claim_works(&look(podman, "kube-one", &probe::command(None))?)?;
        // Else there would be two of the name.
        script(&format!("--down {one}"))?;
        script(&format!("--start=false {one}"))?.must()?;
        podman.must(&["pod", "start", "kube"])?;
        probe::claim_works(&look(podman, "kube-one", &probe::command(None))?)
    })?;
    let nothing = file(podman, "nothing.yaml", &pod("kube", "", &[container("one", "tty: false")]))?;
    then_down(podman, &nothing, || {
        script(&format!("- < {nothing}"))?.must()?;
        claim_has_nothing(podman, "kube-one")
    })?;
    let dry = script(&format!("--dry-run {nothing}"))?.must()?;
    let same = fs::read_to_string(&nothing).on("read", Path::new(&nothing))?;
    claim(dry.out == same, "a file that asks for nothing is changed", || dry.told())?;
    let other = file(podman, "other.yaml", &pod("other", "", &[container("two", ONE)]))?;
    let dry = script(&format!("--dry-run {one} {other}"))?.must()?;
    let both = file(podman, "both.yaml", &dry.out)?;
    then_down(podman, &both, || {
        podman.must(&["kube", "play", "--network=none", &both])?;
        probe::claim_works(&look(podman, "kube-one", &probe::command(None))?)?;
        probe::claim_works(&look(podman, "other-two", OTHER)?)
    })?;
    built(podman, &script)
}

/// `--build` looks for a directory with the image's name in the current one, which stays that of the command line.
fn built(podman: Podman, script: &dyn Fn(&str) -> Result<Said, Ended>) -> Result<(), Ended> {
    let home = match podman.user {
        User::Root => PathBuf::from("/root"),
        User::Rootless => PathBuf::from(format!("/home/{USER}")),
    };
    let folder = home.join("kube-built");
    write(&folder.join("Containerfile"), &format!("FROM {IMAGE}\nENV BUILT=here\n"))?;
    let one = container("one", ONE).replace(IMAGE, "kube-built");
    let file = file(podman, "built.yaml", &pod("kube", "", &[one]))?;
    let ended = then_down(podman, &file, || {
        script(&format!("--build {file}"))?.must()?;
        probe::claim_works(&look(
            podman,
            "kube-one",
            &format!("{} && test $BUILT = here", probe::command(None)),
        )?)
    });
    fs::remove_dir_all(&folder).on("remove", &folder)?;
    podman.run(&["rmi", "--force", "localhost/kube-built"])?;
    ended
}

/// podman reads its file again when the pod has ended, to take it down. Some do not end then, with any file.
fn wait(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    let _help = podman.must(&["kube", "play", "--help"])?;
    needs_pods(lane, podman)?;
    let ends = container("one", ONE).replace(STAYS, "test -e /dev/nvidia1");
    let text = format!("{}  restartPolicy: Never\n", pod("kube", "", &[ends]));
    let file = file(podman, "wait.yaml", &text)?;
    let words = ["kube", "play", "--network=none", "--runtime=crun", "--wait", &file];
    let mut command = limited(Duration::from_secs(10), NVBIND);
    command.args(words);
    let said = said(&mut podman.started(command))?;
    let removed = said.out.split("Pods removed:\n").nth(1).and_then(|after| after.lines().next());
    let is_removed = removed.is_some_and(|id| said.out.contains(&format!("Pod:\n{id}\n")));
    claim(is_removed, "the pod is not taken down", || said.told())?;
    let left = podman.must(&["ps", "--all", "--quiet"])?;
    claim(left.out.is_empty(), "--wait leaves the pod behind", || left.told())
}

/// MIG devices by their profile, as NVIDIA's device plugin names it.
fn of_mig(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    use_driver(mig::MIG)?;
    let one = container("one", "resources: {limits: {nvidia.com/mig-1c.2g.20gb: '1'}}");
    let text = pod("kube", "", &[one, container("two", ONE)]);
    let file = file(podman, "mig.yaml", &text);
    let ended = file.and_then(|file| {
        then_down(podman, &file, || {
            played(podman, &[&file])?.must()?;
            let has =
                "test -e /dev/nvidia0 && test -e /dev/nvidia-caps/nvidia-cap14 && test ! -e /dev/nvidia2";
            look(podman, "kube-one", &format!("{has} && test $NVIDIA_VISIBLE_DEVICES = 1:2"))?.must()?;
            look(podman, "kube-two", "test -e /dev/nvidia2 && test ! -e /dev/nvidia0")?.must().map(drop)
        })
    });
    use_driver(DRIVER)?;
    ended
}

/// podman's own errors are its own.
fn errors(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let wrong = file(podman, "podmans.yaml", "kind: Pod\nmetadata: 5\n")?;
    claim_refused(podman, &wrong, "cannot unmarshal number")
}

fn claim_refused(podman: Podman, file: &str, expected: &str) -> Result<(), Ended> {
    let said = played(podman, &[file])?;
    claim(
        said.code == NOT_STARTED && said.err.contains(expected),
        &format!("it does not tell {expected:?}"),
        || said.told(),
    )?;
    let left = podman.must(&["ps", "--all", "--quiet"])?;
    claim(left.out.is_empty(), "something was started", || left.told())
}

/// What `podman kube generate` makes of a container and of a pod: podman alone loses the GPUs, `nvbind kube play` does
/// not.
fn generate(lane: &Lane, podman: Podman) -> Result<(), Ended> {
    needs_pods(lane, podman)?;
    let runtime = format!("--runtime={}", podman.runtime());
    let run = |gpu: &str, name: &str, more: &str| -> Result<(), Ended> {
        let words = [
            "run",
            "-d",
            "--stop-timeout=0",
            &runtime,
            "--gpu",
            gpu,
            "--name",
            name,
            more,
            IMAGE,
            "sh",
            "-c",
            STAYS,
        ];
        nvbind(podman.user, &words)?.must().map(drop)
    };
    run("0", "alone", "--network=none")?;
    let text = podman.run(&["kube", "generate", "alone"])?;
    podman.remove(&["alone"])?;
    let text = text.must()?.out;
    claim(text.contains("io.nvbind.gpu/alone: \"0\""), "podman does not write the annotation so", || {
        text.clone()
    })?;
    let alone = file(podman, "generated.yaml", &text)?;
    then_down(podman, &alone, || {
        // podman does not give it back to the container, which would start without its GPU.
        let said = podman.run(&["kube", "play", "--network=none", &alone])?;
        claim(said.code != 0, "a GPU of one container is passed over", || said.told())
    })?;
    then_down(podman, &alone, || {
        played(podman, &[&alone])?.must()?;
        probe::claim_works(&look(podman, "alone-pod-alone", &probe::command(None))?)
    })?;
    // Renamed as the guide has it.
    let renamed = file(podman, "renamed.yaml", &text.replace("io.nvbind.gpu/alone", "io.nvbind.gpu"))?;
    then_down(podman, &renamed, || {
        podman.must(&["kube", "play", "--network=none", &renamed])?;
        probe::claim_works(&look(podman, "alone-pod-alone", &probe::command(None))?)
    })?;
    podman.must(&["pod", "create", "--network=none", "--name=pair"])?;
    let generated = run("0", "one", "--pod=pair").and_then(|()| run("1", "two", "--pod=pair"));
    let generated = generated.and_then(|()| podman.must(&["kube", "generate", "pair"]));
    podman.must(&["pod", "rm", "--force", "--time=0", "pair"])?;
    let pair = file(podman, "pair.yaml", &generated?.out)?;
    claim_pair(podman, &pair, "pair-one", "pair-two")?;
    // Of a pod that was played, whose variables are in the file as well.
    let asking =
        file(podman, "asking.yaml", &pod("kube", "", &[container("one", ONE), container("two", ONE)]))?;
    let mut again = String::new();
    then_down(podman, &asking, || {
        played(podman, &[&asking])?.must()?;
        again = podman.must(&["kube", "generate", "kube"])?.out;
        Ok(())
    })?;
    let again = file(podman, "again.yaml", &again)?;
    claim_pair(podman, &again, "kube-kube-one", "kube-kube-two")
}

fn claim_pair(podman: Podman, file: &str, one: &str, two: &str) -> Result<(), Ended> {
    then_down(podman, file, || {
        played(podman, &[file])?.must()?;
        probe::claim_works(&look(podman, one, &probe::command(None))?)?;
        probe::claim_works(&look(podman, two, OTHER)?)
    })
}

/// A `.kube` unit of Quadlet plays what `--dry-run` printed.
fn quadlet(_: &Lane, podman: Podman) -> Result<(), Ended> {
    let _has_quadlet = Path::new(GENERATOR).exists();
    let file =
        file(podman, "quadlet.yaml", &pod("kube", "", &[container("one", ONE), container("two", ONE)]))?;
    let played = played(podman, &["--dry-run", &file])?.must()?.out;
    let folder = crate::services::quadlet::folder(podman.user);
    let (yaml, unit) = (folder.join("kube-gpu.yaml"), folder.join("kube-gpu.kube"));
    install(podman.user, &yaml, &played)?;
    install(podman.user, &unit, "[Kube]\nYaml=kube-gpu.yaml\nNetwork=none\n")?;
    let started = (|| {
        systemctl(podman.user, &["daemon-reload"])?.must()?;
        let started = systemctl(podman.user, &["start", "kube-gpu.service"])?;
        claim(started.code == 0, "the service did not start", || {
            journal(podman.user, "kube-gpu.service", &started)
        })?;
        probe::claim_works(&look(podman, "kube-one", &probe::command(None))?)?;
        probe::claim_works(&look(podman, "kube-two", OTHER)?)
    })();
    let stopped = systemctl(podman.user, &["stop", "kube-gpu.service"]);
    for path in [&yaml, &unit] {
        fs::remove_file(path).on("remove", path)?;
    }
    systemctl(podman.user, &["daemon-reload"])?.must()?;
    started?;
    stopped?.must().map(drop)
}
