//! The cloud, asked over its link-local address. Nobody answers there elsewhere, so the limits are short.

use std::{sync::Arc, time::Duration};

use opentelemetry::context::FutureExt;
use reqwest::{Client, RequestBuilder, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    config::{CloudProvider, Environment},
    record::{Cloud, CloudPart},
};

const CONNECT: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_secs(1);
/// Google's answer has the instance's own attributes in it, start scripts for instance.
const MAX_ANSWER: usize = 1024 * 1024;

/// Asks the clouds that may be around.
#[derive(Debug, Clone)]
pub(crate) struct CloudMetadata {
    client: Client,
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
        if nobody { None } else { Self::with_bases(provider, Bases::default()) }
    }

    pub(crate) fn with_bases(provider: CloudProvider, bases: Bases) -> Option<Self> {
        // no TLS is spoken, but the client wants to be told so
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .build();
        client.ok().map(|client| Self { client, provider, bases })
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
        let token = self.client.put(format!("{base}/latest/api/token"));
        let token = read(token.header("X-aws-ec2-metadata-token-ttl-seconds", "300")).await;
        let mut document = self.client.get(format!("{base}/latest/dynamic/instance-identity/document"));
        if let Some(token) = token.and_then(|token| String::from_utf8(token).ok()) {
            document = document.header("X-aws-ec2-metadata-token", token.trim());
        }
        aws(&json(document).await?)
    }

    async fn gcp(self) -> Option<Cloud> {
        let request = self.client.get(format!("{}/computeMetadata/v1/?recursive=true", self.bases.gcp));
        gcp(&json(request.header("Metadata-Flavor", "Google")).await?)
    }

    async fn azure(self) -> Option<Cloud> {
        let request = self.client.get(format!("{}/metadata/instance/compute?api-version=2019-08-15", self.bases.azure));
        azure(&json(request.header("Metadata", "true")).await?)
    }
}

async fn json(request: RequestBuilder) -> Option<Value> {
    serde_json::from_slice(&read(request).await?).ok()
}

/// The body of a 200.
async fn read(request: RequestBuilder) -> Option<Vec<u8>> {
    let suppressed = opentelemetry::Context::current().with_telemetry_suppressed();
    let read = async {
        let mut response = request.send().await.ok().filter(|response| response.status() == 200)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return None;
            }
        }
        Some(body)
    };
    read.with_context(suppressed).await
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
pub(crate) fn app_service(environment: &Environment) -> Option<Cloud> {
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
