//! Names that are no text, or text for a terminal: in what is searched, in links, in mounts, in variables.

use crate::row::{Row, Works, refused, row};

/// Kinds of names, for printf(1).
const NAMES: &[(&str, &str)] = &[
    ("newline", "a\\nnvbind-hook: b"),
    ("escape", "a\\033[31mb\\033]0;c\\007"),
    ("other-direction", "a\\342\\200\\256b\\342\\201\\246c"),
    ("no-text", "a\\377\\376b"),
    ("of-mountinfo", "a - tmpfs tmpfs rw\\0011b"),
    ("longest", LONGEST),
];

/// 255 bytes.
const LONGEST: &str = concat!(
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
);

/// Where such a name stands: lines with `$name`, and how the start ends.
const PLACES: &[(&str, &str, Option<&str>)] = &[
    ("link", "rm -r usr/local; ln -s \"/$name\" usr/local", Some("/usr/local in the container's root")),
    ("link-in-a-link", "rm -r usr/local; ln -s ../var usr/local; ln -s \"$name\" var", None),
    ("directory-of-configurations", "echo /lib >\"etc/ld.so.conf.d/$name\"", None),
    (
        "directory-for-compatibility",
        "mkdir -p usr/local/cuda/compat; cp ../parts/newer \"usr/local/cuda/compat/$name\"",
        None,
    ),
    ("view", "mkdir -p usr/local/nvidia; : >\"usr/local/nvidia/$name\"", None),
    ("searched-directory", "mkdir -p opt/a; cp ../parts/library \"opt/a/$name\"", None),
    ("draft", "ln -s \"/$name\" etc/.ld.so.cache.nvbind", None),
];

/// A path of fifteen such names is the longest that a link can have.
const LONGEST_TARGET: &str = "target=; while [ ${#target} -lt 3800 ]; do target=$target/$name; done
rm -r usr/local; ln -s \"$target\" usr/local";

pub(crate) fn rows() -> Vec<Row> {
    let named = |name: &str| format!("name=$(printf '{name}')\n");
    let mut rows = Vec::new();
    for (kind, name) in NAMES {
        for (place, script, refusal) in PLACES {
            let row = row(format!("{place}-{kind}"), refusal.map_or(Works, refused));
            rows.push(row.image(named(name) + script).search_path("/opt/a"));
        }
        let mount = "mkdir \"$ROOT/$name\"; mount --bind $OUTSIDE \"$ROOT/$name\"";
        rows.push(row(format!("volume-{kind}"), Works).mounts(named(name) + mount));
    }
    rows.push(
        row("link-of-the-longest-target", refused("/usr/local in the container's root"))
            .image(named(LONGEST) + LONGEST_TARGET),
    );
    // The warning about a file that is left names its path.
    for (kind, variable) in
        [("newline", "/a\nb"), ("escape", "/a\u{1b}[31mb"), ("other-direction", "/a\u{202e}b")]
    {
        let mount = format!(
            "mkdir \"$ROOT{variable}\"; mount --bind $OUTSIDE \"$ROOT{variable}\"; mount --make-shared \"$ROOT{variable}\""
        );
        rows.push(row(format!("variable-{kind}"), Works).mounts(mount).search_path(variable));
    }
    rows
}
