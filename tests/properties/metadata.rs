//! The server accepts any metadata. Invalid metadata would lose all events of a batch.

use std::{fs, time::Duration};

use proptest::{
    collection::vec,
    option, prop_assert_eq,
    strategy::Strategy,
    test_runner::{Config, RngSeed, TestRunner},
};
use tower_apm::{Agent, EnvVars, Exporter};

use crate::{serve, strategies::text};

/// Each case has its own agent, with a thread and connections.
const CASES: u32 = 40;
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
struct Sender {
    name: String,
    version: Option<String>,
    environment: Option<String>,
    node: Option<String>,
    host: Option<String>,
    labels: Vec<(String, String)>,
    /// The values of the Kubernetes variables.
    pod: Vec<String>,
}

fn sender() -> impl Strategy<Value = Sender> {
    let many =
        (text(), text()).prop_map(|(key, value)| (0..300).map(|n| (format!("{key}{n}"), value.clone())).collect());
    let labels = proptest::prop_oneof![9 => vec((text(), text()), 0..6), 1 => many];
    let optional = || option::of(text());
    (text(), optional(), optional(), optional(), optional(), labels, vec(text(), 4)).prop_map(
        |(name, version, environment, node, host, labels, pod)| Sender {
            name,
            version,
            environment,
            node,
            host,
            labels,
            pod,
        },
    )
}

impl Sender {
    fn agent(&self, url: &str) -> Agent {
        const POD: [&str; 4] =
            ["KUBERNETES_NAMESPACE", "KUBERNETES_NODE_NAME", "KUBERNETES_POD_NAME", "KUBERNETES_POD_UID"];
        let environment: EnvVars = POD.iter().copied().zip(self.pod.iter().map(String::as_str)).collect();
        let mut agent = Agent::builder().env_vars(environment).server_url(url).exporter(Exporter::IntakeAndOtlp);
        agent = agent.metrics_interval(Duration::ZERO);
        agent = agent.service_name(&*self.name).global_labels(self.labels.clone());
        if let Some(version) = &self.version {
            agent = agent.service_version(&**version);
        }
        if let Some(environment) = &self.environment {
            agent = agent.environment(&**environment);
        }
        if let Some(node) = &self.node {
            agent = agent.service_node_name(&**node);
        }
        if let Some(host) = &self.host {
            agent = agent.hostname(&**host);
        }
        agent.build().unwrap()
    }
}

#[test]
#[ignore = "needs APM_SERVER_DECODER"]
fn random_metadata_is_accepted_by_the_real_server() {
    let (_server, url, documents) = serve("sender");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases: CASES, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() };
    let tested = TestRunner::new(config).run(&sender(), |sender| {
        let agent = sender.agent(&url);
        drop(agent.start_transaction("a job", "scheduled"));
        let delivered = runtime.block_on(agent.shutdown(DEADLINE));
        let stats = agent.stats();
        prop_assert_eq!((delivered, stats.accepted, stats.copies.accepted), (Ok(()), 1, 1), "{}", stats);
        Ok(())
    });
    let _ = fs::remove_file(&documents);
    if let Err(error) = tested {
        panic!("{error}");
    }
}
