//! A client that speaks plain bytes, so that a test decides when which byte is sent.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;
use tower_apm::devserver::DevServer;

/// Nothing takes this long; a test that waits for so long fails.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// What is no text is replaced.
    pub(crate) body: String,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// `accepted` and the number of errors; an empty body has none.
    pub(crate) fn counts(&self) -> (u64, usize) {
        let body = self.json();
        (body["accepted"].as_u64().unwrap(), body["errors"].as_array().map_or(0, Vec::len))
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// As [`send`](Self::send), to a server that may have closed the connection.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// One chunk of a body that was announced as `Transfer-Encoding: chunked`; an empty one ends it.
    pub(crate) fn chunk(&mut self, bytes: &[u8]) {
        self.send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat());
    }

    /// A whole request.
    pub(crate) fn request(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let mut head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.stream.write_all(&[head.as_bytes(), b"\r\n", body].concat())?;
        self.answer_to(line)
    }

    /// Waits for an answer. An error of kind `UnexpectedEof` or `ConnectionReset` where there is none.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        self.answer_to("POST")
    }

    fn answer_to(&mut self, line: &str) -> io::Result<Answer> {
        let head_end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more()?;
        };
        let head = String::from_utf8(self.unread.drain(..head_end).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: String::new(), bytes: Vec::new() };
        if line.starts_with("HEAD") {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.bytes = self.chunks()?;
        } else {
            let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
            answer.bytes = self.take(length)?;
        }
        answer.body = String::from_utf8_lossy(&answer.bytes).into_owned();
        Ok(answer)
    }

    /// The next bytes of an answer.
    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.read_more()?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// A chunked body.
    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = self.unread.windows(2).position(|window| window == b"\r\n") {
                    break end;
                }
                self.read_more()?;
            };
            let line = self.take(end + 2)?;
            let length = usize::from_str_radix(str::from_utf8(&line[..end]).unwrap(), 16).unwrap();
            body.extend(self.take(length)?);
            self.take(2)?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.unread.extend_from_slice(&bytes[..read]);
                Ok(())
            }
        }
    }
}

pub(crate) fn request(server: &DevServer, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    Connection::open(server.addr()).request(line, headers, body).unwrap()
}

pub(crate) fn get(server: &DevServer, path: &str) -> Answer {
    request(server, &format!("GET {path}"), &[], b"")
}

/// The headers of an agent's request.
pub(crate) const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// The type of OTLP over HTTP.
pub(crate) const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");

/// Looks again until it finds something. Fails after a while.
pub(crate) fn poll<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "nothing was found in {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Posts a body as an agent does and asks for the counts.
pub(crate) fn post(server: &DevServer, body: &str) -> Answer {
    request(server, "POST /intake/v2/events?verbose", &[NDJSON], body.as_bytes())
}

pub(crate) fn lines(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}
