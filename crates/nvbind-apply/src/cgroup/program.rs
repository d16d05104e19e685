//! A device program in the kernel's instruction format, and how nodes are let through in front of one.
//!
//! The kernel calls a `BPF_PROG_TYPE_CGROUP_DEVICE` program with a `struct bpf_cgroup_dev_ctx` (linux/bpf.h):
//! `access_type` (access in the upper 16 bits, type in the lower), `major`, `minor`; 1 lets the access through.

use super::DeviceNumber;

/// One instruction, `struct bpf_insn` as the kernel lays it out in memory.
pub(super) type Instruction = [u8; 8];

// linux/bpf_common.h and linux/bpf.h
pub(super) const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_W | BPF_MEM
const AND32: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP_NOT_EQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const MOVE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const MOVE32: u8 = 0xb4; // BPF_ALU | BPF_MOV | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT
pub(super) const CLASS_MASK: u8 = 0x07;
const CLASS_LOAD: u8 = 0x01; // BPF_LDX
pub(super) const CLASS_ALU32: u8 = 0x04; // BPF_ALU
pub(super) const CLASS_JUMP: u8 = 0x05; // BPF_JMP
const CALL: u8 = 0x85; // BPF_JMP | BPF_CALL
pub(super) const CLASS_ALU64: u8 = 0x07; // BPF_ALU64
const TYPE_MASK: i32 = 0xffff;
const CHARACTER_DEVICE: i32 = 2; // BPF_DEVCG_DEV_CHAR

/// The context pointer: the old program still needs it, so it is never written.
const CONTEXT: u8 = 1;
const RESULT: u8 = 0;
const TYPE: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;

/// Instructions for one device, and for what comes before them.
const PER_DEVICE: usize = 4;

/// The instructions that let every access to `devices` through and fall off their end for any other: to be put in
/// front of a program. `None` if there are more devices than a jump can cross.
pub(super) fn prologue(devices: &[DeviceNumber]) -> Option<Vec<Instruction>> {
    let past_devices = i16::try_from(devices.len().checked_mul(PER_DEVICE)?.checked_add(2)?).ok()?;
    let mut code = vec![
        instruction(LOAD_WORD, TYPE, CONTEXT, 0, 0),
        instruction(AND32, TYPE, 0, 0, TYPE_MASK),
        instruction(JUMP_NOT_EQUAL, TYPE, 0, past_devices, CHARACTER_DEVICE),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for device in devices {
        code.extend([
            instruction(JUMP_NOT_EQUAL, MAJOR, 0, 3, i32::try_from(device.major).ok()?),
            instruction(JUMP_NOT_EQUAL, MINOR, 0, 2, i32::try_from(device.minor).ok()?),
            instruction(MOVE, RESULT, 0, 0, 1),
            instruction(EXIT, 0, 0, 0, 0),
        ]);
    }
    Some(code)
}

/// Whether a program can answer nothing but 1, as runtimes write it for `--privileged`: all that it ever puts into the
/// result is 1. A program with calls or stores may be one too, and is not recognized.
pub(super) fn lets_all_through(program: &[Instruction]) -> bool {
    let ones = [MOVE, MOVE32].map(|code| instruction(code, RESULT, 0, 0, 1));
    let keeps_or_sets_one = |instruction: &Instruction| {
        let [code, pair, ..] = *instruction;
        match code & CLASS_MASK {
            CLASS_LOAD | CLASS_ALU32 | CLASS_ALU64 => {
                split_registers(pair).0 != RESULT || ones.contains(instruction)
            }
            CLASS_JUMP => code != CALL,
            _ => false,
        }
    };
    !program.is_empty() && program.iter().all(keeps_or_sets_one)
}

pub(super) fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    let [low, high] = offset.to_ne_bytes();
    let [a, b, c, d] = immediate.to_ne_bytes();
    // The two registers are four-bit fields, the first in the low half on a little-endian machine.
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    [code, registers, low, high, a, b, c, d]
}

/// The two registers of an instruction, destination and source, of which each has half a byte.
pub(super) fn split_registers(pair: u8) -> (u8, u8) {
    let (low, high) = (pair & 0xf, pair >> 4);
    if cfg!(target_endian = "little") { (low, high) } else { (high, low) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u32 = 2;
    const WRITE: u32 = 4;
    const MKNOD: u32 = 1;
    const BLOCK: u32 = 1;
    const CHARACTER: u32 = 2;

    fn device(major: u32, minor: u32) -> DeviceNumber {
        DeviceNumber { major, minor }
    }

    /// What the program answers, run as the kernel would.
    fn run(code: &[Instruction], access: u32, kind: u32, at: DeviceNumber) -> u64 {
        let mut context: Vec<u8> =
            [access << 16 | kind, at.major, at.minor].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let bytes = code.concat();
        rbpf::EbpfVmRaw::new(Some(&bytes)).unwrap().execute_program(&mut context).unwrap()
    }

    fn before(devices: &[DeviceNumber], old: &[Instruction]) -> Vec<Instruction> {
        [prologue(devices).unwrap().as_slice(), old].concat()
    }

    fn answer(value: i32) -> [Instruction; 2] {
        [instruction(MOVE, RESULT, 0, 0, value), instruction(EXIT, 0, 0, 0, 0)]
    }

    #[test]
    fn exactly_the_devices_pass_and_the_old_program_decides_the_rest() {
        let code = before(&[device(195, 0), device(195, 255), device(507, 1)], &answer(0));
        let table = [
            (READ, CHARACTER, device(195, 0), 1),
            (READ | WRITE, CHARACTER, device(195, 0), 1),
            (READ | WRITE | MKNOD, CHARACTER, device(195, 255), 1),
            (MKNOD, CHARACTER, device(507, 1), 1),
            (READ, BLOCK, device(195, 0), 0),
            (READ, CHARACTER, device(195, 1), 0),
            (READ, CHARACTER, device(507, 0), 0),
            (READ, CHARACTER, device(0, 195), 0),
            (READ, CHARACTER, device(1, 255), 0),
        ];
        for (access, kind, at, expected) in table {
            assert_eq!(run(&code, access, kind, at), expected, "access {access} kind {kind} device {at}");
        }
    }

    #[test]
    fn a_program_that_lets_everything_through_still_does() {
        let code = before(&[device(195, 0)], &answer(1));
        for at in [device(195, 0), device(195, 1), device(8, 0)] {
            assert_eq!(run(&code, READ, BLOCK, at), 1);
            assert_eq!(run(&code, READ, CHARACTER, at), 1);
        }
    }

    #[test]
    fn the_old_program_finds_its_context_where_it_was() {
        // Answers with the minor, read through the context pointer.
        let old = [instruction(LOAD_WORD, RESULT, CONTEXT, 8, 0), instruction(EXIT, 0, 0, 0, 0)];
        let code = before(&[device(195, 0)], &old);
        assert_eq!(run(&code, READ, CHARACTER, device(10, 200)), 200);
        assert_eq!(run(&code, READ, BLOCK, device(195, 77)), 77);
    }

    #[test]
    fn no_device_changes_nothing() {
        assert_eq!(run(&before(&[], &answer(0)), READ, CHARACTER, device(195, 0)), 0);
        assert_eq!(run(&before(&[], &answer(1)), READ, CHARACTER, device(195, 0)), 1);
    }

    #[test]
    fn only_a_program_whose_every_result_is_one_lets_all_through() {
        let load = instruction(LOAD_WORD, TYPE, CONTEXT, 0, 0);
        let and = instruction(AND32, TYPE, 0, 0, TYPE_MASK);
        let [one, exit] = answer(1);
        let [zero, _] = answer(0);
        let jump = instruction(JUMP_NOT_EQUAL, TYPE, 0, 2, CHARACTER_DEVICE);
        let result_from_context = instruction(LOAD_WORD, RESULT, CONTEXT, 4, 0);
        let and_result = instruction(AND32, RESULT, 0, 0, 0);
        let call = instruction(CALL, 0, 0, 0, 1);
        let store = instruction(0x63, RESULT, TYPE, 0, 0); // BPF_STX | BPF_W | BPF_MEM
        let one32 = instruction(MOVE32, RESULT, 0, 0, 1);
        let table: [(&[Instruction], bool); 10] = [
            (&[one, exit], true),
            (&[one32, exit], true),
            (&[load, and, one, exit], true),
            (&[load, and, jump, one, exit, one, exit], true),
            (&[zero, exit], false),
            (&[load, and, jump, one, exit, zero, exit], false),
            (&[result_from_context, exit], false),
            (&[one, and_result, exit], false),
            (&[one, call, exit], false),
            (&[one, store, exit], false),
        ];
        for (program, expected) in table {
            assert_eq!(lets_all_through(program), expected, "{program:?}");
        }
        assert!(!lets_all_through(&[]));
        assert!(!lets_all_through(&before(&[device(195, 0)], &answer(0))));
    }

    #[test]
    fn more_devices_than_a_jump_can_cross_are_refused() {
        assert!(prologue(&vec![device(195, 0); 8191]).is_some());
        assert_eq!(prologue(&vec![device(195, 0); 8192]), None);
    }
}
