//! What a hook may still do when it has read all that an image brings.

use crate::scenarios;
use crate::setting::Setting;
use crate::tracer::{self, End};
use crate::world::skip;

/// CHOWN, DAC_OVERRIDE, FOWNER, SYS_ADMIN and MKNOD (linux/capability.h).
const CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 21 | 1 << 27;

/// 512 MiB.
const MEMORY: u64 = 512 << 20;

#[test]
fn at_its_end_a_hook_has_few_capabilities_no_new_privileges_and_a_limit_of_memory() {
    if !tracer::is_allowed() {
        skip::<()>("this machine does not let tests trace a process");
        return;
    }
    for scenario in [&scenarios::TWO_GPUS, &scenarios::USER_NAMESPACE] {
        let Some(mut setting) = Setting::new(scenario) else { return };
        setting.begin();
        let traced = tracer::run(&mut setting.world.command(), &setting.world.stdin(), None);
        assert_eq!(traced.end, End::Code(0), "{}", traced.says);
        let field = |name: &str| {
            let line = traced.at_exit.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {}", traced.at_exit)).trim().to_owned()
        };
        for set in ["CapEff:", "CapPrm:"] {
            let left = u64::from_str_radix(&field(set), 16).unwrap();
            assert_eq!(left & !CAPABILITIES, 0, "{}: {set} {left:x}", scenario.name);
        }
        assert_eq!(field("CapInh:").trim_start_matches('0'), "");
        assert_eq!(field("NoNewPrivs:"), "1");
        let limits = field("Max address space");
        let limits: Vec<u64> =
            limits.split_whitespace().take(2).map(|limit| limit.parse().unwrap()).collect();
        assert!(limits.iter().all(|limit| *limit <= MEMORY), "{limits:?}");
    }
}
