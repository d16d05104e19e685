//! What machine a library is for.

use object::elf::{ELFCLASS32, ELFCLASS64, EM_386, EM_AARCH64, EM_X86_64, FileClass, Machine};

/// What machine a library is for, as the loader tells entries of one soname apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Abi {
    /// 64-bit libraries on a PC.
    X86_64,
    /// 32-bit libraries on a PC.
    I386,
    /// 64-bit libraries on Arm.
    Aarch64,
}

impl Abi {
    /// The one that this program was built for, where the driver exists for it.
    pub const NATIVE: Option<Self> = if cfg!(target_arch = "x86_64") {
        Some(Self::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Self::Aarch64)
    } else {
        None
    };

    /// The 32-bit companion of [`Abi::NATIVE`], where the driver has one.
    pub const COMPAT32: Option<Self> = if cfg!(target_arch = "x86_64") { Some(Self::I386) } else { None };

    /// The flags of its entries: `FLAG_ELF_LIBC6` and the machine's own of glibc's
    /// `sysdeps/generic/ldconfig.h`, the value that the machine's loader asks for
    /// (`_DL_CACHE_DEFAULT_ID`).
    pub const fn flags(self) -> u32 {
        match self {
            Self::X86_64 => 0x0303,
            Self::I386 => 0x0003,
            Self::Aarch64 => 0x0a03,
        }
    }
}

/// What a file is to a loader, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elf {
    /// For programs of a machine that the driver exists for.
    Of(Abi),
    /// For those of another, such as the x32 ABI.
    Foreign,
    /// No ELF file.
    None,
}

impl Elf {
    /// How many bytes it takes to tell.
    pub const HEADER: usize = 20;

    /// Decides by class and machine (elf(5): `EI_CLASS` at 4, `e_machine` at 18).
    #[must_use]
    pub fn of(header: &[u8]) -> Elf {
        let (Some(class), Some([low, high])) = (header.get(4), header.get(18..Self::HEADER)) else {
            return Elf::None;
        };
        if !header.starts_with(b"\x7fELF") {
            return Elf::None;
        }
        match (FileClass(*class), Machine(u16::from_le_bytes([*low, *high]))) {
            (ELFCLASS64, EM_X86_64) => Elf::Of(Abi::X86_64),
            (ELFCLASS64, EM_AARCH64) => Elf::Of(Abi::Aarch64),
            (ELFCLASS32, EM_386) => Elf::Of(Abi::I386),
            _other => Elf::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(class: u8, machine: u16) -> Vec<u8> {
        let mut header = vec![0x7f, b'E', b'L', b'F', class];
        header.resize(18, 0);
        header.extend(machine.to_le_bytes());
        header
    }

    #[test]
    fn a_library_is_told_by_its_class_and_machine() {
        for (header, expected) in [
            (header(2, 62), Elf::Of(Abi::X86_64)),
            (header(2, 183), Elf::Of(Abi::Aarch64)),
            (header(1, 3), Elf::Of(Abi::I386)),
            // The x32 ABI: class 32 on the 64-bit machine.
            (header(1, 62), Elf::Foreign),
            (header(2, 21), Elf::Foreign),
            (header(2, 62)[..19].to_vec(), Elf::None),
            (b"INPUT(libcuda.so.1 -lm)\n".to_vec(), Elf::None),
            (Vec::new(), Elf::None),
        ] {
            assert_eq!(Elf::of(&header), expected, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Elf::of(&bytes);
            let _ = Elf::of(&[b"\x7fELF", bytes.as_slice()].concat());
        }
    }
}
