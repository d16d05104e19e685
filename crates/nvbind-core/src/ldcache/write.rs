//! Entries into the bytes of a cache.

use super::parse::{
    ENTRY, HEADER, LITTLE_ENDIAN, MAGIC, MAGIC_EXTENSION, SECTION, TAG_GENERATOR, TAG_HWCAPS,
};
use super::{Cache, Error, MAX_BYTES};

pub(super) fn render(cache: &Cache<'_>) -> Result<Vec<u8>, Error> {
    let lines = cache.entries.len().checked_mul(ENTRY).ok_or(Error::TooLarge)?;
    let start = lines.checked_add(HEADER).ok_or(Error::TooLarge)?;
    let mut strings = Strings { bytes: Vec::with_capacity(lines.min(MAX_BYTES) * 2), start };
    let mut table = Vec::with_capacity(lines.min(MAX_BYTES));
    for entry in &cache.entries {
        let path = strings.push(entry.path)?;
        // Most sonames are the last part of their path: one string serves both, as in ldconfig's files.
        let soname = match entry.path.strip_suffix(entry.soname) {
            Some(directory) => offset(directory.len())?.checked_add(path).ok_or(Error::TooLarge)?,
            None => strings.push(entry.soname)?,
        };
        for word in [entry.flags, soname, path, entry.os_version] {
            table.extend_from_slice(&word.to_le_bytes());
        }
        table.extend_from_slice(&entry.hwcap.to_le_bytes());
    }
    let hwcaps = cache.hwcaps.iter().map(|name| strings.push(name)).collect::<Result<Vec<_>, _>>()?;

    let strings = strings.bytes;
    let extensions = start + strings.len().next_multiple_of(4);
    let sections = sections(cache, &hwcaps, extensions)?;
    let mut file = Vec::with_capacity(extensions + sections.len());
    file.extend_from_slice(MAGIC);
    for word in [
        offset(cache.entries.len())?,
        offset(strings.len())?,
        u32::from(LITTLE_ENDIAN),
        if sections.is_empty() { 0 } else { offset(extensions)? },
    ] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.resize(HEADER, 0);
    file.extend_from_slice(&table);
    file.extend_from_slice(&strings);
    file.resize(extensions, 0);
    file.extend_from_slice(&sections);
    if file.len() > MAX_BYTES { Err(Error::TooLarge) } else { Ok(file) }
}

/// The extension directory, at `at` in the file, and what its sections hold.
fn sections(cache: &Cache<'_>, hwcaps: &[u32], at: usize) -> Result<Vec<u8>, Error> {
    let names: Vec<u8> = hwcaps.iter().flat_map(|name| name.to_le_bytes()).collect();
    let names = (TAG_HWCAPS, names.as_slice());
    let generator = cache.generator.map(|text| (TAG_GENERATOR, text));
    // The names first: they have to be aligned, and the generator may have any length.
    let present: Vec<_> = (!hwcaps.is_empty()).then_some(names).into_iter().chain(generator).collect();
    if present.is_empty() {
        return Ok(Vec::new());
    }
    let mut directory = Vec::new();
    directory.extend_from_slice(&MAGIC_EXTENSION.to_le_bytes());
    directory.extend_from_slice(&offset(present.len())?.to_le_bytes());
    let mut data = Vec::new();
    let start = at + directory.len() + present.len() * SECTION;
    for (tag, bytes) in present {
        for word in [tag, 0, offset(start + data.len())?, offset(bytes.len())?] {
            directory.extend_from_slice(&word.to_le_bytes());
        }
        data.extend_from_slice(bytes);
    }
    directory.extend_from_slice(&data);
    Ok(directory)
}

/// The strings, which begin at `start` in the file.
struct Strings {
    bytes: Vec<u8>,
    start: usize,
}

impl Strings {
    /// The string's offset in the file.
    fn push(&mut self, string: &[u8]) -> Result<u32, Error> {
        let at = offset(self.start + self.bytes.len())?;
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        Ok(at)
    }
}

/// A length or offset in the file; below [`MAX_BYTES`] while the file is not yet complete, too.
fn offset(value: usize) -> Result<u32, Error> {
    u32::try_from(value).ok().filter(|_| value <= MAX_BYTES).ok_or(Error::TooLarge)
}
