//! What is wrong, as one line for a person: on a terminal, in the system's log, in a record.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its causes, each once.
#[must_use]
pub fn line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}

/// The text on one line, with what a terminal would obey escaped: paths, names and an image's variables can hold
/// sequences for it, and marks that change the order in which letters are shown.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, letter| {
        match letter {
            '\n' => line.push(' '),
            special if is_special(special) => line.extend(special.escape_default()),
            other => line.push(other),
        }
        line
    })
}

/// JSON in which all that [`printable`] escapes is escaped as JSON has it. Such letters can stand in strings only;
/// what is below U+0020 is escaped there already, and between values it is white space.
#[must_use]
pub fn printable_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, letter| {
        if letter >= ' ' && is_special(letter) {
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
        text
    })
}

/// Control characters, separators of lines and paragraphs, and what Unicode calls format characters, as far as they are
/// about the order and width of others.
fn is_special(letter: char) -> bool {
    let is_format = matches!(
        letter,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    letter.is_control() || is_format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once_and_on_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot do it{}", .1)]
        struct Outer(#[source] std::io::Error, &'static str);
        let cause = || std::io::Error::other("because\nof \u{1b}[31mthis");
        assert_eq!(printable(&line(&Outer(cause(), ""))), r"cannot do it: because of \u{1b}[31mthis");
        assert_eq!(printable("a\tb\u{9b}c\u{202e}d\u{2028}é"), r"a\tb\u{9b}c\u{202e}d\u{2028}é");
        let told = Outer(cause(), ": because\nof \u{1b}[31mthis");
        assert_eq!(printable(&line(&told)), r"cannot do it: because of \u{1b}[31mthis");
    }

    #[test]
    fn json_says_the_same_without_what_a_terminal_obeys() {
        let text = "a\u{1b}[1mb\u{7f}\u{9b}c\u{202e}d\u{2028}é\n";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let escaped = printable_json(&json);
        assert_eq!(escaped, "[\n  \"a\\u001b[1mb\\u007f\\u009bc\\u202ed\\u2028é\\n\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), [text]);
    }
}
