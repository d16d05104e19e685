//! The threat model names tests that are there.

use crate::comments::collect;
use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let model = fs::read_to_string(project.join("docs/threat-model.md")).unwrap();
    let table = model.split("### Where it is shown").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut files = Vec::new();
    for folder in ["crates", "tests"] {
        collect(&project.join(folder), &mut files);
    }
    let code: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let shown = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
    let names: Vec<&str> = shown.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let is_there = match name {
            "--full" => true,
            path if path.starts_with("tests/") || path.ends_with('/') => project.join(path).is_dir(),
            test if test.contains('_') => code.contains(&format!("fn {test}(")),
            case => code.contains(&format!("Case::new(\"{case}\"")) || code.contains(&format!("\"{case}\"")),
        };
        assert!(is_there, "there is no {name}");
    }
}
