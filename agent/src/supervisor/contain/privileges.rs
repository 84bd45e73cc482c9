//! What a group's processes may never do, whoever they run as.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, capabilities, capability_is_in_bounding_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// What a process of root keeps: what Docker lets its containers have.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Keeps the group's processes from looking into this one, or tracing it, though they may run as the same user.
pub(super) fn hide() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Gives up what children must not get by any means. This process itself keeps what it has.
pub(super) fn reduce() -> io::Result<()> {
    hide()?;
    set_no_new_privs(true)?;
    let mut own = capabilities(None)?;
    if own.effective.contains(CapabilitySet::SETPCAP) {
        bound()?;
    }
    own.inheritable = CapabilitySet::empty();
    set_capabilities(None, own)?;
    Ok(())
}

/// Takes from this process, and its children, what they are not to have even as root. Only makes system calls.
pub(super) fn bound() -> io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !KEPT.contains(capability) => remove_capability_from_bounding_set(capability)?,
            Ok(_) => {}
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
