//! Failover between servers, and data that depends on the version of the server.

use std::time::Duration;

use serde_json::Value;
use tower_apm::{
    Agent, AgentBuilder, CloudProvider, EnvVars,
    devserver::{Answer, DevServer, Kind, Query},
};

const LONG: Duration = Duration::from_secs(30);

fn server(version: &str) -> DevServer {
    DevServer::builder().version(version).bind("127.0.0.1:0").unwrap()
}

fn agent(configure: impl FnOnce(AgentBuilder) -> AgentBuilder) -> Agent {
    let builder = Agent::builder().env_vars(EnvVars::empty()).cloud_provider(CloudProvider::None);
    configure(builder.api_request_time(Duration::from_millis(10))).build().unwrap()
}

fn received(server: &DevServer, kind: Kind) -> Vec<Value> {
    server.store().query(&Query::new().kind(kind)).events.iter().map(|event| event.body().clone()).collect()
}

async fn settle(agent: &Agent, name: &'static str) {
    agent.start_transaction(name, "scheduled").run(async {}).await;
    agent.flush(LONG).await.unwrap();
}

// spec: transport.md
#[tokio::test]
async fn failed_server_is_replaced_by_the_next_one() {
    let (one, two) = (server("9.5.0"), server("9.5.0"));
    let agent = agent(|agent| agent.server_urls([one.url(), two.url()]));
    settle(&agent, "first").await;
    for failure in [Answer::unavailable(), Answer::cut(), Answer::unauthorized()] {
        one.clear();
        two.clear();
        one.script([failure]);
        settle(&agent, "moved on").await;
        assert_eq!((received(&one, Kind::Transaction).len(), received(&two, Kind::Transaction).len()), (0, 1));
        settle(&agent, "stays there").await;
        assert_eq!(received(&two, Kind::Transaction).len(), 2);
        two.script([Answer::too_many()]);
        settle(&agent, "and back").await;
        assert_eq!((received(&one, Kind::Transaction).len(), received(&two, Kind::Transaction).len()), (1, 2));
    }
    // another server would reject the event too
    one.script([Answer::rejected(["bad luck"])]);
    settle(&agent, "refused").await;
    settle(&agent, "taken").await;
    assert_eq!(received(&one, Kind::Transaction).len(), 2);
    let stats = agent.stats();
    assert_eq!((stats.recorded, stats.accepted, stats.rejected), (12, 11, 1), "{stats}");
}

// spec: transport.md
#[tokio::test]
async fn unreachable_server_is_skipped() {
    let closed = DevServer::bind("127.0.0.1:0").unwrap();
    let (dead, alive) = (closed.url(), server("9.5.0"));
    closed.shutdown();
    let agent = agent(|agent| agent.server_urls([dead, alive.url()]));
    settle(&agent, "late").await;
    assert_eq!(received(&alive, Kind::Transaction).len(), 1);
}

// spec: transport.md
#[tokio::test]
async fn server_version_is_read_again_after_failover() {
    let (new, old) = (server("9.5.0"), server("7.17.0"));
    let agent = agent(|agent| agent.server_urls([new.url(), old.url()]).transaction_sample_rate(0.0));
    settle(&agent, "unsampled").await;
    assert_eq!(received(&new, Kind::Transaction).len(), 0, "a new server gets no unsampled transactions");
    new.script([Answer::unavailable()]);
    let work = agent.start_transaction("unsampled", "scheduled");
    work.capture_error(&std::io::Error::other("no such room"));
    drop(work);
    agent.flush(LONG).await.unwrap();
    assert_eq!(received(&old, Kind::Error).len(), 1, "an error is sent in any case");
    settle(&agent, "unsampled").await;
    assert_eq!(received(&old, Kind::Transaction).len(), 1);
    assert!(!old.requests("/").is_empty(), "the version of the other server is requested");
}

// spec: tracing-sampling.md
#[tokio::test]
async fn unsampled_transactions_are_sent_to_old_and_unknown_server_versions() {
    for (version, sent) in [("", 1), ("7.17.0", 1), ("8.0.0", 0), ("9.5.0", 0)] {
        let server = server(version);
        let agent = agent(|agent| agent.server_url(server.url()).transaction_sample_rate(0.0));
        settle(&agent, "unsampled").await;
        assert_eq!(received(&server, Kind::Transaction).len(), sent, "{version:?}");
    }
}

// spec: metadata.md
#[tokio::test]
async fn activation_method_is_not_sent_to_version_8_7_0() {
    for (version, sent) in [("", true), ("8.6.9", true), ("8.7.0", false), ("8.7.1", true)] {
        let server = server(version);
        let agent = agent(|agent| agent.server_url(server.url()));
        settle(&agent, "settle").await;
        let metadata = &received(&server, Kind::Metadata)[0];
        let method = metadata.pointer("/service/agent/activation_method");
        assert_eq!(method.is_some(), sent, "{version:?}: {method:?}");
    }
}

// spec: configuration.md
#[tokio::test]
async fn server_timeout_leads_to_a_retry() {
    let server = server("9.5.0");
    server.script([Answer::unavailable().after(LONG)]);
    let agent = agent(|agent| agent.server_url(server.url()).server_timeout(Duration::from_millis(200)));
    agent.start_transaction("settle", "scheduled").run(async {}).await;
    agent.flush(LONG / 2).await.unwrap();
    assert_eq!(received(&server, Kind::Transaction).len(), 1);
}
