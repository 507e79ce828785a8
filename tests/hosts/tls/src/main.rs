//! A TLS server, which a client of the service's own calls, and the agent too.

mod server;

use std::{io::Write, net::TcpStream, sync::Arc};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};

use crate::server::Server;

fn main() {
    let server = Server::start();
    #[cfg(feature = "apm")]
    agent::sends_over_https(&server);
    call(&server);
    println!("the service called {}", server.paths().last().unwrap());
}

/// As a service does that relies on the one provider that is compiled in.
fn call(server: &Server) {
    let mut roots = RootCertStore::empty();
    roots.add(server.certificate.clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(server.address).unwrap());
    stream.write_all(b"POST /mine HTTP/1.1\r\nContent-Length: 0\r\n\r\n").unwrap();
    server::read_head(&mut stream).unwrap();
}

#[cfg(feature = "apm")]
mod agent {
    use std::{fs, path::PathBuf, time::Duration};

    use tower_apm::{Agent, AgentGuard, EnvVars, LogFormat};

    use super::Server;

    const DEADLINE: Duration = Duration::from_secs(60);
    const EVENTS: &str = "/intake/v2/events";

    /// A file that is removed at the end.
    struct Pem(PathBuf);

    impl Drop for Pem {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    pub(super) fn sends_over_https(server: &Server) {
        let pem = Pem(std::env::temp_dir().join(format!("tower-apm-host-{}.pem", std::process::id())));
        fs::write(&pem.0, &server.pem).unwrap();
        let agent = Agent::builder().env_vars(EnvVars::empty()).service_name("host").server_url(server.url());
        let agent = agent.server_ca_cert_file(&pem.0).log_format(LogFormat::Off).install().unwrap();
        drop(agent.start_transaction("one", "scheduled"));
        let warnings: Vec<_> = agent.warnings().collect();
        if cfg!(any(feature = "apm-aws-lc-rs", feature = "apm-ring")) {
            assert_eq!(warnings, [""; 0]);
        } else {
            waits_for_a_provider(&agent, &warnings, server);
        }
        block_on(agent.flush(DEADLINE)).unwrap();
        assert!(server.paths().iter().any(|path| path == EVENTS), "{:?}", server.paths());
        assert_eq!(agent.stats().dropped.total(), 0, "{}", agent.stats());
    }

    /// No feature of the agent's: the service installs a default, after the agent.
    fn waits_for_a_provider(agent: &AgentGuard, warnings: &[String], server: &Server) {
        let [warning] = warnings else { panic!("{warnings:?}") };
        for part in ["Cargo.toml", "tls-aws-lc-rs", "tls-ring", &server.url()] {
            assert!(warning.contains(part), "{warning}");
        }
        block_on(agent.flush(Duration::from_millis(500))).unwrap_err();
        assert_eq!(server.paths(), [""; 0]);
        assert_eq!(agent.stats().dropped.total(), 0, "{}", agent.stats());
        #[cfg(feature = "ring")]
        rustls::crypto::ring::default_provider().install_default().unwrap();
        #[cfg(feature = "aws-lc-rs")]
        rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }
}
