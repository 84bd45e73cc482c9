//! The few system calls that have no safe wrapper.

#![expect(
    unsafe_code,
    reason = "signalfd, wait4, close_range, malloc_trim, fork, unshare, mount_setattr, clone3, an ioctl and a step between fork and exec have no safe wrapper"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::ptr;

use rustix::fs::CWD;
use rustix::process::{Gid, Pid, Uid};
use rustix::thread::{UnshareFlags, set_thread_gid, set_thread_groups, set_thread_uid};

use super::protocol::{Outcome, Usage};
use super::stdio::Leads;

/// Closes every descriptor above standard error, so that nothing of the agent's (sockets, locks) is held by a process that outlives it.
///
/// Must come before this process has opened anything of its own.
pub(super) fn close_inherited() -> io::Result<()> {
    // SAFETY: called first in main of a single-threaded process, when no value owns a descriptor above 2.
    let result = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends this process at once. What the C library does at the end of a program nobody needs here, and in a process that was forked it would
/// copy every page that it writes to.
pub(super) fn end(code: u8) -> ! {
    // SAFETY: it never returns, and every file was written without a buffer.
    unsafe { libc::_exit(code.into()) }
}

/// Resets every signal to its default action, then blocks those that this process reads from the returned descriptor instead.
///
/// HUP, INT, QUIT and PIPE are blocked and never acted upon: Ctrl-C in the agent's terminal must not reach a task. Blocked and default is
/// better than ignored: [`unblock_signals`] undoes it.
pub(super) fn signal_descriptor() -> io::Result<OwnedFd> {
    let blocked = [libc::SIGCHLD, libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE];
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is initialised by sigemptyset before any other use; no handler is installed, so no code runs in signal context; the
    // descriptor is new and owned by nobody else.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in blocked {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        if libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        for signal in 1..=libc::SIGRTMAX() {
            // Refused for SIGKILL, SIGSTOP and the C library's own signals, which have no other action anyway.
            libc::signal(signal, libc::SIG_DFL);
        }
        let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Size of one record read from [`signal_descriptor`].
pub(super) const SIGNAL_RECORD_BYTES: usize = size_of::<libc::signalfd_siginfo>();

/// The signals in what was read from [`signal_descriptor`], and who sent each: 0 is a process outside of this one's namespace.
pub(super) fn signals(records: &[u8]) -> impl Iterator<Item = (u32, u32)> + '_ {
    let number =
        |record: &[u8], at: usize| u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    let sender = std::mem::offset_of!(libc::signalfd_siginfo, ssi_pid);
    records.chunks_exact(SIGNAL_RECORD_BYTES).map(move |record| (number(record, 0), number(record, sender)))
}

/// What [`reap`] found.
pub(super) enum Reaped {
    /// A child has ended and is gone now.
    Child(i32, Outcome, Usage),
    /// There are children, all of them alive.
    NoneEnded,
    /// There is no child at all.
    NoChildren,
}

/// Waits for one child that has already ended.
pub(super) fn reap() -> io::Result<Reaped> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are valid for writes; a zeroed rusage is a valid rusage.
    let (pid, usage) =
        unsafe { (libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()), usage.assume_init()) };
    if pid < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ECHILD) { Ok(Reaped::NoChildren) } else { Err(error) };
    }
    if pid == 0 {
        return Ok(Reaped::NoneEnded);
    }
    let outcome = if libc::WIFSIGNALED(status) {
        Outcome::Signaled { signal: libc::WTERMSIG(status) }
    } else {
        Outcome::Exited { code: libc::WEXITSTATUS(status) }
    };
    Ok(Reaped::Child(pid, outcome, to_usage(&usage)))
}

fn to_usage(usage: &libc::rusage) -> Usage {
    let micros = |time: libc::timeval| time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs();
    Usage {
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        max_rss_kib: usage.ru_maxrss.unsigned_abs(),
    }
}

/// Blocks no signal any more. Only makes a system call.
pub(super) fn unblock_signals() -> io::Result<()> {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before it is used.
    let result = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes this process, which has only one thread, an ordinary process of a user.
pub(super) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    set_thread_groups(&[])?;
    set_thread_gid(Gid::from_raw(gid))?;
    set_thread_uid(Uid::from_raw(uid))?;
    Ok(())
}

/// Makes this process a leader, unless it only leads a group, which it does already. Only makes system calls.
pub(super) fn lead(what: Leads) -> io::Result<()> {
    if what == Leads::Group {
        return Ok(());
    }
    rustix::process::setsid()?;
    if what == Leads::Terminal {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
    }
    Ok(())
}

/// Lets a command enter a cgroup by its entrance before it is executed.
pub(super) fn enter_cgroup(command: &mut Command, entrance: std::fs::File) {
    let step = move || rustix::io::write(&entrance, b"0").map(drop).map_err(io::Error::from);
    // SAFETY: between fork and exec the closure makes one system call.
    unsafe { command.pre_exec(step) };
}

/// Lets a command be executed among the mounts that `mounts` names, with that namespace's root and working directory.
pub(super) fn on_the_machine(command: &mut Command, mounts: OwnedFd) {
    let step = move || {
        let kind = rustix::thread::LinkNameSpaceType::Mount;
        rustix::thread::move_into_link_name_space(mounts.as_fd(), Some(kind)).map_err(io::Error::from)
    };
    // SAFETY: between fork and exec the closure makes one system call.
    unsafe { command.pre_exec(step) };
}

/// Lets a command be executed with this folder as its root.
pub(super) fn below(command: &mut Command, root: OwnedFd) {
    let step = move || {
        rustix::process::fchdir(&root)?;
        rustix::process::chroot(".").map_err(io::Error::from)
    };
    // SAFETY: between fork and exec the closure makes two system calls.
    unsafe { command.pre_exec(step) };
}

/// Leaves namespaces of the calling thread behind.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    assert!(!flags.contains(UnshareFlags::FILES), "descriptors stay shared");
    // SAFETY: it is unsafe for the sake of descriptors only.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// Makes `lo` usable in a network namespace that was just made.
pub(super) fn raise_loopback() -> io::Result<()> {
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        flags: libc::c_short,
        /// The kernel's structure is a union; this one is as large.
        rest: [u8; 22],
    }
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: libc::IFF_UP as libc::c_short, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    let fd = socket.as_raw_fd();
    // SAFETY: the request is laid out as the kernel wants it and outlives the call; the kernel only reads it.
    let result = unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, ptr::from_ref(&request)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a user namespace; `look` gets the number, as `/proc` has it, of a process that waits in it. Only for a process with one thread.
pub(super) fn with_user_namespace<T>(look: impl FnOnce(i32) -> io::Result<T>) -> io::Result<T> {
    let (made, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (waits, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: this process has one thread, so no lock is held in the copy, which makes system calls only and ends in _exit.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        drop(go);
        let made = unshare(UnshareFlags::NEWUSER).and_then(|()| own_number());
        // No process has the number of an error, turned round.
        let said = made.unwrap_or_else(|error| -error.raw_os_error().unwrap_or(libc::EINVAL));
        // The other side sees at least that this one is gone.
        let _unsaid = rustix::io::write(&theirs, &said.to_ne_bytes());
        let _told = rustix::io::read(&waits, &mut [0; 1]);
        // SAFETY: it has no preconditions.
        unsafe { libc::_exit(0) }
    }
    drop(theirs);
    let mut said = [0; 4];
    let result = match rustix::io::read(&made, &mut said) {
        Ok(4) => match i32::from_ne_bytes(said) {
            error @ ..0 => Err(io::Error::from_raw_os_error(-error)),
            number => look(number),
        },
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) => Err(error.into()),
    };
    drop(go);
    let _reaped = rustix::process::waitpid(Pid::from_raw(pid), rustix::process::WaitOptions::empty());
    result
}

/// This process as the mounted `/proc` has it, which may be that of another namespace.
fn own_number() -> io::Result<i32> {
    std::fs::read_link("/proc/self")?.to_string_lossy().parse().map_err(io::Error::other)
}

/// Does something with files as a user, with all the rights that this process has. Only for a process with one thread.
pub(super) fn with_files_of<T>((uid, gid): (u32, u32), work: impl FnOnce() -> T) -> io::Result<T> {
    let be = |uid, gid| {
        // SAFETY: they have no preconditions; they answer who this was before, also if they fail.
        unsafe {
            libc::setfsgid(gid);
            libc::setfsuid(uid);
        }
    };
    be(uid, gid);
    let mut own = rustix::thread::capabilities(None)?;
    // The kernel takes those that are about files from whoever ceases to be root, and leaves them to be taken back.
    own.effective = own.permitted;
    let raised = rustix::thread::set_capabilities(None, own);
    let done = raised.is_ok().then(work);
    be(0, 0);
    raised?;
    Ok(done.expect("it was done"))
}

/// Lets a copy of this process, which has one thread, do something that may fail, and waits for its answer.
pub(super) fn in_child(work: impl FnOnce() -> Result<(), String>) -> io::Result<Result<(), String>> {
    let (answer, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: this process has one thread, so no lock is held in the copy, which ends in _exit.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        let said = work().err().unwrap_or_default();
        // The other side finds nothing said: that is an error too.
        let _unsaid = rustix::io::write(&theirs, format!("{said}\n").as_bytes());
        // SAFETY: it has no preconditions.
        unsafe { libc::_exit(0) }
    }
    drop(theirs);
    let mut said = String::new();
    let read = io::Read::read_to_string(&mut std::fs::File::from(answer), &mut said);
    let _reaped = rustix::process::waitpid(Pid::from_raw(pid), rustix::process::WaitOptions::empty());
    read?;
    match said.strip_suffix('\n') {
        Some("") => Ok(Ok(())),
        Some(why) => Ok(Err(why.to_owned())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Makes a network namespace with a loopback; `keep` gets the file by which it can be kept.
pub(crate) fn make_network_namespace(keep: impl FnOnce(&Path) -> io::Result<()> + Send) -> io::Result<()> {
    // A thread of its own, that ends with what it has left.
    let make = || {
        unshare(UnshareFlags::NEWNET)?;
        raise_loopback()?;
        keep(Path::new("/proc/thread-self/ns/net"))
    };
    std::thread::scope(|scope| scope.spawn(make).join()).expect("it does not panic")
}

/// Spawns a command as the first process of a new PID namespace.
pub(super) fn spawn_first(command: &mut Command) -> io::Result<Child> {
    // A thread of its own, since all its children would be born in such namespaces from then on.
    let spawn = || {
        unshare(UnshareFlags::NEWPID)?;
        command.spawn()
    };
    std::thread::scope(|scope| scope.spawn(spawn).join()).expect("it does not panic")
}

/// Whether what is mounted can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// What a change of mounts is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    One,
    /// Also all mounts below it.
    All,
}

/// Changes the access to what is mounted at `path`, in this mount namespace only.
pub(super) fn set_mount(path: &Path, access: Access, depth: Depth) -> io::Result<()> {
    const READ_ONLY: u64 = 1;
    const RECURSIVE: libc::c_uint = 0x8000;
    let (set, clear) = match access {
        Access::ReadOnly => (READ_ONLY, 0),
        Access::ReadWrite => (0, READ_ONLY),
    };
    let attributes = Attributes { set, clear, propagation: 0, user_namespace: 0 };
    let flags = if depth == Depth::All { RECURSIVE } else { 0 };
    let path = CString::new(path.as_os_str().as_bytes())?;
    set_attributes(CWD.as_fd(), &path, flags, &attributes)
}

/// Lets a mount that is not attached yet show files as if they were of the users of a namespace.
pub(super) fn map_mount(mount: &OwnedFd, users: &OwnedFd) -> io::Result<()> {
    const MAPPED: u64 = 0x10_0000;
    let user_namespace = u64::from(users.as_raw_fd().unsigned_abs());
    let attributes = Attributes { set: MAPPED, clear: 0, propagation: 0, user_namespace };
    set_attributes(mount.as_fd(), c"", libc::AT_EMPTY_PATH.unsigned_abs(), &attributes)
}

/// `struct mount_attr`.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn set_attributes(folder: BorrowedFd<'_>, path: &CStr, flags: libc::c_uint, attributes: &Attributes) -> io::Result<()> {
    // SAFETY: path and attributes outlive the call, and the attributes are laid out as the kernel wants them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            folder.as_raw_fd(),
            path.as_ptr(),
            flags,
            ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives memory that was freed back to the system; the allocator would keep it for a process that is going to sleep.
pub(super) fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A pid read from the kernel, if it is one that can be signalled.
pub(super) fn pid(raw: i32) -> Option<Pid> {
    // Negative and zero ids address groups, 1 is init: none is ever a task's process.
    if raw > 1 { Pid::from_raw(raw) } else { None }
}
