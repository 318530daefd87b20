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

impl NodeArgs {
    /// True if the user asked for JSON.
    pub fn is_json(&self) -> bool {
        match &self.action {
            NodeAction::Stage(stage) => stage.json,
            NodeAction::Status(status) => status.json,
            NodeAction::Serve(_) | NodeAction::Clean(_) => false,
        }
    }
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
    Clean(CleanArgs),
}

#[derive(Args, Debug)]
pub struct NodeConfigArgs {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE", env = "IMGDELTA_NODE_CONFIG")]
    pub config: PathBuf,
}

#[derive(Args, Debug)]
pub struct CleanArgs {
    #[command(flatten)]
    pub node: NodeConfigArgs,

    /// Then wait for SIGTERM, for a `DaemonSet` that cleans each node
    #[arg(long)]
    pub wait: bool,
}

#[derive(Args, Debug)]
pub struct StageArgs {
    #[command(flatten)]
    pub node: NodeConfigArgs,

    /// Images, such as registry.example/app:1.1
    #[arg(
        required_unless_present_any = ["from_file", "running"],
        value_name = "IMAGE",
        value_parser = image_name
    )]
    pub images: Vec<Reference>,

    /// Stage the images of a list, too: one per line, with comments after `#`; `-` is standard input
    #[arg(long, value_name = "LIST")]
    pub from_file: Vec<PathBuf>,

    /// Stage again each tag that images on the node have and that the configuration's registries serve.
    /// This fetches what has moved since, such as `:stable`; it does not find new tags
    #[arg(long)]
    pub running: bool,

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
pub fn image_name(text: &str) -> Result<Reference, String> {
    let text = text.strip_prefix("docker://").unwrap_or(text);
    Reference::from_str(&format!("docker://{text}")).map_err(|error| error.to_string())
}
