//! A command as a line that a POSIX shell reads back as the same words.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The words, quoted where a shell would change them. Bytes, because a path need not be text.
#[must_use]
pub(crate) fn quote<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        if !word.is_empty() && word.as_bytes().iter().all(|byte| is_plain(*byte)) {
            line.extend_from_slice(word.as_bytes());
            continue;
        }
        line.push(b'\'');
        for byte in word.as_bytes() {
            match byte {
                b'\'' => line.extend_from_slice(br"'\''"),
                other => line.push(*other),
            }
        }
        line.push(b'\'');
    }
    line
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'@' | b'%' | b'+' | b'=' | b':' | b',' | b'.' | b'/' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_that_a_shell_would_change_are_quoted() {
        let table = [
            (vec!["podman", "run", "-v", "/a:/b:ro", "--gpu=0+1"], "podman run -v /a:/b:ro --gpu=0+1"),
            (vec!["", "a b", "$x", "~"], "'' 'a b' '$x' '~'"),
            (vec!["it's"], r"'it'\''s'"),
        ];
        for (words, expected) in table {
            let line = quote(words.iter().map(OsStr::new));
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }
}
