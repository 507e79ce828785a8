//! `context`: what transactions and errors have in common, and parts of it that spans share.

use std::{borrow::Cow, net::IpAddr};

use super::{
    cloud::Cloud,
    metadata::{Agent, Framework, Language, Node, Runtime, User},
    model,
    value::{Absent, Entries, HeaderValue, Json, Tags},
};
use crate::semconv::Text;

pub(crate) type Custom<'a> = Entries<'a, Json>;
pub(crate) type Headers<'a> = Entries<'a, HeaderValue<'a>>;

model! {
    /// Of a transaction or an error.
    #[derive(Default)]
    struct Context<'a> {
        user: Option<User<'a>>,
        /// Indexed as `labels` and `numeric_labels`.
        tags: Tags<'a>,
        /// Stored and shown, not indexed.
        custom: Custom<'a>,
        request: Option<Request<'a>>,
        response: Option<Response<'a>>,
        service: Option<Service<'a>>,
        message: Option<Message<'a>>,
        cloud: Option<CloudOrigin<'a>>,
    }

    struct Request<'a> {
        method: Cow<'a, str>,
        http_version: Option<&'static str>,
        url: Option<Url<'a>>,
        headers: Headers<'a>,
        cookies: Entries<'a, Cow<'a, str>>,
        body: Option<Cow<'a, str>>,
        socket: Option<Socket>,
    }

    #[derive(Default)]
    struct Url<'a> {
        raw: Option<Text<'a>>,
        full: Option<Text<'a>>,
        protocol: Option<Cow<'a, str>>,
        hostname: Option<Cow<'a, str>>,
        port: Option<u32>,
        pathname: Option<Text<'a>>,
        search: Option<Text<'a>>,
    }

    struct Socket {
        remote_address: Option<IpAddr>,
    }

    #[derive(Default)]
    struct Response<'a> {
        status_code: Option<u32>,
        headers: Headers<'a>,
        finished: Option<bool>,
        headers_sent: Option<bool>,
        transfer_size: Option<u64>,
        encoded_body_size: Option<u64>,
        decoded_body_size: Option<u64>,
    }

    /// What differs from the metadata's service, and, on spans, whom the span calls.
    #[derive(Default)]
    struct Service<'a> {
        framework: Option<Framework<'a>>,
        target: Option<ServiceTarget<'a>>,
        name: Option<&'a str>,
        version: Option<&'a str>,
        environment: Option<&'a str>,
        id: Option<&'a str>,
        agent: Option<Agent<'a>>,
        language: Option<Language<'a>>,
        runtime: Option<Runtime<'a>>,
        node: Option<Node<'a>>,
        origin: Option<ServiceOrigin<'a>>,
    }

    /// At least one of both.
    #[derive(Default)]
    struct ServiceTarget<'a> {
        r#type: Option<Cow<'a, str>>,
        name: Option<Cow<'a, str>>,
    }

    struct ServiceOrigin<'a> {
        id: Option<&'a str>,
        name: Option<&'a str>,
        version: Option<&'a str>,
    }

    /// Of a messaging transaction or span.
    #[derive(Default)]
    struct Message<'a> {
        queue: Option<Queue<'a>>,
        routing_key: Option<Cow<'a, str>>,
        age: Option<Age>,
        headers: Headers<'a>,
        body: Option<Cow<'a, str>>,
    }

    struct Queue<'a> {
        name: Cow<'a, str>,
    }

    struct Age {
        ms: u64,
    }

    struct CloudOrigin<'a> {
        origin: Cloud<'a>,
    }
}

impl Absent for Cloud<'_> {}
