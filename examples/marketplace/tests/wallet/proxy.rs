//! A TCP proxy that can make a server unreachable for one test.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

pub(crate) struct Proxy {
    addr: SocketAddr,
    server: String,
    running: Mutex<Option<AbortHandle>>,
}

impl Proxy {
    /// Starts a proxy to the server `host:port`.
    pub(crate) async fn start(server: &str) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { addr: listener.local_addr().unwrap(), server: server.to_owned(), running: Mutex::default() };
        proxy.run(listener);
        Arc::new(proxy)
    }

    /// Starts a proxy to the server of `url`. Also returns the URL through the proxy.
    pub(crate) async fn of_url(url: &str) -> (Arc<Self>, String) {
        let authority = url.split('/').nth(2).unwrap();
        let server = authority.rsplit('@').next().unwrap();
        let proxy = Self::start(server).await;
        let through = url.replace(server, &proxy.addr.to_string());
        (proxy, through)
    }

    fn run(&self, listener: TcpListener) {
        let server = self.server.clone();
        let accept = async move {
            // dropped with this task, which closes the connections
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        };
        *self.running.lock().unwrap() = Some(tokio::spawn(accept).abort_handle());
    }

    /// Closes all connections. New ones are refused.
    pub(crate) fn cut(&self) {
        self.running.lock().unwrap().take().unwrap().abort();
    }

    /// Accepts connections again.
    pub(crate) async fn restore(&self) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.addr).unwrap();
        self.run(socket.listen(100).unwrap());
    }
}
