//! The files of a plan, and where programs look for them.

use super::{Bind, Error, Link, Plan, Shared, Soname, Text, WellKnown, library_directory, places};
use crate::capability::Capabilities;
use crate::catalogue::{self, COMPAT32, DIRECTORIES, DRIVER, PLUGINS};
use crate::extras::Extras;
use crate::inventory::{Inventory, Library, SocketFile, Source, StoreFile};
use crate::ldcache::Abi;
use crate::request::Request;
use std::collections::BTreeMap;

pub(super) fn add_libraries(plan: &mut Plan, wanted: Capabilities, inventory: &Inventory) {
    let compat32 = Abi::COMPAT32.filter(|_| wanted.intersects(COMPAT32));
    for abi in Abi::NATIVE.into_iter().chain(compat32) {
        let is_wanted = |library: &&Library| library.abi == abi && library.capabilities().intersects(wanted);
        let libraries: Vec<&Library> = inventory.libraries.iter().filter(is_wanted).collect();
        add_libraries_of(plan, abi, wanted, &libraries);
    }
}

fn add_libraries_of(plan: &mut Plan, abi: Abi, wanted: Capabilities, libraries: &[&Library]) {
    let directory = library_directory(abi);
    // By name, so that a soname that two files claim has one link.
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for library in libraries {
        plan.binds.push(Bind {
            host: library.host.clone(),
            inside: format!("{directory}/{}", library.file_name),
            capabilities: library.capabilities().intersection(wanted),
        });
        names.insert(&library.file_name, &library.file_name);
    }
    for library in libraries {
        let links = library.family.map_or(&[][..], |family| family.links);
        for name in library.soname.iter().map(String::as_str).chain(links.iter().copied()) {
            names.entry(name).or_insert(&library.file_name);
        }
        let plugin = library.family.and_then(|family| family.plugin);
        plan.well_known.extend(plugin.filter(|_| wanted.intersects(PLUGINS)).map(|plugin| WellKnown {
            target: format!("{directory}/{}", plugin.name),
            places: places::of_plugin(plugin, abi),
        }));
    }
    for (name, file) in names {
        if name != file {
            plan.view_links.push(Link { path: format!("{directory}/{name}"), target: file.to_owned() });
        }
        plan.sonames.push(Soname { name: name.to_owned(), abi });
    }
}

pub(super) fn add_programs(plan: &mut Plan, wanted: Capabilities, inventory: &Inventory) {
    for file in &inventory.programs {
        let program = file.program;
        if !program.capabilities.intersects(wanted) {
            continue;
        }
        let inside = format!("bin/{}", program.name);
        if program.in_usr_bin {
            let places = vec![places::of_program(program)];
            plan.well_known.push(WellKnown { target: inside.clone(), places });
        }
        let capabilities = program.capabilities.intersection(wanted);
        plan.binds.push(Bind { host: file.host.clone(), inside, capabilities });
    }
}

pub(super) fn add_data(plan: &mut Plan, request: &Request, inventory: &Inventory) {
    let has = |stem| inventory.libraries.iter().any(|library| library.family.is_some_and(|f| f.stem == stem));
    for file in &inventory.data {
        let capabilities = file.data.capabilities().intersection(request.capabilities);
        if capabilities.is_empty()
            || file.data.extra.is_some_and(|extra| !request.extras.has(extra))
            || file.data.library.is_some_and(|stem| !has(stem))
        {
            continue;
        }
        let inside = file.inside.clone();
        if !file.data.places.is_empty() {
            plan.well_known.push(WellKnown { target: inside.clone(), places: places::of_data(file.data) });
        }
        match &file.source {
            Source::Host(host) => plan.binds.push(Bind { host: host.clone(), inside, capabilities }),
            Source::Text { text, from } => {
                plan.texts.push(Text { inside, text: text.clone(), from: from.clone(), capabilities });
            }
        }
    }
}

/// The driver store at its own path, by a link to all of `/usr/lib/wsl`, and beside it the libraries, as in WSL2.
pub(super) fn add_wsl(plan: &mut Plan, wanted: Capabilities, inventory: &Inventory) {
    let capabilities = DRIVER.intersection(wanted);
    let Some(wsl) = inventory.wsl.as_ref().filter(|_| !capabilities.is_empty()) else { return };
    plan.binds.extend(wsl.store.iter().map(|StoreFile { path, host }| {
        let inside = path.strip_prefix("/usr/lib/").unwrap_or(path).to_owned();
        Bind { host: host.clone(), inside, capabilities }
    }));
    plan.view_links.push(Link { path: "wsl/lib".to_owned(), target: "../lib64".to_owned() });
}

pub(super) fn add_sockets(plan: &mut Plan, wanted: Capabilities, inventory: &Inventory) {
    for SocketFile { socket, host } in &inventory.sockets {
        let capabilities = socket.capabilities.intersection(wanted);
        if !capabilities.is_empty() {
            let (host, inside) = ((*host).to_owned(), socket.inside.to_owned());
            plan.sockets.push(Bind { host, inside, capabilities });
        }
    }
}

pub(super) fn add_shared(plan: &mut Plan, extras: &Extras, inventory: &Inventory) -> Result<(), Error> {
    for row in catalogue::SHARED.iter().filter(|row| extras.has(row.extra)) {
        if !inventory.shared.contains(&row) {
            let missing = format!("there is no directory {}", row.host);
            return Err(Error::Extra { extra: row.extra, missing });
        }
        plan.shared.push(Shared { host: row.host, inside: row.inside, extra: row.extra });
        let places = vec![places::of_shared(row)];
        plan.well_known.push(WellKnown { target: row.inside.to_owned(), places });
    }
    Ok(())
}

pub(super) fn add_directories(plan: &mut Plan) {
    for (path, target, when) in DIRECTORIES {
        let is_below = |inside: &str| inside.strip_prefix(target).is_some_and(|rest| rest.starts_with('/'));
        let binds = plan.binds.iter().chain(&plan.sockets).map(|bind| &bind.inside);
        if binds.chain(plan.texts.iter().map(|text| &text.inside)).any(|inside| is_below(inside)) {
            let places = vec![places::place(path, *when)];
            plan.well_known.push(WellKnown { target: (*target).to_owned(), places });
        }
    }
}
