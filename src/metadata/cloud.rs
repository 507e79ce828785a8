//! The cloud, asked over its link-local address. Nobody answers there elsewhere, so the limits are short.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use opentelemetry::context::FutureExt;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    config::{CloudProvider, EnvVars},
    record::{Cloud, CloudPart},
    transport::{Connector, HttpClient, HttpVersion, Proxies, RequestLimits, Tls, Trust},
};

const CONNECT: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_secs(1);
/// Google's answer has the instance's own attributes in it, start scripts for instance.
const MAX_ANSWER: usize = 1024 * 1024;

/// Asks the clouds that may be around.
#[derive(Debug, Clone)]
pub(crate) struct CloudMetadata {
    client: HttpClient,
    provider: CloudProvider,
    bases: Bases,
}

/// Where they answer, without a slash at the end.
#[derive(Debug, Clone)]
pub(crate) struct Bases {
    pub(crate) aws: String,
    pub(crate) gcp: String,
    pub(crate) azure: String,
}

impl Default for Bases {
    fn default() -> Self {
        let link_local = || "http://169.254.169.254".to_owned();
        Self { aws: link_local(), gcp: "http://metadata.google.internal".to_owned(), azure: link_local() }
    }
}

impl CloudMetadata {
    /// None where nobody is to be asked: `cloud_provider=none`, and `auto` for a server on this very machine, as
    /// laptops and tests have it.
    pub(crate) fn new(provider: CloudProvider, server_is_here: bool) -> Option<Self> {
        let nobody = provider == CloudProvider::None || provider == CloudProvider::Auto && server_is_here;
        if nobody { None } else { Some(Self::with_bases(provider, Bases::default())) }
    }

    pub(crate) fn with_bases(provider: CloudProvider, bases: Bases) -> Self {
        // no TLS is spoken
        let tls = Tls::new(Trust::System, HttpVersion::Http1);
        let connector = Connector::new(Proxies::none(), tls, HttpVersion::Http1, CONNECT);
        Self { client: HttpClient::new(connector, Proxies::none()), provider, bases }
    }

    /// The first that answers. Takes some two seconds at most.
    pub(crate) async fn find(self) -> Option<Cloud> {
        let asked = |provider| matches!(self.provider, CloudProvider::Auto) || self.provider == provider;
        let mut asking = JoinSet::new();
        if asked(CloudProvider::Aws) {
            asking.spawn(self.clone().aws());
        }
        if asked(CloudProvider::Gcp) {
            asking.spawn(self.clone().gcp());
        }
        if asked(CloudProvider::Azure) {
            asking.spawn(self.clone().azure());
        }
        while let Some(answer) = asking.join_next().await {
            if let Ok(Some(cloud)) = answer {
                return Some(cloud);
            }
        }
        None
    }

    async fn aws(self) -> Option<Cloud> {
        let base = &self.bases.aws;
        let ttl = header("x-aws-ec2-metadata-token-ttl-seconds", "300");
        let token = self.read(Method::PUT, format!("{base}/latest/api/token"), ttl).await;
        let token = token.and_then(|token| HeaderValue::from_bytes(token.trim_ascii()).ok());
        let token = token.map(|token| (HeaderName::from_static("x-aws-ec2-metadata-token"), token));
        let document = format!("{base}/latest/dynamic/instance-identity/document");
        aws(&self.json(document, token.into_iter().collect()).await?)
    }

    async fn gcp(self) -> Option<Cloud> {
        let url = format!("{}/computeMetadata/v1/?recursive=true", self.bases.gcp);
        gcp(&self.json(url, header("metadata-flavor", "Google")).await?)
    }

    async fn azure(self) -> Option<Cloud> {
        let url = format!("{}/metadata/instance/compute?api-version=2019-08-15", self.bases.azure);
        azure(&self.json(url, header("metadata", "true")).await?)
    }

    async fn json(&self, url: String, headers: HeaderMap) -> Option<Value> {
        serde_json::from_slice(&self.read(Method::GET, url, headers).await?).ok()
    }

    /// Returns the body of a 200.
    async fn read(&self, method: Method, url: String, headers: HeaderMap) -> Option<Vec<u8>> {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().ok()?;
        *request.headers_mut() = headers;
        let limits = RequestLimits { total: ANSWER, success_body: ANSWER, body_bytes: MAX_ANSWER };
        let suppressed = opentelemetry::Context::current().with_telemetry_suppressed();
        let answer = self.client.send(request, limits).with_context(suppressed).await.ok()?;
        (answer.status == 200).then_some(answer.body)
    }
}

fn header(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
}

/// Text, or a number: Google's ids are larger than what a float tells apart.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
    .filter(|text| !text.is_empty())
}

fn last_part(path: &Value) -> Option<String> {
    text(path).and_then(|path| path.rsplit('/').next().map(str::to_owned))
}

fn part(id: Option<String>, name: Option<String>) -> CloudPart {
    CloudPart { id, name }
}

/// By the instance's identity document. None where that is something else.
fn aws(document: &Value) -> Option<Cloud> {
    let account = text(&document["accountId"]);
    account.as_ref()?;
    Some(Cloud {
        provider: "aws",
        region: text(&document["region"]),
        availability_zone: text(&document["availabilityZone"]),
        account: part(account, None),
        instance: part(text(&document["instanceId"]), None),
        machine_type: text(&document["instanceType"]),
        ..Cloud::default()
    })
}

fn gcp(all: &Value) -> Option<Cloud> {
    let (instance, project) = (&all["instance"], &all["project"]);
    let zone = last_part(&instance["zone"]);
    let id = text(&instance["id"]);
    id.as_ref()?;
    Some(Cloud {
        provider: "gcp",
        region: zone.as_deref().and_then(|zone| zone.rsplit_once('-')).map(|(region, _)| region.to_owned()),
        availability_zone: zone,
        instance: part(id, text(&instance["name"])),
        project: part(text(&project["projectId"]), None),
        machine_type: last_part(&instance["machineType"]),
        ..Cloud::default()
    })
}

fn azure(compute: &Value) -> Option<Cloud> {
    let id = text(&compute["vmId"]);
    id.as_ref()?;
    Some(Cloud {
        provider: "azure",
        region: text(&compute["location"]),
        availability_zone: text(&compute["zone"]),
        account: part(text(&compute["subscriptionId"]), None),
        instance: part(id, text(&compute["name"])),
        project: part(None, text(&compute["resourceGroupName"])),
        machine_type: text(&compute["vmSize"]),
        ..Cloud::default()
    })
}

/// Azure's App Service has no such address, but variables.
pub(crate) fn app_service(environment: &EnvVars) -> Option<Cloud> {
    let variable = |name| environment.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let (instance, site, group) =
        (variable("WEBSITE_INSTANCE_ID")?, variable("WEBSITE_SITE_NAME")?, variable("WEBSITE_RESOURCE_GROUP")?);
    // `<subscription>+<group>-<region>webspace<more>`
    let owner = variable("WEBSITE_OWNER_NAME")?;
    let (subscription, rest) = owner.split_once('+')?;
    let region = rest.rsplit_once('-').and_then(|(_, space)| space.split_once("webspace")).map(|(region, _)| region);
    Some(Cloud {
        provider: "azure",
        region: region.map(str::to_owned),
        account: part(Some(subscription.to_owned()), None),
        instance: part(Some(instance), Some(site)),
        project: part(None, Some(group)),
        service_name: Some("app service".to_owned()),
        ..Cloud::default()
    })
}

#[cfg(test)]
mod tests;
