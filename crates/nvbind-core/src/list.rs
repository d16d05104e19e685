//! Lists as annotations, options and variables have them: words between commas, or between plus signs, since Podman before
//! 5.0 cuts the value of `--annotation` at commas.

/// What stands between the words.
const SEPARATORS: [char; 2] = [',', '+'];

/// The words, without the spaces around them; empty ones too.
pub(crate) fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(SEPARATORS).map(str::trim)
}
