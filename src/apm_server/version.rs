//! Which server it is: a few things depend on it (agent-spec, server version).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use http::HeaderMap;
use serde::Deserialize;

use super::ServerClient;

const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The server's version, once it is known. Cheap to clone; every clone is the same.
///
/// It may stay unknown: a serverless project does not tell it.
#[derive(Debug, Clone)]
pub(crate) struct ServerVersion {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// 0: not known.
    packed: AtomicU32,
    /// Closed when the server has been asked for the first time.
    asked: Semaphore,
}

impl Default for ServerVersion {
    fn default() -> Self {
        Self { inner: Arc::new(Inner { packed: AtomicU32::new(0), asked: Semaphore::new(0) }) }
    }
}

impl ServerVersion {
    pub(crate) fn set(&self, major: u8, minor: u8, patch: u8) {
        self.inner.packed.store(pack(major, minor, patch), Relaxed);
    }

    /// Ready when the server has been asked, whether it answered or not.
    pub(crate) async fn asked(&self) {
        // there is nothing to acquire: it ends when the semaphore is closed
        let _ = self.inner.asked.acquire().await;
    }

    /// Nobody will ask: there is no such server, as far as is known.
    #[cfg(feature = "otlp")]
    pub(crate) fn is_not_asked(&self) {
        self.inner.asked.close();
    }

    /// Another server is called, which may be of another version.
    fn forget(&self) {
        self.inner.packed.store(0, Relaxed);
    }

    /// From 8.0 on the server throws unsampled transactions away.
    pub(crate) fn takes_unsampled(&self) -> bool {
        // what is not known is 0
        self.inner.packed.load(Relaxed) < pack(8, 0, 0)
    }

    /// Before 8.6 a log line is an event of a type that the server does not know.
    pub(crate) fn takes_logs(&self) -> bool {
        let packed = self.inner.packed.load(Relaxed);
        packed == 0 || packed >= pack(8, 6, 0)
    }

    /// 8.7.0 stumbles over `service.agent.activation_method`.
    pub(crate) fn takes_activation_method(&self) -> bool {
        self.inner.packed.load(Relaxed) != pack(8, 7, 0)
    }
}

fn pack(major: u8, minor: u8, patch: u8) -> u32 {
    u32::from_be_bytes([1, major, minor, patch])
}

/// Asks the server until it answers, and again when another one is called.
pub(crate) async fn look_up(client: ServerClient, version: ServerVersion) {
    let mut changes = client.changes();
    loop {
        let known = until_known(&client, &version);
        tokio::select! {
            () = known => if changes.changed().await.is_err() { return },
            changed = changes.changed() => if changed.is_err() { return },
        }
        version.forget();
    }
}

async fn until_known(client: &ServerClient, version: &ServerVersion) {
    let mut pause = FIRST_PAUSE;
    loop {
        let done = attempt(client, version).await;
        version.inner.asked.close();
        if done {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// False: worth another.
async fn attempt(client: &ServerClient, version: &ServerVersion) -> bool {
    let Ok(answer) = client.get("/", HeaderMap::new()).await else { return false };
    if answer.status != 200 {
        return false;
    }
    match parse(&answer.body) {
        Some([major, minor, patch]) => version.set(major, minor, patch),
        // it tells those who are allowed in
        None if answer.body.trim_ascii().is_empty() => tracing::warn!(
            target: "tower_apm",
            "the APM Server does not tell its version, as it does not to those whom it does not know: check secret_token \
             and api_key"
        ),
        None => tracing::debug!(target: "tower_apm", "the APM Server does not tell its version"),
    }
    true
}

#[derive(Deserialize)]
struct Root {
    version: Option<String>,
    /// Before 7.0.
    ok: Option<Old>,
}

#[derive(Deserialize)]
struct Old {
    version: Option<String>,
}

fn parse(body: &[u8]) -> Option<[u8; 3]> {
    let root: Root = serde_json::from_slice(body).ok()?;
    let version = root.version.or_else(|| root.ok?.version)?;
    // `8.15.0-SNAPSHOT`
    let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_version_is_parsed_in_every_known_form() {
        let of = |body: &str| parse(body.as_bytes());
        assert_eq!(of(r#"{"version":"8.15.1","build_sha":"x"}"#), Some([8, 15, 1]));
        assert_eq!(of(r#"{"version":"9.0.0-SNAPSHOT"}"#), Some([9, 0, 0]));
        assert_eq!(of(r#"{"ok":{"version":"6.8.2"}}"#), Some([6, 8, 2]));
        for other in ["", "{}", r#"{"version":"new"}"#, r#"{"version":8}"#, r#"{"ok":{}}"#] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn server_version_decides_about_unsampled_transactions_and_activation_method() {
        let version = ServerVersion::default();
        assert!(version.takes_unsampled() && version.takes_activation_method());
        version.set(7, 17, 9);
        assert!(version.takes_unsampled());
        version.set(8, 0, 0);
        assert!(!version.takes_unsampled());
        version.set(8, 7, 0);
        assert!(!version.takes_activation_method());
        version.set(8, 7, 1);
        assert!(version.takes_activation_method());
    }
}
