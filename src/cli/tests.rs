use clap::CommandFactory;

use super::*;

#[test]
fn no_two_options_of_a_command_have_the_same_name() {
    Cli::command().debug_assert();
}
