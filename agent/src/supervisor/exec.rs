//! Executing a program in a child that borrows this process's memory until then.
//!
//! To copy the memory only to replace it costs more than all else that a start needs: page tables are copied, and each page that either of
//! the two writes to afterwards. So the child shares it (as after `vfork`), with a stack of its own, while this process waits for it.

#![expect(
    unsafe_code,
    reason = "clone3 with shared memory, and execve with what was laid ready before, have no safe wrapper"
)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Pid, Signal};

use super::contain::Entry;
use super::stdio::{Leads, Theirs};

/// Where programs are looked for if the environment does not say, as the C library does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// What runs a file that is no program and names none.
const SHELL: &CStr = c"/bin/sh";
/// The child makes some system calls and never returns.
const STACK_BYTES: usize = 64 * 1024;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A program with its arguments and its surroundings, ready to be executed.
pub(super) struct Program {
    /// Where it may be, in the order in which it is looked for.
    paths: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    directory: CString,
    streams: [OwnedFd; 3],
}

impl Program {
    /// Of two variables with one name the last counts. Nothing is looked for yet.
    ///
    /// # Errors
    /// Something has a NUL in it, or a stream can't be made.
    pub(super) fn new(
        argv: &[impl AsRef<OsStr>],
        environment: &[(String, String)],
        directory: &Path,
        streams: &Theirs,
    ) -> io::Result<Self> {
        let named: BTreeMap<&str, &str> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
        let file = argv.first().ok_or(io::ErrorKind::InvalidInput)?.as_ref();
        let variables = named.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        Ok(Self {
            paths: places(file, named.get("PATH").copied().unwrap_or(DEFAULT_PATH))?,
            arguments: argv.iter().map(|word| CString::new(word.as_ref().as_bytes())).collect::<Result<_, _>>()?,
            environment: variables.collect::<Result<_, _>>()?,
            directory: CString::new(directory.as_os_str().as_bytes())?,
            streams: streams.all()?,
        })
    }

    /// Executes it in a child that has taken the steps of `entry`, and that is born in `cradle`, if there is one. The inner result is that
    /// of the steps and the program, with the child's id; the outer that of the clone. Only for a process with one thread.
    pub(super) fn execute(&self, entry: &Entry, cradle: Option<BorrowedFd<'_>>) -> io::Result<io::Result<i32>> {
        let arguments = pointers(&self.arguments);
        let environment = pointers(&self.environment);
        // The place of the script is found out by the child.
        let mut script = vec![ptr::null(); 2];
        script.extend(&arguments[1..]);
        let mut child = Child {
            program: self,
            entry,
            streams: self.streams.each_ref().map(AsRawFd::as_raw_fd),
            arguments: &arguments,
            script: &mut script,
            environment: &environment,
            parent: rustix::process::getpid(),
            failure: Failure::map()?,
        };
        let mut request = clone3(cradle);
        // SAFETY: `begin` makes system calls only, writes nothing but the child's own stack, `script` and `failure`, and ends in execve or
        // _exit. Until then this process waits (`CLONE_VFORK`), so all that it was given outlives it.
        let pid = unsafe { clone(&mut request, begin, &raw mut child) }?;
        let failure = child.failure.get();
        if failure == 0 {
            return Ok(Ok(pid));
        }
        // It has ended, or is about to.
        let _reaped = rustix::process::waitpid(Pid::from_raw(pid), rustix::process::WaitOptions::empty());
        Ok(Err(io::Error::from_raw_os_error(failure)))
    }
}

/// Where a program of that name may be.
fn places(file: &OsStr, path: &str) -> io::Result<Vec<CString>> {
    if file.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if file.as_bytes().contains(&b'/') {
        return Ok(vec![CString::new(file.as_bytes())?]);
    }
    let place = |folder: &str| {
        let mut place = folder.as_bytes().to_vec();
        // An empty part is the working directory.
        if !place.is_empty() {
            place.push(b'/');
        }
        place.extend_from_slice(file.as_bytes());
        Ok(CString::new(place)?)
    };
    path.split(':').map(place).collect()
}

/// As `execve` wants them: with a null at the end.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// What the child reads. It must not allocate, so everything lies ready.
struct Child<'a> {
    program: &'a Program,
    entry: &'a Entry,
    streams: [RawFd; 3],
    arguments: &'a [*const libc::c_char],
    /// For a file that is no program: two places, for the shell and the file, and the arguments.
    script: &'a mut [*const libc::c_char],
    environment: &'a [*const libc::c_char],
    parent: Pid,
    failure: Failure,
}

/// The child's first and only function.
extern "C" fn begin(child: *mut Child<'_>) -> ! {
    // SAFETY: it points to what `execute` keeps while it waits for this process.
    let child = unsafe { &mut *child };
    let error = match child.prepare() {
        Ok(()) => child.execute(),
        Err(error) => error.raw_os_error().unwrap_or(libc::EINVAL),
    };
    child.failure.set(error);
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(127) }
}

impl Child<'_> {
    fn prepare(&self) -> io::Result<()> {
        for (number, stream) in self.streams.into_iter().enumerate() {
            // SAFETY: it is about numbers; none of the three belongs to a value of this process, which is a copy in this respect.
            if unsafe { libc::dup2(stream, libc::c_int::try_from(number).unwrap_or(0)) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        rustix::process::chdir(&*self.program.directory)?;
        if self.entry.leads == Leads::Group {
            rustix::process::setpgid(None, None)?;
        }
        super::sys::unblock_signals()?;
        // Before the next: a process that becomes another user forgets what is to happen when its parent dies.
        self.entry.take()?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the request was made.
        if rustix::process::getppid() != Some(self.parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // Last: the steps before may make calls that the command may not.
        self.entry.confine()
    }

    /// Comes back only with the system's error: that of the first place where there is something, else of the last.
    fn execute(&mut self) -> i32 {
        let mut refused = false;
        let mut error = libc::ENOENT;
        for place in &self.program.paths {
            error = exec(place.as_ptr(), self.arguments, self.environment);
            if error == libc::ENOEXEC {
                (self.script[0], self.script[1]) = (SHELL.as_ptr(), place.as_ptr());
                error = exec(SHELL.as_ptr(), self.script, self.environment);
            }
            match error {
                libc::EACCES => refused = true,
                libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
                _ => return error,
            }
        }
        if refused { libc::EACCES } else { error }
    }
}

fn exec(path: *const libc::c_char, arguments: &[*const libc::c_char], environment: &[*const libc::c_char]) -> i32 {
    // SAFETY: all three point to strings, and lists of strings that end with a null, which outlive the call.
    unsafe { libc::execve(path, arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}

/// The system's error, where the child can write it and this process can read it, also if they share nothing else.
struct Failure(*mut AtomicI32);

impl Failure {
    fn map() -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let page = unsafe { libc::mmap(ptr::null_mut(), size_of::<AtomicI32>(), access, flags, -1, 0) };
        if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(page.cast())) }
    }

    fn cell(&self) -> &AtomicI32 {
        // SAFETY: it is mapped for as long as this lives, begins as 0, and a page is aligned for it.
        unsafe { &*self.0 }
    }

    fn set(&self, error: i32) {
        self.cell().store(error, Ordering::SeqCst);
    }

    fn get(&self) -> i32 {
        self.cell().load(Ordering::SeqCst)
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing refers to it any more.
        unsafe { libc::munmap(self.0.cast(), size_of::<AtomicI32>()) };
    }
}

fn clone3(cradle: Option<BorrowedFd<'_>>) -> libc::clone_args {
    // SAFETY: all fields are numbers, for which 0 is a value.
    let mut request: libc::clone_args = unsafe { std::mem::zeroed() };
    request.flags = u64::from(libc::CLONE_VFORK.unsigned_abs());
    request.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if let Some(cradle) = cradle {
        request.flags |= CLONE_INTO_CGROUP;
        request.cgroup = u64::from(cradle.as_raw_fd().unsigned_abs());
    }
    request
}

/// Makes a child that calls `entry`, and waits until it has executed a program or ended.
///
/// # Safety
/// The child shares this process's memory: `entry` must not touch what this process does not expect to change.
#[cfg(target_arch = "x86_64")]
unsafe fn clone(
    request: &mut libc::clone_args,
    entry: extern "C" fn(*mut Child<'_>) -> !,
    child: *mut Child<'_>,
) -> io::Result<i32> {
    let mut stack = vec![MaybeUninit::<u128>::uninit(); STACK_BYTES / size_of::<u128>()];
    request.flags |= u64::from(libc::CLONE_VM.unsigned_abs());
    request.stack = stack.as_mut_ptr() as u64;
    request.stack_size = STACK_BYTES as u64;
    let result: isize;
    // SAFETY: the child has a stack of its own, aligned as calls want it, and never leaves `entry`; for this process it is a system call
    // like any other.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {child}",
            "call {entry}",
            "ud2",
            "2:",
            child = in(reg) child,
            entry = in(reg) entry,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") ptr::from_mut(request),
            in("rsi") size_of::<libc::clone_args>(),
            out("rcx") _,
            out("r11") _,
        );
    }
    made(result)
}

/// Makes a child that calls `entry`, and waits until it has executed a program or ended.
///
/// # Safety
/// It is a copy of this process, in which `entry` must only make system calls.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone(
    request: &mut libc::clone_args,
    entry: extern "C" fn(*mut Child<'_>) -> !,
    child: *mut Child<'_>,
) -> io::Result<i32> {
    // SAFETY: this process has one thread, so no lock is held in the copy, which never leaves `entry`.
    let result = unsafe { libc::syscall(libc::SYS_clone3, ptr::from_mut(request), size_of::<libc::clone_args>()) };
    match result {
        0 => entry(child),
        -1 => Err(io::Error::last_os_error()),
        pid => made(pid as isize),
    }
}

/// What the kernel has answered: a process id, or an error below 0.
fn made(result: isize) -> io::Result<i32> {
    let result = i32::try_from(result).expect("the kernel's process ids and errors fit");
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}
