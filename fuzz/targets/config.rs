//! A bundle's config.json, with what is asked of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_core::oci::{Config, bound_source};
use nvbind_core::{requirements, visible_devices};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = Config::parse(bytes, Path::new("config.json")) else { return };
    let _ = visible_devices::find_nvidias_hook(&config);
    let _ = visible_devices::parse_request(&config);
    let _ = requirements::check(config.environment(), "570.172.08");
    let _ = (config.env("LD_LIBRARY_PATH"), config.mount_label());
    let _ = (config.is_privileged(), config.shares_mounts(), config.masks_proc());
    let _ = (config.has_device(195, 0), config.has_rule_for(195, 0), config.allows_device(195, 0));
    let _ = config.mounts.iter().filter_map(bound_source).count();
});
