//! The machine's own apt sources, read and written again for another suite and with the non-free components.
//!
//! Formats: sources.list(5), one line an entry or deb822 paragraphs.

/// The components that hold the driver (non-free), and what it needs around it (contrib, main).
const COMPONENTS: &str = "main contrib non-free non-free-firmware";
/// The one component of a foreign architecture: all of NVIDIA's 32-bit driver is in it, and its lists are small. The
/// EGL platform libraries, which are in main and contrib, stay 64-bit alone.
const FOREIGN_COMPONENT: &str = "non-free";
/// What a sources entry's suite may be called besides the code name.
const ALIASES: &[&str] = &["stable", "oldstable", "testing"];
/// The suites of a release that are taken, after its name.
const PARTS: &[&str] = &["", "-updates", "-security"];

/// The Debian archive among the sources of a machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    uris: String,
    suites: Vec<String>,
    components: Vec<String>,
    /// Everything else, as deb822 fields in their own text.
    fields: Vec<(String, String)>,
}

/// The entries of a `*.list` file.
pub(super) fn parse_list(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Entry {
        uris: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        fields: options
            .split_whitespace()
            .filter_map(|option| option.split_once('='))
            .map(|(name, value)| (field_of(name).into(), value.replace(',', " ")))
            .collect(),
    })
}

/// Names of fields do not depend on case; only these three differ from the option's.
fn field_of(option: &str) -> &str {
    match option {
        "arch" => "Architectures",
        "lang" => "Languages",
        "target" => "Targets",
        other => other,
    }
}

/// The entries of a `*.sources` file.
pub(super) fn parse_deb822(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    // A line of its own at the end closes the last paragraph.
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            entries.extend(entry_of(std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().into(), value.trim().into()));
        }
    }
    entries
}

fn entry_of(mut fields: Vec<(String, String)>) -> Option<Entry> {
    let mut take = |wanted: &str| {
        let at = fields.iter().position(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(fields.remove(at).1)
    };
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    let types: Vec<String> = words(take("Types")?);
    let enabled = take("Enabled").is_none_or(|text| !matches!(text.as_str(), "no" | "false"));
    let uris = take("URIs")?;
    let suites = words(take("Suites")?);
    let components = take("Components").map(words).unwrap_or_default();
    (enabled && types.iter().any(|kind| kind == "deb")).then_some(Entry { uris, suites, components, fields })
}

/// The same archives for the release `wanted`, in deb822 form, and again for each of the `foreign` architectures; empty
/// if none of the entries is Debian's archive of the release `codename`.
pub(super) fn for_release(entries: &[Entry], codename: &str, wanted: &str, foreign: &[&str]) -> String {
    let mut text = String::new();
    for entry in entries {
        if !entry.components.iter().any(|name| name == "main") {
            continue;
        }
        let suites: Vec<String> =
            entry.suites.iter().filter_map(|suite| in_release(suite, codename, wanted)).collect();
        if suites.is_empty() {
            continue;
        }
        let suites = suites.join(" ");
        let own = foreign.iter().map(|name| ("Architectures-Remove", *name));
        let fields = entry.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        text.push_str(&paragraph(&entry.uris, &suites, COMPONENTS, fields.clone().chain(own)));
        for name in foreign {
            let others = fields.clone().filter(|(field, _)| !is_architectures(field));
            let fields = others.chain([("Architectures", *name)]);
            text.push_str(&paragraph(&entry.uris, &suites, FOREIGN_COMPONENT, fields));
        }
    }
    text
}

fn paragraph<'a>(
    uris: &str,
    suites: &str,
    components: &str,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut text = format!("Types: deb\nURIs: {uris}\nSuites: {suites}\nComponents: {components}\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push('\n');
    text
}

/// `Architectures`, `Architectures-Add` or `Architectures-Remove`.
fn is_architectures(field: &str) -> bool {
    field.to_ascii_lowercase().starts_with("architectures")
}

fn in_release(suite: &str, codename: &str, wanted: &str) -> Option<String> {
    let known = ALIASES.iter().copied().chain([codename]);
    let part = known.into_iter().find_map(|name| suite.strip_prefix(name))?;
    PARTS.contains(&part).then(|| format!("{wanted}{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "# comment\n\
        Types: deb deb-src\n\
        URIs: http://mirror.example/debian\n\
        Suites: bookworm bookworm-updates bookworm-backports\n\
        Components: main\n\
        Signed-By:\n -----BEGIN\n .\n END\n\
        \n\
        Types: deb\n\
        URIs: http://other.example/apt\n\
        Suites: bookworm\n\
        Components: stable\n\
        \n\
        Types: deb\nEnabled: no\nURIs: http://off.example/\nSuites: bookworm\nComponents: main\n";

    #[test]
    fn only_the_debian_archive_is_taken_with_its_key_and_without_backports() {
        assert_eq!(
            for_release(&parse_deb822(DEB822), "bookworm", "trixie", &[]),
            "Types: deb\n\
             URIs: http://mirror.example/debian\n\
             Suites: trixie trixie-updates\n\
             Components: main contrib non-free non-free-firmware\n\
             Signed-By: \n -----BEGIN\n .\n END\n\n"
        );
    }

    #[test]
    fn a_line_with_options_becomes_a_paragraph() {
        let list = "deb [arch=amd64,i386 signed-by=/k.gpg] http://mirror.example/debian bookworm main # x\n\
                    deb-src http://mirror.example/debian bookworm main\n\
                    #deb http://off.example bookworm main\n";
        assert_eq!(
            for_release(&parse_list(list), "bookworm", "bookworm", &[]),
            "Types: deb\n\
             URIs: http://mirror.example/debian\n\
             Suites: bookworm\n\
             Components: main contrib non-free non-free-firmware\n\
             Architectures: amd64 i386\n\
             signed-by: /k.gpg\n\n"
        );
    }

    #[test]
    fn a_foreign_architecture_has_a_paragraph_of_its_own_and_is_kept_out_of_the_other() {
        let list = "deb [arch=amd64,i386 signed-by=/k.gpg] http://mirror.example/debian bookworm main";
        assert_eq!(
            for_release(&parse_list(list), "bookworm", "bookworm", &["i386"]),
            "Types: deb\n\
             URIs: http://mirror.example/debian\n\
             Suites: bookworm\n\
             Components: main contrib non-free non-free-firmware\n\
             Architectures: amd64 i386\n\
             signed-by: /k.gpg\n\
             Architectures-Remove: i386\n\n\
             Types: deb\n\
             URIs: http://mirror.example/debian\n\
             Suites: bookworm\n\
             Components: non-free\n\
             signed-by: /k.gpg\n\
             Architectures: i386\n\n"
        );
    }

    #[test]
    fn another_release_than_the_machines_is_no_base() {
        let list = "deb http://mirror.example/debian sid main";
        assert_eq!(for_release(&parse_list(list), "bookworm", "bookworm", &[]), "");
    }
}
