//! What was meant by a name that there is not.

use nvbind_core::settings::keys::{KEYS, Key, PROFILE_KEYS, PROFILES};

/// How alike two names have to be, from 0 to 1.
const ALIKE: f64 = 0.5;

/// Of the things with these names the one whose name is most like this one; of several the last.
pub(crate) fn find_nearest<'a, T>(name: &str, known: impl IntoIterator<Item = (&'a str, T)>) -> Option<T> {
    let rated = known
        .into_iter()
        .map(|(other, thing)| (strsim::normalized_damerau_levenshtein(name, other), thing))
        .filter(|(likeness, _)| *likeness >= ALIKE);
    rated.max_by(|(left, _), (right, _)| left.total_cmp(right)).map(|(_, thing)| thing)
}

/// What to write in place of a key or a table that there is not.
pub(super) fn suggest_key(table: &str, name: &str) -> String {
    let is_here = |key: &&Key| key.table == table;
    // Of two that are as near, the one of the same table.
    let (here, elsewhere): (Vec<&Key>, Vec<&Key>) = KEYS.iter().partition(is_here);
    let keys = elsewhere.iter().chain(&here).map(|key| (key.name, format!("{}.{}", key.table, key.name)));
    let tables = KEYS.iter().map(|key| (key.table, format!("[{}]", key.table)));
    let tables = tables.chain([(PROFILES, format!("[{PROFILES}.NAME]"))]).filter(|_| table.is_empty());
    if let Some(nearest) = find_nearest(name, keys.chain(tables)) {
        return format!("did you mean {nearest}?");
    }
    let mut all: Vec<&str> = here.iter().map(|key| key.name).collect();
    if all.is_empty() {
        all.extend(KEYS.iter().map(|key| key.table));
        all.dedup();
        all.push(PROFILES);
    }
    format!("there are {}", all.join(", "))
}

/// The same for a key of a profile.
pub(super) fn suggest_profile_key(profile: &str, name: &str) -> String {
    let names = PROFILE_KEYS.iter().map(|key| key.name);
    match find_nearest(name, names.clone().zip(names.clone())) {
        Some(nearest) => format!("did you mean {PROFILES}.{profile}.{nearest}?"),
        None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_offered() {
        for (table, name, expected) in [
            ("runtime", "defualt_args", "did you mean runtime.default_args?"),
            ("runtime", "args", "there are default_runtime, default_args, environment"),
            ("gpu", "default_runtime", "did you mean runtime.default_runtime?"),
            ("", "gpus", "did you mean [gpu]?"),
            ("", "default_args", "did you mean runtime.default_args?"),
            ("", "x", "there are driver, runtime, gpu, security, profiles"),
            ("", "profile", "did you mean [profiles.NAME]?"),
        ] {
            assert_eq!(suggest_key(table, name), expected, "{table} {name}");
        }
        assert_eq!(suggest_profile_key("x", "volume"), "did you mean profiles.x.volumes?");
        assert!(suggest_profile_key("x", "y").starts_with("there are description, capabilities, isolate, "));
    }
}
