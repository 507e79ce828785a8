//! `metadata`: the first line of every batch.

use std::borrow::Cow;

use super::{
    cloud::Cloud,
    model,
    value::{Absent, Tags},
};

model! {
    struct Metadata<'a> {
        service: MetadataService<'a>,
        process: Option<Process<'a>>,
        system: Option<System<'a>>,
        cloud: Option<Cloud<'a>>,
        network: Option<Network<'a>>,
        user: Option<User<'a>>,
        labels: Tags<'a>,
    }

    #[derive(Default)]
    struct User<'a> {
        id: Option<Cow<'a, str>>,
        email: Option<Cow<'a, str>>,
        username: Option<Cow<'a, str>>,
        domain: Option<Cow<'a, str>>,
    }

    struct MetadataService<'a> {
        /// `[a-zA-Z0-9 _-]+`, or the server refuses the whole batch.
        name: Cow<'a, str>,
        version: Option<Cow<'a, str>>,
        environment: Option<Cow<'a, str>>,
        agent: Agent<'a>,
        language: Option<Language<'a>>,
        runtime: Option<Runtime<'a>>,
        framework: Option<Framework<'a>>,
        node: Option<Node<'a>>,
        id: Option<&'a str>,
    }

    struct Agent<'a> {
        name: &'a str,
        version: &'a str,
        ephemeral_id: Option<Cow<'a, str>>,
        activation_method: Option<&'a str>,
    }

    struct Language<'a> {
        name: &'a str,
        version: Option<Cow<'a, str>>,
    }

    struct Runtime<'a> {
        name: &'a str,
        version: &'a str,
    }

    struct Framework<'a> {
        name: &'a str,
        version: Option<&'a str>,
    }

    struct Node<'a> {
        configured_name: Cow<'a, str>,
    }

    struct Process<'a> {
        pid: u32,
        ppid: Option<u32>,
        title: Option<Cow<'a, str>>,
        /// May hold secrets; not gathered.
        argv: &'a [String],
    }

    #[derive(Default)]
    struct System<'a> {
        detected_hostname: Option<Cow<'a, str>>,
        configured_hostname: Option<Cow<'a, str>>,
        architecture: Option<&'a str>,
        platform: Option<&'a str>,
        host_id: Option<&'a str>,
        container: Option<Container<'a>>,
        kubernetes: Option<Kubernetes<'a>>,
    }

    struct Container<'a> {
        id: Cow<'a, str>,
    }

    #[derive(Default)]
    struct Kubernetes<'a> {
        namespace: Option<Cow<'a, str>>,
        node: Option<KubernetesNode<'a>>,
        pod: Option<Pod<'a>>,
    }

    struct KubernetesNode<'a> {
        name: Cow<'a, str>,
    }

    #[derive(Default)]
    struct Pod<'a> {
        name: Option<Cow<'a, str>>,
        uid: Option<Cow<'a, str>>,
    }

    struct Network<'a> {
        connection: Connection<'a>,
    }

    struct Connection<'a> {
        r#type: &'a str,
    }
}

impl Absent for MetadataService<'_> {}
impl Absent for Agent<'_> {}
impl Absent for Connection<'_> {}
