//! What a device program answers, found by running it: of a cgroup around a container's own, whose filter is not ours
//! to change.
//!
//! The programs of systemd, runc and crun load the three words of their context, compare them with numbers, and answer
//! 0 or 1. What does more than that has no answer here.

use super::DeviceNumber;
use super::program::{
    CLASS_ALU32, CLASS_ALU64, CLASS_JUMP, CLASS_MASK, Instruction, LOAD_WORD, split_registers,
};

// linux/bpf_common.h and linux/bpf.h
const CLASS_JUMP32: u8 = 0x06; // BPF_JMP32
const FROM_REGISTER: u8 = 0x08; // BPF_X
const OPERATION_MASK: u8 = 0xf0;
const ADD: u8 = 0x00; // BPF_ADD
const SUBTRACT: u8 = 0x10; // BPF_SUB
const OR: u8 = 0x40; // BPF_OR
const AND: u8 = 0x50; // BPF_AND
const SHIFT_LEFT: u8 = 0x60; // BPF_LSH
const SHIFT_RIGHT: u8 = 0x70; // BPF_RSH
const XOR: u8 = 0xa0; // BPF_XOR
const MOVE: u8 = 0xb0; // BPF_MOV
const ALWAYS: u8 = 0x00; // BPF_JA
const IF_EQUAL: u8 = 0x10; // BPF_JEQ
const IF_GREATER: u8 = 0x20; // BPF_JGT
const IF_GREATER_OR_EQUAL: u8 = 0x30; // BPF_JGE
const IF_ANY_BIT: u8 = 0x40; // BPF_JSET
const IF_NOT_EQUAL: u8 = 0x50; // BPF_JNE
const EXIT: u8 = 0x90; // BPF_EXIT
const IF_LESS: u8 = 0xa0; // BPF_JLT
const IF_LESS_OR_EQUAL: u8 = 0xb0; // BPF_JLE

/// Of a character device, for reading and writing: `BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE` above
/// `BPF_DEVCG_DEV_CHAR`.
const ACCESS: u32 = (2 | 4) << 16 | 2;

const REGISTERS: usize = 11;
const CONTEXT: usize = 1;
const RESULT: usize = 0;

/// More instructions than any program has that the kernel takes of such a form.
const STEPS: usize = 1 << 17;

/// What is in a register.
#[derive(Clone, Copy)]
enum Value {
    Number(u64),
    Context,
}

/// Whether the program lets the device be opened for reading and writing; none where that cannot be told.
pub(super) fn allows(program: &[Instruction], device: DeviceNumber) -> Option<bool> {
    let words = [ACCESS, device.major, device.minor];
    let mut registers: [Option<Value>; REGISTERS] = [None; REGISTERS];
    *registers.get_mut(CONTEXT)? = Some(Value::Context);
    let mut next: usize = 0;
    for _ in 0..STEPS {
        let [code, pair, low, high, a, b, c, d] = *program.get(next)?;
        let (to, from) = split_registers(pair);
        let (to, from) = (usize::from(to), usize::from(from));
        let offset = i16::from_ne_bytes([low, high]);
        let immediate = i32::from_ne_bytes([a, b, c, d]);
        next = next.checked_add(1)?;
        let operand = if code & FROM_REGISTER == 0 {
            Value::Number(i64::from(immediate).cast_unsigned())
        } else {
            (*registers.get(from)?)?
        };
        match code & CLASS_MASK {
            CLASS_ALU32 | CLASS_ALU64 => {
                let is_32 = code & CLASS_MASK == CLASS_ALU32;
                let register = registers.get_mut(to)?;
                *register = Some(compute(code & OPERATION_MASK, *register, operand, is_32)?);
            }
            CLASS_JUMP | CLASS_JUMP32 => {
                let is_32 = code & CLASS_MASK == CLASS_JUMP32;
                match jump(code & OPERATION_MASK, *registers.get(to)?, operand, is_32)? {
                    Jump::Exit => return answer((*registers.get(RESULT)?)?),
                    Jump::Taken => next = next.checked_add_signed(offset.into())?,
                    Jump::Passed => {}
                }
            }
            _ if code == LOAD_WORD => {
                let Some(Value::Context) = registers.get(from)? else { return None };
                let index = usize::try_from(offset).ok().filter(|offset| offset % 4 == 0)? / 4;
                *registers.get_mut(to)? = Some(Value::Number((*words.get(index)?).into()));
            }
            _ => return None,
        }
    }
    None
}

/// The kernel looks at the lowest bit alone (`__cgroup_bpf_check_dev_permission` and `BPF_PROG_RUN_ARRAY`).
fn answer(result: Value) -> Option<bool> {
    match result {
        Value::Number(number) => Some(number & 1 == 1),
        Value::Context => None,
    }
}

fn compute(operation: u8, register: Option<Value>, operand: Value, is_32: bool) -> Option<Value> {
    if operation == MOVE && !is_32 {
        return Some(operand);
    }
    let Value::Number(operand) = operand else { return None };
    let number = match register {
        Some(Value::Number(number)) => number,
        Some(Value::Context) if operation != MOVE => return None,
        _ => 0,
    };
    let narrow = |number: u64| if is_32 { number & u64::from(u32::MAX) } else { number };
    let (number, operand) = (narrow(number), narrow(operand));
    let bits = if is_32 { 31 } else { 63 };
    let shift = u32::try_from(operand & bits).ok()?;
    let result = match operation {
        ADD => number.wrapping_add(operand),
        SUBTRACT => number.wrapping_sub(operand),
        OR => number | operand,
        AND => number & operand,
        SHIFT_LEFT => number << shift,
        SHIFT_RIGHT => number >> shift,
        XOR => number ^ operand,
        MOVE => operand,
        _ => return None,
    };
    Some(Value::Number(narrow(result)))
}

enum Jump {
    Exit,
    Taken,
    Passed,
}

fn jump(operation: u8, register: Option<Value>, operand: Value, is_32: bool) -> Option<Jump> {
    match (operation, is_32) {
        (EXIT, false) => return Some(Jump::Exit),
        (ALWAYS, false) => return Some(Jump::Taken),
        _ => {}
    }
    let (Some(Value::Number(one)), Value::Number(other)) = (register, operand) else { return None };
    let narrow = |number: u64| if is_32 { number & u64::from(u32::MAX) } else { number };
    let (one, other) = (narrow(one), narrow(other));
    let is_taken = match operation {
        IF_EQUAL => one == other,
        IF_GREATER => one > other,
        IF_GREATER_OR_EQUAL => one >= other,
        IF_ANY_BIT => one & other != 0,
        IF_NOT_EQUAL => one != other,
        IF_LESS => one < other,
        IF_LESS_OR_EQUAL => one <= other,
        _ => return None,
    };
    Some(if is_taken { Jump::Taken } else { Jump::Passed })
}

#[cfg(test)]
mod tests {
    use super::super::program::{instruction, prologue};
    use super::*;
    use proptest::prelude::*;

    const GPU: DeviceNumber = DeviceNumber { major: 195, minor: 0 };

    /// What an independent interpreter answers.
    fn run(program: &[Instruction], device: DeviceNumber) -> Option<bool> {
        let words = [ACCESS, device.major, device.minor];
        let mut context: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let bytes = program.concat();
        let machine = rbpf::EbpfVmRaw::new(Some(&bytes)).ok()?;
        Some(machine.execute_program(&mut context).ok()? & 1 == 1)
    }

    /// As systemd writes `DevicePolicy=closed` with `DeviceAllow=` of one device: bpf-devices.c, for c 1:3 rw.
    fn systemds() -> Vec<Instruction> {
        vec![
            instruction(0x61, 2, 1, 0, 0),
            instruction(0x54, 2, 0, 0, 0xffff),
            instruction(0x61, 3, 1, 0, 0),
            instruction(0x74, 3, 0, 0, 16),
            instruction(0x61, 4, 1, 4, 0),
            instruction(0x61, 5, 1, 8, 0),
            instruction(0xbc, 1, 3, 0, 0),
            instruction(0x54, 1, 0, 0, 6),
            instruction(0x5d, 1, 3, 5, 0),
            instruction(0x55, 2, 0, 4, 2),
            instruction(0x55, 4, 0, 3, 1),
            instruction(0x55, 5, 0, 2, 3),
            instruction(0xb7, 0, 0, 0, 1),
            instruction(0x95, 0, 0, 0, 0),
            instruction(0xb7, 0, 0, 0, 0),
            instruction(0x95, 0, 0, 0, 0),
        ]
    }

    #[test]
    fn systemds_filter_is_understood() {
        let program = systemds();
        let null = DeviceNumber { major: 1, minor: 3 };
        assert_eq!((allows(&program, null), run(&program, null)), (Some(true), Some(true)));
        assert_eq!((allows(&program, GPU), run(&program, GPU)), (Some(false), Some(false)));
        let extended = [prologue(&[GPU]).unwrap(), program].concat();
        assert_eq!(allows(&extended, GPU), Some(true));
    }

    #[test]
    fn what_is_not_understood_has_no_answer() {
        let [call, exit] = [instruction(0x85, 0, 0, 0, 1), instruction(0x95, 0, 0, 0, 0)];
        let store = instruction(0x63, 10, 1, -4, 0);
        let around = instruction(0x05, 0, 0, -1, 0);
        for program in
            [&[][..], &[call, exit], &[store, exit], &[exit], &[around], &[instruction(0xb7, 0, 0, 0, 1)]]
        {
            assert_eq!(allows(program, GPU), None, "{program:?}");
        }
    }

    /// Instructions of which most are understood, each with registers that have a value.
    fn any_instruction() -> impl Strategy<Value = Instruction> {
        let registers = || prop::sample::select(vec![0_u8, 2, 3, 4, 5]);
        let immediate =
            || prop_oneof![Just(0), Just(1), Just(2), Just(6), Just(195), Just(0xffff), any::<i32>()];
        let compute =
            prop::sample::select(vec![0xb7_u8, 0xb4, 0x54, 0x57, 0x44, 0x04, 0x07, 0xbf, 0xbc, 0x5c, 0x4f]);
        let jumps = prop::sample::select(vec![0x15_u8, 0x55, 0x25, 0x35, 0x45, 0xa5, 0xb5, 0x1d, 0x5d, 0x05]);
        prop_oneof![
            (compute, registers(), registers(), immediate()).prop_map(|(code, to, from, value)| instruction(
                code,
                to,
                if code & 8 == 0 { 0 } else { from },
                0,
                if code & 8 == 0 { value } else { 0 }
            )),
            (prop::sample::select(vec![0x74_u8, 0x77, 0x64, 0x67]), registers(), 0..31_i32)
                .prop_map(|(code, to, by)| instruction(code, to, 0, 0, by)),
            (registers(), prop::sample::select(vec![0_i16, 4, 8]))
                .prop_map(|(to, at)| instruction(0x61, to, 1, at, 0)),
            (jumps, registers(), registers(), 0..3_i16, immediate()).prop_map(
                |(code, to, from, over, value)| instruction(
                    code,
                    to,
                    if code & 8 == 0 { 0 } else { from },
                    over,
                    if code & 8 == 0 { value } else { 0 }
                )
            ),
        ]
    }

    proptest! {
        #[test]
        fn an_answer_is_that_of_another_interpreter(body in prop::collection::vec(any_instruction(), 0..40), minor in 0..4_u32) {
            let mut program: Vec<Instruction> = [0, 2, 3, 4, 5].iter().map(|register| instruction(0xb7, *register, 0, 0, 0)).collect();
            program.extend(body);
            // As far as the longest jump leads.
            program.extend([instruction(0x95, 0, 0, 0, 0); 4]);
            let device = DeviceNumber { major: 195, minor };
            if let Some(answer) = allows(&program, device) {
                prop_assert_eq!(Some(answer), run(&program, device));
            }
        }

        #[test]
        fn no_program_makes_it_panic(program in prop::collection::vec(any::<Instruction>(), 0..64)) {
            let _ = allows(&program, GPU);
        }
    }
}
