//! Which system calls tasks may make: profiles in Docker's JSON format, as programs for the kernel.
//!
//! The agent compiles its profile once, at its start, and leaves the programs in a file of its work directory; each supervisor installs
//! them in what it starts. A profile that gives different answers to different calls becomes a program for each answer: the kernel asks
//! all, and the strictest answer counts.

mod docker;
mod runtime;

use std::io;
use std::path::Path;

use seccompiler::{BpfProgram, sock_filter};

pub(crate) use docker::{CAPABILITIES, compile};
pub(crate) use runtime::translate;

/// Bytes of one instruction in the file.
const INSTRUCTION: usize = 8;

/// Why a profile can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// It is no profile.
    #[error("expected a seccomp profile as Docker's, in JSON: {0}")]
    Json(String),
    /// A field holds what it must not.
    #[error("{field}: {expected}")]
    Field {
        /// The field's name.
        field: String,
        /// What was expected, and what was found.
        expected: String,
    },
    /// The machine's processor has no table of system calls here.
    #[error("expected x86_64, aarch64 or riscv64, this is {0}")]
    Architecture(&'static str),
    /// The programs can't be made: too many rules.
    #[error("the profile can't be compiled: {0}")]
    Compile(String),
}

/// As bytes for [`decode`].
pub(crate) fn encode(programs: &[BpfProgram]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for program in programs {
        let count = u32::try_from(program.len()).expect("the kernel takes 4096 instructions at most");
        bytes.extend(count.to_le_bytes());
        for instruction in program {
            bytes.extend(instruction.code.to_le_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_le_bytes());
        }
    }
    bytes
}

/// The programs in a file that [`encode`] made.
pub(crate) fn load(path: &Path) -> io::Result<Vec<BpfProgram>> {
    let bytes = std::fs::read(path)?;
    decode(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "expected seccomp programs"))
}

fn decode(mut bytes: &[u8]) -> Option<Vec<BpfProgram>> {
    let mut programs = Vec::new();
    while !bytes.is_empty() {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(INSTRUCTION)?;
        let (program, rest) = rest.split_at_checked(len)?;
        programs.push(program.chunks_exact(INSTRUCTION).map(instruction).collect());
        bytes = rest;
    }
    Some(programs)
}

fn instruction(bytes: &[u8]) -> sock_filter {
    sock_filter {
        code: u16::from_le_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    }
}

/// Binds the calling thread, and all that it becomes or starts, to the programs. Only makes system calls.
pub(crate) fn install(programs: &[BpfProgram]) -> io::Result<()> {
    // Those that only refuse come after the one that allows; the last one is asked first, which makes no difference.
    programs.iter().rev().try_for_each(|program| {
        seccompiler::apply_filter(program).map_err(|error| match error {
            seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error) => error,
            _ => io::ErrorKind::InvalidInput.into(),
        })
    })
}

#[cfg(test)]
mod tests;
