//! A deflate stream taken apart and remade bit for bit.
pub mod alphabet;
pub mod inflate;
mod token;
pub use token::Token;
