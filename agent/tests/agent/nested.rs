//! Commands beside the members of a group.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rialto_agent::supervisor::protocol::{Command, Stdio};
use rialto_agent::supervisor::{client, encode_command};
use rialto_core::model::{Exit, TaskState};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::contained::nothing_is_left;
use crate::harness::{TIMEOUT, World, task, until};

/// A command beside a task's own, by its supervisor's socket, and what comes with the first answer to it.
pub(crate) struct Asked {
    lines: BufReader<std::io::Chain<std::io::Cursor<Vec<u8>>, UnixStream>>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

pub(crate) fn ask(world: &World, leader: &str, member: usize, args: &[&str], stdio: Stdio) -> Asked {
    let mut stream = client::connect_beside(&world.run_dir(leader)).expect("its supervisor listens");
    stream.set_read_timeout(Some(*TIMEOUT)).expect("it is a socket");
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a snapshot comes first");
        line.push(byte[0]);
    }
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    stream.write_all(&encode_command(&Command::Exec { task: member.to_string(), args, stdio })).expect("it listens");
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 4096];
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let heard = recvmsg(&stream, &mut parts, &mut control, RecvFlags::empty()).expect("it answers").bytes;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            descriptors.extend(given);
        }
    }
    // How it ends may be said already.
    let opened = bytes[..heard].iter().position(|byte| *byte == b'\n').map_or(heard, |at| at + 1);
    let from = if descriptors.is_empty() { 0 } else { opened };
    Asked { lines: BufReader::new(std::io::Cursor::new(bytes[from..heard].to_vec()).chain(stream)), descriptors }
}

impl Asked {
    /// Everything that it writes; of a terminal until that is closed.
    pub(crate) fn read(&self, descriptor: usize) -> String {
        let mut file = std::fs::File::from(self.descriptors[descriptor].try_clone().expect("it is open"));
        let mut bytes = Vec::new();
        // A terminal whose last process is gone gives an error.
        let _closed = file.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it writes, up to and with a text that it must write.
    pub(crate) fn read_until(&self, descriptor: usize, text: &str) -> String {
        let mut file = std::fs::File::from(self.descriptors[descriptor].try_clone().expect("it is open"));
        let mut bytes = Vec::new();
        while !bytes.ends_with(text.as_bytes()) {
            let mut byte = [0];
            file.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes)));
            bytes.push(byte[0]);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn end(mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it tells the end");
        line
    }
}

#[tokio::test]
async fn a_command_runs_beside_the_member_that_it_names_and_ends_with_it() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    let second = "while ! [ -e go ]; do sleep 0.02; done";
    world.launch(vec![task("t1", "exec sleep 1000"), task("t2", second)]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t2", TaskState::Running).await;
    let look = [
        "sh",
        "-c",
        "echo $RIALTO_TASK_ID; pwd; grep -c '\\.t[12]$' /proc/self/cgroup; grep -o '\\.t[12]$' /proc/self/cgroup | sort -u; exit 5",
    ];
    for (member, id) in ["t1", "t2"].into_iter().enumerate() {
        let asked = ask(&world, "t1", member, &look, Stdio::Output);
        let seen = asked.read(0);
        let lines: Vec<&str> = seen.lines().collect();
        let sandbox = world.sandbox(id).display().to_string();
        assert_eq!((lines[0], lines[1], lines[3]), (id, &*sandbox, &*format!(".{id}")), "{seen}");
        assert!(asked.end().contains("\"code\":5"));
    }
    let terminal = || Stdio::Terminal { rows: 20, columns: 80, kind: String::new() };
    let (of_first, of_second) = (
        ask(&world, "t1", 0, &["sh", "-c", "echo begun; exec sleep 1000"], terminal()),
        ask(&world, "t1", 1, &["sh", "-c", "echo begun; exec sleep 1000"], terminal()),
    );
    std::fs::write(world.sandbox("t2").join("go"), "").expect("it can be written");
    let end = of_second.end();
    assert!(end.contains("signaled"), "it ends with its member: {end}");
    assert_eq!(world.expect("t2", TaskState::Finished).await.exit, Some(Exit::Code(0)));
    let still = ask(&world, "t1", 0, &["sh", "-c", "ps | grep -c 'slee[p]' || true"], Stdio::Output);
    assert_ne!(still.read(0).trim(), "", "commands still run beside the other");
    assert!(of_first.descriptors.len() == 1, "that of the other has its terminal");
    let late = ask(&world, "t1", 1, &["true"], Stdio::Output);
    assert!(late.end().contains("the task does not run"), "none beside one that has ended");
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
    let end = of_first.end();
    assert!(end.contains("signaled"), "it ends with its member: {end}");
    until("the group to end", || world.supervisors().is_empty().then_some(())).await;
    nothing_is_left(&world).await;
}
