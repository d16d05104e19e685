//! Carries a plan out: mounts, namespaces, devices, the device cgroup and the ld.so.cache of one container.
pub mod cgroup;
