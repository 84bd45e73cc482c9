//! How a job's commands become one shell script.

/// The commands of a job, `before_script` first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Entries of `before_script`.
    pub before: Vec<String>,
    /// Entries of `script`.
    pub main: Vec<String>,
}

/// What every script begins with. Reading commands get an empty input, never the rest of the script.
const PROLOGUE: &str = "exec </dev/null\nif (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\nset -e\n";

impl Script {
    /// All entries in the order in which they run.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.before.iter().chain(&self.main).map(String::as_str)
    }

    /// One script for a POSIX `sh` (`sh -c TEXT`, or a file), which behaves as if the entries were the lines of a script under
    /// `set -e`: it shows each entry before it runs it, and ends at the first that fails with its exit status. Entries share one
    /// shell, so that `cd`, variables and functions carry over.
    ///
    /// Each entry goes through `eval`, so that an entry with an open quote or `if` is an error of its own instead of swallowing the
    /// next. `pipefail` is on where the shell knows it.
    pub fn shell_text(&self) -> String {
        let mut text = PROLOGUE.to_owned();
        let mut commands = self.commands().peekable();
        while let Some(command) = commands.next() {
            text.push_str(&format!("printf '%s\\n' {}\n", quote(&shown(command))));
            // `a && b` with a failing `a` ends no script under `set -e`, but it would end an `eval`; the `:` takes the status, as
            // the next line of a plain script would. The empty line keeps a trailing backslash from joining the two.
            // The leading space keeps a command that starts with `-` from being taken for an option.
            let tail = if commands.peek().is_some() { "\n\n:" } else { "" };
            text.push_str(&format!("eval {}\n", quote(&format!(" {command}{tail}"))));
        }
        text
    }
}

/// The entry as a shell's user would see it typed.
fn shown(command: &str) -> String {
    format!("$ {}", command.trim_end().replace('\n', "\n> "))
}

/// One shell word that stands for exactly this text.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
