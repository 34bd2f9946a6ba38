//! `sotto-misbehaving`: everything is in the library.

fn main() -> std::process::ExitCode {
    sotto_misbehaving::main(std::env::args_os())
}
