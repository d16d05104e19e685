//! What an image requires of the driver: `NVIDIA_REQUIRE_*` of the container's environment.
//!
//! ```text
//! value       = alternative *( " " alternative )      one of them has to hold
//! alternative = term *( "," term )                    all of them have to hold
//! term        = name operator word                    cuda>=12.4, driver<471, brand=tesla, arch>=7.0
//! operator    = "=" | "!=" | "<" | "<=" | ">" | ">="
//! ```
//!
//! Every variable has to hold. `driver` and `cuda` are known by the loaded driver's version; `brand`, `arch` and
//! whatever else is named only NVML could tell. So there are three answers: a term that is not known neither fulfils nor
//! fails its alternative, and a container is refused only where no alternative is left that could hold.

use crate::cuda::{Cuda, Version, one};
use crate::exit::Exit;
use crate::failure::Explain;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The variables' prefix.
const PREFIX: &str = "NVIDIA_REQUIRE_";

/// Variables with the prefix that choose mounts on Jetson boards.
const NO_REQUIREMENTS: &str = "NVIDIA_REQUIRE_JETPACK";

/// The variable that says that nothing is to be checked.
pub const DISABLE: &str = "NVIDIA_DISABLE_REQUIRE";

/// How much of an image's words a message repeats.
const SHOWN: usize = 80;

/// Why a container is not started.
#[expect(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not in the grammar.
    #[error(
        "{variable} of the container is not understood at {term:?}: a requirement reads like \"cuda>=12.4\" or \"driver>=535,driver<536\"; correct it, or start with {DISABLE}=1"
    )]
    Malformed { variable: String, term: String },
    /// Known not to hold.
    #[error(
        "{variable} of the container requires {requirement}, but the driver is {driver} ({cuda}); install a newer driver, take an image for an older CUDA, or start with {DISABLE}=1"
    )]
    Unmet { variable: String, requirement: String, driver: String, cuda: Cuda },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Malformed { .. } => Exit::Request,
            Error::Unmet { .. } => Exit::Driver,
        }
    }
}

/// An answer of three; their order is that of a conjunction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    No,
    Unknown,
    Yes,
}

/// Checks the requirements in a container's environment against the loaded driver's version. Returns the variables that
/// may or may not hold, shortened for a message.
///
/// # Errors
/// When a variable cannot be understood, or is known not to hold.
pub fn check<'e>(
    environment: impl Iterator<Item = (&'e str, &'e str)>,
    driver: &str,
) -> Result<Vec<String>, Error> {
    // The last of a name is what a program in the container would see.
    let variables: BTreeMap<&str, &str> =
        environment.filter(|(name, _)| name.starts_with(PREFIX) || *name == DISABLE).collect();
    if variables.get(DISABLE).is_some_and(|value| is_true(value)) {
        return Ok(Vec::new());
    }
    let facts = Facts::of(driver);
    let mut unknown = Vec::new();
    for (name, value) in variables {
        if name == DISABLE || name.starts_with(NO_REQUIREMENTS) {
            continue;
        }
        let variable = shortened(name);
        match facts.answer(value) {
            Ok(Answer::Yes) => {}
            Ok(Answer::Unknown) => unknown.push(variable),
            Ok(Answer::No) => {
                let requirement = shorten(value);
                return Err(Error::Unmet {
                    variable,
                    requirement,
                    driver: driver.to_owned(),
                    cuda: facts.cuda,
                });
            }
            Err(Malformed(term)) => return Err(Error::Malformed { variable, term: shortened(term) }),
        }
    }
    Ok(unknown)
}

/// As Go's `strconv.ParseBool`, by which NVIDIA's tools read it.
fn is_true(value: &str) -> bool {
    ["1", "t", "true"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// What is known of the driver.
struct Facts {
    driver: Option<Version>,
    cuda: Cuda,
}

/// A term that is none.
struct Malformed<'v>(&'v str);

impl Facts {
    fn of(driver: &str) -> Facts {
        let driver = Version::parse(driver);
        Facts { driver, cuda: driver.map_or(Cuda::Unknown, Cuda::of_driver) }
    }

    /// Whether a variable's value holds. All of it is read, so that what is malformed is told on every driver.
    fn answer<'v>(&self, value: &'v str) -> Result<Answer, Malformed<'v>> {
        let mut best = None;
        for alternative in alternatives(value) {
            let mut answer = Answer::Yes;
            for term in alternative.split(',').filter(|term| !term.is_empty()) {
                answer = answer.min(self.term(term).ok_or(Malformed(term))?);
            }
            best = best.max(Some(answer));
        }
        // Nothing required.
        Ok(best.unwrap_or(Answer::Yes))
    }

    /// Whether a term holds; none if it is no term.
    fn term(&self, term: &str) -> Option<Answer> {
        const SIGNS: [char; 4] = ['<', '>', '=', '!'];
        let (name, rest) = term.split_at_checked(term.find(SIGNS)?)?;
        let word = rest.trim_start_matches(SIGNS);
        let operator = holds_for(rest.strip_suffix(word)?)?;
        if name.is_empty() || word.is_empty() {
            return None;
        }
        let possible = match name.to_ascii_lowercase().as_str() {
            "cuda" => self.cuda.compare(Version::parse(word)?),
            "driver" => {
                let required = Version::parse(word)?;
                self.driver.map_or(UNKNOWN, |driver| one(driver.cmp(&required)))
            }
            "arch" => Version::parse(word).map(|_required| UNKNOWN)?,
            _brand_or_other => UNKNOWN,
        };
        let mut holds = possible.iter().map(|ordering| operator.contains(ordering));
        let first = holds.next()?;
        Some(match holds.any(|other| other != first) {
            true => Answer::Unknown,
            false if first => Answer::Yes,
            false => Answer::No,
        })
    }
}

const UNKNOWN: &[Ordering] = &[Ordering::Less, Ordering::Equal, Ordering::Greater];

/// The orderings for which an operator holds; none if it is no operator.
fn holds_for(operator: &str) -> Option<&'static [Ordering]> {
    use Ordering::{Equal, Greater, Less};
    Some(match operator {
        "=" => &[Equal],
        "!=" => &[Less, Greater],
        "<" => &[Less],
        "<=" => &[Less, Equal],
        ">" => &[Greater],
        ">=" => &[Equal, Greater],
        _other => return None,
    })
}

fn alternatives(value: &str) -> impl Iterator<Item = &str> {
    value.split(' ').filter(|alternative| !alternative.is_empty())
}

/// A requirement for a message: an image for CUDA 12 may list fifty drivers.
fn shorten(value: &str) -> String {
    let mut alternatives = alternatives(value);
    let first = shortened(alternatives.next().unwrap_or_default());
    match alternatives.count() {
        0 => first,
        more => format!("{first} (or one of {more} others)"),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of NVIDIA's image for CUDA 12.4 (`NVIDIA_REQUIRE_CUDA` of its Dockerfile), with fewer brands.
    const CUDA_12_4: &str = "cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=unknown,driver>=470,driver<471 \
        brand=nvidia,driver>=470,driver<471 brand=geforce,driver>=470,driver<471 brand=tesla,driver>=525,driver<526 \
        brand=unknown,driver>=525,driver<526 brand=tesla,driver>=535,driver<536 brand=unknown,driver>=535,driver<536";

    fn check_one(value: &str, driver: &str) -> Result<bool, Error> {
        check([("NVIDIA_REQUIRE_CUDA", value)].into_iter(), driver).map(|unknown| unknown.is_empty())
    }

    fn is_unmet(value: &str, driver: &str) -> bool {
        matches!(check_one(value, driver), Err(Error::Unmet { .. }))
    }

    #[test]
    fn an_image_for_cuda_12_4_starts_on_drivers_that_bring_it_and_on_those_it_lists() {
        for driver in ["550.54.14", "570.172.08", "610.43.02", "700.1"] {
            assert_eq!(check_one(CUDA_12_4, driver), Ok(true), "{driver}");
        }
        for driver in ["470.256.02", "525.147.05", "535.261.03"] {
            assert_eq!(check_one(CUDA_12_4, driver), Ok(false), "{driver}: it rests on the brand");
        }
        for driver in ["450.80.02", "510.108.03", "545.29.06"] {
            assert!(is_unmet(CUDA_12_4, driver), "{driver}");
        }
    }

    #[test]
    fn operators_compare_versions() {
        for (term, is_met) in [
            ("cuda=12.8", true),
            ("cuda!=12.8", false),
            ("cuda>12.7", true),
            ("cuda>12.8", false),
            ("cuda<12.10", true),
            ("cuda<=12.8", true),
            ("cuda>=12.8.1", false),
            ("CUDA>=12", true),
            ("driver>=570", true),
            ("driver<571", true),
            ("driver=570.172.08", true),
            ("driver=570.172.8", true),
            ("driver>570.172.08", false),
        ] {
            assert_eq!(!is_unmet(term, "570.172.08"), is_met, "{term}");
        }
    }

    #[test]
    fn an_unknown_term_neither_fulfils_nor_fails() {
        for (value, outcome) in [
            ("brand=tesla", Ok(false)),
            ("arch>=7.0", Ok(false)),
            ("magic=1", Ok(false)),
            ("brand=tesla,driver>=570", Ok(false)),
            ("brand=tesla driver>=570", Ok(true)),
            ("driver<570 brand=tesla", Ok(false)),
            ("", Ok(true)),
            (" , ", Ok(true)),
        ] {
            assert_eq!(check_one(value, "570.172.08"), outcome, "{value:?}");
        }
        assert!(is_unmet("brand=tesla,driver<570", "570.172.08"), "whatever the brand is");
    }

    #[test]
    fn what_a_driver_newer_than_the_table_brings_is_not_known() {
        assert_eq!(check_one("cuda>=99.0", "700.1"), Ok(false));
        assert!(is_unmet("cuda<13.0", "700.1"));
        assert_eq!(check_one("cuda>=11.0", "418.39"), Ok(false));
    }

    #[test]
    fn every_variable_has_to_hold_and_the_last_of_a_name_counts() {
        let driver = "570.172.08";
        let check = |list: &[(&'static str, &'static str)]| check(list.iter().copied(), driver);
        let (good, bad) = ("cuda>=12.0", "cuda>=99.0");
        assert_eq!(check(&[]), Ok(vec![]));
        assert!(check(&[("NVIDIA_REQUIRE_CUDA", good), ("NVIDIA_REQUIRE_X", bad)]).is_err());
        assert_eq!(check(&[("NVIDIA_REQUIRE_CUDA", bad), ("NVIDIA_REQUIRE_CUDA", good)]), Ok(vec![]));
        assert_eq!(check(&[("NVIDIA_REQUIRE_JETPACK", "csv-mounts=all"), ("REQUIRE", bad)]), Ok(vec![]));
        assert_eq!(
            check(&[("NVIDIA_REQUIRE_ARCH", "arch>=9.0")]),
            Ok(vec!["NVIDIA_REQUIRE_ARCH".to_owned()])
        );
        for (value, disables) in [("1", true), ("true", true), ("T", true), ("0", false), ("", false)] {
            let checked = check(&[("NVIDIA_REQUIRE_CUDA", bad), (DISABLE, value)]);
            assert_eq!(checked.is_ok(), disables, "{value:?}");
        }
    }

    #[test]
    fn what_is_no_requirement_is_told_wherever_it_stands() {
        for (value, term) in [
            ("cuda", "cuda"),
            ("cuda >= 12.4", "cuda"),
            ("cuda>=", "cuda>="),
            (">=12.4", ">=12.4"),
            ("cuda==12.4", "cuda==12.4"),
            ("cuda=>12.4", "cuda=>12.4"),
            ("cuda>=12.x", "cuda>=12.x"),
            ("arch>=volta", "arch>=volta"),
            ("cuda>=11.0 driver>=5,driver", "driver"),
            ("cuda>=11.0\tdriver>=5", "cuda>=11.0\tdriver>=5"),
        ] {
            let expected = Error::Malformed { variable: "NVIDIA_REQUIRE_CUDA".into(), term: term.into() };
            assert_eq!(expected.exit(), Exit::Request);
            assert_eq!(check_one(value, "570.172.08"), Err(expected), "{value:?}");
        }
    }

    #[test]
    fn the_refusal_says_what_is_required_what_there_is_and_what_to_do() {
        let error = check_one(CUDA_12_4, "545.29.06").unwrap_err();
        assert_eq!(
            error.to_string(),
            "NVIDIA_REQUIRE_CUDA of the container requires cuda>=12.4 (or one of 8 others), but the driver is \
             545.29.06 (CUDA 12.3); install a newer driver, take an image for an older CUDA, or start with \
             NVIDIA_DISABLE_REQUIRE=1"
        );
        assert_eq!(error.exit(), Exit::Driver);
    }

    #[test]
    fn a_hundred_thousand_terms_are_read_and_few_of_their_words_repeated() {
        let terms = "driver<1,".repeat(100_000);
        for value in [terms.clone(), terms.replace(',', " "), "é".repeat(100_000), "=".repeat(100_000)] {
            let error = check_one(&value, "570.172.08").unwrap_err();
            assert!(error.to_string().len() < 600, "{error}");
        }
    }
}
