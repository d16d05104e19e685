//! A world that can be put back to where a scenario begins.

use crate::cgroup::Cgroup;
use crate::scenarios::Scenario;
use crate::world::World;
use std::fs;

pub(crate) struct Setting {
    pub(crate) world: World,
    pub(crate) cgroup: Option<Cgroup>,
    scenario: &'static Scenario,
}

impl Setting {
    /// None where this machine does not let tests make what the scenario needs.
    pub(crate) fn new(scenario: &'static Scenario) -> Option<Setting> {
        let mut world = World::new()?;
        (scenario.prepare)(&mut world)?;
        Some(Setting { world, cgroup: None, scenario })
    }

    /// Starts the scenario's container afresh: nothing is left of an earlier start.
    pub(crate) fn begin(&mut self) {
        self.world.renew();
        self.remove_nodes();
        for entry in fs::read_dir(self.world.driver.path("dev")).unwrap() {
            let path = entry.unwrap().path();
            if is_unfinished_node(&path.display().to_string()) {
                fs::remove_file(path).unwrap();
            }
        }
        (self.scenario.earlier)(&mut self.world);
        self.start();
    }

    /// Takes away the nodes that the hook makes on the host.
    pub(crate) fn remove_nodes(&self) {
        for name in self.scenario.missing_nodes {
            // It need not have been made.
            let _ = fs::remove_file(self.world.driver.path("dev").join(name));
        }
    }

    /// Starts the container again, on what is there of it.
    pub(crate) fn start(&mut self) {
        self.world.start();
        // The process in the old one has ended.
        self.cgroup = None;
        if self.scenario.has_cgroup {
            let cgroup = Cgroup::new().unwrap();
            cgroup.add(self.world.pid());
            self.cgroup = Some(cgroup);
        }
    }
}

/// Whether a path, or a line of a listing, is of a node that was not complete yet when its maker was killed.
pub(crate) fn is_unfinished_node(path: &str) -> bool {
    path.contains("/dev/.nvidia") && path.contains(".nvbind.")
}
