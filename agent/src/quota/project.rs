//! Projects of a file system, as the kernel knows them: the system calls that have no safe wrapper.
//!
//! Every file is of one project; a folder can hand its own down to what is made in it. What the files of a project may take together is
//! said, and told, by `quotactl`, in the same words for XFS and ext4.

#![expect(unsafe_code, reason = "two ioctls and quotactl_fd have no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::ioctl::opcode;

/// Nobody's.
pub(super) const NONE: u32 = 0;
/// What the kernel calls the quotas of projects; those of users are 0, and of groups 1.
const OF_PROJECTS: u32 = 2;
const GET_QUOTA: u32 = 0x80_0007;
const SET_QUOTA: u32 = 0x80_0008;
/// In the words of XFS, which other file systems understand.
const GET_STATE: u32 = ('X' as u32) << 8 | 8;
/// What is on is bit by bit in the state: that usage is counted, and that limits hold.
const COUNTED: u16 = 1 << 4;
const ENFORCED: u16 = 1 << 5;
/// Which fields of a quota are set.
const LIMITS_OF_BLOCKS: u32 = 1;
/// The unit of limits.
const BLOCK: u64 = 1024;
/// Of a folder: what is made in it is of its project.
const HANDED_DOWN: u32 = 0x200;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_bytes: u32,
    extents: u32,
    project: u32,
    copy_extent_bytes: u32,
    reserved: [u8; 8],
}

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Quota {
    hard_blocks: u64,
    soft_blocks: u64,
    used_bytes: u64,
    hard_files: u64,
    soft_files: u64,
    used_files: u64,
    blocks_until: u64,
    files_until: u64,
    valid: u32,
}

/// `struct fs_quota_statv`.
#[repr(C)]
struct State {
    version: i8,
    padding: u8,
    flags: u16,
    rest: [u32; 38],
}

/// What the files of a project take, and may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) used_bytes: u64,
    /// 0 is no limit.
    pub(crate) limit_bytes: u64,
    pub(super) files: u64,
}

/// Whether the file system of a folder holds projects to their limits.
///
/// # Errors
/// It has no quotas of projects, or they are off.
pub(super) fn is_enforced(folder: impl AsFd) -> io::Result<bool> {
    let mut state = State { version: 1, padding: 0, flags: 0, rest: [0; 38] };
    // SAFETY: it is as large as the kernel's structure, which the kernel fills, and outlives the call.
    unsafe { quotactl(folder, GET_STATE, NONE, &raw mut state) }?;
    Ok(state.flags & (COUNTED | ENFORCED) == COUNTED | ENFORCED)
}

/// What a project takes; nothing, if nobody has heard of it.
pub(super) fn fill(folder: impl AsFd, project: u32) -> io::Result<Fill> {
    let mut quota = Quota::default();
    // SAFETY: it is laid out as the kernel's structure, which the kernel fills, and outlives the call.
    match unsafe { quotactl(folder, GET_QUOTA, project, &raw mut quota) } {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => return Ok(Fill::default()),
        result => result?,
    }
    let limit_bytes = quota.hard_blocks.saturating_mul(BLOCK);
    Ok(Fill { used_bytes: quota.used_bytes, limit_bytes, files: quota.used_files })
}

/// Says what a project may take; 0 is no limit.
pub(super) fn limit(folder: impl AsFd, project: u32, bytes: u64) -> io::Result<()> {
    let hard_blocks = bytes.div_ceil(BLOCK);
    let mut quota = Quota { hard_blocks, valid: LIMITS_OF_BLOCKS, ..Quota::default() };
    // SAFETY: it is laid out as the kernel's structure, which the kernel reads, and outlives the call.
    unsafe { quotactl(folder, SET_QUOTA, project, &raw mut quota) }
}

/// # Safety
/// `data` points to what the kernel wants for the command.
unsafe fn quotactl<T>(folder: impl AsFd, command: u32, project: u32, data: *mut T) -> io::Result<()> {
    let command = command << 8 | OF_PROJECTS;
    // SAFETY: the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_quotactl_fd, folder.as_fd().as_raw_fd(), command, project, data) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whose a file or folder is.
pub(super) fn of(file: impl AsFd) -> io::Result<u32> {
    attributes(file).map(|attributes| attributes.project)
}

/// Makes a file a project's.
pub(super) fn give_file(file: impl AsFd, project: u32) -> io::Result<()> {
    let attributes = Attributes { project, ..attributes(file.as_fd())? };
    set_attributes(file, &attributes)
}

/// Makes a folder a project's, with what is made in it from then on.
pub(super) fn give_folder(folder: impl AsFd, project: u32) -> io::Result<()> {
    let before = attributes(folder.as_fd())?;
    set_attributes(folder, &Attributes { project, flags: before.flags | HANDED_DOWN, ..before })
}

fn attributes(file: impl AsFd) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    let read = libc::Ioctl::from(opcode::read::<Attributes>(b'X', 31));
    // SAFETY: the attributes are laid out as the kernel's structure, which the kernel fills, and outlive the call.
    let result = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), read, &raw mut attributes) };
    if result == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

fn set_attributes(file: impl AsFd, attributes: &Attributes) -> io::Result<()> {
    let write = libc::Ioctl::from(opcode::write::<Attributes>(b'X', 32));
    // SAFETY: the attributes are laid out as the kernel's structure, which the kernel reads, and outlive the call.
    let result = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), write, std::ptr::from_ref(attributes)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
