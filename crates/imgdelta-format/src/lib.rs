//! Digest types, limits and the byte layout of imgdelta's files.
