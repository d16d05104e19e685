//! Command lines that people write, as documentation has them, and what a container makes of each.

use crate::stand_in;

/// One of them.
#[derive(Debug)]
pub(super) struct Line {
    /// As it is typed in a shell.
    pub(super) text: &'static str,
    /// The words of the program that runs.
    pub(super) arguments: &'static [&'static str],
    /// Where it runs.
    pub(super) directory: &'static str,
    /// The end of a host's path, and the place in the container where that is.
    pub(super) volumes: &'static [(&'static str, &'static str)],
    /// Variables of the container.
    pub(super) variables: &'static [&'static str],
    /// What podman knows of the container.
    pub(super) inspected: &'static [&'static str],
}

/// A line of which only the program is of interest.
const fn line(text: &'static str, arguments: &'static [&'static str]) -> Line {
    Line { text, arguments, directory: "/", volumes: &[], variables: &[], inspected: &[] }
}

/// What an image without a command of the line's runs.
const DEFAULT: &[&str] = &[stand_in::DEFAULT];

const SMI: &[&str] = &["nvidia-smi"];
const TRAIN: &[&str] = &["python", "train.py"];
const X11: (&str, &str) = ("/.X11-unix", "/tmp/.X11-unix");
const GAMING: &str = "__GL_SHADER_DISK_CACHE=1";
const COMPUTING: &str = "NCCL_DEBUG=WARN";

pub(super) const LINES: &[Line] = &[
    line("nvbind run nvidia/cuda:latest nvidia-smi", SMI),
    line("nvbind run --runtime podman --gpu all nvidia/cuda:latest nvidia-smi", SMI),
    line("nvbind run --runtime podman --gpu all ubuntu:22.04 nvidia-smi", SMI),
    Line {
        variables: &[GAMING, "DISPLAY=:0", "PULSE_SERVER=unix:/run/session/pulse"],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile gaming \
  steam:latest",
            DEFAULT,
        )
    },
    Line {
        variables: &["DISPLAY=:0"],
        inspected: &[r#""io.nvbind.isolate": "true""#],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile gaming \
  --isolate winehq/wine:stable",
            DEFAULT,
        )
    },
    Line {
        variables: &[COMPUTING],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile ai-ml \
  pytorch/pytorch:latest python train.py",
            TRAIN,
        )
    },
    Line {
        variables: &[COMPUTING],
        inspected: &[r#""HostPort": "8888""#],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile ai-ml \
  -p 8888:8888 jupyter/tensorflow-notebook:latest",
            DEFAULT,
        )
    },
    Line {
        volumes: &[X11],
        variables: &[GAMING, "DISPLAY=:0"],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile gaming \
  -v /tmp/.X11-unix:/tmp/.X11-unix:rw \
  -e DISPLAY=$DISPLAY \
  --device /dev/dri \
  steam:latest",
            DEFAULT,
        )
    },
    Line {
        volumes: &[("/.wine", "/home/wine/.wine"), X11],
        variables: &[GAMING, "DISPLAY=:0"],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile gaming \
  -v $HOME/.wine:/home/wine/.wine \
  -v /tmp/.X11-unix:/tmp/.X11-unix:rw \
  -e DISPLAY=$DISPLAY \
  winehq/wine:stable",
            DEFAULT,
        )
    },
    Line {
        directory: "/workspace",
        volumes: &[("/project", "/workspace")],
        variables: &[COMPUTING],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile ai-ml \
  -v $(pwd):/workspace:Z \
  -w /workspace \
  pytorch/pytorch:latest \
  python train.py",
            TRAIN,
        )
    },
    Line {
        inspected: &[r#""label=type:container_runtime_t""#],
        ..line(
            r"nvbind run --runtime podman --gpu all \
  --security-opt label=type:container_runtime_t \
  nvidia/cuda:latest",
            DEFAULT,
        )
    },
    Line {
        inspected: &[r#""apparmor=unconfined""#],
        ..line(
            r"nvbind run --runtime podman --gpu all \
  --security-opt apparmor=unconfined \
  ubuntu:22.04",
            DEFAULT,
        )
    },
    Line {
        inspected: &[r#""label=disable""#, r#""Privileged": true"#],
        ..line(
            r"nvbind run --runtime podman --gpu all \
  --security-opt label=disable \
  --privileged \
  nvidia/cuda:latest",
            DEFAULT,
        )
    },
    Line {
        volumes: &[
            X11,
            ("/pulse", "/run/user/1000/pulse"),
            ("/.local/share/Steam", "/home/steam/.local/share/Steam"),
        ],
        variables: &[GAMING, "DISPLAY=:0", "PULSE_RUNTIME_PATH=/run/user/1000/pulse"],
        inspected: &[r#""NetworkMode": "host""#],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile gaming \
  -v /tmp/.X11-unix:/tmp/.X11-unix:rw \
  -v /run/user/$(id -u)/pulse:/run/user/1000/pulse \
  -v $HOME/.local/share/Steam:/home/steam/.local/share/Steam \
  -e DISPLAY=$DISPLAY \
  -e PULSE_RUNTIME_PATH=/run/user/1000/pulse \
  --device /dev/dri \
  --network host \
  steam:latest",
            DEFAULT,
        )
    },
    Line {
        volumes: &[("/.config/lutris", "/home/lutris/.config/lutris"), ("/Games", "/home/lutris/Games"), X11],
        variables: &[GAMING, "DISPLAY=:0"],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile gaming \
  -v $HOME/.config/lutris:/home/lutris/.config/lutris \
  -v $HOME/Games:/home/lutris/Games \
  -v /tmp/.X11-unix:/tmp/.X11-unix:rw \
  -e DISPLAY=$DISPLAY \
  --device /dev/dri \
  lutris/lutris:latest",
            DEFAULT,
        )
    },
    Line {
        volumes: &[("/roms", "/roms"), ("/.config/retroarch", "/home/retroarch/.config/retroarch"), X11],
        variables: &[GAMING, "DISPLAY=:0"],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile gaming \
  -v $HOME/roms:/roms \
  -v $HOME/.config/retroarch:/home/retroarch/.config/retroarch \
  -v /tmp/.X11-unix:/tmp/.X11-unix:rw \
  -e DISPLAY=$DISPLAY \
  --device /dev/dri \
  --device /dev/input \
  retroarch/retroarch:latest",
            DEFAULT,
        )
    },
    Line {
        directory: "/workspace",
        volumes: &[("/project/data", "/data"), ("/project/models", "/models")],
        variables: &[COMPUTING],
        inspected: &[r#""NetworkMode": "host""#],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile ai-ml \
  -v $(pwd)/data:/data:Z \
  -v $(pwd)/models:/models:Z \
  -w /workspace \
  --network host \
  pytorch/pytorch:latest \
  python -m torch.distributed.launch \
    --nproc_per_node=2 \
    --nnodes=2 \
    --node_rank=0 \
    --master_addr=192.168.1.100 \
    train.py",
            &[
                "python",
                "-m",
                "torch.distributed.launch",
                "--nproc_per_node=2",
                "--nnodes=2",
                "--node_rank=0",
                "--master_addr=192.168.1.100",
                "train.py",
            ],
        )
    },
    Line {
        volumes: &[("/project/models", "/models")],
        variables: &[COMPUTING, "MODEL_NAME=my_model", "MODEL_BASE_PATH=/models"],
        inspected: &[r#""HostPort": "8501""#],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile ai-ml \
  -p 8501:8501 \
  -v $(pwd)/models:/models:Z \
  -e MODEL_NAME=my_model \
  -e MODEL_BASE_PATH=/models \
  tensorflow/serving:latest-gpu",
            DEFAULT,
        )
    },
    Line {
        volumes: &[("/project/notebooks", "/home/jovyan/work")],
        variables: &[COMPUTING, "JUPYTER_ENABLE_LAB=yes"],
        inspected: &[r#""HostPort": "8888""#],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile ai-ml \
  -p 8888:8888 \
  -v $(pwd)/notebooks:/home/jovyan/work:Z \
  -e JUPYTER_ENABLE_LAB=yes \
  jupyter/tensorflow-notebook:latest \
  start-notebook.sh --NotebookApp.token=''",
            &["start-notebook.sh", "--NotebookApp.token="],
        )
    },
    Line {
        volumes: &[("/ollama-data/_data", "/root/.ollama")],
        variables: &[COMPUTING],
        inspected: &[r#""HostPort": "11434""#, r#""Name": "ollama-server""#],
        ..line(
            r"nvbind run --runtime podman --gpu all --profile ai-ml \
  -p 11434:11434 \
  -v ollama-data:/root/.ollama:Z \
  -d \
  --name ollama-server \
  ollama/ollama:latest",
            DEFAULT,
        )
    },
    line(
        r"nvbind run --runtime podman --gpu all \
  --security-opt label=disable \
  nvidia/cuda:latest",
        DEFAULT,
    ),
];

/// The names of the images in them.
pub(super) const IMAGES: &[&str] = &[
    "nvidia/cuda:latest",
    "ubuntu:22.04",
    "steam:latest",
    "winehq/wine:stable",
    "pytorch/pytorch:latest",
    "jupyter/tensorflow-notebook:latest",
    "lutris/lutris:latest",
    "retroarch/retroarch:latest",
    "tensorflow/serving:latest-gpu",
    "ollama/ollama:latest",
];

/// The directories that they name in the caller's home directory; the first one is where the caller is.
pub(super) const DIRECTORIES: &[&str] = &[
    "project",
    "project/data",
    "project/models",
    "project/notebooks",
    ".wine",
    ".local/share/Steam",
    ".config/lutris",
    "Games",
    "roms",
    ".config/retroarch",
];
