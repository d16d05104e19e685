//! nvbind's own configuration: the part that the hook reads, and all of it, which the command line reads.

use super::{Facts, Finding, Fix};
use crate::config::{Configuration, Kind, Layer};
use crate::driver::Error;
use nvbind_core::message::line;
use nvbind_core::settings::{Error as Settings, SYSTEM_FILE};

pub(super) fn of_hook(facts: &Facts<'_>) -> Finding {
    /// The file is an argument: its name may have what a shell would take for something else.
    const TRUST: &str = "chown root: \"$0\" && chmod go-w \"$0\"";
    let machine = facts.machine;
    match &facts.host {
        Ok(_) => Finding::ok("valid"),
        Err(Error::Settings(error)) => {
            let fix = match error {
                Settings::Untrusted { path } => Fix::as_root(machine, ["sh", "-c", TRUST, path]),
                Settings::Read { path, .. }
                | Settings::Syntax { path, .. }
                | Settings::Relative { path, .. } => Fix::edit(machine, path),
            };
            Finding::fail(line(error), fix)
        }
        Err(error) => Finding::fail(line(error), Fix::edit(machine, SYSTEM_FILE)),
    }
}

pub(super) fn of_command_line(facts: &Facts<'_>) -> Finding {
    if matches!(facts.host, Err(Error::Settings(_))) {
        return Finding::skipped("the hook's part of it is not valid");
    }
    let layers = &facts.machine.layers;
    let edit = |layer: &Layer| {
        let path = layer.path.display().to_string();
        match layer.kind {
            Kind::User => Fix::new(["vi".to_owned(), path]),
            Kind::System | Kind::Named => Fix::edit(facts.machine, &path),
        }
    };
    for layer in layers {
        if let Err(error) = layer.read() {
            return Finding::fail(format!("nvbind run starts nothing: {}", line(&error)), edit(layer));
        }
    }
    match Configuration::load(layers) {
        Err(error) => Finding::fail(line(&error), layers.last().map(edit)),
        Ok(Configuration { lost, .. }) if !lost.is_empty() => {
            Finding::warn(lost.join("; "), layers.last().map(edit))
        }
        Ok(_) => {
            let there = layers.iter().filter(|layer| layer.path.exists()).count();
            Finding::ok(format!("{there} of {} possible files are there", layers.len()))
        }
    }
}
