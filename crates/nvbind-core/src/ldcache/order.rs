//! The order of a cache's entries, which the loader's search by halves relies on.

use super::Entry;
use std::cmp::Ordering;

/// Whether `a` may stand before `b`: by soname as the loader compares them, descending, then by flags,
/// descending (`compare` in glibc's `elf/cache.c`). What glibc sorts by after that differs between its
/// versions, and is kept as it is found.
pub(super) fn before(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    compare(b.soname, a.soname, |x, y| x.wrapping_sub(y).cmp(&0)).then(b.flags.cmp(&a.flags))
}

/// The same as a total order, as sorting demands. It differs in numbers of ten digits and more alone, where
/// the loader's differences overflow.
pub(super) fn before_total(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    compare(b.soname, a.soname, |x, y| x.cmp(&y)).then(b.flags.cmp(&a.flags))
}

/// `_dl_cache_libcmp` of glibc's `elf/dl-cache.c`: byte by byte, but runs of digits by their value, and a
/// digit after anything else. So `libz.so.10` follows `libz.so.9`, and `libz.so.1` equals `libz.so.01`.
fn compare(mut a: &[u8], mut b: &[u8], numbers: impl Fn(i32, i32) -> Ordering) -> Ordering {
    loop {
        let digits = |name: &[u8]| name.first().is_some_and(u8::is_ascii_digit);
        let order = match (digits(a), digits(b)) {
            (true, true) => numbers(number(&mut a), number(&mut b)),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => match (next(&mut a), next(&mut b)) {
                (None, None) => return Ordering::Equal,
                (x, y) => x.unwrap_or(0).cmp(&y.unwrap_or(0)),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Takes a run of digits off; it wraps around as the loader's `int` does.
fn number(name: &mut &[u8]) -> i32 {
    let mut value = 0_i32;
    while let Some((digit @ b'0'..=b'9', rest)) = name.split_first() {
        value = value.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'));
        *name = rest;
    }
    value
}

/// Takes a byte off, as C's `char` of the machine: signed on a PC, not on Arm.
fn next(name: &mut &[u8]) -> Option<i16> {
    let (&byte, rest) = name.split_first()?;
    *name = rest;
    Some(if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
        i16::from(byte.cast_signed())
    } else {
        i16::from(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_as_the_loader_compares_them() {
        let table: &[(&str, &str, Ordering)] = &[
            ("", "", Ordering::Equal),
            ("", "a", Ordering::Less),
            ("libz.so.9", "libz.so.10", Ordering::Less),
            ("libz.so.01", "libz.so.1", Ordering::Equal),
            ("libz.so.1", "libz.so", Ordering::Greater),
            ("libz.so.", "libz.so.1", Ordering::Less),
            // A digit comes after any letter.
            ("lib1", "libz", Ordering::Greater),
            ("libz", "lib1", Ordering::Less),
            ("libcuda.so.1", "libcudart.so.1", Ordering::Less),
            ("libA.so", "liba.so", Ordering::Less),
            // 3 000 000 000 is negative as an int, and the difference to 5 stays so.
            ("l3000000000", "l5", Ordering::Less),
            // The difference of these two overflows, back to the order one would expect.
            ("l3000000000", "l1000000000", Ordering::Greater),
        ];
        for (a, b, expected) in table {
            let found = compare(a.as_bytes(), b.as_bytes(), |x, y| x.wrapping_sub(y).cmp(&0));
            assert_eq!(found, *expected, "{a} to {b}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn bytes_beyond_ascii_are_negative_on_a_pc() {
        let found = compare("lib\u{fc}".as_bytes(), b"liba", |x, y| x.cmp(&y));
        assert_eq!(found, Ordering::Less);
    }
}
