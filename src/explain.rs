//! `why`, for people: every reason that holds, most agents first, in sentences.

use std::fmt::Write;

use rialto_sdk::core::allocator::explain::{Explanation, Wait};

/// The explanation as text.
pub fn render(explanation: &Explanation) -> String {
    let mut text = String::new();
    if let Some((key, state, message)) = &explanation.task {
        let detail = if message.is_empty() { String::new() } else { format!(": {message}") };
        line(&mut text, format_args!("{key} is {state}{detail}"));
    } else if explanation.waits.is_empty() {
        line(&mut text, format_args!("{}: nothing waits", explanation.subject));
    }
    for wait in &explanation.waits {
        render_wait(&mut text, wait);
    }
    text
}

fn render_wait(text: &mut String, wait: &Wait) {
    let count = if wait.count == 1 { String::new() } else { format!(" (x{})", wait.count) };
    line(text, format_args!("{}{count} waits; it asks for {}", wait.shape, wait.asks));
    if wait.reasons.is_empty() {
        line(text, format_args!("  nothing stands in its way: it should be offered something now"));
    }
    for cause in &wait.reasons {
        if cause.kind.is_about_agents() {
            line(text, format_args!("  {} of {} agents: {}", cause.agents, wait.agents, cause.kind));
        } else {
            line(text, format_args!("  {}", cause.kind));
        }
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("writing to a text does not fail");
}
