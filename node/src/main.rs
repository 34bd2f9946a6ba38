//! `sotto-node`: everything is in the library.

fn main() -> std::process::ExitCode {
    sotto_node::cli::main(std::env::args_os())
}
