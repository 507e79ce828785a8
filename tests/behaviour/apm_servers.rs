//! Which server do events go to, and what depends on its version? (agent-spec, section 2)

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

fn told(server: &DevServer, kind: Kind) -> Vec<Value> {
    server.store().query(&Query::new().kind(kind)).events.iter().map(|event| event.body().clone()).collect()
}

async fn settle(agent: &Agent, name: &'static str) {
    agent.start_transaction(name, "scheduled").run(async {}).await;
    agent.flush(LONG).await.unwrap();
}

#[tokio::test]
async fn section_2_6_when_a_server_fails_the_next_one_gets_what_waits() {
    let (one, two) = (server("9.5.0"), server("9.5.0"));
    let agent = agent(|agent| agent.server_urls([one.url(), two.url()]));
    settle(&agent, "first").await;
    for failure in [Answer::unavailable(), Answer::cut(), Answer::unauthorized()] {
        one.clear();
        two.clear();
        one.script([failure]);
        settle(&agent, "moved on").await;
        assert_eq!((told(&one, Kind::Transaction).len(), told(&two, Kind::Transaction).len()), (0, 1));
        settle(&agent, "stays there").await;
        assert_eq!(told(&two, Kind::Transaction).len(), 2);
        two.script([Answer::too_many()]);
        settle(&agent, "and back").await;
        assert_eq!((told(&one, Kind::Transaction).len(), told(&two, Kind::Transaction).len()), (1, 2));
    }
    // what is refused would be refused elsewhere too
    one.script([Answer::rejected(["bad luck"])]);
    settle(&agent, "refused").await;
    settle(&agent, "taken").await;
    assert_eq!(told(&one, Kind::Transaction).len(), 2);
    let stats = agent.stats();
    assert_eq!((stats.recorded, stats.accepted, stats.rejected), (12, 11, 1), "{stats}");
}

#[tokio::test]
async fn section_2_6_a_server_that_is_not_there_is_passed_over() {
    let gone = DevServer::bind("127.0.0.1:0").unwrap();
    let (dead, alive) = (gone.url(), server("9.5.0"));
    gone.shutdown();
    let agent = agent(|agent| agent.server_urls([dead, alive.url()]));
    settle(&agent, "late").await;
    assert_eq!(told(&alive, Kind::Transaction).len(), 1);
}

#[tokio::test]
async fn section_2_6_the_version_of_a_server_is_forgotten_with_it() {
    let (new, old) = (server("9.5.0"), server("7.17.0"));
    let agent = agent(|agent| agent.server_urls([new.url(), old.url()]).transaction_sample_rate(0.0));
    settle(&agent, "unsampled").await;
    assert_eq!(told(&new, Kind::Transaction).len(), 0, "it has no use for them");
    new.script([Answer::unavailable()]);
    let work = agent.start_transaction("unsampled", "scheduled");
    work.capture_error(&std::io::Error::other("no such room"));
    drop(work);
    agent.flush(LONG).await.unwrap();
    assert_eq!(told(&old, Kind::Error).len(), 1, "an error is sent in any case");
    settle(&agent, "unsampled").await;
    assert_eq!(told(&old, Kind::Transaction).len(), 1);
    assert!(!old.requests("/").is_empty(), "the other one is asked for its version");
}

#[tokio::test]
async fn section_2_8_trap_5_a_server_that_does_not_tell_its_version_gets_unsampled_transactions() {
    for (version, sent) in [("", 1), ("7.17.0", 1), ("8.0.0", 0), ("9.5.0", 0)] {
        let server = server(version);
        let agent = agent(|agent| agent.server_url(server.url()).transaction_sample_rate(0.0));
        settle(&agent, "unsampled").await;
        assert_eq!(told(&server, Kind::Transaction).len(), sent, "{version:?}");
    }
}

#[tokio::test]
async fn section_2_8_trap_39_one_version_gets_no_activation_method() {
    for (version, sent) in [("", true), ("8.6.9", true), ("8.7.0", false), ("8.7.1", true)] {
        let server = server(version);
        let agent = agent(|agent| agent.server_url(server.url()));
        settle(&agent, "settle").await;
        let metadata = &told(&server, Kind::Metadata)[0];
        let method = metadata.pointer("/service/agent/activation_method");
        assert_eq!(method.is_some(), sent, "{version:?}: {method:?}");
    }
}

#[tokio::test]
async fn section_1_5_a_server_that_takes_longer_than_its_time_is_asked_again() {
    let server = server("9.5.0");
    server.script([Answer::unavailable().after(LONG)]);
    let agent = agent(|agent| agent.server_url(server.url()).server_timeout(Duration::from_millis(200)));
    agent.start_transaction("settle", "scheduled").run(async {}).await;
    agent.flush(LONG / 2).await.unwrap();
    assert_eq!(told(&server, Kind::Transaction).len(), 1);
}
