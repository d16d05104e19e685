//! What a start is like to which nothing happens, by which disturbed ones are judged.

use crate::calls::Call;
use crate::picture::Picture;
use crate::setting::{Setting, is_unfinished_node};
use crate::tracer::{self, End, Fault, Traced};
use nix::sys::signal::Signal;

/// Which part of a start a call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The C library and Rust's, which end as they like.
    Runtime,
    /// The hook decides what the container gets.
    Decision,
    /// The hook equips the container.
    Container,
}

/// What an undisturbed start is like.
pub(crate) struct Undisturbed {
    before: Picture,
    after: Picture,
    exit: i32,
    says: String,
    pub(crate) calls: Vec<Call>,
    /// Of each call.
    pub(crate) parts: Vec<Part>,
}

impl Undisturbed {
    pub(crate) fn of(setting: &mut Setting, exit: i32) -> Undisturbed {
        // The first start makes the directory of the hook's record, which takes another number of calls.
        setting.begin();
        setting.world.hook();
        setting.begin();
        let before = Picture::of(setting);
        let traced = tracer::run(&mut setting.world.command(), &setting.world.stdin(), None);
        let says = setting.world.shortened(&traced.says);
        assert_eq!(traced.end, End::Code(exit), "{says}");
        let after = Picture::of(setting);
        setting.start();
        assert_eq!(setting.world.hook().code, Some(exit));
        assert_eq!(after.difference(&Picture::of(setting)), Vec::<String>::new(), "a restart");
        Undisturbed { before, after, exit, says, parts: parts(&traced.calls), calls: traced.calls }
    }

    /// What is wrong with a disturbed start, and with the next one.
    pub(crate) fn judge(
        &self,
        setting: &mut Setting,
        at: usize,
        fault: Fault,
        traced: &Traced,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let says = setting.world.shortened(&traced.says);
        let is_runtime = self.parts[at] == Part::Runtime;
        let may_abort = is_runtime || traced.calls[0].is_for_memory();
        let is_killed = match traced.end {
            End::Signal(Signal::SIGKILL) => fault == Fault::Kill,
            End::Signal(Signal::SIGABRT) => may_abort,
            End::Code(127) | End::Signal(Signal::SIGSEGV) => is_runtime,
            End::Signal(_) | End::Code(_) => false,
        };
        if !is_killed {
            if !matches!(traced.end, End::Code(0 | 2..=5)) {
                wrong.push(format!("ended with {:?}", traced.end));
            }
            if says.lines().count() > 2 || says.len() > 10 << 10 {
                wrong.push("it says more than two lines".to_owned());
            }
        }
        let now = Picture::of(setting);
        wrong.extend(self.host_changes(&now.host, is_killed));
        match traced.end {
            End::Code(0) if self.exit != 0 => wrong.push("it is not refused".to_owned()),
            End::Code(0) => wrong.extend(self.after.difference(&now)),
            End::Signal(_) | End::Code(_) if is_killed => {}
            End::Signal(_) | End::Code(_) => wrong.extend(self.before.leftovers(&now)),
        }
        wrong.extend(self.judge_next(setting).into_iter().map(|line| format!("at the next start: {line}")));
        if !wrong.is_empty() {
            wrong.push(format!("it said: {}", says.trim_end()));
        }
        wrong
    }

    /// What is there or lost on the host that is neither so before a start nor after it.
    fn host_changes(&self, now: &[String], is_killed: bool) -> Vec<String> {
        let lost = self.before.host.iter().filter(|line| !now.contains(line));
        let new =
            now.iter().filter(|line| !self.before.host.contains(line) && !self.after.host.contains(line));
        let new = new.filter(|line| !is_killed || !is_unfinished_node(line));
        lost.map(|line| format!("- {line}")).chain(new.map(|line| format!("+ {line}"))).collect()
    }

    fn judge_next(&self, setting: &mut Setting) -> Vec<String> {
        setting.start();
        let ended = setting.world.hook();
        let now = Picture::of(setting);
        let mut wrong = self.after.difference(&now);
        wrong.extend(self.host_changes(&now.host, true));
        if (ended.code, &ended.says) != (Some(self.exit), &self.says) {
            wrong.push(format!("{ended:?}"));
        }
        wrong
    }
}

fn parts(calls: &[Call]) -> Vec<Part> {
    let first = |is_it: &dyn Fn(&Call) -> bool| calls.iter().position(is_it).unwrap();
    // The log is the first thing, and the record is opened when everything is decided.
    let log = first(&|call| call.name() == "socket");
    let record = first(&|call| call.to_string().contains(".spare-"));
    let part = |at| match at {
        at if at < log => Part::Runtime,
        at if at < record => Part::Decision,
        _ => Part::Container,
    };
    (0..calls.len()).map(part).collect()
}
