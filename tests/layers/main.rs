//! The modules of each crate form layers: of two modules side by side at most one uses the other, also by way of
//! further ones. Tests may look up, and a parent and its children may know each other.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its helpers too"
)]

mod comments;
mod threats;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The path of a module below the crate's root, or of something in it.
type Names = Vec<String>;

/// What is read of a crate.
#[derive(Default)]
struct Source {
    modules: BTreeSet<Names>,
    /// Paths from the crate's root, by the module that uses them.
    uses: Vec<(Names, Names)>,
    /// What a module's `use` calls by a name.
    imports: BTreeMap<(Names, String), Names>,
}

impl Source {
    fn read(root: &Path) -> Source {
        let mut source = Source::default();
        source.modules.insert(Names::new());
        source.read_file(root, &root.with_file_name(""), &Names::new());
        source
    }

    /// Reads a module whose children have their files in `directory`.
    fn read_file(&mut self, file: &Path, directory: &Path, module: &Names) {
        let text = fs::read_to_string(file).unwrap();
        self.read_tokens(&without_tests(text.parse().unwrap()), directory, module);
    }

    fn read_tokens(&mut self, tokens: &[TokenTree], directory: &Path, module: &Names) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match (name(token).as_str(), tokens.get(at).map(name)) {
                ("mod", Some(child)) => self.read_child(&child, tokens.get(at + 1), directory, module),
                ("use", _) => {
                    let end = tokens.iter().skip(at).position(|token| is_punct(token, ';')).unwrap();
                    self.read_use(&tokens[at..at + end], module);
                    at += end;
                }
                ("crate" | "super" | "self", _) => {
                    let (path, rest) = split_path(&tokens[at - 1..]);
                    at = tokens.len() - rest.len();
                    self.add_use(path, module);
                }
                _ => {
                    if let TokenTree::Group(group) = token {
                        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                        self.read_tokens(&inner, directory, module);
                    }
                }
            }
        }
    }

    fn read_child(&mut self, child: &str, body: Option<&TokenTree>, directory: &Path, module: &Names) {
        let path = [module.as_slice(), &[child.to_owned()]].concat();
        // `mod name { … }` is read where its braces come.
        if body.is_some_and(|body| is_punct(body, ';')) {
            self.modules.insert(path.clone());
            let below = directory.join(child);
            let files = [below.with_extension("rs"), below.join("mod.rs")];
            let file = files.iter().find(|file| file.exists());
            self.read_file(file.unwrap_or_else(|| panic!("no file of {child}: {files:?}")), &below, &path);
        }
    }

    fn read_use(&mut self, tokens: &[TokenTree], module: &Names) {
        for path in tree(tokens) {
            let (path, alias) = match path.iter().position(|name| name == "as") {
                Some(at) => (path[..at].to_vec(), path[at + 1..].to_vec()),
                None => (path.clone(), path[path.len() - 1..].to_vec()),
            };
            if let Some(target) = absolute(&path, module) {
                self.imports.insert((module.clone(), alias.concat()), target);
            }
            self.add_use(path, module);
        }
    }

    fn add_use(&mut self, path: Names, module: &Names) {
        self.uses.extend(absolute(&path, module).map(|target| (module.clone(), target)));
    }

    /// The module that defines what a path names, which may be another one's import.
    fn home(&self, path: &Names) -> Names {
        let is_module = |length: &usize| self.modules.contains(&path[..*length]);
        let length = (0..=path.len()).rev().find(is_module).unwrap();
        let (module, rest) = path.split_at(length);
        let import = rest.first().and_then(|name| self.imports.get(&(module.to_vec(), name.clone())));
        match import {
            Some(target) if target != path => self.home(&[target.as_slice(), &rest[1..]].concat()),
            _ => module.to_vec(),
        }
    }

    /// For each parent, which of its children use which others, each with a module and a path that it names.
    fn edges(&self) -> BTreeMap<Names, BTreeMap<(String, String), String>> {
        let mut edges: BTreeMap<Names, BTreeMap<(String, String), String>> = BTreeMap::new();
        for (user, path) in &self.uses {
            let home = self.home(path);
            let common = user.iter().zip(&home).take_while(|(one, other)| one == other).count();
            if let (Some(from), Some(to)) = (user.get(common), home.get(common)) {
                let parent = edges.entry(user[..common].to_vec()).or_default();
                let example = format!("{} uses {}", user.join("::"), path.join("::"));
                parent.entry((from.clone(), to.clone())).or_insert(example);
            }
        }
        edges
    }

    /// The circles, one for each module that is in any.
    fn circles(&self) -> Vec<String> {
        let mut circles = BTreeSet::new();
        for edges in self.edges().values() {
            for (from, to) in edges.keys() {
                if let Some(back) = way(edges, to, from) {
                    let steps = back.windows(2).map(|pair| (pair[0].clone(), pair[1].clone()));
                    let steps = [(from.clone(), to.clone())].into_iter().chain(steps);
                    let mut steps: Vec<&str> = steps.map(|step| edges[&step].as_str()).collect();
                    steps.sort_unstable();
                    circles.insert(steps.join("; "));
                }
            }
        }
        circles.into_iter().collect()
    }
}

/// The shortest way from one module to another by what uses what.
fn way(edges: &BTreeMap<(String, String), String>, from: &str, to: &str) -> Option<Names> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        if let Some(found) = ways.iter().find(|way| way[way.len() - 1] == to) {
            return Some(found.clone());
        }
        let mut further = Vec::new();
        for way in ways {
            let next = edges.keys().filter(|(user, _)| *user == way[way.len() - 1]);
            for (_, next) in next.filter(|(_, next)| seen.insert(next.clone())) {
                further.push([way.as_slice(), std::slice::from_ref(next)].concat());
            }
        }
        ways = further;
    }
    None
}

/// The tokens without the items that stand below `#[cfg(test)]`.
fn without_tests(stream: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = stream.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_test = |next: &TokenTree| next.to_string().replace(' ', "") == "[cfg(test)]";
        if !is_punct(&token, '#') || !tokens.peek().is_some_and(is_test) {
            kept.push(token);
            continue;
        }
        let is_end = |token: &TokenTree| {
            is_punct(token, ';')
                || matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
        };
        tokens.find(is_end);
    }
    kept
}

/// The paths of a `use`.
fn tree(tokens: &[TokenTree]) -> Vec<Names> {
    let mut paths = Vec::new();
    for entry in tokens.split(|token| is_punct(token, ',')).filter(|entry| !entry.is_empty()) {
        let (path, rest) = split_path(entry);
        match rest {
            [TokenTree::Group(group), ..] => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                paths.extend(tree(&inner).into_iter().map(|below| [path.clone(), below].concat()));
            }
            rest => paths.push(path.into_iter().chain(rest.iter().map(name)).collect()),
        }
    }
    paths
}

/// The names at the beginning that `::` joins, and what follows them.
fn split_path(tokens: &[TokenTree]) -> (Names, &[TokenTree]) {
    match tokens {
        [TokenTree::Ident(first), one, two, rest @ ..] if is_punct(one, ':') && is_punct(two, ':') => {
            let (path, rest) = split_path(rest);
            ([vec![first.to_string()], path].concat(), rest)
        }
        [TokenTree::Ident(last), rest @ ..] => (vec![last.to_string()], rest),
        rest => (Vec::new(), rest),
    }
}

/// A path from the crate's root; none of another crate. What begins with a name of this module itself leads below it.
fn absolute(path: &[String], module: &Names) -> Option<Names> {
    let mut base = module.clone();
    let mut rest = path;
    while let [first, further @ ..] = rest {
        match first.as_str() {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = further;
    }
    let is_own = rest.len() < path.len() || path.len() > 1;
    is_own.then(|| [base, rest.to_vec()].concat())
}

fn name(token: &TokenTree) -> String {
    match token {
        TokenTree::Ident(ident) => ident.to_string(),
        TokenTree::Punct(punct) => punct.to_string(),
        TokenTree::Group(_) | TokenTree::Literal(_) => String::new(),
    }
}

fn is_punct(token: &TokenTree, letter: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == letter)
}

/// The crates of which nvbind consists, each by the file of its root module.
const ROOTS: [&str; 4] =
    ["nvbind-core/src/lib.rs", "nvbind-apply/src/lib.rs", "nvbind-hook/src/main.rs", "nvbind/src/lib.rs"];

#[test]
fn the_modules_of_each_crate_form_layers() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let circles = |root: &str| {
        let circles = Source::read(&crates.join(root)).circles().into_iter();
        circles.map(|circle| format!("{root}: {circle}")).collect::<Vec<_>>()
    };
    let circles: Vec<String> = ROOTS.iter().copied().flat_map(circles).collect();
    assert!(circles.is_empty(), "modules use each other:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let circles = |files: &[(&str, &str)]| {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Source::read(&directory.path().join("main.rs")).circles()
    };
    let b = ("b.rs", "pub struct B;");
    for (root, a, b, expected) in [
        ("mod a; mod b;", "use crate::b::B;", b.1, None),
        ("mod a; mod b;", "use crate::b;", "use super::a::{A, Other};", Some("a uses b; b uses a::A")),
        (
            "mod a; mod b;",
            "fn f() { g(matches!(x, crate::b::B)) }",
            "fn a() -> super::a::A {}",
            Some("a uses b::B; b uses a::A"),
        ),
        ("mod a; mod b; use a::A;", "use crate::{std, b as c};", "use crate::A;", Some("a uses b; b uses A")),
        ("mod a; mod b;", "use crate::b; // not /* this", "#[cfg(test)] mod tests { use crate::a; }", None),
        (
            "mod a; mod b;",
            "use crate::b; const TEXT: &str = \"use crate::b\";",
            "/// See crate::a.\nfn f() { a::b() }",
            None,
        ),
    ] {
        let found = circles(&[("main.rs", root), ("a.rs", a), ("b.rs", b)]);
        assert_eq!(found.first().map(String::as_str), expected, "{root} {a} {b}");
    }
    let nested = [
        ("main.rs", "mod a;"),
        ("a/mod.rs", "mod b; mod c;"),
        ("a/b.rs", "use super::c::C;"),
        ("a/c.rs", "use crate::a::b;"),
    ];
    assert_eq!(circles(&nested), ["a::b uses a::c::C; a::c uses a::b"]);
}
