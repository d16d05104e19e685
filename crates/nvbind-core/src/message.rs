//! What is wrong, as one line for a person: on a terminal, in the system's log, in a record.

use std::error::Error;

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

/// The text on one line, with its control characters escaped, and those that are not seen or have others shown in
/// another order: paths, names and an image's words can hold sequences that would reach the terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, letter| {
        match letter {
            '\n' => line.push(' '),
            control if control.is_control() || is_unseen(control) => line.extend(control.escape_default()),
            other => line.push(other),
        }
        line
    })
}

/// Line separators, and what Unicode calls format characters, as far as they are about the order and width of others.
const fn is_unseen(letter: char) -> bool {
    matches!(
        letter,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
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
        assert_eq!(printable("a\u{202e}b\u{2028}c\u{e4}"), "a\\u{202e}b\\u{2028}c\u{e4}");
        let told = Outer(cause(), ": because\nof \u{1b}[31mthis");
        assert_eq!(printable(&line(&told)), r"cannot do it: because of \u{1b}[31mthis");
    }
}
