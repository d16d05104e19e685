//! A shared object for 32-bit x86, written byte by byte: a machine that compiles 64-bit code need not have what it
//! takes for 32-bit code.
//!
//! Format: the System V ABI (gABI, chapters 4 and 5) and its Intel386 supplement.

/// Sizes of the file header, a program header, a symbol, a section header.
const HEADER: u32 = 52;
const SEGMENT: u32 = 32;
const SYMBOL: u32 = 16;
const SECTION: u32 = 40;
/// What every library of the driver needs. It is also what tells ldconfig that an object is for glibc, which it writes
/// into the cache.
const C_LIBRARY: &str = "libc.so.6";
/// A loader on 32-bit x86 maps whole pages: what it may write to lies one further than in the file.
const PAGE: u32 = 0x1000;

/// Places of the sections in their table, after the first one, which is empty.
const SYMBOLS: u32 = 2;
const STRINGS: u32 = 3;
const CODE: u32 = 4;
const NAMES: u32 = 6;

/// A function of a shared object: its name, and what it returns.
pub(super) type Function = (String, u32);

/// The bytes of a shared object called `soname` with these functions.
pub(super) fn shared_object(soname: &str, functions: &[Function]) -> Vec<u8> {
    let mut strings = Strings::new();
    let soname = strings.add(soname);
    let needed = strings.add(C_LIBRARY);
    let hash_at = HEADER + 4 * SEGMENT;
    let hash = hash(functions.len());
    let symbols_at = hash_at + size(&hash);
    let strings_at = symbols_at + SYMBOL * (count(functions.len()) + 1);
    let names: Vec<u32> = functions.iter().map(|(name, _)| strings.add(name)).collect();
    let code_at = (strings_at + size(&strings.0)).next_multiple_of(16);
    let code: Vec<u8> = functions.iter().flat_map(|(_, answer)| instructions(*answer)).collect();
    let dynamic_at = code_at + size(&code);
    let symbols = symbols(&names, code_at);
    // DT_NEEDED, DT_SONAME, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_NULL
    let dynamic = words(&[
        [1, needed],
        [14, soname],
        [4, hash_at],
        [5, strings_at],
        [6, symbols_at],
        [10, size(&strings.0)],
        [11, SYMBOL],
        [0, 0],
    ]);
    let section_names_at = dynamic_at + size(&dynamic);
    let mut titles = Strings::new();
    let [hash_name, symbols_name, strings_name, code_name, dynamic_name, names_name] =
        [".hash", ".dynsym", ".dynstr", ".text", ".dynamic", ".shstrtab"].map(|name| titles.add(name));
    // Name, type, flags, address, offset, size, link, info, alignment, entry size.
    let sections = words(&[
        [0; 10],
        [hash_name, 5, 2, hash_at, hash_at, size(&hash), SYMBOLS, 0, 4, 4],
        [symbols_name, 11, 2, symbols_at, symbols_at, size(&symbols), STRINGS, 1, 4, SYMBOL],
        [strings_name, 3, 2, strings_at, strings_at, size(&strings.0), 0, 0, 1, 0],
        [code_name, 1, 6, code_at, code_at, size(&code), 0, 0, 16, 0],
        [dynamic_name, 6, 3, PAGE + dynamic_at, dynamic_at, size(&dynamic), STRINGS, 0, 4, 8],
        [names_name, 3, 0, 0, section_names_at, size(&titles.0), 0, 0, 1, 0],
    ]);
    let sections_at = (section_names_at + size(&titles.0)).next_multiple_of(4);
    // Type, offset, address, physical address, sizes in the file and in memory, flags, alignment: PT_LOAD of what is read
    // and run, PT_LOAD and PT_DYNAMIC of what older loaders write to, PT_GNU_STACK without PF_X.
    let (end, written) = (dynamic_at, size(&dynamic));
    let segments = words(&[
        [1, 0, 0, 0, end, end, 5, PAGE],
        [1, dynamic_at, PAGE + dynamic_at, PAGE + dynamic_at, written, written, 6, PAGE],
        [2, dynamic_at, PAGE + dynamic_at, PAGE + dynamic_at, written, written, 6, 4],
        [0x6474_e551, 0, 0, 0, 0, 0, 6, 16],
    ]);

    let mut file = header(sections_at);
    for (offset, part) in [
        (HEADER, segments),
        (hash_at, hash),
        (symbols_at, symbols),
        (strings_at, strings.0),
        (code_at, code),
        (dynamic_at, dynamic),
        (section_names_at, titles.0),
        (sections_at, sections),
    ] {
        file.resize(usize::try_from(offset).unwrap_or_default(), 0);
        file.extend(part);
    }
    file
}

/// ELFCLASS32, ELFDATA2LSB; ET_DYN for EM_386.
fn header(sections_at: u32) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x01\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend(halves(&[3, 3]));
    bytes.extend(words(&[[1, 0, HEADER, sections_at, 0]]));
    let [header, segment, section, names] = [HEADER, SEGMENT, SECTION, NAMES].map(half);
    bytes.extend(halves(&[header, segment, 4, section, names + 1, names]));
    bytes
}

/// One bucket, in which every symbol leads to the one before.
fn hash(functions: usize) -> Vec<u8> {
    let count = count(functions);
    let mut bytes = words(&[[1, count + 1, count, 0]]);
    bytes.extend((0..count).flat_map(u32::to_le_bytes));
    bytes
}

/// The empty symbol, and a global function for each name.
fn symbols(names: &[u32], code_at: u32) -> Vec<u8> {
    let mut bytes = words(&[[0; 4]]);
    for (name, at) in names.iter().zip((code_at..).step_by(8)) {
        bytes.extend(words(&[[*name, at, 6]]));
        // STB_GLOBAL and STT_FUNC, no visibility of its own.
        bytes.extend([0x12, 0]);
        bytes.extend(half(CODE).to_le_bytes());
    }
    bytes
}

/// `mov eax, answer; ret`, and what makes it eight bytes.
fn instructions(answer: u32) -> Vec<u8> {
    let mut bytes = vec![0xb8];
    bytes.extend(answer.to_le_bytes());
    bytes.extend([0xc3, 0x90, 0x90]);
    bytes
}

/// A string table under construction.
#[derive(Debug)]
struct Strings(Vec<u8>);

impl Strings {
    fn new() -> Self {
        Self(vec![0])
    }

    /// Adds a string, and returns its place.
    fn add(&mut self, text: &str) -> u32 {
        let at = size(&self.0);
        self.0.extend(text.as_bytes());
        self.0.push(0);
        at
    }
}

fn words<const N: usize>(rows: &[[u32; N]]) -> Vec<u8> {
    rows.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
}

fn halves(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|half| half.to_le_bytes()).collect()
}

/// Sizes here are a few hundred bytes.
fn size(bytes: &[u8]) -> u32 {
    count(bytes.len())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

fn half(word: u32) -> u16 {
    u16::try_from(word).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use object::read::elf::{ElfFile32, FileHeader, ProgramHeader};
    use object::{Endianness, Object, ObjectSection, ObjectSymbol, elf};

    use super::*;

    fn example() -> Vec<u8> {
        shared_object("libcuda.so.1", &[("cuInit".into(), 100), ("marker".into(), 1), ("third".into(), 3)])
    }

    #[test]
    fn it_is_a_shared_object_of_32_bits_with_its_soname() {
        let bytes = example();
        let header = elf::FileHeader32::<Endianness>::parse(bytes.as_slice()).unwrap();
        let endian = header.endian().unwrap();
        assert_eq!((header.e_type(endian), header.e_machine(endian)), (elf::ET_DYN, elf::EM_386));
        let sections = header.sections(endian, bytes.as_slice()).unwrap();
        let table = sections.dynamic_table(endian, bytes.as_slice()).unwrap();
        let soname = table.iter().find(|entry| entry.tag == elf::DT_SONAME).unwrap();
        assert_eq!(table.string(soname).unwrap(), b"libcuda.so.1");
        let needed = table.iter().find(|entry| entry.tag == elf::DT_NEEDED).unwrap();
        assert_eq!(table.string(needed).unwrap(), b"libc.so.6");
        // The loader reads the segment and not the section.
        let segments = header.program_headers(endian, bytes.as_slice()).unwrap();
        let dynamic = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_DYNAMIC).unwrap();
        let section = sections.section_by_name(endian, b".dynamic").unwrap().1;
        assert_eq!(dynamic.p_offset(endian), section.sh_offset.get(endian));
        assert_eq!(dynamic.p_vaddr(endian), section.sh_addr.get(endian));
    }

    #[test]
    fn every_function_is_found_by_its_name_and_returns_its_answer() {
        let bytes = example();
        let file = ElfFile32::<Endianness>::parse(bytes.as_slice()).unwrap();
        let text = file.section_by_name(".text").unwrap();
        let answers: Vec<(&str, u8)> = file
            .dynamic_symbols()
            .map(|symbol| {
                let code = text.data_range(symbol.address(), symbol.size()).unwrap().unwrap();
                (symbol.name().unwrap(), code[1])
            })
            .collect();
        assert_eq!(answers, [("cuInit", 100), ("marker", 1), ("third", 3)]);
        let words: Vec<u32> = file
            .section_by_name(".hash")
            .unwrap()
            .data()
            .unwrap()
            .chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        // Buckets, chains; the bucket leads to the last symbol, and each symbol to the one before.
        assert_eq!(words, [1, 4, 3, 0, 0, 1, 2]);
    }
}
