//! Requests go through the proxy from the environment variables.

use std::{env, process::Command, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tower_apm::{CloudProvider, Exporter, OtlpProtocol, devserver::DevServer};

use crate::decoder::{DEADLINE, agent};

const CASE: &str = "TOWER_APM_TEST_PROXY";
const NAMES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// Not a test but the service that the others start: variables belong to the whole process.
#[tokio::test]
async fn the_service() {
    let Ok(case) = env::var(CASE) else { return };
    let server = DevServer::builder().bind("127.0.0.1:0").unwrap();
    let agent = agent(|agent| {
        // a cloud would be waited for
        let agent = agent.cloud_provider(CloudProvider::None);
        match case.as_str() {
            "loopback" => agent.server_url(server.url()),
            "grpc" => {
                let agent = agent.exporter(Exporter::Otlp).otlp_protocol(OtlpProtocol::Grpc);
                agent.otlp_endpoint("http://apm.invalid:4317")
            }
            _ => agent.server_url("http://apm.invalid:8200").central_config(false),
        }
    });
    drop(agent.start_transaction("a job", "scheduled"));
    let is_delivered = agent.flush(Duration::from_secs(5)).await.is_ok();
    println!("delivered: {is_delivered}");
}

/// Whether the service delivered its transaction, and the first lines of the requests that the proxy got.
async fn run(case: &str, variables: &[(&str, &str)]) -> (bool, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let (log, mut lines) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let Ok(read @ 1..) = stream.read(&mut request).await else { continue };
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            log.send(text.lines().next().unwrap_or_default().to_owned()).unwrap();
            let answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            // a connection that is dropped with unread bytes is reset, and the answer with it
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
        }
    });
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "proxies::the_service", "--nocapture"]).env(CASE, case);
    for name in NAMES {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env("HTTP_PROXY", proxy).envs(variables.iter().copied());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = tokio::time::timeout(DEADLINE, run).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
    let mut received = Vec::new();
    while let Ok(line) = lines.try_recv() {
        received.push(line);
    }
    (text.contains("delivered: true"), received)
}

#[tokio::test]
async fn intake_uses_the_proxy_of_the_environment() {
    let (is_delivered, lines) = run("intake", &[]).await;
    assert!(is_delivered, "{lines:?}");
    let events = "POST http://apm.invalid:8200/intake/v2/events HTTP/1.1";
    assert!(lines.iter().any(|line| line == events), "{lines:?}");
}

#[tokio::test]
async fn grpc_uses_a_proxy_tunnel() {
    let (_, lines) = run("grpc", &[]).await;
    let tunnel = "CONNECT apm.invalid:4317 HTTP/1.1";
    assert!(!lines.is_empty() && lines.iter().all(|line| line == tunnel), "{lines:?}");
}

#[tokio::test]
async fn no_proxy_and_loopback_servers_bypass_the_proxy() {
    assert_eq!(run("intake", &[("NO_PROXY", "other.invalid, apm.invalid")]).await, (false, Vec::new()));
    assert_eq!(run("loopback", &[]).await, (true, Vec::new()));
}
