//! Sotto's node, made to misbehave on purpose.
//!
//! It is the node of production: registered, staked, with its own key, speaking every protocol. Only between its machine
//! and its event loop stands one of the [`Mode`]s, which changes what the machine says before it is done. So whoever
//! deals with it sees a member that is as well-behaved as the best, but for one thing.
//!
//! ```text
//! sotto-misbehaving --mode MODE <the command line of sotto-node>
//! ```
//!
//! | file | mode | what it does wrong |
//! | --- | --- | --- |
//! | `dropping` | `drop` | acknowledges and confirms, keeps nothing, passes nothing on |
//! | `withholding` | `withhold` | shows readers none of their mail, or half of it, and calls that all |
//! | `tampering` | `tamper` | alters records, numbers, receipts in its answers |
//! | `delaying` | `delay` | answers up to half a minute later |
//! | `replaying` | `replay` | gives an earlier answer, to somebody else or to the same |
//! | `redirecting` | `redirect` | says that another swarm owns the address |
//! | `lying` | `lie` | false heights, clocks, headers, lists, prices |
//! | `equivocating` | `equivocate` | says one thing to one and another thing to the next, signed |
//!
//! What it cannot do from here: whatever never comes out of the machine is as in production. By itself the network
//! relays cells, passes blocks and transactions on, compares clocks with neighbours, answers pings.

mod answers;
mod delaying;
mod dropping;
mod equivocating;
mod lying;
mod mode;
mod redirecting;
mod replaying;
#[cfg(test)]
mod samples;
mod tampering;
mod withholding;

use std::ffi::OsString;
use std::iter;
use std::process::ExitCode;

use clap::Parser;
use sotto_node::run::Start;

pub use self::mode::{Misbehaviour, Mode, Signer, outlet};

/// Runs a Sotto service node that misbehaves on purpose, to see how the others get along with it.
#[derive(Debug, Parser)]
#[command(name = "sotto-misbehaving", version, max_term_width = 110)]
#[command(after_help = "\
Example:
  sotto-misbehaving --mode drop run --datadir /srv/sotto

For testnets only: it would lose its stake anywhere else.")]
struct Cli {
    /// What it does wrong
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Mode,
    /// The command line of sotto-node, without the name
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "SOTTO-NODE")]
    node: Vec<OsString>,
}

/// Runs the command line `args` (the first is the program's name) and says with which code to end.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Cli { mode, node } = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // nobody is left to tell
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let args = iter::once(OsString::from("sotto-node")).chain(node);
    sotto_node::cli::main_with(args, Some(Box::new(move |start: &Start| mode.outlet(start))))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    fn joined(cli: &Cli) -> OsString {
        cli.node.join(OsStr::new(" "))
    }

    #[test]
    fn what_follows_the_mode_is_left_to_the_node_even_if_it_begins_with_a_flag() {
        let cli = parse("evil --mode drop run --datadir here --help --mode lie").unwrap();
        assert_eq!((cli.mode, joined(&cli)), (Mode::Drop, "run --datadir here --help --mode lie".into()));
        let cli = parse("evil --mode lie --json status").unwrap();
        assert_eq!((cli.mode, joined(&cli)), (Mode::Lie, "--json status".into()));
    }

    #[test]
    fn without_a_mode_or_without_a_command_line_nothing_is_run() {
        for line in ["evil run", "evil --mode", "evil --mode drop", "evil --mode kindness run"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_node_answers_for_its_own_command_line() {
        let args = ["evil", "--mode", "drop", "dance"].map(OsString::from);
        assert_eq!(format!("{:?}", main(args)), format!("{:?}", ExitCode::from(2)));
    }
}
