//! registries.conf(5): while it is wrong, podman pulls no image, and starts one that it has by its full name alone (tried
//! with Podman 4.3.1).
//!
//! Which files are read, and what is an error, is `pkg/sysregistriesv2/system_registries_v2.go` of containers/image.

use super::subject::{Machine, files, read};
use super::{Facts, Finding, Fix};
use std::io::ErrorKind;
use std::path::PathBuf;
use toml::{Table, Value};

/// The tables of version 1, each with a list `registries`.
const OLD_TABLES: &[&str] = &["search", "insecure", "block"];

/// What the files say together.
#[derive(Debug, Default)]
struct Registries {
    /// Where names without a registry are looked for.
    search: Vec<String>,
    /// Names that have one all the same.
    aliases: usize,
}

pub(super) fn registries(facts: &Facts<'_>) -> Finding {
    let machine = facts.machine;
    if facts.engine.as_ref().is_ok_and(|engine| engine.remote) {
        return Finding::skipped("podman starts containers on another machine");
    }
    let mut registries = Registries::default();
    for Source { path, is_drop_in, has_to_be_there } in sources(machine) {
        let added = match read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !has_to_be_there => continue,
            Err(error) => Err(error.to_string()),
            Ok(text) => registries.add(&text, is_drop_in),
        };
        if let Err(why) = added {
            let own = machine.sources.user.as_ref().is_some_and(|own| path.starts_with(own));
            let path = path.display().to_string();
            let fix = if own { Fix::new(["vi", &path]) } else { Fix::edit(machine, &path) };
            return Finding::fail(
                format!("{path}: {why}, so podman pulls no image and knows none by a short name"),
                fix,
            );
        }
    }
    match (registries.search.as_slice(), registries.aliases) {
        ([], 0) => Finding::warn(
            "a name such as `ubuntu` has no registry: write docker.io/library/ubuntu, or say where to look",
            Fix::script(
                machine,
                "mkdir -p /etc/containers/registries.conf.d && echo 'unqualified-search-registries = [\"docker.io\"]' > /etc/containers/registries.conf.d/10-search.conf",
            ),
        ),
        ([], aliases) => Finding::ok(format!("{aliases} short names are known, no registry is searched")),
        (search, aliases) => Finding::ok(format!("{} searched, {aliases} short names", search.join(", "))),
    }
}

/// A file that podman reads.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    is_drop_in: bool,
    has_to_be_there: bool,
}

/// The files in the order in which they are read. A user's own takes the place of the system's and its drop-ins.
fn sources(machine: &Machine) -> Vec<Source> {
    const FILE: &str = "registries.conf";
    let (admin, user) = (&machine.sources.admin, machine.sources.user.as_ref());
    let named = machine.environment.get("CONTAINERS_REGISTRIES_CONF").map(|path| machine.path(path));
    let own = user.map(|user| user.join(FILE)).filter(|path| named.is_none() && path.exists());
    let admins = own.is_none().then_some(admin);
    let has_to_be_there = named.is_some();
    let path = named.or(own).unwrap_or_else(|| admin.join(FILE));
    let drop_ins = [admins, user].into_iter().flatten();
    let drop_ins = drop_ins.flat_map(|directory| files(&directory.join("registries.conf.d"), &["conf"]));
    let drop_ins = drop_ins.map(|path| Source { path, is_drop_in: true, has_to_be_there: false });
    [Source { path, is_drop_in: false, has_to_be_there }].into_iter().chain(drop_ins).collect()
}

impl Registries {
    /// Lays a file over those before it, or says what podman finds wrong with it.
    fn add(&mut self, text: &str, is_drop_in: bool) -> Result<(), String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let search = match table.get("unqualified-search-registries") {
            None => None,
            Some(value) => Some(strings(value).ok_or("unqualified-search-registries is no list of names")?),
        };
        let has_registries =
            table.get("registry").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        let is_new = has_registries || search.as_ref().is_some_and(|search| !search.is_empty());
        let old = |name: &&str| strings(table.get("registries")?.get(name)?.get("registries")?);
        let is_old = OLD_TABLES.iter().filter_map(old).any(|list| !list.is_empty());
        match (is_old, is_new) {
            (true, true) => {
                return Err("[registries.search] of version 1 stands beside keys of version 2".into());
            }
            (true, false) if is_drop_in => {
                return Err("[registries.search] is of version 1, which no drop-in may be".into());
            }
            (true, false) => self.search = old(&"search").unwrap_or_default(),
            (false, _) => self.search = search.unwrap_or_else(|| std::mem::take(&mut self.search)),
        }
        self.aliases += table.get("aliases").and_then(Value::as_table).map_or(0, Table::len);
        Ok(())
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_file_replaces_the_search_and_adds_names() {
        let mut registries = Registries::default();
        for (text, is_drop_in) in [
            ("[registries.search]\nregistries = ['old']\n", false),
            ("[aliases]\na = 'x/a'\n", true),
            ("unqualified-search-registries = ['new']\n[aliases]\nb = 'x/b'\n", true),
            ("[[registry]]\nlocation = 'x'\n", true),
        ] {
            registries.add(text, is_drop_in).unwrap();
        }
        assert_eq!((registries.search, registries.aliases), (vec!["new".to_owned()], 2));
    }
}
