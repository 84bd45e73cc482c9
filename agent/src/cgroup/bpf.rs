//! Programs of the kernel's in version 2, and among them device control: one that is asked about each open.

#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::DeviceRule;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const LICENCE: &CStr = c"Apache-2.0";

/// What a group's programs mean for the groups below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Programs of groups below take its place.
    UnlessOverridden = 1,
    /// All must agree: its own, and those below that are of this kind too.
    Always = 2,
}

/// One instruction, as the kernel lays it out.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Instruction {
    pub(super) code: u8,
    /// Destination in the low half, source in the high one.
    pub(super) registers: u8,
    pub(super) offset: i16,
    pub(super) immediate: i32,
}

#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

#[repr(C)]
struct Attach {
    group: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Whether this kernel takes such programs from this process.
pub(super) fn probe() -> io::Result<()> {
    load(TYPE_CGROUP_DEVICE, ATTACH_CGROUP_DEVICE, &program(&[])).map(drop)
}

/// Denies the processes of a group every device that no rule allows. The kernel drops the program with the group.
pub(super) fn control(group: BorrowedFd<'_>, rules: &[DeviceRule]) -> io::Result<()> {
    attach(
        group,
        &load(TYPE_CGROUP_DEVICE, ATTACH_CGROUP_DEVICE, &program(rules))?,
        ATTACH_CGROUP_DEVICE,
        Reach::Always,
    )
}

/// Attaches a program to a group.
pub(super) fn attach(group: BorrowedFd<'_>, program: &OwnedFd, kind: u32, reach: Reach) -> io::Result<()> {
    let descriptor = |fd: i32| u32::try_from(fd).expect("descriptors are not negative");
    let attach = Attach {
        group: descriptor(group.as_raw_fd()),
        program: descriptor(program.as_raw_fd()),
        kind,
        flags: reach as u32,
    };
    call(PROG_ATTACH, &attach).map(drop)
}

/// Has the kernel check a program for what it is to be attached as.
pub(super) fn load(kind: u32, attach: u32, program: &[Instruction]) -> io::Result<OwnedFd> {
    let load = Load {
        kind,
        count: u32::try_from(program.len()).expect("rules are few"),
        instructions: program.as_ptr() as u64,
        licence: LICENCE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
        name: [0; 16],
        interface: 0,
        attach,
    };
    let fd = call(PROG_LOAD, &load)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: `attributes` is laid out as the command wants it, its unused rest counts as zero by its size, and what it points to outlives
    // the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(result).expect("a descriptor or 0")) }
}

/// Registers: 1 is the question, 3 the kind of device, 4 and 5 its numbers, 0 the answer.
fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    const LOAD_WORD: u8 = 0x61;
    const AND: u8 = 0x57;
    let plain = |code, registers, offset, immediate| Instruction { code, registers, offset, immediate };
    let mut program = vec![
        plain(LOAD_WORD, 0x13, 0, 0),
        plain(AND, 0x03, 0, 0xffff),
        plain(LOAD_WORD, 0x14, 4, 0),
        plain(LOAD_WORD, 0x15, 8, 0),
    ];
    for rule in rules {
        let kind = if rule.block { 1 } else { 2 };
        let mut conditions = vec![(3, kind), (4, rule.major)];
        conditions.extend(rule.minor.map(|minor| (5, minor)));
        let count = conditions.len();
        for (index, (register, value)) in conditions.into_iter().enumerate() {
            // Past the other conditions and the two instructions of the answer.
            let skip = i16::try_from(count - index - 1 + 2).expect("there are three at most");
            program.push(plain(0x55, register, skip, value.cast_signed()));
        }
        program.extend(answer(1));
    }
    program.extend(answer(0));
    program
}

pub(super) fn answer(value: i32) -> [Instruction; 2] {
    let set = Instruction { code: 0xb7, registers: 0, offset: 0, immediate: value };
    let exit = Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 };
    [set, exit]
}
