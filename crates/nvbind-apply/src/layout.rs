//! What only the container itself shows of its view: where it stands, and what of the image's is in it.

use nvbind_core::plan::{View, ViewPath};
use std::borrow::Cow;

/// A plan's view as this container gets it.
#[derive(Debug)]
pub(crate) struct Layout<'p> {
    /// Where the view stands, one of [`VIEWS`](nvbind_core::plan::VIEWS).
    pub(crate) place: &'static str,
    /// What is in it: the plan's, unless the image brings libraries that win over the driver's.
    pub(crate) view: Cow<'p, View>,
}

impl Layout<'_> {
    /// A path of the view as the container sees it.
    pub(crate) fn inside(&self, path: &ViewPath) -> String {
        path.at(self.place)
    }
}
