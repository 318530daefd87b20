//! A deflate stream taken apart and remade bit for bit.
