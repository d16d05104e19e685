//! The report as a table for people.

use super::sample::Variant;
use super::summary::{Report, Row, Spread};

const HEAD: [&str; 12] = [
    "runtime", "mode", "variant", "start ms", "min", "max", "added", "from", "to", "hook ms", "cpu ms",
    "rss KiB",
];

pub(crate) fn print(report: &Report) {
    let work = &report.work;
    println!(
        "{} files, {} links and {} device nodes; {} rounds of starts, {} of hooks alone; medians, and between\n\
         what the median of the differences to plain podman lies in 95 of 100 such measurements",
        work.files, work.links, work.nodes, report.rounds, report.hook_rounds
    );
    println!("{}", line(&HEAD.map(str::to_owned)));
    let mut last = "";
    for row in &report.rows {
        if row.mode != last {
            println!();
        }
        last = &row.mode;
        println!("{}", line(&cells(row)));
    }
    println!();
    for row in report.rows.iter().filter(|row| row.variant == Variant::Nvbind) {
        let said = match row.added_to_floor {
            Some(ratio) => format!("nvbind adds {ratio:.2} x what the floor adds"),
            None => "what the floor adds is lost in the noise of this machine".to_owned(),
        };
        println!("{} {}: {said}", row.runtime, row.mode);
    }
    if let Some(shim) = report.shim_ms {
        let Spread { median, min, max } = shim;
        println!("nvbind run, before podman runs in its place: {median:.2} ms ({min:.2} to {max:.2})");
    }
    for (capabilities, inodes) in &report.upper_layer_inodes {
        println!("new inodes in the upper layer for {capabilities}: {inodes}");
    }
    for (name, bytes) in &report.binary_bytes {
        println!("{name}: {} KiB", bytes / 1024);
    }
}

fn cells(row: &Row) -> [String; 12] {
    let number = |number: f64| format!("{number:.1}");
    let difference = |number: f64| format!("{number:+.1}");
    [
        row.runtime.clone(),
        row.mode.clone(),
        row.variant.name().to_owned(),
        number(row.start_ms.median),
        number(row.start_ms.min),
        number(row.start_ms.max),
        difference(row.added_ms.median),
        difference(row.added_ms.low),
        difference(row.added_ms.high),
        row.hook_ms.map(|ms| format!("{ms:.2}")).unwrap_or_default(),
        row.hook_processor_ms.map(|ms| format!("{ms:.2}")).unwrap_or_default(),
        row.hook_rss_kib.map(|kib| kib.to_string()).unwrap_or_default(),
    ]
}

/// Words to the left, numbers to the right.
fn line(cells: &[String; 12]) -> String {
    let [runtime, mode, variant, numbers @ ..] = cells;
    let mut line = format!("{runtime:<8}{mode:<10}{variant:<10}");
    for number in numbers {
        line.push_str(&format!("{number:>9}"));
    }
    line
}
