//! The target of an exit span, from which Kibana draws service maps and dependencies.

use std::borrow::Cow;

use super::text::{Text, joined, keyword};
use crate::record::ServiceTarget;

/// The data from which the target is inferred.
#[derive(Default)]
pub(crate) struct ExitTarget<'a> {
    /// The type and name that the code has set (`service.target.type`, `service.target.name`). They take precedence
    /// over all other values. An empty string means that there is no value.
    pub(crate) explicit: [Option<Cow<'a, str>>; 2],
    pub(crate) kind: &'a str,
    pub(crate) subtype: Option<Cow<'a, str>>,
    /// The first of these that is `Some` names the target, even if its value is `None`.
    pub(crate) db: Option<Option<Cow<'a, str>>>,
    pub(crate) queue: Option<Option<Cow<'a, str>>>,
    pub(crate) address: Option<Cow<'a, str>>,
    /// The name that the instrumentation has set (`peer.service`). It takes precedence over the names above.
    pub(crate) name: Option<Cow<'a, str>>,
}

/// The `service.target` of a span. At least one of the two fields has a value.
pub(crate) struct Target<'a> {
    pub(crate) kind: Option<Cow<'a, str>>,
    pub(crate) name: Option<Cow<'a, str>>,
}

impl<'a> ExitTarget<'a> {
    /// Returns `None` if the code has set both the type and the name to an empty string.
    pub(crate) fn target(self) -> Option<Target<'a>> {
        let inferred = self.name.or(match (self.db, self.queue) {
            (Some(instance), _) => instance,
            (None, Some(queue)) => queue,
            (None, None) => self.address,
        });
        let [kind, name] = self.explicit;
        let kind = kind.or(self.subtype).unwrap_or(self.kind.into());
        let present = |text: Cow<'a, str>| Some(text).filter(|text| !text.is_empty()).map(keyword);
        let target = Target { kind: present(kind), name: name.or(inferred).and_then(present) };
        (target.kind.is_some() || target.name.is_some()).then_some(target)
    }
}

impl<'a> Target<'a> {
    /// Returns the target with its destination resource in the form in which a record keeps it.
    pub(crate) fn into_owned(self, span_type: &str) -> ServiceTarget {
        let resource = self.resource(span_type).to_string();
        let [kind, name] = [self.kind, self.name].map(|text| text.map(Cow::into_owned));
        ServiceTarget { kind, name, resource }
    }

    /// Returns the destination resource: `type/name`, or only the name for `external` spans.
    pub(crate) fn resource(&self, span_type: &str) -> Text<'a> {
        let none = Cow::Borrowed("");
        match (&self.kind, &self.name) {
            (Some(kind), Some(name)) if span_type != "external" => {
                joined([kind.clone(), "/".into(), name.clone(), none.clone(), none.clone(), none])
            }
            (kind, name) => Text::One(name.as_ref().or(kind.as_ref()).cloned().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::host::{authority, host_and_port},
        *,
    };

    // spec: tracing-spans-service-target.md, tracing-spans-destination.md
    #[test]
    fn service_target_is_inferred_from_database_queue_and_address() {
        let some = |text: &'static str| Some(Cow::Borrowed(text));
        // type and subtype, database, queue, address, name of the peer: type and name of the target, resource
        for (types, db, queue, address, peer, expected) in [
            (("cache", Some("local")), None, None, None, None, (Some("local"), None, "local")),
            (("cache", None), None, None, None, None, (Some("cache"), None, "cache")),
            (("db", Some("mysql")), Some(some("shop")), None, None, None, (Some("mysql"), Some("shop"), "mysql/shop")),
            (("db", None), Some(some("shop")), None, None, None, (Some("db"), Some("shop"), "db/shop")),
            (("db", Some("mysql")), Some(None), None, None, None, (Some("mysql"), None, "mysql")),
            // a database without a name hides the queue and the address
            (("db", Some("mysql")), Some(None), Some(some("q")), some("h:1"), None, (Some("mysql"), None, "mysql")),
            (("db", Some("mysql")), Some(some("")), None, some("h:1"), None, (Some("mysql"), None, "mysql")),
            (
                ("messaging", Some("sqs")),
                None,
                Some(some("orders")),
                some("h:1"),
                None,
                (Some("sqs"), Some("orders"), "sqs/orders"),
            ),
            (("messaging", Some("sqs")), None, Some(None), some("h:1"), None, (Some("sqs"), None, "sqs")),
            (("external", Some("http")), None, None, some("h:80"), None, (Some("http"), Some("h:80"), "h:80")),
            (("external", Some("grpc")), None, None, None, None, (Some("grpc"), None, "grpc")),
            (("rpc", Some("grpc")), None, None, some("h:80"), None, (Some("grpc"), Some("h:80"), "grpc/h:80")),
            (
                ("external", Some("http")),
                None,
                None,
                some("h:80"),
                some("billing"),
                (Some("http"), Some("billing"), "billing"),
            ),
            (
                ("db", Some("mysql")),
                Some(some("shop")),
                None,
                None,
                some("replica"),
                (Some("mysql"), Some("replica"), "mysql/replica"),
            ),
        ] {
            let (kind, subtype) = types;
            let subtype = subtype.map(Cow::Borrowed);
            let target = ExitTarget { kind, subtype, db, queue, address, name: peer, explicit: [None, None] }.target();
            let target = target.unwrap();
            let resource = target.resource(kind).to_string();
            assert_eq!((target.kind.as_deref(), target.name.as_deref(), &*resource), expected, "{types:?}");
        }
        let long = ExitTarget { kind: "db", db: Some(Some("x".repeat(2000).into())), ..ExitTarget::default() }
            .target()
            .unwrap();
        assert_eq!(long.name.as_ref().unwrap().chars().count(), 1024);
        assert_eq!(long.resource("db").to_string().chars().count(), 1024);
    }

    #[test]
    #[ignore = "needs APM_SPEC_DIR"]
    fn service_targets_match_the_published_vectors() {
        let cases = crate::spec_folder::json("json-specs/service_resource_inference.json");
        for case in cases.as_array().unwrap().iter().filter(|case| case["span"]["exit"] == "true") {
            let span = &case["span"];
            let text = |value: &serde_json::Value| value.as_str().map(|text| Cow::Owned(text.to_owned()));
            let context = |key: &str| span.pointer(&format!("/context/{key}"));
            let exit_target = ExitTarget {
                kind: span["type"].as_str().unwrap(),
                subtype: text(&span["subtype"]),
                db: context("db").map(|db| text(&db["instance"])),
                queue: context("message").map(|message| text(&message["queue"]["name"])),
                address: context("http/url")
                    .and_then(|url| host_and_port(url.as_str().unwrap()))
                    .map(|(host, port)| authority(host.to_owned(), port)),
                name: None,
                explicit: [None, None],
            };
            let target = exit_target.target().unwrap();
            let why = &case["failure_message"];
            assert_eq!(target.resource(span["type"].as_str().unwrap()).to_string(), case["expected_resource"], "{why}");
            assert_eq!(target.kind.as_deref(), case["expected_service_target"]["type"].as_str(), "{why}");
            assert_eq!(target.name.as_deref(), case["expected_service_target"]["name"].as_str(), "{why}");
        }
    }

    // spec: tracing-spans-service-target.md
    #[test]
    fn explicit_service_target_wins_over_the_inferred_one() {
        for (kind, explicit, expected) in [
            ("db", [None, None], Some((Some("postgresql"), Some("orders"), "postgresql/orders"))),
            ("db", [None, Some("replica")], Some((Some("postgresql"), Some("replica"), "postgresql/replica"))),
            ("db", [Some("aurora"), None], Some((Some("aurora"), Some("orders"), "aurora/orders"))),
            ("db", [Some("aurora"), Some("eu")], Some((Some("aurora"), Some("eu"), "aurora/eu"))),
            ("external", [Some("billing"), Some("eu")], Some((Some("billing"), Some("eu"), "eu"))),
            ("db", [None, Some("")], Some((Some("postgresql"), None, "postgresql"))),
            ("db", [Some(""), None], Some((None, Some("orders"), "orders"))),
            ("db", [Some(""), Some("")], None),
        ] {
            let exit_target = ExitTarget {
                kind,
                subtype: Some("postgresql".into()),
                db: Some(Some("orders".into())),
                explicit: explicit.map(|text| text.map(Cow::Borrowed)),
                ..ExitTarget::default()
            };
            let target = exit_target.target();
            let resource = target.as_ref().map(|target| target.resource(kind).to_string()).unwrap_or_default();
            let found = target.as_ref().map(|target| (target.kind.as_deref(), target.name.as_deref(), &*resource));
            assert_eq!(found, expected, "{explicit:?}");
        }
    }

    #[test]
    fn urls_give_host_and_port() {
        for (url, want) in [
            ("https://api.example/a?b", Some(("api.example", Some(443)))),
            ("http://user:pw@api.example:8080", Some(("api.example", Some(8080)))),
            ("http://[::1]:1/", Some(("::1", Some(1)))),
            ("ftp://h", Some(("h", None))),
            ("ws://h/a", Some(("h", Some(80)))),
            ("wss://h?a", Some(("h", Some(443)))),
            ("https://h#a", Some(("h", Some(443)))),
            ("http://h:81?a=http://other/", Some(("h", Some(81)))),
            ("http://user@h/a@b", Some(("h", Some(80)))),
            ("/relative", None),
            ("http://", None),
        ] {
            assert_eq!(host_and_port(url), want, "{url}");
        }
        for (host, port, want) in [
            ("::1", Some(443), "[::1]:443"),
            ("[::1]", Some(443), "[::1]:443"),
            ("h", Some(80), "h:80"),
            ("h", None, "h"),
            ("::1", None, "::1"),
        ] {
            assert_eq!(authority(host, port), want);
        }
    }
}
