//! What the text of the guide names: images, and words that may be programs in them.

use crate::stand_in::StandIns;

/// The guide names every image with its registry, so that nothing else looks like one.
const REGISTRIES: &[&str] = &["docker.io/", "ghcr.io/", "localhost/", "nvcr.io/", "quay.io/"];

/// What ends a word, in a shell, a unit, JSON and YAML.
const ENDS: &[char] = &['"', '\'', '=', ',', ';', '[', ']', '(', ')', '{', '}', '|', '`', '<', '>'];

/// nvbind's own programs, which containers get from the host.
const DRIVER: &str = "nvidia-";

/// The stand-ins for what these texts name.
pub(super) fn in_texts<'a>(texts: impl Iterator<Item = &'a str>) -> StandIns {
    let mut stand_ins = StandIns::default();
    for word in texts.flat_map(|text| text.split(|end: char| end.is_whitespace() || ENDS.contains(&end))) {
        if REGISTRIES.iter().any(|registry| word.strip_prefix(registry).is_some_and(is_image)) {
            stand_ins.images.insert(word.to_owned());
        } else if is_program(word) {
            stand_ins.programs.insert(word.to_owned());
        }
    }
    stand_ins
}

fn is_image(rest: &str) -> bool {
    let is_part = |part: char| part.is_ascii_alphanumeric() || "./_-:".contains(part);
    !rest.is_empty() && rest.chars().all(is_part)
}

fn is_program(word: &str) -> bool {
    let is_part = |part: char| part.is_ascii_lowercase() || part.is_ascii_digit() || "._-".contains(part);
    word.starts_with(|first: char| first.is_ascii_lowercase())
        && word.chars().all(is_part)
        && !word.starts_with(DRIVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_a_registry_and_programs_no_path() {
        let texts = [
            "nvbind run -v a:/b docker.io/ollama/ollama:latest nvidia-smi -L",
            "Image=localhost/a\nExec=python3 train.py --x\n",
            "image: \"quay.io/b/c:1\"\ncommand: [\"/bin/run\", \"tf.sh\"]",
        ];
        let StandIns { images, programs } = in_texts(texts.into_iter());
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        assert_eq!(images, ["docker.io/ollama/ollama:latest", "localhost/a", "quay.io/b/c:1"]);
        let programs: Vec<&str> = programs.iter().map(String::as_str).collect();
        assert_eq!(programs, ["nvbind", "python3", "run", "tf.sh", "train.py"]);
    }
}
