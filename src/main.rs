//! The program: a window, and the same work from the command line.

fn main() -> std::process::ExitCode {
    copgen::cli::main()
}
