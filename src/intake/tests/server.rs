//! A server of one page: takes requests as bytes and gives the answers it was told to give.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What arrived: the head as text, header names in lower case, and the body.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

pub(super) struct Server {
    pub(super) port: u16,
    received: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers every request with the same bytes; without any it takes the request and never answers.
    pub(super) async fn answering(answer: Option<Vec<u8>>) -> Self {
        Self::start(answer, None).await
    }

    pub(super) async fn start(answer: Option<Vec<u8>>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = received.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log, tls) = (answer.clone(), log.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, answer, log).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answer, log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, received }
    }

    pub(super) fn received(&self) -> Vec<Request> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Option<Vec<u8>>,
    log: Arc<Mutex<Vec<Request>>>,
) {
    let mut bytes = Vec::new();
    loop {
        let Some(request) = take(&mut bytes) else {
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        log.lock().unwrap().push(request);
        match &answer {
            Some(answer) => {
                let _ = stream.write_all(answer).await;
            }
            None => std::future::pending().await,
        }
    }
}

fn take(bytes: &mut Vec<u8>) -> Option<Request> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let body: usize = length.unwrap_or(0);
    if bytes.len() < end + 4 + body {
        return None;
    }
    let mut lines = head.lines();
    let mut clean = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        clean.push_str(&format!("\n{}: {value}", name.to_lowercase()));
    }
    let request = Request { head: clean, body: bytes[end + 4..end + 4 + body].to_vec() };
    bytes.drain(..end + 4 + body);
    Some(request)
}

/// `HTTP/1.1` with a status and a body, whole.
pub(super) fn answer(status: &str, body: &str) -> Option<Vec<u8>> {
    Some(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}
