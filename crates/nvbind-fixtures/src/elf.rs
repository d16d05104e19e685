//! What a shared object or program says of itself to the dynamic loader.
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef, elf};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Why a file could not be read as ELF.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It could not be read.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It is broken.
    #[error("{} is not a sound 64-bit ELF file", path.display())]
    Broken { path: PathBuf, source: object::Error },
}

/// The dynamic section, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    pub soname: Option<String>,
    pub needed: Vec<String>,
    /// The loader, PT_INTERP.
    pub interpreter: Option<String>,
}

/// Reads the dynamic section of `path`; `None` if it is not a 64-bit ELF file at all.
pub fn read(path: &Path) -> Result<Option<Dynamic>, ElfError> {
    let unreadable = |source| ElfError::Read { path: path.into(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut magic = Vec::new();
    file.by_ref().take(5).read_to_end(&mut magic).map_err(unreadable)?;
    // The magic number, and ELFCLASS64.
    if magic != b"\x7fELF\x02" {
        return Ok(None);
    }
    // The driver's libraries are up to 200 MiB large: only what is asked for is read.
    parse(&ReadCache::new(file)).map(Some).map_err(|source| ElfError::Broken { path: path.into(), source })
}

fn parse<'data>(file: impl ReadRef<'data>) -> object::read::Result<Dynamic> {
    let header = elf::FileHeader64::<Endianness>::parse(file)?;
    let endian = header.endian()?;
    let mut dynamic = Dynamic::default();
    for segment in header.program_headers(endian, file)? {
        if let Some(name) = segment.interpreter(endian, file)? {
            dynamic.interpreter = Some(text(name));
        }
    }
    let table = header.sections(endian, file)?.dynamic_table(endian, file)?;
    for entry in table.iter() {
        if entry.tag == elf::DT_SONAME {
            dynamic.soname = Some(text(table.string(entry)?));
        }
        if entry.tag == elf::DT_NEEDED {
            dynamic.needed.push(text(table.string(entry)?));
        }
    }
    Ok(dynamic)
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_program_names_its_loader_and_the_c_library() {
        let dynamic = read(&std::env::current_exe().unwrap()).unwrap().unwrap();
        assert_eq!(dynamic.soname, None);
        assert!(dynamic.needed.contains(&"libc.so.6".to_owned()), "{dynamic:?}");
        assert!(dynamic.interpreter.unwrap().contains("ld-linux"));
    }

    #[test]
    fn a_text_file_is_no_elf_file_and_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "#!/bin/sh\n").unwrap();
        assert_eq!(read(file.path()).unwrap(), None);
    }

    #[test]
    fn a_truncated_elf_file_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\x7fELF\x02\x01").unwrap();
        assert!(matches!(read(file.path()), Err(ElfError::Broken { .. })));
    }
}
