//! What only the container itself shows of its view: where it stands, and what of the image's is in it.

use nvbind_core::plan::{Entry, View, ViewPath};
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

    /// Whether a path of the view leads to a file of the driver's, and not, as with CUDA's forward compatibility, to
    /// one of the image's or nowhere.
    pub(crate) fn is_drivers(&self, path: &str) -> bool {
        match self.view.get(path) {
            Some(Entry::Link { target }) => !target.starts_with('/'),
            Some(Entry::File { .. } | Entry::Socket { .. } | Entry::Shared { .. } | Entry::Text { .. }) => {
                true
            }
            // A directory.
            None => {
                let is_below = |rest: &str| rest.starts_with('/');
                self.view.iter().any(|(entry, _)| entry.as_str().strip_prefix(path).is_some_and(is_below))
            }
        }
    }
}
