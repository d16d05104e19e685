//! `nvbind man`: a man page for nvbind and for each of its commands, from the definitions that clap parses by.

use crate::args::{self, Cli};
use crate::failure::Failure;
use clap::CommandFactory;
use clap_mangen::Man;
use nvbind_core::exit::Exit;
use nvbind_core::failure::Explain;
use std::{fs, io};

#[derive(Debug, thiserror::Error)]
#[error("cannot write man pages into {directory}")]
struct Error {
    directory: String,
    source: io::Error,
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Permission
    }
}

/// Writes them: `nvbind.1`, `nvbind-run.1` and so on.
pub(crate) fn man(options: &args::Man) -> Result<(), Failure> {
    let write =
        || pages()?.into_iter().try_for_each(|(name, page)| fs::write(options.directory.join(name), page));
    write().map_err(|source| {
        let directory = options.directory.display().to_string();
        Error { directory, source }.into()
    })
}

/// The pages, by file name.
pub(super) fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    collect(&root, &mut pages)?;
    Ok(pages)
}

fn collect(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    pages.push((man.get_filename(), page));
    command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|below| collect(below, pages))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// The pages of this command and those below it, with the options that they are to have.
    fn expected(name: String, command: &clap::Command) -> BTreeMap<String, Vec<String>> {
        let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
        let below = visible.flat_map(|below| expected(format!("{name}-{}", below.get_name()), below));
        let options = command.get_arguments().filter_map(clap::Arg::get_long);
        let options = options.map(|option| format!("\\-\\-{}", option.replace('-', "\\-"))).collect();
        below.chain([(format!("{name}.1"), options)]).collect()
    }

    #[test]
    fn every_command_that_is_not_hidden_has_a_page_with_all_its_options() {
        let directory = tempfile::tempdir().unwrap();
        let options = args::Man { directory: directory.path().to_owned() };
        assert!(man(&options).is_ok());
        let expected = expected("nvbind".to_owned(), &Cli::command());
        let names = fs::read_dir(directory.path()).unwrap();
        let names: BTreeSet<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(names, expected.keys().cloned().collect());
        for (name, options) in expected {
            let page = fs::read_to_string(directory.path().join(name)).unwrap();
            for option in options {
                assert!(page.contains(&option), "{option} in {page}");
            }
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let options = args::Man { directory: directory.path().join("none") };
        assert!(man(&options).is_err());
    }
}
