//! A whole framework: runs three tasks and ends when all have ended. `cargo run -p rialto-sdk --example hello`, beside `rialto dev`.

use rialto_sdk::model::{Demand, Refusal, Role, TaskId, Time};
use rialto_sdk::placement::{Packer, Strategy};
use rialto_sdk::{Access, Command, Happening, Options, Out, Scheduler, start};

struct Hello {
    role: Role,
    command: Command,
    waiting: u32,
    running: u32,
}

impl Hello {
    fn launch(&mut self, out: &mut Out<String>) {
        let mut packer = Packer::new(&self.role, out.offers());
        while self.waiting > 0 {
            let Some(placement) = packer.place(&self.command.needs, Strategy::Spread) else { break };
            let id = TaskId::new(&format!("hello-{}", self.waiting)).expect("a number makes an id");
            packer.launch(&placement, self.command.task(id, &self.role, &placement));
            self.waiting -= 1;
            self.running += 1;
        }
        packer.submit(out, &Refusal::default());
        let shapes = (self.waiting > 0).then(|| self.command.shape(self.waiting)).into_iter().collect();
        out.demand(&self.role, Demand { shapes });
    }
}

impl Scheduler for Hello {
    type Command = ();
    type Effect = String;

    fn on_event(&mut self, _now: Time, event: Happening<()>, out: &mut Out<String>) {
        match event {
            Happening::Subscribed { .. } | Happening::Offers => self.launch(out),
            Happening::Update(status) => {
                out.effect(format!("{}: {}", status.task, status.state));
                self.running -= u32::from(status.state.is_terminal());
                if self.running + self.waiting == 0 {
                    out.teardown();
                }
            }
            Happening::Rejected { tasks, reject } => {
                out.effect(format!("{tasks:?} were not launched: {reject}"));
                out.teardown();
            }
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7070".to_owned());
    let role = Role::new("default")?;
    let options = Options::new(Access::new(&address)?, "hello", [role.clone()]);
    let hello = Hello { role, command: Command::shell("echo hello; sleep 1").cpus("0.1")?, waiting: 3, running: 0 };
    start(options, |_saved| Ok(hello), |line| println!("{line}"))?.wait().await?;
    Ok(())
}
