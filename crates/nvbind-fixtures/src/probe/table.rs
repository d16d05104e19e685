//! The report as a table for people.
use super::Report;

pub(super) fn render(report: &Report) -> String {
    let mut rows = vec![["what", "name", "result", "from"].map(str::to_owned)];
    for device in &report.devices {
        rows.push([
            "node".into(),
            device.path.clone(),
            meaning(&device.open),
            device.number.clone().unwrap_or_default(),
        ]);
    }
    for library in &report.libraries {
        let result = match (&library.path, &library.call, &library.lacks) {
            (Some(_), Some(call), _) => format!("loaded, {call}"),
            (Some(_), None, _) => "loaded".to_owned(),
            (None, _, Some(name)) => format!("found; the image lacks {name}"),
            (None, _, None) => "not loaded".to_owned(),
        };
        let from = library.path.clone().or_else(|| library.error.clone()).unwrap_or_default();
        rows.push(["library".into(), library.soname.clone(), result, from]);
    }
    if let Some(view) = &report.view {
        rows.push([
            "view".into(),
            view.path.clone(),
            format!("making a file: {}", view.create),
            String::new(),
        ]);
        rows.push([
            "view".into(),
            view.path.clone(),
            format!("writing a library: {}", view.write.join(", ")),
            String::new(),
        ]);
    }
    let mut text = align(&rows);
    text.push_str(&summary(report));
    text
}

fn summary(report: &Report) -> String {
    let loaded = report.libraries.iter().filter(|library| library.path.is_some()).count();
    let mut text = format!(
        "\n{} nodes, {loaded} of {} libraries loaded, {} mounts",
        report.devices.len(),
        report.libraries.len(),
        report.view.as_ref().map_or(0, |view| view.mounts.len()),
    );
    if report.unexpected.is_empty() {
        text.push_str(": all as expected");
    }
    for sentence in &report.unexpected {
        text.push_str(&format!("\nNOT AS EXPECTED: {sentence}"));
    }
    text
}

fn meaning(open: &str) -> String {
    let meaning = match open {
        "ok" => "opened",
        "ENXIO" => "allowed; no kernel driver (ENXIO)",
        "EPERM" => "denied by the device cgroup (EPERM)",
        "EACCES" => "denied (EACCES)",
        "ENOENT" => "not there (ENOENT)",
        other => other,
    };
    meaning.to_owned()
}

fn align(rows: &[[String; 4]]) -> String {
    let mut widths = [0; 4];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "b", "c", "d"].map(str::to_owned), ["long", "b", "c", ""].map(str::to_owned)];
        assert_eq!(align(&rows), "a     b  c  d\nlong  b  c\n");
    }
}
