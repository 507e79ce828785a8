//! The real server's decoder as a child process.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tower_apm::{Agent, AgentBuilder, EnvVars};
use tracing::Level;
use tracing_subscriber::{Layer, layer::SubscriberExt};

use crate::{
    apm_server_process::{self, ApmServer},
    document::Document,
};

/// Longer than the tests take on any machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A decoder with its own file of documents. The file is removed when the value is dropped.
pub(crate) struct Decoder {
    pub(crate) http: String,
    pub(crate) grpc: String,
    documents: PathBuf,
    _process: ApmServer,
}

impl Decoder {
    /// Starts the decoder as a server that accepts `token`.
    pub(crate) fn start(token: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("otlp-{}-{}.ndjson", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let documents = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let out = documents.to_str().unwrap();
        let address = "127.0.0.1:0";
        let arguments = ["serve", "-addr", address, "-grpc", address, "-out", out, "-token", token];
        let mut process = apm_server_process::start(&arguments);
        let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let (http, grpc) = (lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap());
        Self { http, grpc, documents, _process: process }
    }

    pub(crate) fn documents(&self) -> Vec<Document> {
        self.documents_after(&mut 0)
    }

    /// The documents after a position of the file. Moves the position to the end.
    pub(crate) fn documents_after(&self, position: &mut u64) -> Vec<Document> {
        let mut file = fs::File::open(&self.documents).unwrap();
        file.seek(SeekFrom::Start(*position)).unwrap();
        let mut text = String::new();
        *position += file.read_to_string(&mut text).unwrap() as u64;
        text.lines().map(|line| Document::new(serde_json::from_str(line).unwrap())).collect()
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.documents);
    }
}

static LINES: Mutex<String> = Mutex::new(String::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().unwrap().push_str(str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The warnings of all agents so far that contain all of these texts.
pub(crate) fn warnings(texts: &[&str]) -> Vec<String> {
    let lines = LINES.lock().unwrap();
    let found = lines.lines().filter(|line| texts.iter().all(|text| line.contains(text)));
    found.map(str::to_owned).collect()
}

/// Builds an agent that ignores the environment and sends no metrics. The first agent gets every span of the process,
/// including those of HTTP/2.
pub(crate) fn agent(configure: impl FnOnce(AgentBuilder) -> AgentBuilder) -> Agent {
    static GLOBAL: OnceLock<()> = OnceLock::new();
    let agent =
        Agent::builder().env_vars(EnvVars::empty()).service_name("otlp").api_request_time(Duration::from_millis(50));
    let agent = agent.metrics_interval(Duration::ZERO);
    let agent = configure(agent).build().unwrap();
    GLOBAL.get_or_init(|| {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Log);
        let lines = lines.with_filter(tracing_subscriber::filter::Targets::new().with_target("tower_apm", Level::WARN));
        let subscriber = tracing_subscriber::registry().with(agent.tracing_layer()).with(lines);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    agent
}
