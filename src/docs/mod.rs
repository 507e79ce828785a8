//! Guides for the set-up of the agent and for each kind of data.
//!
//! | guide | subject |
//! |---|---|
//! | [Options](options) | all options, sampling, TLS, proxies |
//! | [Your own subscriber](subscriber) | services that set up `tracing` themselves |
//! | [Users](users) | the user of a request, with common authentication crates |
//! | [Labels, custom context and the user](labels_or_custom) | which of them to use, and their limits |
//! | [Errors](errors) | error documents, log lines, panics, groups |
//! | [Outgoing calls](outgoing_calls) | SQL, HTTP, gRPC, Redis, Kafka and other clients |
//! | [Background work](background_work) | spawned tasks, scheduled jobs, shutting down, AWS Lambda |
//! | [Streams](streams) | streamed bodies, event streams, WebSockets |
//! | [GraphQL](graphql) | names of transactions by operation |
//! | [Logs](logs) | trace ids in log lines, and sending log lines |
//! | [Metrics](metrics) | metrics of the host, the runtime and the agent |
//! | [OpenTelemetry](opentelemetry) | spans and metrics of its API, pipelines of its SDK |
//! | [OTLP](otlp) | sending events over OTLP |
//! | [Sensitive data](sensitive_data) | which data is redacted, and how to send less |
//! | [Delivery](delivery) | outages, retries, memory, flushing and shutting down |
//! | [Sentry](sentry) | services that also report to Sentry |
//! | [Coming from NestJS](coming_from_nestjs) | the counterparts of `elastic-apm-node` |

#[doc = include_str!("background_work.md")]
pub mod background_work {}

#[doc = include_str!("coming_from_nestjs.md")]
pub mod coming_from_nestjs {}

#[doc = include_str!("labels_or_custom.md")]
pub mod labels_or_custom {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("delivery.md")]
pub mod delivery {}

#[doc = include_str!("graphql.md")]
pub mod graphql {}

#[doc = include_str!("logs.md")]
pub mod logs {}

#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[doc = include_str!("opentelemetry.md")]
pub mod opentelemetry {}

#[doc = include_str!("options.md")]
pub mod options {}

#[doc = include_str!("otlp.md")]
pub mod otlp {}

#[doc = include_str!("outgoing_calls.md")]
pub mod outgoing_calls {}

#[doc = include_str!("sensitive_data.md")]
pub mod sensitive_data {}

#[doc = include_str!("sentry.md")]
pub mod sentry {}

#[doc = include_str!("streams.md")]
pub mod streams {}

#[doc = include_str!("subscriber.md")]
pub mod subscriber {}

#[doc = include_str!("users.md")]
pub mod users {}
