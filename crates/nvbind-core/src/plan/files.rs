//! The files of a plan, and where programs look for them.

use super::{Entry, Error, View, ViewPath, WellKnown, library_directory, visible};
use crate::abi::Abi;
use crate::capability::Capabilities;
use crate::catalogue::{self, COMPAT32, DIRECTORIES, DRIVER, PLUGINS, WellKnownPlace};
use crate::extras::Extras;
use crate::inventory::{Gpu, Inventory, Library, SocketFile, Source, StoreFile};
use crate::request::Request;

/// What is in the view, and what of it is found elsewhere.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) view: View,
    pub(super) well_known: Vec<WellKnown>,
}

/// The files of a request.
pub(super) fn of(request: &Request, inventory: &Inventory, gpus: &[Gpu]) -> Result<Files, Error> {
    let wanted = request.capabilities;
    let mut files = Files::default();
    if let Some(profile) = visible::profile(wanted, inventory, gpus) {
        files.view.add(visible::PROFILE, profile);
        files.expose(visible::PROFILE, visible::PROFILE_PLACES);
    }
    files.add_libraries(wanted, inventory);
    files.add_programs(wanted, inventory);
    files.add_data(request, inventory);
    files.add_wsl(wanted, inventory);
    if !request.isolate {
        files.add_sockets(wanted, inventory);
        files.add_shared(&request.extras, inventory)?;
    }
    files.add_directories();
    Ok(files)
}

impl Files {
    /// Tells where programs look for something in the view.
    fn expose(&mut self, target: impl Into<ViewPath>, places: &'static [WellKnownPlace]) {
        if !places.is_empty() {
            self.well_known.push(WellKnown { target: target.into(), places });
        }
    }

    fn add_libraries(&mut self, wanted: Capabilities, inventory: &Inventory) {
        let compat32 = Abi::COMPAT32.filter(|_| wanted.intersects(COMPAT32));
        for abi in Abi::NATIVE.into_iter().chain(compat32) {
            let is_wanted =
                |library: &&Library| library.abi == abi && library.capabilities().intersects(wanted);
            let libraries: Vec<&Library> = inventory.libraries.iter().filter(is_wanted).collect();
            self.add_libraries_of(abi, wanted, &libraries);
        }
    }

    /// Files first: a link must not take the place of one.
    fn add_libraries_of(&mut self, abi: Abi, wanted: Capabilities, libraries: &[&Library]) {
        let directory = library_directory(abi);
        for library in libraries {
            let (host, capabilities) = (library.host.clone(), library.capabilities().intersection(wanted));
            self.view.add(format!("{directory}/{}", library.file_name), Entry::File { host, capabilities });
        }
        for library in libraries {
            let links = library.family.map_or(&[][..], |family| family.links);
            for name in library.soname.iter().map(String::as_str).chain(links.iter().copied()) {
                let target = library.file_name.clone();
                self.view.add(format!("{directory}/{name}"), Entry::Link { target });
            }
            let plugin = library.family.and_then(|family| family.plugin);
            if let Some(plugin) = plugin.filter(|_| wanted.intersects(PLUGINS)) {
                let is_32_bit = Some(abi) == Abi::COMPAT32;
                let places = if is_32_bit { plugin.places_32 } else { plugin.places };
                self.expose(format!("{directory}/{}", plugin.name), places);
            }
        }
    }

    fn add_programs(&mut self, wanted: Capabilities, inventory: &Inventory) {
        let programs = inventory.programs.iter().filter(|file| file.program.capabilities.intersects(wanted));
        for file in programs {
            let inside = format!("bin/{}", file.program.name);
            self.expose(inside.as_str(), file.program.places);
            let (host, capabilities) = (file.host.clone(), file.program.capabilities.intersection(wanted));
            self.view.add(inside, Entry::File { host, capabilities });
        }
    }

    fn add_data(&mut self, request: &Request, inventory: &Inventory) {
        let has =
            |stem| inventory.libraries.iter().any(|library| library.family.is_some_and(|f| f.stem == stem));
        for file in &inventory.data {
            let capabilities = file.data.capabilities().intersection(request.capabilities);
            if capabilities.is_empty()
                || file.data.extra.is_some_and(|extra| !request.extras.has(extra))
                || file.data.library.is_some_and(|stem| !has(stem))
            {
                continue;
            }
            self.expose(file.inside.as_str(), file.data.places);
            let entry = match &file.source {
                Source::Host(host) => Entry::File { host: host.clone(), capabilities },
                Source::Text { text, from } => {
                    Entry::Text { text: text.clone(), from: from.clone(), capabilities }
                }
            };
            self.view.add(file.inside.as_str(), entry);
        }
    }

    /// The driver store at its own path, by a link to all of `/usr/lib/wsl`, and beside it the libraries, as in WSL2.
    fn add_wsl(&mut self, wanted: Capabilities, inventory: &Inventory) {
        let capabilities = DRIVER.intersection(wanted);
        let Some(wsl) = inventory.wsl.as_ref().filter(|_| !capabilities.is_empty()) else { return };
        for StoreFile { path, host } in &wsl.store {
            let inside = path.strip_prefix("/usr/lib/").unwrap_or(path);
            self.view.add(inside, Entry::File { host: host.clone(), capabilities });
        }
        self.view.add("wsl/lib", Entry::Link { target: "../lib64".to_owned() });
    }

    fn add_sockets(&mut self, wanted: Capabilities, inventory: &Inventory) {
        for SocketFile { socket, host } in &inventory.sockets {
            let capabilities = socket.capabilities.intersection(wanted);
            if !capabilities.is_empty() {
                self.view.add(socket.inside, Entry::Socket { host: (*host).to_owned(), capabilities });
            }
        }
    }

    fn add_shared(&mut self, extras: &Extras, inventory: &Inventory) -> Result<(), Error> {
        for row in catalogue::SHARED.iter().filter(|row| extras.has(row.extra)) {
            if !inventory.shared.contains(&row) {
                let missing = format!("there is no directory {}", row.host);
                return Err(Error::Extra { extra: row.extra, missing });
            }
            self.view.add(row.inside, Entry::Shared { host: row.host, extra: row.extra });
            self.expose(row.inside, row.places);
        }
        Ok(())
    }

    fn add_directories(&mut self) {
        for directory in DIRECTORIES {
            if self.view.has_below(directory.inside) {
                self.expose(directory.inside, directory.places);
            }
        }
    }
}
