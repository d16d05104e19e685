//! A file of the guide as what a reader does with it: commands that are typed, and files that are written.
//!
//! * A block `console` has commands: after `$ ` an ordinary user's, after `# ` root's, with `\` at the end of a line
//!   that goes on. Its other lines are output.
//! * A block `text` is for the reader alone. Any other is a file, and the line above it ends with its path: `` `PATH`:
//!   ``.
//! * Comments directly above a block say otherwise: `<!-- needs: NEED, NEED -->`, `<!-- not run: REASON -->`, and
//!   `<!-- exit code: N -->` for the last command, whose output is then claimed as well.

use crate::guide::needs::Need;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};
use std::ops::Range;

/// What a reader does at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// The line of the file where it begins.
    pub(super) line: usize,
    /// What of a machine it takes.
    pub(super) needs: Vec<Need>,
    /// Why nobody does it in a lane.
    pub(super) not_run: Option<String>,
    /// What is done.
    pub(super) content: Content,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Commands, one after another.
    Typed(Vec<Typed>),
    /// A file with its path, as the reader has it.
    Written {
        /// Where: `~/…`, `/…` or below the reader's directory.
        path: String,
        /// All of it.
        text: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    /// As a shell takes it.
    pub(super) text: String,
    /// Whether it is for root alone.
    pub(super) is_root: bool,
    /// What it ends with.
    pub(super) code: i32,
    /// What the file has of its output.
    pub(super) output: Vec<String>,
}

/// What a block `console` begins its lines with, and whether root types them.
const PROMPTS: &[(&str, bool)] = &[("$ ", false), ("# ", true)];

const COMMENT: (&str, &str) = ("<!-- ", " -->");

/// What comments said of the next block.
#[derive(Debug, Default)]
struct Said {
    needs: Vec<Need>,
    not_run: Option<String>,
    code: i32,
}

impl Block {
    /// All text of it that names something: commands, or the file's content.
    pub(super) fn text(&self) -> String {
        match &self.content {
            Content::Typed(commands) => {
                commands.iter().map(|typed| typed.text.as_str()).collect::<Vec<_>>().join("\n")
            }
            Content::Written { text, .. } => text.clone(),
        }
    }
}

/// The blocks of a file in their order; an error is what a writer has to fix, and on which line.
pub(super) fn parse(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut events = Parser::new_ext(text, Options::empty()).into_offset_iter();
    let mut said = Said::default();
    // What a line ends with: code, and code with a colon.
    let (mut code, mut path) = (None, None);
    while let Some((event, range)) = events.next() {
        let line = line_of(text, range.start);
        let at = |what: String| format!("line {line}: {what}");
        if let Event::Start(Tag::CodeBlock(kind)) = event {
            let mut inside = String::new();
            while let Some((Event::Text(part), _)) = events.next() {
                inside.push_str(&part);
            }
            let language = language(&kind, text, range).map_err(at)?;
            let Said { needs, not_run, code } = std::mem::take(&mut said);
            // A part of a file, which nobody writes, needs no place.
            let place = path.take().or_else(|| not_run.as_ref().map(|_| String::new()));
            if let Some(content) = content(language, place, inside, code).map_err(at)? {
                blocks.push(Block { line, needs, not_run, content });
            }
        } else if let Event::Html(html) = event {
            let comment = html.trim().strip_prefix(COMMENT.0).and_then(|rest| rest.strip_suffix(COMMENT.1));
            let comment = comment.ok_or_else(|| at("HTML that is no comment of one line".to_owned()))?;
            read_comment(comment, &mut said).map_err(at)?;
        } else if !matches!(event, Event::Start(_) | Event::End(_)) {
            said.claim_unused().map_err(at)?;
            path = code.take().filter(|_| matches!(&event, Event::Text(text) if text.as_ref() == ":"));
            code = if let Event::Code(code) = event { Some(code.into_string()) } else { None };
        }
    }
    said.claim_unused()?;
    Ok(blocks)
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The language of the block that stands at this place. Markdown ends a block without an end with the file.
fn language<'a>(kind: &'a CodeBlockKind<'_>, text: &str, place: Range<usize>) -> Result<&'a str, String> {
    let CodeBlockKind::Fenced(language) = kind else {
        return Ok("");
    };
    let block = text.get(place).unwrap_or_default().trim_end();
    let end = block.lines().skip(1).last().map(str::trim);
    if end == Some("```") { Ok(language) } else { Err("the block does not end".to_owned()) }
}

fn content(
    language: &str,
    path: Option<String>,
    inside: String,
    code: i32,
) -> Result<Option<Content>, String> {
    match (language, path) {
        ("text", _) => Ok(None),
        ("console", _) => typed(&inside, code).map(|commands| Some(Content::Typed(commands))),
        ("", _) => Err("a block is of no language: console, text, or a file's".to_owned()),
        (_, Some(path)) => Ok(Some(Content::Written { path, text: inside })),
        (language, None) => Err(format!("no line above says which file this {language} is: `PATH`:")),
    }
}

fn typed(inside: &str, code: i32) -> Result<Vec<Typed>, String> {
    let mut commands: Vec<Typed> = Vec::new();
    let mut goes_on = false;
    for line in inside.lines() {
        let prompt =
            PROMPTS.iter().find_map(|(prompt, is_root)| Some((line.strip_prefix(prompt)?, *is_root)));
        match (commands.last_mut(), prompt) {
            (Some(last), _) if goes_on => {
                last.text.push('\n');
                last.text.push_str(line);
            }
            (_, Some((text, is_root))) => {
                commands.push(Typed { text: text.to_owned(), is_root, code: 0, output: Vec::new() });
            }
            (Some(last), None) => last.output.push((*line).to_owned()),
            (None, None) => return Err("output comes before any command".to_owned()),
        }
        goes_on = line.ends_with('\\') && (goes_on || prompt.is_some());
    }
    let last = commands.last_mut().ok_or("a console without a command")?;
    last.code = code;
    Ok(commands)
}

fn read_comment(comment: &str, said: &mut Said) -> Result<(), String> {
    match comment.split_once(": ") {
        Some(("needs", needs)) => {
            for name in needs.split(", ") {
                said.needs
                    .push(Need::named(name).ok_or_else(|| format!("nothing is known of the need {name}"))?);
            }
        }
        Some(("not run", reason)) => said.not_run = Some(reason.to_owned()),
        Some(("exit code", code)) => {
            said.code = code.parse().map_err(|error| format!("the exit code {code}: {error}"))?;
        }
        _ => return Err(format!("a comment that means nothing: {comment}")),
    }
    Ok(())
}

impl Said {
    /// A comment that no block follows would have no effect.
    fn claim_unused(&self) -> Result<(), String> {
        if self.needs.is_empty() && self.not_run.is_none() && self.code == 0 {
            return Ok(());
        }
        Err("a comment about a block is not directly above one".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Typed {
        Typed { text: text.to_owned(), is_root: false, code: 0, output: Vec::new() }
    }

    #[test]
    fn commands_go_on_after_a_backslash_and_the_rest_is_output() {
        let text = "Type:\n\n```console\n$ podman run \\\n    IMAGE\n$ echo a\na\n# b\n# c\\\n# d\n```\n";
        let root = |text| Typed { is_root: true, ..command(text) };
        let expected = vec![
            command("podman run \\\n    IMAGE"),
            Typed { output: vec!["a".into()], ..command("echo a") },
            root("b"),
            root("c\\\n# d"),
        ];
        let block = Block { line: 3, needs: vec![], not_run: None, content: Content::Typed(expected) };
        assert_eq!(parse(text), Ok(vec![block]));
    }

    #[test]
    fn a_file_is_named_by_the_line_above_it() {
        let text = "Write this to `~/a.container`:\n\n<!-- needs: systemd, user -->\n```ini\n[Container]\n\nA=b\n```\n";
        let content = Content::Written { path: "~/a.container".into(), text: "[Container]\n\nA=b\n".into() };
        let block = Block { line: 4, needs: vec![Need::Systemd, Need::User], not_run: None, content };
        assert_eq!(parse(text), Ok(vec![block]));
    }

    #[test]
    fn a_block_in_a_list_has_its_indentation_taken_off() {
        let blocks = parse("* `a.yaml`:\n  ```yaml\n  a:\n    b\n  ```\n").unwrap();
        let texts: Vec<String> = blocks.iter().map(Block::text).collect();
        assert_eq!(texts, ["a:\n  b\n"]);
    }

    #[test]
    fn comments_are_of_the_next_block_alone() {
        let text = "<!-- not run: installs packages -->\n```console\n$ apt\n```\n<!-- exit code: 3 -->\n\
             ```console\n$ a\n$ b\n```\n```console\n$ c\n```\n```text\nx\n```\n";
        let blocks = parse(text).unwrap();
        let not_run: Vec<Option<&str>> = blocks.iter().map(|block| block.not_run.as_deref()).collect();
        assert_eq!(not_run, [Some("installs packages"), None, None]);
        let codes: Vec<i32> = blocks
            .iter()
            .flat_map(|block| match &block.content {
                Content::Typed(commands) => commands.iter().map(|typed| typed.code).collect(),
                Content::Written { .. } => vec![],
            })
            .collect();
        assert_eq!(codes, [0, 0, 3, 0]);
    }

    #[test]
    fn what_would_silently_not_be_run_is_an_error() {
        for (text, expected) in [
            ("```console\n$ a\n", "line 1: the block does not end"),
            ("```\n$ a\n```\n", "line 1: a block is of no language: console, text, or a file's"),
            ("\n```bash\na\n```\n", "line 2: no line above says which file this bash is: `PATH`:"),
            (
                "`a.toml`:\n\nwords\n```toml\n```\n",
                "line 4: no line above says which file this toml is: `PATH`:",
            ),
            ("```console\na\n```\n", "line 1: output comes before any command"),
            ("```console\n```\n", "line 1: a console without a command"),
            ("<!-- needs: luck -->\n", "line 1: nothing is known of the need luck"),
            ("<!-- not run -->\n", "line 1: a comment that means nothing: not run"),
            ("<!-- needs: user -->\nwords\n", "line 2: a comment about a block is not directly above one"),
            ("<!-- needs: user\n-->\n", "line 1: HTML that is no comment of one line"),
            ("    $ a\n", "line 1: a block is of no language: console, text, or a file's"),
            ("<!-- exit code: 3 -->\n", "a comment about a block is not directly above one"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
    }
}
