use super::{Error, Generated, Start, pod, quadlet, systemd};
use crate::additions::{self, Caller, Host};
use crate::config::Configuration;
use crate::podman::command_line::{CommandLine, Verb};
use crate::podman::invocation::Wanted;
use std::ffi::OsString;
use std::path::Path;

const DIRECTORY: &str = "/home/me/project";

fn arguments(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

/// A machine that has nothing, and every limit.
struct Bare;

impl Host for Bare {
    fn exists(&self, _path: &Path) -> bool {
        false
    }

    fn is_readable(&self, _path: &Path) -> bool {
        false
    }

    fn is_own(&self, _path: &Path) -> bool {
        false
    }

    fn names(&self, _directory: &Path) -> Vec<OsString> {
        Vec::new()
    }

    fn limit_below(&self, _name: &str, _wanted: u64) -> Option<u64> {
        None
    }
}

fn line(typed: &[OsString]) -> CommandLine {
    let caller =
        Caller { verb: Verb::Run, is_root: true, has_terminal: true, variable: &|_name| None, host: &Bare };
    let mut line = CommandLine::parse(typed.iter().cloned()).unwrap();
    additions::add(&mut line, &Configuration::default(), caller).unwrap();
    line
}

fn start(typed: &[OsString]) -> Result<Start, Error> {
    let line = line(typed);
    Start::new(&line.invocation(Verb::Run, &Wanted::of(&line), false, &[]), Path::new(DIRECTORY))
}

fn quadlet(typed: &[OsString]) -> Generated {
    quadlet::render(&start(typed).unwrap()).unwrap()
}

fn systemd(typed: &[OsString]) -> Generated {
    let own = Path::new("/usr/local/bin/nvbind");
    systemd::render(&start(typed).unwrap(), &line(typed), own, Path::new(DIRECTORY)).unwrap()
}

fn kube(typed: &[OsString]) -> Result<Generated, Error> {
    pod::render(&start(typed)?)
}

/// The lines of a section.
fn section(text: &str, name: &str) -> Vec<String> {
    let begin = format!("[{name}]");
    let lines = text.lines().skip_while(|line| *line != begin).skip(1);
    lines.take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What nvbind adds to every container.
const OWN: [&str; 3] = [
    "Annotation=io.nvbind.gpu=all",
    "Environment=NVIDIA_VISIBLE_DEVICES=all",
    "Environment=CUDA_DEVICE_ORDER=PCI_BUS_ID",
];

/// `[Container]` without the image and what nvbind adds.
fn container(line: &str) -> Vec<String> {
    let generated = quadlet(&arguments(line));
    let mut lines = section(&generated.text, "Container");
    lines.retain(|line| !OWN.contains(&line.as_str()) && line != "Image=I");
    lines
}

#[test]
fn a_quadlet_holds_the_whole_command_line() {
    let line = "--runtime crun --gpu 0,1 --isolate --name worker -d --restart=always -p 8080:80 -v data:/data:Z \
                -e MODE=fast --stop-timeout 30 docker.io/library/ai:1 serve --port 80";
    let expected = "[Unit]
Description=docker.io/library/ai:1 with NVIDIA GPUs

[Container]
Image=docker.io/library/ai:1
Exec=serve --port 80
GlobalArgs=--runtime=crun
Annotation=io.nvbind.gpu=0+1
Annotation=io.nvbind.isolate=true
Environment=NVIDIA_VISIBLE_DEVICES=0,1
Environment=CUDA_DEVICE_ORDER=PCI_BUS_ID
ContainerName=worker
PublishPort=8080:80
Volume=data:/data:Z
Environment=MODE=fast
StopTimeout=30

[Service]
Restart=always
TimeoutStartSec=900
TimeoutStopSec=90

[Install]
WantedBy=multi-user.target default.target
";
    assert_eq!(quadlet(&arguments(line)), Generated { text: expected.to_owned(), notes: Vec::new() });
}

#[test]
fn every_option_becomes_its_key_or_reaches_podman() {
    for (line, expected) in [
        ("I", &[][..]),
        ("-- I --rm", &["Exec=--rm"]),
        ("--device /dev/dri I", &["AddDevice=/dev/dri"]),
        ("--cap-add SYS_ADMIN --cap-drop=all I", &["AddCapability=SYS_ADMIN", "DropCapability=all"]),
        ("--network host I", &["Network=host"]),
        ("--network my.network I", &["PodmanArgs=--network=my.network"]),
        ("-v my.volume:/x I", &["PodmanArgs=--volume=my.volume:/x"]),
        (
            "-v ./a:/a:ro -v ../b:/b I",
            &["Volume=/home/me/project/a:/a:ro", "Volume=/home/me/project/../b:/b"],
        ),
        ("-v named:/a I", &["Volume=named:/a"]),
        ("--env-file x.env I", &["EnvironmentFile=/home/me/project/x.env"]),
        ("--mount type=bind,src=./a,dst=/a I", &["Mount=type=bind,src=/home/me/project/a,dst=/a"]),
        ("--mount type=tmpfs,dst=/a I", &["PodmanArgs=--mount=type=tmpfs,dst=/a"]),
        ("--rootfs ./tree I", &["Rootfs=/home/me/project/tree", "Exec=I"]),
        ("--security-opt label=disable I", &["SecurityLabelDisable=true"]),
        ("--security-opt label=type:container_runtime_t I", &["SecurityLabelType=container_runtime_t"]),
        ("--security-opt no-new-privileges I", &["NoNewPrivileges=true"]),
        ("--security-opt seccomp=unconfined I", &["SeccompProfile=unconfined"]),
        ("--security-opt seccomp=s.json I", &["SeccompProfile=/home/me/project/s.json"]),
        ("--security-opt apparmor=unconfined I", &["PodmanArgs=--security-opt=apparmor=unconfined"]),
        ("--privileged --ipc=host I", &["PodmanArgs=--privileged", "PodmanArgs=--ipc=host"]),
        ("--read-only=false --init I", &["ReadOnly=false", "RunInit=true"]),
        ("--user 1000:1000 --group-add keep-groups I", &["User=1000:1000", "GroupAdd=keep-groups"]),
        ("--userns keep-id:uid=1 --shm-size 1g I", &["UserNS=keep-id:uid=1", "ShmSize=1g"]),
        ("--hostname a --hostname b I", &["HostName=b"]),
        ("--sdnotify healthy --pull newer I", &["Notify=healthy", "Pull=newer"]),
        ("--sdnotify conmon --rm --replace -d I", &[]),
        ("--log-level debug --root /r I", &["GlobalArgs=--log-level=debug", "GlobalArgs=--root=/r"]),
        ("--env DISPLAY I", &["PodmanArgs=--env=DISPLAY"]),
        ("--label alone I", &["PodmanArgs=--label=alone"]),
        ("--unheard-of=1 I", &["PodmanArgs=--unheard-of=1"]),
    ] {
        assert_eq!(container(line), expected, "{line}");
    }
}

/// Command lines as people write them, with what a shell makes of their variables.
const USUAL: &[(&str, &[&str])] = &[
    (
        "--runtime podman --gpu all nvidia/cuda:latest nvidia-smi",
        &["Image=nvidia/cuda:latest", "Exec=nvidia-smi"],
    ),
    (
        "--runtime podman --gpu all --isolate winehq/wine:stable",
        &["Image=winehq/wine:stable", "Annotation=io.nvbind.isolate=true"],
    ),
    (
        "--gpu all -p 8888:8888 jupyter/tensorflow-notebook:latest",
        &["Image=jupyter/tensorflow-notebook:latest", "PublishPort=8888:8888"],
    ),
    (
        "--gpu all -v /tmp/.X11-unix:/tmp/.X11-unix:rw -v /run/user/1000/pulse:/run/user/1000/pulse -e DISPLAY=:0 \
         -e PULSE_RUNTIME_PATH=/run/user/1000/pulse --device /dev/dri --network host steam:latest",
        &[
            "Image=steam:latest",
            "Volume=/tmp/.X11-unix:/tmp/.X11-unix:rw",
            "Volume=/run/user/1000/pulse:/run/user/1000/pulse",
            "Environment=DISPLAY=:0",
            "Environment=PULSE_RUNTIME_PATH=/run/user/1000/pulse",
            "AddDevice=/dev/dri",
            "Network=host",
        ],
    ),
    (
        "--gpu all -v /w:/workspace:Z -w /workspace pytorch/pytorch:latest python train.py",
        &[
            "Image=pytorch/pytorch:latest",
            "Exec=python train.py",
            "Volume=/w:/workspace:Z",
            "WorkingDir=/workspace",
        ],
    ),
    (
        "--gpu all --security-opt label=type:container_runtime_t nvidia/cuda:latest",
        &["Image=nvidia/cuda:latest", "SecurityLabelType=container_runtime_t"],
    ),
    (
        "--gpu all --security-opt apparmor=unconfined ubuntu:22.04",
        &["Image=ubuntu:22.04", "PodmanArgs=--security-opt=apparmor=unconfined"],
    ),
    (
        "--gpu all --security-opt label=disable --privileged nvidia/cuda:latest",
        &["Image=nvidia/cuda:latest", "SecurityLabelDisable=true", "PodmanArgs=--privileged"],
    ),
    (
        "--gpu all --name gpu-service -d ai-service:latest",
        &["Image=ai-service:latest", "ContainerName=gpu-service"],
    ),
    (
        "--gpu all -v /d:/data:Z --network host pytorch/pytorch:latest python -m torch.distributed.launch \
         --nproc_per_node=2 --master_addr=192.168.1.100 train.py",
        &[
            "Image=pytorch/pytorch:latest",
            "Exec=python -m torch.distributed.launch --nproc_per_node=2 --master_addr=192.168.1.100 train.py",
            "Volume=/d:/data:Z",
            "Network=host",
        ],
    ),
    (
        "--gpu all -p 8501:8501 -v /m:/models:Z -e MODEL_NAME=my_model tensorflow/serving:latest-gpu",
        &[
            "Image=tensorflow/serving:latest-gpu",
            "PublishPort=8501:8501",
            "Volume=/m:/models:Z",
            "Environment=MODEL_NAME=my_model",
        ],
    ),
    (
        "--gpu all -p 8888:8888 notebook start-notebook.sh --NotebookApp.token=",
        &["Image=notebook", "Exec=start-notebook.sh --NotebookApp.token=", "PublishPort=8888:8888"],
    ),
    (
        "--gpu all -p 11434:11434 -v ollama-data:/root/.ollama:Z -d --name ollama-server ollama/ollama:latest",
        &[
            "Image=ollama/ollama:latest",
            "PublishPort=11434:11434",
            "Volume=ollama-data:/root/.ollama:Z",
            "ContainerName=ollama-server",
        ],
    ),
];

#[test]
fn usual_command_lines_become_all_three() {
    for (line, expected) in USUAL {
        let typed = arguments(line);
        assert_eq!(container(line), *expected, "{line}");
        let service = systemd(&typed).text;
        assert!(service.contains(" --gpu all "), "{line}: {service}");
        let pod = kube(&typed).unwrap();
        assert!(pod.text.contains("\"io.nvbind.gpu\": \"all\""), "{line}: {}", pod.text);
    }
}

#[test]
fn a_profile_is_in_a_quadlet_as_its_options_and_in_a_service_by_its_name() {
    let line = "--gpu all --profile ai-ml -p 8888:8888 jupyter/tensorflow-notebook:latest start-notebook.sh";
    assert_eq!(
        container(line),
        [
            "Image=jupyter/tensorflow-notebook:latest",
            "Exec=start-notebook.sh",
            "Annotation=io.nvbind.capabilities=compute+utility+video",
            "ShmSize=0",
            "Volume=nvbind-cuda-cache:/var/cache/nvbind/cuda",
            "Environment=CUDA_CACHE_PATH=/var/cache/nvbind/cuda",
            "Environment=NCCL_DEBUG=WARN",
            "Ulimit=memlock=-1",
            "Ulimit=stack=67108864",
            "PublishPort=8888:8888",
        ]
    );
    // The service looks at the machine at each start.
    let service = systemd(&arguments(line)).text;
    assert!(service.contains(" --gpu all --profile ai-ml ") && !service.contains("memlock"), "{service}");
    assert_eq!(kube(&arguments(line)).unwrap_err().to_string(), "a pod cannot hold --shm-size=0");
}

#[test]
fn nothing_in_a_word_means_anything_to_systemd() {
    let typed = |value: &str| {
        let line = ["--env".into(), format!("V={value}").into(), "I".into(), "echo".into(), value.into()];
        section(&quadlet(&line).text, "Container")
    };
    for (value, quoted) in [
        ("a b", "a b"),
        ("100%", "100%%"),
        ("%h $HOME ${HOME}", "%%h $$HOME $${HOME}"),
        ("say \"hi\"", "say \\\"hi\\\""),
        ("it's", "it's"),
        ("back\\slash \\n", "back\\\\slash \\\\n"),
        ("two\nlines\tand\u{1b}[0m", "two\\nlines\\tand\\x1b[0m"),
        ("a; b", "a; b"),
    ] {
        let lines = typed(value);
        let quotes = if quoted == "100%%" { "" } else { "\"" };
        assert!(lines.contains(&format!("Environment={quotes}V={quoted}{quotes}")), "{value:?}: {lines:?}");
        assert!(lines.contains(&format!("Exec=echo {quotes}{quoted}{quotes}")), "{value:?}: {lines:?}");
    }
    let empty = systemd(&["I".into(), "echo".into(), "".into(), ";".into()]).text;
    assert!(empty.contains(" I echo \"\" \";\"\n"), "{empty}");
    let rule = quadlet(&["--device-cgroup-rule".into(), "c 195:* rmw".into(), "I".into()]);
    assert!(rule.text.contains("PodmanArgs=\"--device-cgroup-rule=c 195:* rmw\"\n"), "{}", rule.text);
    // A key that takes its value as it is can't hold this one.
    let lines = section(&quadlet(&["-v".into(), "/a b:/c".into(), "I".into()]).text, "Container");
    assert!(lines.contains(&"PodmanArgs=\"--volume=/a b:/c\"".to_owned()), "{lines:?}");
}

#[test]
fn what_a_service_has_no_use_for_is_told() {
    for (line, expected) in [
        ("--rm -d --replace --name x I", &[][..]),
        (
            "-it I",
            &[
                "--interactive is left out: a service has no terminal",
                "--tty is left out: a service has no terminal",
            ],
        ),
        ("--cidfile /x I", &["--cidfile is left out: the service has its own"]),
        (
            "-e DISPLAY I",
            &["--env DISPLAY takes the value from the service's environment, not from this one"],
        ),
    ] {
        assert_eq!(quadlet(&arguments(line)).notes, expected, "{line}");
        assert_eq!(systemd(&arguments(line)).notes, expected, "{line}");
    }
}

#[test]
fn restart_policies_are_systemds() {
    for (options, restart, burst) in [
        ("", "Restart=no", None),
        ("--restart=no", "Restart=no", None),
        ("--restart always", "Restart=always", None),
        ("--restart unless-stopped", "Restart=always", None),
        ("--restart on-failure", "Restart=on-failure", None),
        ("--restart on-failure:3", "Restart=on-failure", Some("StartLimitBurst=3")),
    ] {
        let typed = arguments(&format!("{options} I"));
        for generated in [quadlet(&typed), systemd(&typed)] {
            assert!(section(&generated.text, "Service").contains(&restart.to_owned()), "{options}");
            let limit = section(&generated.text, "Unit").into_iter().find(|it| it.starts_with("StartLimit"));
            assert_eq!(limit.as_deref(), burst, "{options}");
        }
    }
    for policy in ["sometimes", "on-failure:x"] {
        let start = start(&arguments(&format!("--restart {policy} I"))).unwrap();
        let expected = Err(Error::Restart { policy: policy.to_owned() });
        assert_eq!(quadlet::render(&start), expected);
    }
}

#[test]
fn a_service_calls_nvbind() {
    let line = "--runtime crun --gpu 0 --name worker -dit --restart=always --config my.toml -e V=%h I cmd -t";
    let expected = "[Unit]
Description=I with NVIDIA GPUs
Wants=network-online.target
After=network-online.target nvbind-devices.service
RequiresMountsFor=%t/containers

[Service]
Restart=always
TimeoutStartSec=900
TimeoutStopSec=70
Type=notify
NotifyAccess=all
KillMode=mixed
SuccessExitStatus=143
Environment=PODMAN_SYSTEMD_UNIT=%n
WorkingDirectory=/home/me/project
ExecStartPre=/bin/rm -f %t/%n.ctr-id
ExecStart=/usr/local/bin/nvbind run --cidfile=%t/%n.ctr-id --rm --detach --sdnotify=conmon --cgroups=no-conmon \
--replace --runtime crun --gpu 0 --name worker --config my.toml -e V=%%h I cmd -t
ExecStop=podman --runtime=crun stop --ignore --cidfile=%t/%n.ctr-id
ExecStopPost=-podman --runtime=crun rm --force --volumes --ignore --cidfile=%t/%n.ctr-id

[Install]
WantedBy=multi-user.target default.target
";
    assert_eq!(systemd(&arguments(line)).text, expected);
}

/// What is thought out for the one holds for the other.
#[test]
fn the_packaged_template_is_a_generated_service_but_for_what_an_instance_tells() {
    let packaged = include_str!("../../../../packaging/systemd/nvbind@.service");
    let generated = systemd(&arguments("--restart=on-failure --name=INSTANCE WORDS")).text;
    let generated =
        generated.replace("/usr/local/bin", "/usr/bin").replace("INSTANCE", "%i").replace("WORDS", "$RUN");
    for (name, of_template) in [
        (
            "Unit",
            &[
                "Description=Container %i with NVIDIA GPUs",
                "Documentation=man:nvbind-run(1)",
                "StartLimitIntervalSec=300",
                "StartLimitBurst=5",
            ][..],
        ),
        (
            "Service",
            &[
                "RestartSec=10",
                "EnvironmentFile=-%E/nvbind/services/%i.env",
                "ExecStartPre=/bin/grep --quiet ^RUN= %E/nvbind/services/%i.env",
            ],
        ),
        ("Install", &[]),
    ] {
        let mut lines = section(packaged, name);
        lines.retain(|line| !line.starts_with('#') && !of_template.contains(&line.as_str()));
        let mut expected = section(&generated, name);
        expected.retain(|line| !line.starts_with("Description="));
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_service_has_a_directory_where_a_path_needs_one() {
    for (line, needs) in [
        ("-v /a:/a --env-file /b I", false),
        ("-v a:/a I ./run", false),
        ("-v ./a:/a I", true),
        ("--env-file=b I", true),
        ("--rootfs tree", true),
        ("--rootfs /tree", false),
    ] {
        assert_eq!(systemd(&arguments(line)).text.contains("WorkingDirectory="), needs, "{line}");
    }
}

#[test]
fn a_service_keeps_how_the_container_notifies_and_its_cgroups() {
    let text = systemd(&arguments("--sdnotify=container --cgroups split I")).text;
    assert!(text.contains("--sdnotify=container --cgroups split I\n"), "{text}");
    assert!(systemd(&arguments("--sdnotify=ignore I")).text.contains("--sdnotify=conmon"));
}

#[test]
fn a_pod_holds_the_whole_command_line() {
    let line = "--runtime crun --gpu 0-1 --name worker --rm -it -p 127.0.0.1:8080:80/udp -v /h:/c:Z -v named:/d:ro \
                -v /anonymous -e MODE=fast -e MODE=slow -w /work --hostname h --entrypoint sh --user 1000:100 \
                --cap-drop all --security-opt label=type:t --security-opt no-new-privileges --device /dev/dri \
                --memory 512m --cpus 1.5 --group-add keep-groups --group-add 44 --network=n --ipc=host \
                --ulimit nofile=1:2 --restart on-failure --pull never --label a=b --stop-timeout 3 I -c true";
    let generated = kube(&arguments(line)).unwrap();
    let expected = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "worker-pod",
            "annotations": {
                "io.nvbind.gpu": "0-1",
                "run.oci.keep_original_groups": "1",
                "io.podman.annotations.ulimit": "nofile=1:2",
            },
            "labels": {"a": "b"},
        },
        "spec": {
            "hostname": "h",
            "hostIPC": true,
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": 3,
            "securityContext": {"supplementalGroups": [44]},
            "containers": [{
                "name": "worker",
                "image": "I",
                "imagePullPolicy": "Never",
                "command": ["sh"],
                "args": ["-c", "true"],
                "stdin": true,
                "tty": true,
                "workingDir": "/work",
                "env": [
                    {"name": "NVIDIA_VISIBLE_DEVICES", "value": "0,1"},
                    {"name": "CUDA_DEVICE_ORDER", "value": "PCI_BUS_ID"},
                    {"name": "MODE", "value": "slow"},
                ],
                "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1", "protocol": "UDP"}],
                "volumeMounts": [
                    {"name": "volume-0", "mountPath": "/c:Z"},
                    {"name": "volume-1", "mountPath": "/d:ro"},
                    {"name": "volume-2", "mountPath": "/anonymous"},
                ],
                "resources": {"limits": {"podman.io/device=/dev/dri": 1, "memory": "512Mi", "cpu": "1.5"}},
                "securityContext": {
                    "runAsUser": 1000,
                    "runAsGroup": 100,
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["all"]},
                    "seLinuxOptions": {"type": "t"},
                },
            }],
            "volumes": [
                {"name": "volume-0", "hostPath": {"path": "/h"}},
                {"name": "volume-1", "persistentVolumeClaim": {"claimName": "named"}},
                {"name": "volume-2", "emptyDir": {}},
            ],
        },
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&generated.text).unwrap(), expected);
    let notes = [
        "--rm is left out: podman kube down removes the pod",
        "--network=n is left out: give it to podman kube play",
        "--runtime=crun is left out: give it to podman itself, before `kube play`",
    ];
    assert_eq!(generated.notes, notes);
}

#[test]
fn what_a_pod_cannot_hold_is_refused_by_name() {
    for option in [
        "--shm-size=1g",
        "--security-opt=seccomp=/x",
        "--user=me",
        "--publish=80",
        "--publish=80-90:80-90",
        "--env=DISPLAY",
        "--mount=type=tmpfs,dst=/x",
        "--tmpfs=/x:size=1m",
        "--pid=container:x",
        "--restart=sometimes",
        "--memory=lots",
        "--unheard-of",
    ] {
        let expected = Err(Error::Pod { options: vec![option.to_owned()] });
        assert_eq!(kube(&arguments(&format!("--tmpfs /y {option} I"))), expected);
    }
    let error = kube(&arguments("--rootfs --shm-size=1g --ipc=x /tree")).unwrap_err();
    assert_eq!(error.to_string(), "a pod cannot hold --rootfs, --shm-size=1g, --ipc=x");
}

#[test]
fn what_is_no_command_line_is_refused() {
    for (line, expected) in [
        ("--rm", Error::NoImage),
        ("--", Error::NoImage),
        ("--rm --name", Error::NoValue { option: "name".to_owned() }),
        ("-x I", Error::Unknown { option: "-x".to_owned() }),
    ] {
        assert_eq!(start(&arguments(line)), Err(expected), "{line}");
    }
    use std::os::unix::ffi::OsStringExt;
    let argument = OsString::from_vec(vec![b'a', 0xff]);
    assert_eq!(start(&["I".into(), argument.clone()]), Err(Error::NotText { argument }));
    for word in ["", ";"] {
        let start = start(&["I".into(), "find".into(), word.into()]).unwrap();
        assert_eq!(quadlet::render(&start), Err(Error::Word { word }));
    }
    let image = "I\nExec=x".to_owned();
    let broken = quadlet::render(&start(&[image.clone().into()]).unwrap());
    assert_eq!(broken, Err(Error::Image { image }));
}
