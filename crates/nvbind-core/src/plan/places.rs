//! All well-known places of the catalogue.

use super::visible;
use crate::catalogue::{DATA, DIRECTORIES, LIBRARIES, PROGRAMS, SHARED, WellKnownPlace};

/// Every place where any plan may have put a link.
pub fn well_known() -> impl Iterator<Item = &'static WellKnownPlace> {
    let plugins = LIBRARIES.iter().filter_map(|family| family.plugin);
    let programs = PROGRAMS.iter().flat_map(|program| program.places);
    let data = DATA.iter().flat_map(|data| data.places);
    let directories = DIRECTORIES.iter().flat_map(|directory| directory.places);
    let shared = SHARED.iter().flat_map(|shared| shared.places);
    let places = programs.chain(data).chain(directories).chain(shared).chain(visible::PROFILE_PLACES);
    places.chain(plugins.flat_map(|plugin| plugin.places.iter().chain(plugin.places_32)))
}
