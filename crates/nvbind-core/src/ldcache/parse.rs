//! Bytes of a cache into entries, trusting none of them.

use super::{Cache, Entry, Error, MAX_BYTES, MAX_STRING};
use std::ffi::CStr;

/// `CACHEMAGIC` of the layout of libc 5.
const MAGIC_OLD: &[u8] = b"ld.so-1.7.0";
/// `CACHEMAGIC_VERSION_NEW`.
pub(super) const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// `sizeof (struct cache_file_new)`, of which the last 20 bytes were unused before glibc 2.33.
pub(super) const HEADER: usize = 48;
/// `sizeof (struct file_entry_new)`.
pub(super) const ENTRY: usize = 24;
/// `cache_file_new_flags_endian_little`. The driver exists for little-endian machines alone.
pub(super) const LITTLE_ENDIAN: u8 = 2;
/// `cache_extension_magic`, -358342284.
pub(super) const MAGIC_EXTENSION: u32 = 0xeaa4_2174;
/// `cache_extension_tag_generator`.
pub(super) const TAG_GENERATOR: u32 = 0;
/// `cache_extension_tag_glibc_hwcaps`.
pub(super) const TAG_HWCAPS: u32 = 1;
/// `sizeof (struct cache_extension_section)`.
pub(super) const SECTION: usize = 16;

pub(super) fn parse(bytes: &[u8]) -> Result<Cache<'_>, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooLarge);
    }
    let table = new_layout(bytes)?;
    let cut_off = |count| Error::Truncated { count, size: bytes.len() };
    let count = u32_at(table, 20).ok_or_else(|| cut_off(0))?;
    let lines = table.get(HEADER..).ok_or_else(|| cut_off(0))?;
    match table.get(28).copied() {
        // Written before glibc 2.33, by a machine like this one as far as one can tell.
        None | Some(0) => {}
        Some(mark) if mark & 3 == LITTLE_ENDIAN => {}
        Some(mark) => return Err(Error::ByteOrder { mark }),
    }

    let mut strings = Strings { bytes: table, left: MAX_BYTES };
    let wanted = usize::try_from(count).ok().filter(|wanted| *wanted <= lines.len() / ENTRY);
    let wanted = wanted.ok_or_else(|| cut_off(count))?;
    let mut entries = Vec::with_capacity(wanted);
    for (number, line) in lines.chunks_exact(ENTRY).take(wanted).enumerate() {
        let [flags, key, value, os_version, low, high] = words(line).ok_or_else(|| cut_off(count))?;
        let mut string = |what, at| strings.at(at, Error::String { what, entry: number });
        entries.push(Entry {
            flags,
            soname: string("soname", key)?,
            path: string("path", value)?,
            os_version,
            hwcap: u64::from(high) << 32 | u64::from(low),
        });
    }
    let mut cache = Cache { entries, ..Cache::default() };
    match u32_at(table, 32) {
        None | Some(0) => {}
        Some(offset) => read_extensions(&mut cache, bytes, offset, &mut strings)?,
    }
    Ok(cache)
}

/// The part from the new layout's header on, to which its offsets of strings refer.
fn new_layout(bytes: &[u8]) -> Result<&[u8], Error> {
    if bytes.starts_with(MAGIC) {
        return Ok(bytes);
    }
    if !bytes.starts_with(MAGIC_OLD) {
        return Err(Error::Magic);
    }
    // `struct cache_file` has its count at 12 and lines of 12 bytes from 16 on. The new header is aligned
    // for its 64-bit fields.
    let end = u32_at(bytes, 12)
        .and_then(|count| usize::try_from(count).ok())
        .and_then(|count| count.checked_mul(12)?.checked_add(16)?.checked_next_multiple_of(8));
    end.and_then(|end| bytes.get(end..)).filter(|table| table.starts_with(MAGIC)).ok_or(Error::OldLayout)
}

/// `cache_extension_load`. Sections with a tag that we do not know are left out: they may hold offsets,
/// which would point elsewhere in the file that we write.
fn read_extensions<'a>(
    cache: &mut Cache<'a>,
    file: &'a [u8],
    offset: u32,
    strings: &mut Strings<'a>,
) -> Result<(), Error> {
    let from = |offset: u32| file.get(usize::try_from(offset).ok()?..);
    let directory = from(offset).filter(|_| offset.is_multiple_of(4)).ok_or(Error::Extension)?;
    if u32_at(directory, 0) != Some(MAGIC_EXTENSION) {
        return Err(Error::Extension);
    }
    let count = u32_at(directory, 4).and_then(|count| usize::try_from(count).ok());
    let sections = directory.get(8..).unwrap_or_default();
    let count = count.filter(|count| *count <= sections.len() / SECTION).ok_or(Error::Extension)?;
    for section in sections.chunks_exact(SECTION).take(count) {
        let [tag, _flags, start, size] = words(section).ok_or(Error::Extension)?;
        let data = usize::try_from(size).ok().and_then(|size| from(start)?.get(..size));
        let data = data.ok_or(Error::Extension)?;
        if tag == TAG_GENERATOR {
            cache.generator = Some(data);
        } else if tag == TAG_HWCAPS {
            if !start.is_multiple_of(4) || !data.len().is_multiple_of(4) {
                return Err(Error::Extension);
            }
            // From the new header on, as strings are. In a combined file the loader counts from the file's
            // start instead, where `ldconfig -c compat` did not put them (glibc 2.36 and 2.42), so that it
            // finds no name; here they get their names back.
            cache.hwcaps = data
                .chunks_exact(4)
                .map(|at| strings.at(u32_at(at, 0).unwrap_or(u32::MAX), Error::Extension))
                .collect::<Result<_, _>>()?;
        }
    }
    Ok(())
}

/// A reader of strings. Entries may share strings, as `ldconfig` lets names share the ends of paths; a
/// file in which all share one long string would cost us far more than its size, so their sum is limited.
struct Strings<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Strings<'a> {
    fn at(&mut self, offset: u32, error: Error) -> Result<&'a [u8], Error> {
        let tail = usize::try_from(offset).ok().and_then(|at| self.bytes.get(at..));
        let tail = tail.unwrap_or_default();
        let within = tail.get(..MAX_STRING).unwrap_or(tail);
        let Ok(string) = CStr::from_bytes_until_nul(within) else {
            return Err(error);
        };
        let length = string.count_bytes() + 1;
        self.left = self.left.checked_sub(length).ok_or(Error::TooLarge)?;
        Ok(string.to_bytes())
    }
}

/// `N` little-endian numbers, from the start on.
fn words<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let mut words = [0; N];
    let (found, _) = bytes.as_chunks();
    for (word, bytes) in words.iter_mut().zip(found.get(..N)?) {
        *word = u32::from_le_bytes(*bytes);
    }
    Some(words)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two libraries, a hwcap name and a generator, byte by byte.
    fn file() -> Vec<u8> {
        let strings = b"/lib/libz.so.1\0/opt/a\0liba.so\0x86-64-v3\0";
        let mut file = MAGIC.to_vec();
        let numbers = |file: &mut Vec<u8>, numbers: &[u32]| {
            file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        };
        numbers(&mut file, &[2, 40, 2, 136, 0, 0, 0]);
        numbers(&mut file, &[0x303, 96 + 5, 96, 0, 0, 0]);
        numbers(&mut file, &[0x3, 96 + 22, 96 + 15, 7, 0, 1 << 30]);
        file.extend_from_slice(strings);
        numbers(&mut file, &[MAGIC_EXTENSION, 2]);
        numbers(&mut file, &[TAG_HWCAPS, 0, 176, 4, TAG_GENERATOR, 0, 180, 3]);
        numbers(&mut file, &[96 + 30]);
        file.extend_from_slice(b"gen");
        file
    }

    fn with(at: usize, word: u32) -> Vec<u8> {
        let mut file = file();
        file[at..at + 4].copy_from_slice(&word.to_le_bytes());
        file
    }

    fn expected() -> Cache<'static> {
        Cache {
            entries: vec![
                Entry {
                    flags: 0x303,
                    soname: b"libz.so.1",
                    path: b"/lib/libz.so.1",
                    os_version: 0,
                    hwcap: 0,
                },
                Entry { flags: 3, soname: b"liba.so", path: b"/opt/a", os_version: 7, hwcap: 1 << 62 },
            ],
            hwcaps: vec![b"x86-64-v3"],
            generator: Some(b"gen"),
        }
    }

    #[test]
    fn a_file_reads_as_its_entries_and_extensions() {
        assert_eq!(parse(&file()), Ok(expected()));
    }

    #[test]
    fn a_cache_is_written_as_ldconfig_lays_it_out() {
        assert_eq!(expected().to_bytes(), Ok(file()));
    }

    #[test]
    fn a_file_of_before_byte_order_marks_reads_without_extensions() {
        let mut file = file();
        file[28..48].fill(0);
        let old = Cache { hwcaps: Vec::new(), generator: None, ..expected() };
        assert_eq!(parse(&file), Ok(old));
    }

    #[test]
    fn the_new_layout_is_found_behind_the_old() {
        let mut combined = MAGIC_OLD.to_vec();
        combined.push(0);
        combined.extend_from_slice(&1_u32.to_le_bytes());
        // One line of 12 bytes, and 4 to align.
        combined.resize(32, 0xff);
        // Strings count from the new header, sections from the file's start.
        let mut new = file();
        for at in [32, 136 + 16, 136 + 32] {
            let word = u32_at(&new, at).unwrap() + 32;
            new[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        combined.extend_from_slice(&new);
        assert_eq!(parse(&combined), Ok(expected()));
    }

    #[test]
    fn damage_is_told_by_its_place() {
        let soname = |entry| Error::String { what: "soname", entry };
        let path = |entry| Error::String { what: "path", entry };
        let cut_off = |count, size| Error::Truncated { count, size };
        let shorter = |size| file()[..size].to_vec();
        let old = |count: u32| [b"ld.so-1.7.0\0", count.to_le_bytes().as_slice()].concat();
        let table: Vec<(&str, Vec<u8>, Error)> = vec![
            ("empty", Vec::new(), Error::Magic),
            ("text", b"# libc\n".to_vec(), Error::Magic),
            ("other version", b"glibc-ld.so.cache1.2".to_vec(), Error::Magic),
            ("magic alone", MAGIC.to_vec(), cut_off(0, 20)),
            ("half a header", shorter(47), cut_off(0, 47)),
            ("half an entry", shorter(90), cut_off(2, 90)),
            ("absurd count", with(20, u32::MAX), cut_off(u32::MAX, 183)),
            ("big endian", with(28, 3), Error::ByteOrder { mark: 3 }),
            ("invalid", with(28, 1), Error::ByteOrder { mark: 1 }),
            ("soname outside", with(52, 183), soname(0)),
            ("soname far outside", with(52, u32::MAX), soname(0)),
            ("path outside", with(80, 500), path(1)),
            ("path unterminated", with(80, 181), path(1)),
            ("extension outside", with(32, 184), Error::Extension),
            ("extension not aligned", with(32, 137), Error::Extension),
            ("extension magic", with(136, 1), Error::Extension),
            ("extension count", with(140, u32::MAX), Error::Extension),
            ("section outside", with(144 + 8, 183), Error::Extension),
            ("section too long", with(144 + 12, u32::MAX), Error::Extension),
            ("section not aligned", with(144 + 8, 177), Error::Extension),
            ("section of half a name", with(144 + 12, 3), Error::Extension),
            ("name outside", with(176, 183), Error::Extension),
            ("old alone", old(0), Error::OldLayout),
            ("old count absurd", old(u32::MAX), Error::OldLayout),
            ("old cut off", b"ld.so-1.7.0".to_vec(), Error::OldLayout),
            ("too large", vec![0; MAX_BYTES + 1], Error::TooLarge),
        ];
        for (name, bytes, error) in table {
            assert_eq!(parse(&bytes), Err(error), "{name}");
        }
    }

    #[test]
    fn a_string_may_have_as_many_bytes_as_a_path() {
        for (length, fits) in [(MAX_STRING - 1, true), (MAX_STRING, false)] {
            let mut file = with(20, 1);
            file[32..36].fill(0);
            file[56..60].copy_from_slice(&183_u32.to_le_bytes());
            file.resize(183 + length, b'a');
            file.push(0);
            assert_eq!(parse(&file).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn entries_that_share_one_long_string_do_not_multiply_it() {
        let count = 5000_u32;
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&count.to_le_bytes());
        file.resize(HEADER, 0);
        let strings = u32::try_from(HEADER).unwrap() + count * 24;
        for _ in 0..count {
            file.extend([3, strings, strings, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
        }
        file.extend_from_slice(&[b'a'; 4000]);
        file.push(0);
        assert_eq!(parse(&file), Err(Error::TooLarge));
    }
}
