//! The server starts, stops and starts again on the same port.

use std::{net::TcpStream, time::Duration};

use tower_apm::devserver::{DevServer, DevServerError, Query};

use crate::{
    client::{Connection, lines, post},
    spec::{METADATA, SPAN},
};

#[test]
fn server_can_restart_on_its_port() {
    let mut server = DevServer::bind("127.0.0.1:0").unwrap();
    let address = server.addr().to_string();
    for _ in 0..3 {
        let mut open = Connection::open(server.addr());
        open.send("POST /intake/v2/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(post(&server, &lines(&[METADATA, SPAN])).status, 202);
        server.shutdown();
        assert!(open.answer().is_err(), "an open request is cut");
        assert!(TcpStream::connect(&address).is_err(), "the port is closed");
        server = DevServer::bind(&address).unwrap();
        assert_eq!(server.store().query(&Query::new()).total, 0);
    }
}

#[test]
fn the_store_outlives_its_server() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    assert_eq!(post(&server, &lines(&[METADATA, SPAN])).status, 202);
    let store = server.store().clone();
    drop(server);
    assert_eq!(store.query(&Query::new()).total, 2);
}

#[test]
fn remote_addresses_need_allow_remote() {
    let error = DevServer::bind("0.0.0.0:0").unwrap_err();
    assert!(matches!(error, DevServerError::NotLoopback { .. }));
    assert!(error.to_string().contains("0.0.0.0:0") && error.to_string().contains("allow_remote"), "{error}");
    let server = DevServer::builder().allow_remote(true).bind("0.0.0.0:0").unwrap();
    assert_eq!(server.url(), format!("http://127.0.0.1:{}", server.addr().port()));
}

#[test]
fn bind_error_contains_the_address() {
    let server = DevServer::bind("127.0.0.1:0").unwrap();
    let taken = DevServer::bind(server.addr().to_string()).unwrap_err();
    assert!(matches!(taken, DevServerError::Bind { .. }));
    assert!(taken.to_string().contains(&server.addr().to_string()), "{taken}");
    let nonsense = DevServer::bind("8200").unwrap_err();
    assert!(matches!(nonsense, DevServerError::Address { .. }));
    assert!(nonsense.to_string().contains("`8200`") && nonsense.to_string().contains("HOST:PORT"), "{nonsense}");
}

#[tokio::test]
async fn server_can_be_dropped_inside_a_runtime() {
    let server = DevServer::bind("localhost:0").unwrap();
    let found = server.store().wait_for(Duration::ZERO, |_| None::<()>).await;
    assert_eq!(found, None);
    drop(server);
}
