//! Arguments of a command that this build does not have.

/// Accepts anything, so that every use of the command gets the same answer.
#[derive(clap::Args, Debug)]
pub struct MissingArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<std::ffi::OsString>,
}
