//! A deflate stream taken apart and remade bit for bit.
pub mod alphabet;
pub mod inflate;
mod bits;
mod huffman;
mod window;
#[doc(hidden)]
pub mod golang;
#[doc(hidden)]
pub mod klauspost;
#[doc(hidden)]
pub mod zlib;
mod token;
pub use bits::BitWriter;
pub use token::Token;
