//! The end-to-end cases, inside a lane: real podman, crun and runc, judged from within the container and from outside.
#![allow(
    missing_docs,
    reason = "names that need no comment have none: nobody but this workspace uses the crate"
)]

mod case;
pub mod cells;
mod command_line;
mod compose;
mod container;
mod containers;
pub mod devices;
mod docker;
pub mod drivers;
pub mod ended;
mod guide;
pub mod images;
mod kube;
pub mod lane;
pub mod machine;
pub mod packages;
pub mod podman;
mod probe;
mod profiles;
mod run;
mod services;
#[path = "../../fixtures/hostile.rs"]
mod shapes;
mod snapshot;
mod stand_in;
mod traces;

use case::Case;
pub use run::inside;

/// What containers get, with nvbind installed by `nvbind setup`, by what it is about.
const CONTAINERS: &[&[Case]] = &[
    containers::matrix::CASES,
    containers::life::CASES,
    containers::volumes::CASES,
    containers::cdi::CASES,
    containers::rootfs::CASES,
    devices::cgroups::CASES,
    devices::others::CASES,
    devices::filters::CASES,
    devices::job::CASES,
    containers::refusals::CASES,
    drivers::upgrade::CASES,
    devices::groups::CASES,
    drivers::layouts::CASES,
    drivers::real::CASES,
    containers::stages::CASES,
    command_line::reasons::CASES,
    command_line::shim::CASES,
    command_line::asking::CASES,
    command_line::free::CASES,
    command_line::setup::CASES,
    compose::CASES,
    docker::CASES,
    command_line::config::CASES,
    command_line::doctor::CASES,
    profiles::gaming::CASES,
    profiles::computing::CASES,
    profiles::own::CASES,
    profiles::command_lines::CASES,
    services::quadlet::CASES,
    services::generate::CASES,
    kube::CASES,
    services::units::CASES,
    services::template::CASES,
    images::annotation::CASES,
    containers::visible_devices::CASES,
    drivers::compat::CASES,
    images::loaders::CASES,
    images::baked::CASES,
    images::places::CASES,
    images::applications::CASES,
    images::layers::CASES,
    images::hostile::CASES,
    drivers::gpu_checks::CASES,
    devices::mig::CASES,
    containers::update::CASES,
    devices::boot::CASES,
    devices::nodes::CASES,
    guide::CASES,
];
