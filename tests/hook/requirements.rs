//! What an image requires of the driver, and what is wrong with how it says so.

use crate::world::World;
use crate::{Case, case, check};

/// Gives the container these variables.
fn environment(world: &World, variables: &[&str]) {
    let root = world.path("scratch/root");
    let variables = serde_json::to_string(variables).unwrap();
    world.config(
        &format!(r#"{{"path":"{}"}}"#, root.display()),
        &format!(r#","process":{{"env":{variables}}}"#),
    );
}

const NEWER: &str = "NVIDIA_REQUIRE_CUDA=cuda>=13.0 brand=tesla,driver>=535,driver<536";

const REFUSED: &[Case] = &[
    case(
        "a CUDA that the driver does not bring",
        3,
        "container c0ffee: NVIDIA_REQUIRE_CUDA of the container requires cuda>=13.0 (or one of 1 others), but the driver is 570.172.08 (CUDA 12.8); install a newer driver, take an image for an older CUDA, or start with NVIDIA_DISABLE_REQUIRE=1",
        |world| environment(world, &[NEWER]),
    ),
    case(
        "one variable of two",
        3,
        "container c0ffee: NVIDIA_REQUIRE_DRIVER of the container requires driver<570, but the driver is 570.172.08 (CUDA 12.8); install a newer driver, take an image for an older CUDA, or start with NVIDIA_DISABLE_REQUIRE=1",
        |world| environment(world, &["NVIDIA_REQUIRE_CUDA=cuda>=12.0", "NVIDIA_REQUIRE_DRIVER=driver<570"]),
    ),
    case(
        "no requirement",
        2,
        r#"container c0ffee: NVIDIA_REQUIRE_CUDA of the container is not understood at "cuda": a requirement reads like "cuda>=12.4" or "driver>=535,driver<536"; correct it, or start with NVIDIA_DISABLE_REQUIRE=1"#,
        |world| environment(world, &["NVIDIA_REQUIRE_CUDA=cuda >= 12.4"]),
    ),
    case(
        "words for a terminal",
        2,
        r#"container c0ffee: NVIDIA_REQUIRE_\u{1b}[31mX of the container is not understood at "\u{1b}[2J\n>": a requirement reads like "cuda>=12.4" or "driver>=535,driver<536"; correct it, or start with NVIDIA_DISABLE_REQUIRE=1"#,
        |world| environment(world, &["NVIDIA_REQUIRE_\u{1b}[31mX=\u{1b}[2J\n>"]),
    ),
];

const STARTED: &[Case] = &[
    case("a CUDA that the driver brings", 0, "", |world| {
        environment(world, &["NVIDIA_REQUIRE_CUDA=cuda>=12.8"]);
    }),
    case("what rests on the GPU's brand", 0, "", |world| {
        environment(world, &["NVIDIA_REQUIRE_CUDA=cuda>=13.0 brand=tesla,driver>=570,driver<571"]);
    }),
    case("nothing is to be checked", 0, "", |world| {
        environment(world, &[NEWER, "NVIDIA_REQUIRE_X=?", "NVIDIA_DISABLE_REQUIRE=1"]);
    }),
    case("a container without a GPU", 0, "", |world| {
        environment(world, &[NEWER]);
        world.request(r#""io.nvbind.gpu":"none""#);
    }),
    case("Jetson's mounts", 0, "", |world| {
        environment(
            world,
            &["NVIDIA_REQUIRE_JETPACK=csv-mounts=all", "NVIDIA_REQUIRE_JETPACK_HOST_MOUNTS=x"],
        );
    }),
];

#[test]
fn an_image_that_the_driver_cannot_serve_is_refused() {
    check(REFUSED);
}

#[test]
fn an_image_that_the_driver_may_serve_is_started() {
    check(STARTED);
}
