//! Pages about images and jobs, made from the documents that the program prints.
//! Never reads an image, a file or a clock: the same document gives the same page.
//!
//! # The idea
//!
//! A page is one HTML file without any address in it. Its policy allows one style and one script, by
//! their digests, and no request. The tables are complete without the script, which draws the picture
//! of the bytes, searches, and shows more rows.
//!
//! All text of an image is hostile: it is escaped where it is written, and it is never part of a tag.
//!
//! # Modules
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | `document`, `escape` | values of a document; text made safe for HTML, scripts and Markdown |
//! | 1 | `chart`, `markdown`, `page`, `patch` | bars; a comment; a page around sections; hunks |
//! | 2 | `files`, `headline`, `history`, `job`, `picture`, `tables` | sections; the pages of a repository and of a job |
//! | 3 | `upgrade` | the page of an upgrade |

mod chart;
mod document;
mod escape;
mod files;
mod headline;
mod history;
mod job;
mod markdown;
mod page;
mod patch;
mod picture;
mod tables;
mod upgrade;

pub use history::history_page;
pub use job::job_page;
pub use markdown::upgrade_markdown;
pub use upgrade::upgrade_page;
