//! Well-known places: paths of a container where programs look for a file of the driver.

/// A path of the container where programs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WellKnownPlace {
    /// Its path in the container.
    pub path: &'static str,
    /// When something is put there.
    pub when: When,
}

/// When a file is put at a well-known place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always; directories are made as needed.
    Always,
    /// Where the container has this: nothing looks there otherwise.
    With(&'static str),
    /// Over a file of the image, which would be used beside ours.
    Over,
}

/// A place that is always used.
pub(super) const fn always(path: &'static str) -> WellKnownPlace {
    WellKnownPlace { path, when: When::Always }
}

/// A place that is used where the container has `condition`.
pub(super) const fn with(condition: &'static str, path: &'static str) -> WellKnownPlace {
    WellKnownPlace { path, when: When::With(condition) }
}

/// A place where a file of the image is covered.
pub(super) const fn over(path: &'static str) -> WellKnownPlace {
    WellKnownPlace { path, when: When::Over }
}
