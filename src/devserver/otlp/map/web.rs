//! The request that a transaction or span is of, which its events are told with too.

use std::net::{IpAddr, SocketAddr};

use super::{attributes::Seen, tree::Tree, url::Url};

#[derive(Debug, Clone, Default)]
pub(super) struct Web {
    pub(super) method: String,
    pub(super) status: u32,
    pub(super) version: String,
    pub(super) url: Url,
    pub(super) user_agent: String,
    pub(super) source: Option<Peer>,
    pub(super) client: Option<Peer>,
    /// As in Elasticsearch: connection and carrier.
    pub(super) network: Tree,
    pub(super) session: String,
    /// Where in the code a span began.
    pub(super) stack: String,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Peer {
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u32,
    pub(super) domain: String,
}

impl Peer {
    fn write(&self, out: &mut Tree, path: &str) {
        if let Some(ip) = self.ip {
            out.put(&format!("{path}/ip"), ip.to_string());
        }
        out.number(&format!("{path}/port"), self.port);
        out.text(&format!("{path}/domain"), &self.domain);
    }
}

impl Web {
    /// True for an attribute of the network or the session.
    pub(super) fn take(&mut self, key: &str, value: Seen<'_>) -> bool {
        let path = match key {
            "network.connection.type" => "connection/type",
            "network.connection.subtype" => "connection/subtype",
            "network.carrier.mcc" => "carrier/mcc",
            "network.carrier.mnc" => "carrier/mnc",
            "network.carrier.name" => "carrier/name",
            "network.carrier.icc" => "carrier/icc",
            "session.id" => {
                self.session = value.keyword().to_owned();
                return true;
            }
            _ => return false,
        };
        self.network.text(path, value.keyword());
        true
    }

    /// As the context of a transaction or an error.
    pub(super) fn context(&self, out: &mut Tree) {
        out.text("context/request/method", &self.method);
        out.text("context/request/http_version", &self.version);
        let url = &self.url;
        for (field, text) in [
            ("raw", &url.original),
            ("full", &url.full),
            ("protocol", &url.scheme),
            ("hostname", &url.domain),
            ("pathname", &url.path),
            ("search", &url.query),
            ("hash", &url.fragment),
        ] {
            out.text(&format!("context/request/url/{field}"), text);
        }
        out.number("context/request/url/port", url.port);
        out.number("context/response/status_code", self.status);
        out.text("context/request/headers/user-agent", &self.user_agent);
        let source = self.source.as_ref();
        if let Some(source @ Peer { ip: Some(ip), .. }) = source {
            let address = match u16::try_from(source.port) {
                Ok(port @ 1..) => SocketAddr::new(*ip, port).to_string(),
                _ => ip.to_string(),
            };
            out.put("context/request/socket/remote_address", address);
        }
        self.others(out);
    }

    /// By the names of Elasticsearch, for events that intake knows without a request.
    pub(super) fn ecs(&self, out: &mut Tree) {
        out.text("ecs/http/request/method", &self.method);
        out.text("ecs/http/version", &self.version);
        out.number("ecs/http/response/status_code", self.status);
        let url = &self.url;
        for (field, text) in [
            ("original", &url.original),
            ("full", &url.full),
            ("scheme", &url.scheme),
            ("domain", &url.domain),
            ("path", &url.path),
            ("query", &url.query),
            ("fragment", &url.fragment),
        ] {
            out.text(&format!("ecs/url/{field}"), text);
        }
        out.number("ecs/url/port", url.port);
        out.text("ecs/user_agent/original", &self.user_agent);
        self.others(out);
        out.text("ecs/session/id", &self.session);
    }

    /// What intake has no place for.
    fn others(&self, out: &mut Tree) {
        for (name, peer) in [("source", &self.source), ("client", &self.client)] {
            if let Some(peer) = peer {
                peer.write(out, &format!("ecs/{name}"));
            }
        }
        out.tree("ecs/network", &self.network);
        out.text("ecs/code/stacktrace", &self.stack);
    }
}
