//! `$NAME` and `${NAME}` in a value: the caller's variables.

use std::ffi::{OsStr, OsString};

/// Why a value has no expansion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error<'a> {
    /// The caller has no such variable.
    Unset(&'a str),
    /// A dollar that begins no name.
    Dollar,
}

/// The value with the caller's variables in it; `$$` is a dollar.
pub(crate) fn expand<'a>(
    text: &'a str,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<OsString, Error<'a>> {
    let mut done = OsString::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        done.push(before);
        if let Some(after) = after.strip_prefix('$') {
            done.push("$");
            rest = after;
            continue;
        }
        let (name, after) = name(after).ok_or(Error::Dollar)?;
        done.push(variable(name).ok_or(Error::Unset(name))?);
        rest = after;
    }
    done.push(OsStr::new(rest));
    Ok(done)
}

/// The name after a dollar, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = match text.strip_prefix('{') {
        Some(text) => text.split_once('}')?,
        None => {
            let is_part = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
            text.split_at_checked(text.find(|letter| !is_part(letter)).unwrap_or(text.len()))?
        }
    };
    is_name(name).then_some((name, rest))
}

/// Whether a shell could have a variable of this name.
fn is_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_caller_stand_where_they_are_named() {
        let variable = |name: &str| match name {
            "DISPLAY" => Some(OsString::from(":0")),
            "EMPTY" => Some(OsString::new()),
            "TRICKY" => Some(OsString::from("$DISPLAY")),
            _ => None,
        };
        for (text, expected) in [
            ("all", Ok("all")),
            ("$DISPLAY", Ok(":0")),
            ("${DISPLAY}", Ok(":0")),
            ("x$DISPLAY.0", Ok("x:0.0")),
            ("${DISPLAY}x${EMPTY}y", Ok(":0xy")),
            ("$$DISPLAY costs $$", Ok("$DISPLAY costs $")),
            ("$TRICKY", Ok("$DISPLAY")),
            ("$WAYLAND", Err(Error::Unset("WAYLAND"))),
            ("$", Err(Error::Dollar)),
            ("$1", Err(Error::Dollar)),
            ("${", Err(Error::Dollar)),
            ("${A-b}", Err(Error::Dollar)),
            ("a $ b", Err(Error::Dollar)),
        ] {
            assert_eq!(expand(text, &variable), expected.map(OsString::from), "{text}");
        }
    }
}
