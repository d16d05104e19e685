//! `nvbind plan`: what a container would get, and why.

use super::to_json;
use crate::args;
use crate::driver::{self, HookOptions};
use crate::failure::Failure;
use crate::output;
use nvbind_core::render::{self, PlanDocument};
use nvbind_core::request::Request;

/// Prints the plan.
pub(crate) fn plan(options: args::Plan) -> Result<(), Failure> {
    let request = Request::parse(&options.gpu, options.capabilities.as_deref(), None)
        .and_then(|request| request.with_extras(options.extras.as_deref()))
        .and_then(|request| request.with_isolation(options.isolate.then_some("true")))?;
    let (host, plan) = driver::preview(&HookOptions::new(options.driver_root), request)?;
    let text = match options.json {
        false => render::plan_text(&plan, &host.files),
        true => to_json(&PlanDocument::new(&plan, &host.files))?,
    };
    Ok(output::print(text.as_bytes())?)
}
