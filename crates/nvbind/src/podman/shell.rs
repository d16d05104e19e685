//! A command as a line that a POSIX shell reads back as the same words.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use shlex::bytes::Quoter;

/// The words, quoted where a shell would change them. Bytes, because a path need not be text.
#[must_use]
pub(crate) fn quote<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> Vec<u8> {
    // Only a NUL byte is an error, and it is allowed: the line is to be read, and podman refuses such a word.
    Quoter::new().allow_nul(true).join(words.into_iter().map(OsStr::as_bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_words_that_a_shell_would_change_are_quoted() {
        let table = [
            (vec!["podman", "run", "-v", "/a:/b:ro", "--gpu", "0+1"], "podman run -v /a:/b:ro --gpu 0+1"),
            (vec!["", "a b", "$x", "~", "--gpu=0"], "'' 'a b' '$x' '~' '--gpu=0'"),
            (vec!["it's", r"a\b", "it's $x"], r#""it's" "a\\b" "it's "'$x'"#),
        ];
        for (words, expected) in table {
            let line = quote(words.iter().map(OsStr::new));
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }
    #[test]
    fn a_shell_reads_the_same_words_again_text_or_not() {
        let words: [&[u8]; 7] =
            [b"podman", b"", b"it's $x\\ \"`!^", b"\xff\xfe/\xc3", b"a\nb", b"=x", "\u{fc}~".as_bytes()];
        let mut script = b"printf '%s\\0' ".to_vec();
        script.extend(quote(words.iter().map(|word| OsStr::from_bytes(word))));
        let output = Command::new("sh").arg("-c").arg(OsStr::from_bytes(&script)).output().unwrap();
        let read: Vec<&[u8]> = output.stdout.strip_suffix(b"\0").unwrap().split(|byte| *byte == 0).collect();
        assert_eq!(read, words);
    }
}
