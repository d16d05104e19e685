//! Numbers as Kubernetes writes them (`resource.Quantity` of apimachinery): `1`, `1.0`, `1000m`, `1e0`.

/// What a number is multiplied by, and the powers of ten or two that this is.
const DECIMAL: &[(&str, i32)] = &[
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: &[(&str, u32)] = &[("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// More digits than any number of things has.
const DIGITS: usize = 18;

/// The whole number that a text is, if it is one: nothing for a fraction, a negative one, or what is no number.
pub(super) fn whole(text: &str) -> Option<usize> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (before, after) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{before}{after}");
    if digits.is_empty() || digits.len() > DIGITS || after.contains('.') {
        return None;
    }
    let mantissa: u128 = digits.parse().ok()?;
    let below = i32::try_from(after.len()).ok()?;
    if let Some((_, power)) = BINARY.iter().find(|(known, _)| *known == suffix) {
        return divided(mantissa << power, below);
    }
    let power = match DECIMAL.iter().find(|(known, _)| *known == suffix) {
        Some((_, power)) => *power,
        None => exponent(suffix)?,
    };
    divided(mantissa, below.checked_sub(power)?)
}

/// `e3`, `E-3`.
fn exponent(suffix: &str) -> Option<i32> {
    let digits = suffix.strip_prefix(['e', 'E'])?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let is_number = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Divided by this power of ten, where nothing is left.
fn divided(number: u128, power: i32) -> Option<usize> {
    if number == 0 {
        return Some(0);
    }
    let factor = 10_u128.checked_pow(power.unsigned_abs())?;
    let whole = if power < 0 {
        number.checked_mul(factor)?
    } else {
        number.is_multiple_of(factor).then(|| number / factor)?
    };
    usize::try_from(whole).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_whole_number_is_one() {
        for (text, expected) in [
            ("0", 0),
            ("1", 1),
            ("+1", 1),
            ("01", 1),
            ("1.", 1),
            ("1.0", 1),
            ("1.000", 1),
            (".5e1", 5),
            ("1e0", 1),
            ("1E0", 1),
            ("1e+0", 1),
            ("10e-1", 1),
            ("1000m", 1),
            ("2000m", 2),
            ("1000000u", 1),
            ("1000000000n", 1),
            ("0.001k", 1),
            ("1k", 1000),
            ("1Ki", 1024),
            ("0.5Ki", 512),
            ("0m", 0),
            ("0e99999", 0),
            ("16", 16),
        ] {
            assert_eq!(whole(text), Some(expected), "{text}");
        }
        for text in [
            "",
            ".",
            "+",
            "-1",
            "1.5",
            "1500m",
            "1e-1",
            "0.5",
            "500m",
            "x",
            "1x",
            "1 ",
            "1e",
            "1e+",
            "1ee0",
            "1.0.0",
            "0x1",
            "1_000",
            "one",
            "1Kii",
            "1e99999",
            "1e2147483648",
            "9999999999999999999999",
            "٣",
        ] {
            assert_eq!(whole(text), None, "{text}");
        }
    }
}
