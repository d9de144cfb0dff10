//! `agent`: from words to what they name.

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use skerry_agent::places::Places;
use skerry_agent::token::{self, Listed, Made, date};
use skerry_agent::{join, run};
use skerry_sys::log;
use skerry_sys::notify::Notify;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What node and cluster tell each other: joins, credentials, the way to the servers
#[derive(Debug, Parser)]
#[command(name = "agent")]
struct Arguments {
    /// Where all files lie, for tests
    #[arg(long, global = true, hide = true, default_value = "/")]
    root: PathBuf,
    /// Where the API is reached from this node, for tests
    #[arg(long, global = true, hide = true, default_value = "127.0.0.1:6443")]
    local_api: std::net::SocketAddr,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make this node a member of a cluster, and wait as long as that takes
    Join,
    /// Serve the node (and, on a server, the cluster) until ended
    Run,
    /// Tokens by which machines join; on a server
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token, and show the lines for the new machine's configuration
    Create {
        /// When it ends: 30m, 24h, 7d; 0 for never
        #[arg(long, default_value = "24h")]
        ttl: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        form: Form,
    },
    /// Show all tokens, without their secrets
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Delete a token; nodes that joined with it stay
    Delete {
        /// Its id, or the whole token
        token: String,
        #[command(flatten)]
        form: Form,
    },
}

#[derive(Debug, Args)]
struct Form {
    /// As JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::begin("AGENT_DEBUG", &["skerry_agent", "agent"]);
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("{why:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<()> {
    let mut places = Places::below(&arguments.root);
    places.local_api = arguments.local_api;
    // A one-shot is not told where PID 1 listens.
    let socket = std::env::var_os("NOTIFY_SOCKET").unwrap_or_else(|| skerry_control::NOTIFY_SOCKET.into());
    let notify = Notify::new(Some(&socket));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Only names are looked up there.
        .max_blocking_threads(2)
        .build()
        .context("starting")?;
    runtime.block_on(async {
        match &arguments.command {
            Command::Join => join::join(&places, &notify).await,
            Command::Run => run::run(&places, &notify).await,
            Command::Token(command) => tokens(&places, command).await,
        }
    })
}

async fn tokens(places: &Places, command: &TokenCommand) -> Result<()> {
    match command {
        TokenCommand::Create { ttl, description, form } => {
            let ttl = date::span(ttl).map_err(anyhow::Error::msg)?;
            let made = token::create(places, ttl, description).await?;
            show(form, &made, || lines(&made))
        }
        TokenCommand::List { form } => {
            let all = token::list(places).await?;
            show(form, &all, || table(&all))
        }
        TokenCommand::Delete { token, form } => {
            token::delete(places, token).await?;
            show(form, &serde_json::json!({ "deleted": true }), || "deleted\n".to_owned())
        }
    }
}

/// The lines to paste, and nothing else that is not a comment.
fn lines(made: &Made) -> String {
    let end = made.expires.as_deref().unwrap_or("never");
    format!(
        "# config.yaml of the machine that is to join; the token ends: {end}\nskerry:\n  server_url: {}\n  token: {}\n",
        made.server_url, made.token
    )
}

fn table(all: &[Listed]) -> String {
    let mut out = format!("{:<8} {:<22} {:<5} {}\n", "ID", "ENDS", "JOINS", "DESCRIPTION");
    for t in all {
        let (end, joins) = (t.expires.as_deref().unwrap_or("never"), if t.can_join { "yes" } else { "no" });
        out += format!("{:<8} {end:<22} {joins:<5} {}", t.id, t.description).trim_end();
        out.push('\n');
    }
    out
}

fn show<T: Serialize>(form: &Form, content: &T, text: impl FnOnce() -> String) -> Result<()> {
    let text = if form.json {
        serde_json::to_string_pretty(content)? + "\n"
    } else {
        text()
    };
    std::io::stdout().write_all(text.as_bytes()).context("writing")
}
