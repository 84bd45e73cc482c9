//! Shells inside of tasks, and tasks with terminals, as somebody at a terminal meets them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::harness::{AgentSpec, Cluster, Process, find, is_alive, wait_until};

fn solo() -> Cluster {
    Cluster::start_contained(&[AgentSpec::roomy("solo")])
}

/// A task that has begun, and says so.
fn task(cluster: &Cluster, line: &str) -> Process {
    let run = cluster.spawn(&["run", "--", "sh", "-c", &format!("echo begun; {line}")]);
    wait_until("the task has begun", || run.stdout().contains("begun"));
    wait_until("it is known to run", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    run
}

/// Somebody at a terminal of their own.
struct Person {
    terminal: File,
    child: Child,
    seen: Arc<Mutex<String>>,
}

impl Person {
    /// Runs a command at a terminal of that size.
    fn at_terminal(cluster: &Cluster, rows: u16, columns: u16, args: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("there are terminals");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let slave = ioctl_tiocgptpeer(&master, flags).expect("it has another side");
        resize(&master, rows, columns);
        let rialto = cluster.command(args);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(rialto.get_program()).args(rialto.get_args());
        command.env_clear();
        command.envs(rialto.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let Some(folder) = rialto.get_current_dir() {
            command.current_dir(folder);
        }
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid is of every system");
        let terminal = File::from(master);
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut screen, shown) = (terminal.try_clone().expect("a descriptor"), seen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = screen.read(&mut bytes) {
                shown.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&bytes[..len]));
            }
        });
        Self { terminal, child, seen }
    }

    fn types(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).expect("the terminal takes it");
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        find(&format!("the terminal shows {text:?}"), || {
            let seen = self.seen.lock().expect("nobody panics with it");
            seen.contains(text).then_some(())
        });
    }

    #[track_caller]
    fn code(mut self) -> i32 {
        let status = find("the command ends", || self.child.try_wait().expect("it is our child"));
        status.code().expect("it exits")
    }
}

fn resize(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a terminal has a size");
}

#[test]
fn a_command_runs_beside_a_task_with_its_rights_and_no_others() {
    let cluster = solo();
    let look = "for ns in pid mnt ipc uts net user; do readlink /proc/self/ns/$ns; done; \
                grep -E 'Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp:' /proc/self/status; \
                cat /proc/self/cgroup; pwd; echo $RIALTO_TASK_ID; ulimit -n; ls /dev | grep -v ptmx";
    let task = task(&cluster, &format!("({look}) > own; sleep 1000"));
    wait_until("it has looked", || cluster.rialto(&["exec", "last", "--", "cat", "own"]).stdout.contains("NoNewPrivs"));
    let own = cluster.rialto(&["exec", "last", "--", "cat", "own"]);
    let nested = cluster.rialto(&["exec", "last", "--", "sh", "-c", look]);
    assert_eq!((nested.code, nested.stdout), (0, own.stdout), "{}", nested.stderr);

    let failed = cluster.rialto(&["exec", "last", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((failed.code, &*failed.stdout, &*failed.stderr), (7, "out\n", "err\n"));
    let signalled = cluster.rialto(&["exec", "last", "--", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(signalled.code, 137);
    let missing = cluster.rialto(&["exec", "last", "--", "no-such-program"]);
    assert!(missing.code == 127 && missing.stderr.contains("no-such-program"), "{}", missing.stderr);
    drop(task);
}

#[test]
fn standard_input_reaches_a_command_to_its_last_byte() {
    let cluster = solo();
    let _task = task(&cluster, "sleep 1000");
    let mut counts = cluster.command(&["exec", "-i", "last", "--", "wc", "-c"]);
    let mut counts = counts.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = counts.stdin.take().expect("it is a pipe");
    input.write_all(&vec![b'x'; 3_000_000]).expect("it is read");
    drop(input);
    let counted = counts.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&counted.stdout).trim(), "3000000");

    let much = cluster.rialto(&["exec", "last", "--", "head", "-c", "5000000", "/dev/zero"]);
    assert_eq!((much.code, much.bytes.len()), (0, 5_000_000));
}

#[test]
fn a_shell_has_a_terminal_that_resizes() {
    let cluster = solo();
    let _task = task(&cluster, "sleep 1000");
    let mut person = Person::at_terminal(&cluster, 30, 100, &["exec", "-it", "last", "--", "sh"]);
    person.types("stty size; tty; echo $TERM\n");
    person.sees("30 100");
    person.sees("/dev/pts/");
    person.sees("xterm");
    person.types("trap 'stty size' WINCH; echo armed-$((1+1))\n");
    person.sees("armed-2");
    resize(&person.terminal.try_clone().expect("a descriptor").into(), 41, 133);
    person.types("sleep 0.2\n");
    person.sees("41 133");
    person.types("exit 3\n");
    assert_eq!(person.code(), 3);
}

#[test]
fn what_was_started_ends_with_its_client_and_with_its_task() {
    let cluster = solo();
    let run = task(&cluster, "sleep 1000");
    let folder = cluster.make_folder("observed");
    let line = |name: &str| {
        // Seen from inside, pids are others; the command line is found from outside.
        format!("trap '' TERM HUP; echo > {}; (sleep 777.{name} & sleep 777.{name})", folder.join(name).display())
    };
    let alive = |name: &str| processes_with(&format!("777.{name}"));
    let mut left = cluster.spawn(&["exec", "last", "--", "sh", "-c", &line("1")]);
    wait_until("the first runs", || alive("1").len() == 2);
    left.kill9();
    wait_until("nothing of the first is left", || alive("1").is_empty());

    let stays = cluster.spawn(&["exec", "last", "--", "sh", "-c", &line("2")]);
    wait_until("the second runs", || alive("2").len() == 2);
    assert_eq!(cluster.rialto(&["kill", "last"]).code, 0);
    assert_eq!(stays.finish().code, 137);
    assert!(alive("2").is_empty(), "{:?}", alive("2"));
    run.finish();
    let none = cluster.rialto(&["exec", "last", "--", "true"]);
    assert!(none.code != 0 && none.stderr.contains("does not run"), "{}", none.stderr);
}

/// Processes with a text in their command line, by /proc, but not those that only carry it in a script.
fn processes_with(text: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("there is a /proc");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let says = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|arg| arg == text.as_bytes()))
    };
    pids.filter(|pid| is_alive(*pid) && says(pid)).collect()
}

#[test]
fn a_run_with_a_terminal_is_typed_to_and_can_be_left_and_attached_to() {
    let cluster = solo();
    let mut first = Person::at_terminal(&cluster, 20, 90, &["run", "-it", "--name", "shell", "--", "sh"]);
    first.types("stty size; echo ready-$((2+3))\n");
    first.sees("ready-5");
    first.sees("20 90");

    let mut second = Person::at_terminal(&cluster, 25, 95, &["attach", "shell"]);
    second.types("stty size; echo from-$((3+4))\n");
    second.sees("from-7");
    second.sees("25 95");
    first.sees("from-7");
    second.types("\u{10}\u{11}");
    second.sees("it runs on");
    assert_eq!(second.code(), 0);

    first.types("exit 5\n");
    assert_eq!(first.code(), 5);
}

#[test]
fn a_run_reads_its_users_standard_input() {
    let cluster = solo();
    let mut run = cluster.command(&["run", "-i", "--", "sh", "-c", "tr a-z A-Z; echo end"]);
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    run.stdin.take().expect("it is a pipe").write_all(b"quiet words\n").expect("it is read");
    let ended = run.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), &*String::from_utf8_lossy(&ended.stdout)), (Some(0), "QUIET WORDS\nend\n"));
}

#[test]
fn plain_processes_have_shells_too() {
    let cluster = Cluster::dev_of_processes();
    let _task = task(&cluster, "sleep 1000");
    let mut person = Person::at_terminal(&cluster, 30, 100, &["exec", "-it", "last", "--", "sh"]);
    person.types("stty size; echo $RIALTO_TASK_ID\n");
    person.sees("30 100");
    person.types("exit 4\n");
    assert_eq!(person.code(), 4);
}
