//! `supervise DIR` and nothing else, for the tests of the supervisor: `supervise supervise DIR`.

fn main() -> std::process::ExitCode {
    rialto_agent::supervisor::main()
}
