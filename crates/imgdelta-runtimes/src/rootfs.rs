//! An unpacked image as a base: a root file system, and a folder with the frames of its layers.
//! Never writes.
//!
//! A device, a virtual machine or a bootc deployment has the merged files of an image, and neither its
//! layers nor its documents. The folder has those documents, and the frames of the layers. A layer
//! whose files are all there is put together from frames and files; another layer is left out.

mod completeness;
mod files;
mod store;

pub use store::RootfsStore;
