//! What a libcuda says of the drivers that it works on: JSON in the ELF section `.note.cuda.fwd_compatibility`, as a
//! note of the owner `NVIDIA Corporation` (what `readelf -p .note.cuda.fwd_compatibility` shows).
//!
//! The file is an image's, so nothing is read beyond fixed sizes, and nothing is believed that does not fit.

use crate::abi::{Abi, Elf};
use crate::cuda::Version;
use crate::input;
use object::Endianness;
use object::elf::{FileHeader64, SHT_NOTE, SectionHeader64};
use object::read::elf::{FileHeader, NoteIterator, SectionHeader};
use object::slice_from_all_bytes;
use serde::Deserialize;
use std::fs::File;
use std::io;

const SECTION: &[u8] = b".note.cuda.fwd_compatibility";
const OWNER: &[u8] = b"NVIDIA Corporation";

/// Larger than the section table of a libcuda (28 sections in 550), its names, and the note (140 bytes in 575).
const TABLE_LIMIT: usize = 64 << 10;
const NAMES_LIMIT: u64 = 64 << 10;
const NOTE_LIMIT: u64 = 4 << 10;

/// The one format of the JSON that is known.
const FORMAT: u32 = 1;

/// What a libcuda is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Libcuda {
    /// One with a note.
    Says(Note),
    /// One without: older than the note.
    Silent,
    /// None that this machine can use, and why.
    Unusable(&'static str),
}

/// The note's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its CUDA version.
    pub cuda: Version,
    /// The branches of the drivers that it works on.
    pub drivers: Vec<u32>,
}

/// The JSON as it stands there; there is a `device` too, a list of product lines as NVML numbers them.
#[derive(Deserialize)]
struct Json {
    format: u32,
    #[serde(rename = "CUDA version")]
    cuda: String,
    #[serde(default)]
    driver: Vec<u32>,
}

/// Reads what a libcuda says.
///
/// # Errors
/// When the file cannot be read.
pub fn read(file: &File) -> io::Result<Libcuda> {
    input::parse_at(file, |read| parse(read))
}

/// What fuzzing calls: the same of bytes.
#[cfg(fuzzing)]
pub fn read_bytes(bytes: &[u8]) {
    let _ = parse(input::bytes_at(bytes));
}

/// `read` gives up to that many bytes at an offset.
fn parse(read: impl Fn(u64, usize) -> Option<Vec<u8>>) -> Libcuda {
    const NO_LIBRARY: Libcuda = Libcuda::Unusable("it is no library for this machine");
    let Some(start) = read(0, size_of::<FileHeader64<Endianness>>()) else { return NO_LIBRARY };
    if !Abi::NATIVE.is_some_and(|native| Elf::of(&start) == Elf::Of(native)) {
        return NO_LIBRARY;
    }
    let Ok(header) = FileHeader64::<Endianness>::parse(start.as_slice()) else { return NO_LIBRARY };
    let Ok(endian) = header.endian() else { return NO_LIBRARY };
    match section(header, endian, &read) {
        Ok(None) => Libcuda::Silent,
        Ok(Some(section)) => match content(endian, &section) {
            Some(note) => Libcuda::Says(note),
            None => Libcuda::Unusable("its note on forward compatibility cannot be read"),
        },
        Err(Damaged) => Libcuda::Unusable("its section table is damaged"),
    }
}

/// The table of an ELF file does not fit the file, or us.
struct Damaged;

/// The bytes of the note's section with its alignment; none where there is none.
fn section(
    header: &FileHeader64<Endianness>,
    endian: Endianness,
    read: &impl Fn(u64, usize) -> Option<Vec<u8>>,
) -> Result<Option<(u64, Vec<u8>)>, Damaged> {
    let exactly = |offset: u64, length: usize| {
        read(offset, length).filter(|bytes| bytes.len() == length).ok_or(Damaged)
    };
    let bounded = |section: &SectionHeader64<Endianness>, limit: u64| {
        let size = Some(section.sh_size(endian)).filter(|size| *size <= limit).ok_or(Damaged)?;
        exactly(section.sh_offset(endian), usize::try_from(size).map_err(|_too_large| Damaged)?)
    };
    // Numbers that do not fit their fields stand elsewhere (elf(5)): no libcuda has that many sections.
    let count = usize::from(header.e_shnum(endian));
    let length = count.checked_mul(size_of::<SectionHeader64<Endianness>>()).ok_or(Damaged)?;
    if count == 0 {
        return Ok(None);
    }
    if length > TABLE_LIMIT
        || usize::from(header.e_shentsize(endian)) != size_of::<SectionHeader64<Endianness>>()
    {
        return Err(Damaged);
    }
    let table = exactly(header.e_shoff(endian), length)?;
    let sections: &[SectionHeader64<Endianness>] = slice_from_all_bytes(&table).map_err(|()| Damaged)?;
    let names = sections.get(usize::from(header.e_shstrndx(endian).0)).ok_or(Damaged)?;
    let names = bounded(names, NAMES_LIMIT)?;
    let name_of = |section: &SectionHeader64<Endianness>| {
        let start = usize::try_from(section.sh_name(endian)).ok()?;
        names.get(start..)?.split(|byte| *byte == 0).next()
    };
    let is_ours = |section: &&SectionHeader64<Endianness>| {
        section.sh_type(endian) == SHT_NOTE && name_of(section) == Some(SECTION)
    };
    let Some(ours) = sections.iter().find(is_ours) else { return Ok(None) };
    Ok(Some((ours.sh_addralign(endian), bounded(ours, NOTE_LIMIT)?)))
}

/// The JSON in the section's first note.
fn content(endian: Endianness, (align, section): &(u64, Vec<u8>)) -> Option<Note> {
    let mut notes = NoteIterator::<FileHeader64<Endianness>>::new(endian, *align, section).ok()?;
    let note = notes.next().ok()??;
    if note.name() != OWNER {
        return None;
    }
    let json = note.desc().split(|byte| *byte == 0).next()?;
    let json: Json = serde_json::from_slice(json).ok()?;
    (json.format == FORMAT).then_some(())?;
    Some(Note { cuda: Version::parse(&json.cuda)?, drivers: json.driver })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{libcuda, shared_object};

    const JSON: &str = r#"{"format":1,"CUDA version":"12.9","driver":[535,550,570],"device":[1,2,7]}"#;

    fn parse_bytes(bytes: &[u8]) -> Libcuda {
        parse(input::bytes_at(bytes))
    }

    fn note_of(json: &str) -> Libcuda {
        parse_bytes(&libcuda("libcuda.so.1", json))
    }

    #[test]
    fn cuda_version_and_drivers_are_read() {
        let note = Note { cuda: Version::of(12, 9), drivers: vec![535, 550, 570] };
        assert_eq!(note_of(JSON), Libcuda::Says(note));
        let note = Note { cuda: Version::of(13, 2), drivers: vec![] };
        assert_eq!(note_of(r#"{"format":1,"CUDA version":"13.2"}"#), Libcuda::Says(note));
    }

    #[test]
    fn a_libcuda_without_a_note_is_silent() {
        assert_eq!(parse_bytes(&shared_object("libcuda.so.1")), Libcuda::Silent);
        let mut renamed = libcuda("libcuda.so.1", JSON);
        let at = renamed.windows(SECTION.len()).position(|bytes| bytes == SECTION).unwrap();
        renamed[at + 1] = b'x';
        assert_eq!(parse_bytes(&renamed), Libcuda::Silent);
    }

    #[test]
    fn what_is_no_library_of_this_machine_is_unusable() {
        let mut foreign = libcuda("libcuda.so.1", JSON);
        foreign[18] = 3;
        for bytes in [b"".as_slice(), b"#!/bin/sh\n", &[0x7f; 4096], &foreign] {
            assert_eq!(parse_bytes(bytes), Libcuda::Unusable("it is no library for this machine"));
        }
    }

    #[test]
    fn a_note_that_says_something_else_is_unusable() {
        for json in [
            "",
            "{}",
            "[]",
            r#"{"format":1,"CUDA version":"12.9","driver":[535,]}"#,
            r#"{"format":2,"CUDA version":"12.9","driver":[535]}"#,
            r#"{"format":1,"CUDA version":12.9,"driver":[535]}"#,
            r#"{"format":1,"CUDA version":"new","driver":[535]}"#,
            r#"{"format":1,"CUDA version":"12.9","driver":[-1]}"#,
            r#"{"format":1,"CUDA version":"12.9","driver":570}"#,
            &"[".repeat(2000),
            &format!("{}{JSON}", " ".repeat(5000)),
        ] {
            assert!(matches!(note_of(json), Libcuda::Unusable(_)), "{json}");
        }
    }

    #[test]
    fn a_note_of_another_owner_is_unusable() {
        let mut other = libcuda("libcuda.so.1", JSON);
        let at = other.windows(OWNER.len()).position(|bytes| bytes == OWNER).unwrap();
        other[at] = b'n';
        assert!(matches!(parse_bytes(&other), Libcuda::Unusable(_)));
    }

    #[test]
    fn truncated_and_changed_files_never_panic_and_say_nothing_new() {
        let whole = libcuda("libcuda.so.1", JSON);
        let says = parse_bytes(&whole);
        for length in 0..whole.len() {
            assert!(matches!(parse_bytes(&whole[..length]), Libcuda::Unusable(_)), "{length}");
        }
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[position] ^= 1 << bit;
                let _ = parse_bytes(&changed);
            }
            let mut changed = whole.clone();
            changed[position] ^= 0xff;
            if let Libcuda::Says(note) = parse_bytes(&changed) {
                assert_eq!(
                    Libcuda::Says(note),
                    says,
                    "{position}: no text can be inverted and still be JSON"
                );
            }
        }
    }

    #[test]
    fn nothing_is_read_beyond_the_limits() {
        let whole = libcuda("libcuda.so.1", JSON);
        for position in 0..whole.len() {
            let mut changed = whole.clone();
            changed[position] = 0xff;
            let read = input::bytes_at(&changed);
            let _ = parse(|offset, length| {
                assert!(length <= 64 << 10, "{length} bytes at {offset} with {position} changed");
                read(offset, length)
            });
        }
    }
}
