//! Arguments of `node`.
//!
//! Holds values only.

use clap::{Args, Subcommand};
use imgdelta::Reference;
use std::{path::PathBuf, str::FromStr};

#[derive(Args, Debug)]
pub struct NodeArgs {
    #[command(subcommand)]
    pub action: NodeAction,
}

#[derive(Debug, Subcommand)]
pub enum NodeAction {
    /// Serve the mirror that the runtime asks first, until SIGTERM
    Serve(NodeConfigArgs),
    /// Put the layers of images into the runtime's store before anything pulls them
    Stage(StageArgs),
    /// Show what a running mirror holds, rebuilt and saved
    Status(StatusArgs),
    /// Remove temporary files, kept blobs, hosts.toml files of the mirror, and staged layers that no
    /// image uses
    Clean(NodeConfigArgs),
}

#[derive(Args, Debug)]
pub struct NodeConfigArgs {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE", env = "IMGDELTA_NODE_CONFIG")]
    pub config: PathBuf,
}

#[derive(Args, Debug)]
pub struct StageArgs {
    #[command(flatten)]
    pub node: NodeConfigArgs,

    /// Images, such as registry.example/app:1.1
    #[arg(required = true, value_name = "IMAGE", value_parser = image)]
    pub images: Vec<Reference>,

    /// Print one JSON document per line for each image
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    pub node: NodeConfigArgs,

    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// Parses the name of an image as runtimes write it, with or without `docker://`.
fn image(text: &str) -> Result<Reference, String> {
    let text = text.strip_prefix("docker://").unwrap_or(text);
    Reference::from_str(&format!("docker://{text}")).map_err(|error| error.to_string())
}
