//! `nvbind plan`: what a container would get, and why.

use super::to_json;
use crate::args;
use crate::choice::{Choice, docker};
use crate::driver::{self, HookOptions, Modules};
use crate::failure::Failure;
use crate::launch;
use crate::output;
use nvbind_core::render::{self, PlanDocument};
use nvbind_core::request::{Gpus, Request};

/// Prints the plan.
pub(crate) fn plan(options: args::Plan) -> Result<(), Failure> {
    let hook = HookOptions::new(options.driver_root);
    let (choice, parts) = match (options.gpu, options.gpus) {
        (_, Some(gpus)) => docker::parse(&gpus).map(|asked| (asked.choice, asked.capabilities))?,
        (gpu, None) => (Choice::parse(gpu.as_deref().unwrap_or("all"))?, None),
    };
    let gpus = match choice {
        Choice::Named(gpus) => gpus,
        Choice::Any(count) => Gpus::Listed(launch::choose(&hook, Modules::Leave, count)?),
        // Of a variable alone.
        Choice::Nothing => Gpus::None,
    };
    let request = Request::parse("none", options.capabilities.as_deref().or(parts.as_deref()), None)
        .and_then(|request| request.with_extras(options.extras.as_deref()))
        .and_then(|request| request.with_isolation(options.isolate.then_some("true")))?;
    let (host, plan) = driver::preview(&hook, Request { gpus, ..request })?;
    let text = match options.json {
        false => render::plan_text(&plan, &host.files),
        true => to_json(&PlanDocument::new(&plan, &host.files))?,
    };
    Ok(output::print(text.as_bytes())?)
}
