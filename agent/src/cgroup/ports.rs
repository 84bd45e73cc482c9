//! Which of the ports that an agent gives out the processes of a group may take: a program of the kernel's that is asked about each bind.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use super::bpf::{self, Instruction, Reach};

const TYPE_CGROUP_SOCK_ADDR: u32 = 18;
/// For addresses of IPv4 and of IPv6.
const BINDS: [u32; 2] = [8, 9];
/// Where the question holds the port, in the order of the network.
const PORT: i16 = 24;
/// The most ranges that one program can look through.
const MAX_RANGES: usize = 4096;

/// The ports of a task among those that are given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRule {
    /// Ranges of ports that are the task's, first and last.
    pub own: Vec<(u16, u16)>,
    /// Ranges of ports that are only for those whose they are.
    pub guarded: Vec<(u16, u16)>,
}

impl PortRule {
    /// Whether a process may bind the port.
    #[must_use]
    pub fn allows(&self, port: u16) -> bool {
        let holds = |ranges: &[(u16, u16)]| ranges.iter().any(|(first, last)| (*first..=*last).contains(&port));
        holds(&self.own) || !holds(&self.guarded)
    }
}

/// Denies the processes of a group the guarded ports that are not their own. The kernel drops the programs with the group. A rule that
/// reaches only where there is no other takes the place of an earlier one of its group.
pub(super) fn control(group: BorrowedFd<'_>, rule: &PortRule, reach: Reach) -> io::Result<()> {
    if rule.own.len() + rule.guarded.len() > MAX_RANGES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("expected at most {MAX_RANGES} ranges of ports"),
        ));
    }
    let program = program(rule);
    // All before the first is attached: what a kernel does not take is mostly refused here.
    let load = |attach: &u32| Ok((bpf::load(TYPE_CGROUP_SOCK_ADDR, *attach, &program)?, *attach));
    let loaded = BINDS.iter().map(load).collect::<io::Result<Vec<_>>>()?;
    loaded.iter().try_for_each(|(loaded, attach)| bpf::attach(group, loaded, *attach, reach))
}

/// Registers: 1 is the question, 2 the port, 0 the answer.
fn program(rule: &PortRule) -> Vec<Instruction> {
    const LOAD_WORD: u8 = 0x61;
    const FROM_NETWORK: u8 = 0xdc;
    let plain = |code, registers, offset, immediate| Instruction { code, registers, offset, immediate };
    let mut program = vec![plain(LOAD_WORD, 0x12, PORT, 0), plain(FROM_NETWORK, 0x02, 0, 16)];
    let own = rule.own.iter().map(|range| (range, 1));
    for ((first, last), said) in own.chain(rule.guarded.iter().map(|range| (range, 0))) {
        program.extend(unless_within(*first..=*last));
        program.extend(bpf::answer(said));
    }
    program.extend(bpf::answer(1));
    program
}

/// Skips the answer that follows for ports outside.
fn unless_within(range: RangeInclusive<u16>) -> [Instruction; 2] {
    const IF_LESS: u8 = 0xa5;
    const IF_GREATER: u8 = 0x25;
    let skip = |code, offset, port: u16| Instruction { code, registers: 0x02, offset, immediate: port.into() };
    [skip(IF_LESS, 3, *range.start()), skip(IF_GREATER, 2, *range.end())]
}

#[cfg(test)]
mod tests;
