//! What is told on stderr beside errors: notes always, details with `--verbose`, in colour where a person reads it.

use anstyle::{AnsiColor, Style};
use clap::{ArgAction, ColorChoice};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nvbind_core::message::printable;
use std::io::Write as _;

/// An error, and a check that failed.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is worth a look.
pub(crate) const NOTABLE: Style = AnsiColor::Yellow.on_default();
/// What to do, and a check that passed.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What most readers pass over.
pub(crate) const MINOR: Style = Style::new().dimmed();

/// Options of every command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Messages {
    /// Tell on stderr what is read, looked at and run
    #[arg(long, short, global = true, action = ArgAction::SetTrue)]
    pub(crate) verbose: bool,
    /// Colour; by itself on a terminal, unless the variable NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
}

impl Messages {
    /// Has the rest of the process keep to it.
    pub(crate) fn apply(self) {
        let choice = match self.color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        log::set_max_level(if self.verbose { LevelFilter::Debug } else { LevelFilter::Warn });
        // Set already, at a second call.
        let _ = log::set_logger(&Lines);
    }
}

struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // A closed stderr is no reason to fail.
            let _ = anstream::stderr().write_all(line(record.level(), &record.args().to_string()).as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Details keep their commands and paths, but not what would reach the terminal from these.
fn line(level: Level, text: &str) -> String {
    let text = printable(text);
    match level {
        Level::Error | Level::Warn => format!("nvbind: {NOTABLE}note:{NOTABLE:#} {text}\n"),
        Level::Info | Level::Debug | Level::Trace => format!("{MINOR}nvbind: {text}{MINOR:#}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_marked_and_a_detail_is_not_and_neither_has_escapes_of_its_own() {
        let plain = |level, text| anstream::adapter::strip_str(&line(level, text)).to_string();
        assert_eq!(plain(Level::Warn, "left \x1b[2Jout"), "nvbind: note: left \\u{1b}[2Jout\n");
        assert_eq!(plain(Level::Debug, "reads /a"), "nvbind: reads /a\n");
        assert_ne!(line(Level::Warn, "a"), plain(Level::Warn, "a"));
    }
}
