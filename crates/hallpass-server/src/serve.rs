//! `hallpass serve`: from the settings to a server that answers, and back to a clean end.

mod account_gate;
mod back_channel_logout;
mod connections;
mod edge;
mod first_account;
mod health;
mod metrics;
mod pending_ends;
mod signals;
pub(crate) mod site;

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use tokio::net::TcpListener;

use self::connections::Connections;
use self::pending_ends::PendingEnds;
use self::site::Site;
use crate::engine::Engine;
use crate::settings::Settings;

/// Serves until SIGINT or SIGTERM, then stops accepting, lets the requests in flight finish for up to `drain_timeout`, writes the
/// last-seen times that are still in memory, and returns. A second signal cuts the waiting short.
///
/// Prints `listening on http://...` to standard output when connections are accepted, and, while there is no account, the one-time
/// link that creates the first. Call it on the thread that holds the lock of standard output, if one does.
///
/// # Errors
/// When the address cannot be bound, a setting cannot be used, or the database does not answer at the start.
pub async fn run(settings: Settings, engine: Engine) -> Result<()> {
    let mut signals = signals::Signals::listen().context("cannot listen for signals")?;
    let listener = bind(settings.listen).await?;
    let bound = listener.local_addr().context("the bound address is not known")?;
    let origin = settings.public_origin(bound);
    let site = Arc::new(Site::open(&settings, &engine, &origin).await?);
    let ends = PendingEnds::start(&engine, settings.sweep_interval);
    let router = site::router(&site, &settings, ends.status())?;
    let background = engine.sessions.start_background();
    let link = first_account::offer(&*engine.accounts, &*site.entropy, site.now_ms(), &origin).await?;
    // The socket is bound and nothing can fail any more: connections succeed, and are answered as soon as the loop below runs.
    say(&format!("listening on http://{bound}"));
    if let Some(link) = link {
        say(
            "No account exists yet. Create the first one, an operator's, with this link; it works once and for 24 hours:",
        );
        say(&link);
    }
    tracing::info!(target: "hallpass::events", event = "sys_startup", address = %bound, origin, version = env!("CARGO_PKG_VERSION"), "serving");
    let mut connections = Connections::new(router);
    let signal = tokio::select! {
        never = connections.accept(&listener) => match never {},
        signal = signals.next() => signal,
    };
    drop(listener);
    tracing::info!(target: "hallpass", signal, connections = connections.open(), "stopping: no new connections, requests in flight may finish");
    let finished = tokio::select! {
        finished = connections.drain(settings.drain_timeout) => finished,
        _ = signals.next() => false,
    };
    if !finished {
        tracing::warn!(target: "hallpass", cut = connections.open(), "requests were still running and are cut off");
    }
    connections.cut().await;
    ends.stop().await;
    background.shutdown().await;
    tracing::info!(target: "hallpass::events", event = "sys_shutdown", "stopped");
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::AddrInUse => {
                "another program uses it: stop that one, or choose another address with the setting `listen` (HALLPASS_LISTEN, --listen), for example 127.0.0.1:8081"
            }
            ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege: choose a higher one with the setting `listen` (HALLPASS_LISTEN, --listen)"
            }
            ErrorKind::AddrNotAvailable => {
                "this machine has no such address: correct the setting `listen` (HALLPASS_LISTEN, --listen)"
            }
            _ => "check the setting `listen` (HALLPASS_LISTEN, --listen)",
        };
        anyhow!("cannot listen on {address}: {error}; {advice}")
    })
}

/// One line for whoever started the server. A standard output that is gone is no reason not to serve.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests;
