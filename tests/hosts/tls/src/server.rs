//! A TLS server on this machine that accepts every request.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

pub struct Server {
    pub address: SocketAddr,
    pub certificate: CertificateDer<'static>,
    #[cfg_attr(not(feature = "apm"), expect(dead_code, reason = "for the agent"))]
    pub pem: String,
    paths: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let certificate = made.cert.der().clone();
        let config = ServerConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (config, paths) = (Arc::new(config), Arc::new(Mutex::new(Vec::new())));
        let log = paths.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, log) = (config.clone(), log.clone());
                // a connection that ends early is the client's concern
                thread::spawn(move || drop(serve(stream, config, &log)));
            }
        });
        Self { address, certificate, pem: made.cert.pem(), paths }
    }

    #[cfg_attr(not(feature = "apm"), expect(dead_code, reason = "for the agent"))]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The paths that POST requests went to.
    pub fn paths(&self) -> Vec<String> {
        self.paths.lock().unwrap().clone()
    }
}

/// Nothing of the process is touched.
fn provider() -> CryptoProvider {
    #[cfg(feature = "ring")]
    return rustls::crypto::ring::default_provider();
    #[cfg(not(feature = "ring"))]
    rustls::crypto::aws_lc_rs::default_provider()
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, paths: &Mutex<Vec<String>>) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    loop {
        let head = read_head(&mut stream)?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        io::copy(&mut Read::by_ref(&mut stream).take(length.unwrap_or(0)), &mut io::sink())?;
        if let Some(path) = head.strip_prefix("post ").and_then(|rest| rest.split(' ').next()) {
            paths.lock().unwrap().push(path.to_owned());
        }
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")?;
        stream.flush()?;
    }
}

/// A head, in lower case.
pub fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).to_lowercase())
}
