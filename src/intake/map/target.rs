//! Whom an exit span calls: what service maps and dependencies are drawn from.

use std::borrow::Cow;

use super::{
    origin::split_port,
    truncate::{joined, keyword},
};
use crate::intake::model::Text;

/// What is known of the other side.
#[derive(Default)]
pub(super) struct Callee<'a> {
    pub(super) kind: &'a str,
    pub(super) subtype: Option<Cow<'a, str>>,
    /// The first of these that exists names the target, even where it has no name to give.
    pub(super) db: Option<Option<Cow<'a, str>>>,
    pub(super) queue: Option<Option<Cow<'a, str>>>,
    pub(super) address: Option<Cow<'a, str>>,
    /// Said by the instrumentation (`peer.service`); wins over all.
    pub(super) name: Option<Cow<'a, str>>,
}

/// `service.target`, at least one part of which is there, and the resource that stands for it.
pub(super) struct Target<'a> {
    pub(super) kind: Cow<'a, str>,
    pub(super) name: Option<Cow<'a, str>>,
}

impl<'a> Callee<'a> {
    pub(super) fn target(self) -> Target<'a> {
        let name = self.name.or(match (self.db, self.queue) {
            (Some(instance), _) => instance,
            (None, Some(queue)) => queue,
            (None, None) => self.address,
        });
        Target {
            kind: keyword(self.subtype.unwrap_or(self.kind.into())),
            name: name.filter(|name| !name.is_empty()).map(keyword),
        }
    }
}

impl<'a> Target<'a> {
    /// `type/name`; the name alone for `external` spans.
    pub(super) fn resource(&self, span_type: &str) -> Text<'a> {
        let none = Cow::Borrowed("");
        match &self.name {
            None => Text::One(self.kind.clone()),
            Some(name) if span_type == "external" => Text::One(name.clone()),
            Some(name) => joined([self.kind.clone(), "/".into(), name.clone(), none.clone(), none.clone(), none]),
        }
    }
}

/// Host and port out of an absolute URL, the scheme's own port where it names none.
pub(super) fn host_and_port(url: &str) -> Option<(&str, Option<u16>)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = split_port(authority);
    (!host.is_empty()).then(|| (host, port.or_else(|| default_port(scheme))))
}

pub(super) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(super) fn authority<'a>(host: impl Into<Cow<'a, str>>, port: Option<u16>) -> Cow<'a, str> {
    let host = host.into();
    match (port, host.contains(':') && !host.starts_with('[')) {
        (Some(port), true) => Cow::Owned(format!("[{host}]:{port}")),
        (Some(port), false) => Cow::Owned(format!("{host}:{port}")),
        (None, _) => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_6_4_traps_26_27_the_published_examples() {
        let Some(cases) = crate::spec_folder::json("json-specs/service_resource_inference.json") else { return };
        for case in cases.as_array().unwrap().iter().filter(|case| case["span"]["exit"] == "true") {
            let span = &case["span"];
            let text = |value: &serde_json::Value| value.as_str().map(|text| Cow::Owned(text.to_owned()));
            let context = |key: &str| span.pointer(&format!("/context/{key}"));
            let callee = Callee {
                kind: span["type"].as_str().unwrap(),
                subtype: text(&span["subtype"]),
                db: context("db").map(|db| text(&db["instance"])),
                queue: context("message").map(|message| text(&message["queue"]["name"])),
                address: context("http/url")
                    .and_then(|url| host_and_port(url.as_str().unwrap()))
                    .map(|(host, port)| authority(host.to_owned(), port)),
                name: None,
            };
            let target = callee.target();
            let why = &case["failure_message"];
            assert_eq!(target.resource(span["type"].as_str().unwrap()).to_string(), case["expected_resource"], "{why}");
            assert_eq!(Some(&*target.kind), case["expected_service_target"]["type"].as_str(), "{why}");
            assert_eq!(target.name.as_deref(), case["expected_service_target"]["name"].as_str(), "{why}");
        }
    }

    #[test]
    fn urls_give_host_and_port() {
        for (url, want) in [
            ("https://api.example/a?b", Some(("api.example", Some(443)))),
            ("http://user:pw@api.example:8080", Some(("api.example", Some(8080)))),
            ("http://[::1]:1/", Some(("::1", Some(1)))),
            ("ftp://h", Some(("h", None))),
            ("/relative", None),
            ("http://", None),
        ] {
            assert_eq!(host_and_port(url), want, "{url}");
        }
        assert_eq!(authority("::1", Some(443)), "[::1]:443");
    }
}
