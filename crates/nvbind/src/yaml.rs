//! YAML that is changed in places and means what it meant everywhere else.
//!
//! Readers of YAML do not agree on what a word without quotes is: podman's takes `0644` for an octal number and `1e3`
//! for a thousand. So no word is taken for anything here: one without quotes is written without quotes again, any other
//! with quotes. Anchors and merges are carried out, comments are not kept.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// How deep lists and mappings may lie in each other; a Deployment with all that there is needs about fifteen.
const DEPTH: usize = 64;

/// How much documents may grow by their anchors and aliases: nodes and bytes of text together.
const GROWTH: usize = 1 << 20;

/// Longer keys cannot stand before their colon (YAML 1.2.2, 8.2.2), and Kubernetes has none.
const KEY: usize = 512;

/// The same of a key as it is written, with its type and with escapes, which take up to six bytes a letter. YAML has
/// 1024 letters before the colon.
const WRITTEN_KEY: usize = 1000;

/// Longer words are no numbers, dates or the like, which podman's reader could take them for.
const WORD: usize = 64;

/// Two blanks a level.
const INDENT: usize = 2;

/// A mapping that stands for the pairs of its value.
const MERGE: &str = "<<";

/// The handle that `!!` is short for.
const CORE: &str = "tag:yaml.org,2002:";

/// Why a text is no YAML that can be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("line {line}, column {column}: {what}")]
    Syntax {
        /// Counted from one.
        line: usize,
        /// Counted from one.
        column: usize,
        what: String,
    },
    /// Something that is YAML, and that no pod can have.
    #[error("line {line}: {what}")]
    Refused {
        /// Counted from one.
        line: usize,
        what: &'static str,
    },
}

/// A word, a list or a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// Its explicit type, as it is written.
    tag: Option<String>,
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    /// A word, or several.
    Text {
        text: String,
        /// Whether it stood without quotes, so that it need not be text to a reader.
        bare: bool,
    },
    List(Vec<Node>),
    /// Pairs in their order.
    Map(Vec<(Node, Node)>),
}

impl Node {
    pub(crate) fn text(text: &str) -> Node {
        Node { tag: None, value: Value::Text { text: text.to_owned(), bare: false } }
    }

    /// A mapping of texts.
    pub(crate) fn texts(pairs: &[(&str, &str)]) -> Node {
        let pairs = pairs.iter().map(|(key, value)| (Node::text(key), Node::text(value)));
        Node { tag: None, value: Value::Map(pairs.collect()) }
    }

    /// What it says, if it is a word.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether there is nothing: `key:`, or one of the words for it.
    pub(crate) fn is_null(&self) -> bool {
        let is_word = |text: &str| matches!(text, "" | "~" | "null" | "Null" | "NULL");
        matches!(&self.value, Value::Text { text, bare: true } if is_word(text)) && self.tag.is_none()
    }

    /// Its pairs, if it is a mapping.
    pub(crate) fn pairs(&self) -> &[(Node, Node)] {
        match &self.value {
            Value::Map(pairs) => pairs,
            Value::Text { .. } | Value::List(_) => &[],
        }
    }

    /// Its items, if it is a list.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Text { .. } | Value::Map(_) => &[],
        }
    }

    /// What stands under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.pairs().iter().find(|(known, _)| known.as_text() == Some(key)).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Value::Map(pairs) = &mut self.value else { return None };
        pairs.iter_mut().find(|(known, _)| known.as_text() == Some(key)).map(|(_, value)| value)
    }

    /// The mapping under a key, which is made where there is none; nothing, if something else stands there.
    pub(crate) fn map_at(&mut self, key: &str) -> Option<&mut Vec<(Node, Node)>> {
        match &mut self.at(key, Value::Map(Vec::new()))?.value {
            Value::Map(pairs) => Some(pairs),
            Value::Text { .. } | Value::List(_) => None,
        }
    }

    /// The list under a key, likewise.
    pub(crate) fn list_at(&mut self, key: &str) -> Option<&mut Vec<Node>> {
        match &mut self.at(key, Value::List(Vec::new()))?.value {
            Value::List(items) => Some(items),
            Value::Text { .. } | Value::Map(_) => None,
        }
    }

    fn at(&mut self, key: &str, default: Value) -> Option<&mut Node> {
        let Value::Map(pairs) = &mut self.value else { return None };
        let position = pairs.iter().position(|(known, _)| known.as_text() == Some(key));
        let position = position.unwrap_or(pairs.len());
        let default = Node { tag: None, value: default };
        match pairs.get_mut(position) {
            Some((_, value)) if value.is_null() => *value = default,
            Some(_) => {}
            None => pairs.push((Node::text(key), default)),
        }
        pairs.get_mut(position).map(|(_, value)| value)
    }
}

/// Reads all documents of a text.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        let line = span.start.line();
        reader.take(event).map_err(|what| Error::Refused { line, what })?;
    }
    Ok(reader.documents)
}

fn syntax(error: &ScanError) -> Error {
    let place = error.marker();
    Error::Syntax { line: place.line(), column: place.col() + 1, what: error.info().to_owned() }
}

/// Documents in the making.
#[derive(Debug, Default)]
struct Reader {
    documents: Vec<Node>,
    /// The lists and mappings that are not at their end.
    open: Vec<Open>,
    /// Those of this document that an alias can name.
    anchors: HashMap<usize, Anchored>,
    /// Of all nodes so far.
    size: usize,
    /// How much of that, and of copies for aliases that may come, the text does not have itself.
    growth: usize,
}

#[derive(Debug)]
struct Open {
    node: Node,
    /// The key whose value comes next.
    key: Option<Node>,
    anchor: usize,
    /// The size before it.
    before: usize,
    /// How many levels there are in it so far.
    levels: usize,
}

#[derive(Debug)]
struct Anchored {
    node: Node,
    size: usize,
    levels: usize,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) -> Result<(), &'static str> {
        match event {
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::Scalar(text, style, anchor, tag) => {
                let before = self.size;
                self.size = self.size.saturating_add(text.len()).saturating_add(1);
                let value = Value::Text { text: text.into_owned(), bare: style == ScalarStyle::Plain };
                let node = Node { tag: written(tag.as_deref())?, value };
                self.put(node, anchor, before, 0)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Value::List(Vec::new()), anchor, tag.as_deref())?
            }
            Event::MappingStart(anchor, tag) => self.open(Value::Map(Vec::new()), anchor, tag.as_deref())?,
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { node, anchor, before, levels, .. }) = self.open.pop() else { return Ok(()) };
                self.put(merged(node)?, anchor, before, levels + 1)?;
            }
            Event::Alias(anchor) => {
                // Clones only what is small enough.
                let Some(named) = self.anchors.get(&anchor) else {
                    return Err("an alias stands in what it names");
                };
                let (size, levels, before) = (named.size, named.levels, self.size);
                if self.open.len() + levels > DEPTH {
                    return Err(TOO_DEEP);
                }
                self.size = self.size.saturating_add(size);
                self.grow(size)?;
                let node = self.anchors.get(&anchor).map(|named| named.node.clone());
                node.map_or(Ok(()), |node| self.put(node, 0, before, levels))?;
            }
        }
        Ok(())
    }

    fn grow(&mut self, by: usize) -> Result<(), &'static str> {
        self.growth = self.growth.saturating_add(by);
        if self.growth > GROWTH { Err("its anchors and aliases add more than 1 MiB") } else { Ok(()) }
    }

    fn open(&mut self, value: Value, anchor: usize, tag: Option<&Tag>) -> Result<(), &'static str> {
        let before = self.size;
        self.size = self.size.saturating_add(1);
        if self.open.len() >= DEPTH {
            return Err(TOO_DEEP);
        }
        let node = Node { tag: written(tag)?, value };
        self.open.push(Open { node, key: None, anchor, before, levels: 0 });
        Ok(())
    }

    /// Puts a node that is whole where it belongs.
    fn put(&mut self, node: Node, anchor: usize, before: usize, levels: usize) -> Result<(), &'static str> {
        if anchor != 0 {
            let size = self.size - before;
            self.grow(size)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, levels });
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        open.levels = open.levels.max(levels);
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(pairs), Some(key)) => pairs.push((key, node)),
            (Value::Map(_), None) => match node.as_text() {
                Some(text) if text.len() <= KEY => {
                    let mut written = String::new();
                    put_key(&mut written, &node);
                    if written.len() > WRITTEN_KEY {
                        return Err("a key is longer than 1000 bytes as it would be written");
                    }
                    open.key = Some(node);
                }
                Some(_) => return Err("a key is longer than 512 bytes"),
                None => return Err("a list or a mapping stands in the place of a key"),
            },
            (Value::Text { .. }, _) => {}
        }
        Ok(())
    }
}

const TOO_DEEP: &str = "lists and mappings lie deeper than 64 in each other";

/// A mapping without merges, whose pairs count where it has no such key itself; the first of several that has the key
/// counts.
fn merged(node: Node) -> Result<Node, &'static str> {
    let Value::Map(pairs) = node.value else { return Ok(node) };
    let (merges, mut pairs): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| is_merge(key));
    let mut keys: HashSet<Value> = if merges.is_empty() {
        HashSet::new()
    } else {
        pairs.iter().map(|(key, _)| key.value.clone()).collect()
    };
    for (_, value) in merges {
        let sources = match value.value {
            Value::List(items) => items,
            Value::Map(_) | Value::Text { .. } => vec![value],
        };
        for source in sources {
            let Value::Map(more) = source.value else {
                return Err("<< stands for something that is no mapping");
            };
            for (key, value) in more {
                if keys.insert(key.value.clone()) {
                    pairs.push((key, value));
                }
            }
        }
    }
    Ok(Node { tag: node.tag, value: Value::Map(pairs) })
}

fn is_merge(key: &Node) -> bool {
    matches!(&key.value, Value::Text { text, bare: true } if text == MERGE)
}

/// A tag as it is written: in its short form, which can have no comma (YAML 1.2.2, 6.9.1), or as a whole.
fn written(tag: Option<&Tag>) -> Result<Option<String>, &'static str> {
    let Some(Tag { handle, suffix }) = tag else { return Ok(None) };
    let whole = format!("{handle}{suffix}");
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/,".contains(&byte);
    if !whole.trim_start_matches('!').bytes().all(is_of_name) {
        return Err("its type (!) has a character that is none of a name");
    }
    let is_short = |suffix: &str| !suffix.contains([',', '!']);
    Ok(Some(match handle.as_str() {
        "" | "!" if matches!(suffix.as_str(), "" | "!") => "!".to_owned(),
        CORE if is_short(suffix) => format!("!!{suffix}"),
        "!" if is_short(suffix) => format!("!{suffix}"),
        _ => format!("!<{whole}>"),
    }))
}

/// Writes documents, each with a line before it that ends the one before.
pub(crate) fn write(documents: &[Node]) -> String {
    let mut text = String::new();
    for document in documents {
        text.push_str("---");
        put(&mut text, document, 0);
    }
    text
}

/// Writes a node after a key's colon or the like, and ends the line.
fn put(text: &mut String, node: &Node, indent: usize) {
    if let Some(tag) = &node.tag {
        text.push(' ');
        text.push_str(tag);
    }
    match &node.value {
        Value::Text { text: word, bare } => {
            text.push(' ');
            put_word(text, word, *bare, node.tag.is_some());
            text.push('\n');
        }
        Value::List(items) if items.is_empty() => text.push_str(" []\n"),
        Value::Map(pairs) if pairs.is_empty() => text.push_str(" {}\n"),
        Value::List(items) => {
            text.push('\n');
            for item in items {
                let _ = write!(text, "{:indent$}-", "");
                put_item(text, item, indent + INDENT);
            }
        }
        Value::Map(pairs) => {
            text.push('\n');
            put_pairs(text, pairs, indent, true);
        }
    }
}

/// A mapping without a type begins in the line of its dash.
fn put_item(text: &mut String, item: &Node, indent: usize) {
    match &item.value {
        Value::Map(pairs) if item.tag.is_none() && !pairs.is_empty() => {
            text.push(' ');
            put_pairs(text, pairs, indent, false);
        }
        Value::Map(_) | Value::List(_) | Value::Text { .. } => put(text, item, indent),
    }
}

fn put_pairs(text: &mut String, pairs: &[(Node, Node)], indent: usize, first_is_indented: bool) {
    for (position, (key, value)) in pairs.iter().enumerate() {
        if position > 0 || first_is_indented {
            let _ = write!(text, "{:indent$}", "");
        }
        put_key(text, key);
        text.push(':');
        put(text, value, indent + INDENT);
    }
}

fn put_key(text: &mut String, key: &Node) {
    if let Some(tag) = &key.tag {
        text.push_str(tag);
        text.push(' ');
    }
    if let Value::Text { text: word, bare } = &key.value {
        put_word(text, word, *bare, key.tag.is_some());
    }
}

/// Writes a word without quotes if it stood so and could be no text; else with them.
fn put_word(text: &mut String, word: &str, bare: bool, is_typed: bool) {
    if bare && word.is_empty() {
        text.push_str(if is_typed { "" } else { "null" });
    } else if bare && could_be_no_text(word) {
        text.push_str(word);
    } else {
        put_quoted(text, word);
    }
}

/// Whether a reader could take it for a number, a date, a yes or no, or nothing. Those have no other letters than
/// these.
fn could_be_no_text(word: &str) -> bool {
    let is_of_those = |letter: char| letter.is_ascii_alphanumeric() || "_.+-~: ".contains(letter);
    word.len() <= WORD
        && word.chars().all(is_of_those)
        && word.chars().any(|letter| letter.is_ascii_alphanumeric() || letter == '~')
        // These end a word.
        && !word.contains(": ")
        && !word.ends_with([':', ' '])
        && !["- ", ":", " "].iter().any(|start| word.starts_with(start))
}

/// In double quotes, which every reader takes alike.
fn put_quoted(text: &mut String, word: &str) {
    text.push('"');
    for letter in word.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            // Not printable in YAML 1.1, or the end of a line there.
            '\0'..='\u{1f}'
            | '\u{7f}'..='\u{a0}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> String {
        write(&read(text).unwrap())
    }

    #[test]
    fn words_without_quotes_stay_without_and_others_get_them() {
        for (text, expected) in [
            ("a: 0644", "a: 0644"),
            ("a: 0o644", "a: 0o644"),
            ("a: 1e3", "a: 1e3"),
            ("a: yes", "a: yes"),
            ("a: 'yes'", "a: \"yes\""),
            ("a: -1.5", "a: -1.5"),
            ("a: .inf", "a: .inf"),
            ("a: 12:30:45", "a: 12:30:45"),
            ("a: 2001-12-14 21:59:43.10 -5", "a: 2001-12-14 21:59:43.10 -5"),
            ("a: ~", "a: ~"),
            ("a:", "a: null"),
            ("a: ''", "a: \"\""),
            ("a: x,y", "a: \"x,y\""),
            ("a: docker.io/x:latest", "a: \"docker.io/x:latest\""),
            ("a: x\n  y", "a: x y"),
            ("a: |\n  x\n  y", "a: \"x\\ny\\n\""),
            ("a: >-\n  x\n  y", "a: \"x y\""),
            ("a: \"\\e\\u2028\\x85\\ttab\\\\ \\\" \"", "a: \"\\u001b\\u2028\\u0085\\ttab\\\\ \\\" \""),
            ("a: \u{1f600}\u{e9}", "a: \"\u{1f600}\u{e9}\""),
            ("a: !!str 5", "a: !!str 5"),
            ("a: !!str", "a: !!str "),
            ("a: !!binary 'YQ=='", "a: !!binary \"YQ==\""),
            ("a: !x y", "a: !x y"),
            ("a: ! 5", "a: ! 5"),
            ("a: !x%2C y", "a: !<!x,> y"),
            ("a: !<!x> y", "a: !<!x> y"),
            ("a: !<tag:x,2000:y> z", "a: !<tag:x,2000:y> z"),
            ("a: !!x%2C y", "a: !<tag:yaml.org,2002:x,> y"),
            ("1: 2", "1: 2"),
            ("'1': 2", "\"1\": 2"),
            ("? a\n: b", "a: b"),
            ("{a: [1, '2', {b: }], c: {}, d: []}", "a:\n  - 1\n  - \"2\"\n  - b: null\nc: {}\nd: []"),
            ("- - 1\n  - a: b\n    c: d\n- x", "-\n  - 1\n  - a: b\n    c: d\n- x"),
            ("a: !!map {b: c}", "a: !!map\n  b: c"),
            ("- !!map {b: c}", "- !!map\n  b: c"),
        ] {
            let written = rewritten(text);
            assert_eq!(written, format!("---\n{expected}\n"), "{text}");
            assert_eq!(rewritten(&written), written, "{text}");
        }
    }

    #[test]
    fn documents_are_kept_apart() {
        assert_eq!(rewritten("a: 1\n---\nb: 2\n...\n---\n# none\n"), "---\na: 1\n---\nb: 2\n--- null\n");
        assert_eq!(rewritten("\u{feff}a: 1"), "---\na: 1\n");
        assert_eq!(rewritten(""), "");
    }

    #[test]
    fn anchors_and_merges_are_carried_out() {
        let text =
            "base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\ntwo: {y: 4, <<: [{z: 5, y: 6}, *b]}\nlist: [*b]";
        let expected = "base:\n  x: 1\n  y: 2\none:\n  y: 3\n  x: 1\ntwo:\n  y: 4\n  z: 5\n  x: 1\nlist:\n  - x: 1\n    y: 2";
        assert_eq!(rewritten(text), format!("---\n{expected}\n"));
        assert_eq!(rewritten("'<<': {x: 1}"), "---\n\"<<\":\n  x: 1\n");
    }

    #[test]
    fn what_would_take_all_memory_or_no_end_is_refused() {
        let laughs: String = (1..12)
            .map(|level| {
                format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "))
            })
            .collect();
        let deep = |text: &str| text.repeat(100_000);
        let chain: String =
            (1..100).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)).collect();
        for (text, expected) in [
            (format!("a0: &a0 lol\n{laughs}"), "line 7: its anchors and aliases add more than 1 MiB"),
            (format!("a0: &a0 x\n{chain}"), "line 65: lists and mappings lie deeper than 64 in each other"),
            ("a: &a [*a]".to_owned(), "line 1: an alias stands in what it names"),
            (deep("["), "line 1, column 256: recursion limit exceeded"),
            (deep("{a: "), ""),
            (deep("- "), "line 1: lists and mappings lie deeper than 64 in each other"),
            (format!("{}: b", "x".repeat(513)), "line 1: a key is longer than 512 bytes"),
            (
                format!("{}: b", "\u{19}".repeat(200)),
                "line 1: a key is longer than 1000 bytes as it would be written",
            ),
            (
                format!("!{} a: b", "x".repeat(1000)),
                "line 1: a key is longer than 1000 bytes as it would be written",
            ),
            ("? [a]\n: b".to_owned(), "line 1: a list or a mapping stands in the place of a key"),
            ("<<: 5".to_owned(), "line 2: << stands for something that is no mapping"),
            ("a: !<x%22> b".to_owned(), "line 1: its type (!) has a character that is none of a name"),
            ("a: !!%21%2C b".to_owned(), "line 1: its type (!) has a character that is none of a name"),
            ("a: b: c".to_owned(), ""),
            ("a: \"x".to_owned(), ""),
            ("a: \0".to_owned(), ""),
            ("a: *b".to_owned(), ""),
            ("%YAML 9.9".to_owned(), ""),
            ("a: @b".to_owned(), ""),
        ] {
            let start: String = text.chars().take(40).collect();
            let Err(error) = read(&text) else { panic!("{start}: {:?}", read(&text)) };
            let told = error.to_string();
            assert!(
                told.starts_with("line ") && (expected.is_empty() || told == expected),
                "{start}: {told}"
            );
        }
    }

    /// What is read of any text is written so that it is read as the same.
    #[test]
    fn no_text_makes_it_panic_or_change_what_it_means() {
        let sample = "kind: Pod\nx: &a {b: [1, 'c', \"d\\n\", ~], ? e : f}\ny: [*a, !!str 0644]\nt: |\n  g\n---\nm: &b {p: q}\nn: {<<: *b, z: 1}\n- z: >\n    g\n"
            .replace("- z", "o:\n- z");
        let (mut random, mut used) = (0x2545_f491_4f6c_dd1d_u64, 0);
        let alphabet: Vec<char> = ":-?[]{},&*!|>'\"%@`# \n\t<~0aé\u{2028}".chars().collect();
        for _ in 0..20_000 {
            let mut letters: Vec<char> = sample.chars().collect();
            for _ in 0..4 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let number = usize::try_from(random >> 8).unwrap();
                let (at, letter) = (number % letters.len(), alphabet[(number >> 16) % alphabet.len()]);
                match number >> 32 & 3 {
                    0 => _ = letters.remove(at),
                    1 => letters.insert(at, letter),
                    _ => letters[at] = letter,
                }
            }
            let text: String = letters.into_iter().collect();
            let Ok(documents) = read(&text) else { continue };
            used += 1;
            let written = write(&documents);
            let again = read(&written).unwrap_or_else(|error| panic!("{error}\n{text}\n--\n{written}"));
            assert_eq!(write(&again), written, "{text}");
        }
        assert!(used > 200, "{used}");
    }
}
