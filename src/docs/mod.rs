//! Guides.

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
