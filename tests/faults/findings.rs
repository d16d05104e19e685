//! What is known to be wrong with the hook and is therefore not judged. To be empty.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A call that fails while the host is read, after which the start ends with 0 and is half.
    HostRead,
    /// A failed read of the image's libcuda, after which the driver's is used.
    ForwardCompatibility,
    /// No descriptor to be had where the journal keeps one: what was created stays.
    Journal,
    /// A failed rename of a loader's file, after which another one that was renamed before stays.
    PlacedFile,
    /// A start while the driver's files are replaced, which is half or ends with another code than 3.
    ChangingDriver,
}

/// With the reason.
const KNOWN: &[(Finding, &str)] = &[
    (Finding::HostRead, "the inventory takes what it cannot read for what is not there"),
    (
        Finding::ForwardCompatibility,
        "nvbind-core's compat takes a libcuda that cannot be read for a damaged one",
    ),
    (Finding::Journal, "the journal forgets what it cannot keep a descriptor of, and the start goes on"),
    (Finding::PlacedFile, "an image's file that a draft has replaced is not kept for the journal"),
    (Finding::ChangingDriver, "the inventory does not notice that the driver changes while it reads"),
];

pub(crate) fn is_known(finding: Finding) -> bool {
    KNOWN.iter().any(|(known, _)| *known == finding)
}
