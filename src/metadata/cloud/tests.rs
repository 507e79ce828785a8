use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// Answers each request with what `answer` makes of its head; None: not at all. Gives its URL.
async fn stand_in(answer: fn(&str) -> Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                let mut buffer = [0; 1024];
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match socket.read(&mut buffer).await {
                        Ok(read @ 1..) => head.extend_from_slice(&buffer[..read]),
                        _ => return,
                    }
                }
                match answer(&String::from_utf8(head).unwrap().to_ascii_lowercase()) {
                    Some(answer) => drop(socket.write_all(answer.as_bytes()).await),
                    None => std::future::pending().await,
                }
            });
        }
    });
    url
}

fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
}

fn status(line: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
}

async fn found(provider: CloudProvider, answer: fn(&str) -> Option<String>) -> Option<Cloud> {
    let url = stand_in(answer).await;
    let bases = Bases { aws: url.clone(), gcp: url.clone(), azure: url };
    CloudMetadata::with_bases(provider, bases).find().await
}

const AWS: &str = r#"{"accountId":"946960629917","architecture":"x86_64","availabilityZone":"us-east-2a","instanceId":"i-0ae894a7c1c4f2a75","instanceType":"t2.medium","region":"us-east-2"}"#;
const GCP: &str = r#"{"instance":{"id":4306570268266786072,"name":"basepi-test","machineType":"projects/513326162531/machineTypes/n1-standard-1","zone":"projects/513326162531/zones/us-west3-a"},"project":{"projectId":"elastic-apm","numericProjectId":513326162531}}"#;
const AZURE: &str = r#"{"location":"westus2","name":"basepi-test","resourceGroupName":"basepi-testing","subscriptionId":"7657426d-c4c3-44ac-88a2-3b2cd59e6dba","vmId":"e11ebedc-019d-427f-84dd-56cd4388d3a8","vmSize":"Standard_D2s_v3","zone":""}"#;

// spec: metadata.md
#[tokio::test]
async fn aws_metadata_is_requested_with_a_token() {
    let cloud = found(CloudProvider::Aws, |head| {
        if head.starts_with("put /latest/api/token") && head.contains("x-aws-ec2-metadata-token-ttl-seconds: 300") {
            ok("a-token")
        } else if head.contains("get /latest/dynamic/instance-identity/document")
            && head.contains("x-aws-ec2-metadata-token: a-token")
        {
            ok(AWS)
        } else {
            status("401 Unauthorized")
        }
    })
    .await
    .unwrap();
    assert_eq!((cloud.provider, cloud.region.as_deref()), ("aws", Some("us-east-2")));
    assert_eq!(cloud.availability_zone.as_deref(), Some("us-east-2a"));
    assert_eq!(cloud.account.id.as_deref(), Some("946960629917"));
    assert_eq!(cloud.instance.id.as_deref(), Some("i-0ae894a7c1c4f2a75"));
    assert_eq!(cloud.machine_type.as_deref(), Some("t2.medium"));
}

// spec: metadata.md
#[tokio::test]
async fn aws_metadata_version_1_needs_no_token() {
    let cloud = found(CloudProvider::Aws, |head| match head.starts_with("put") {
        true => status("404 Not Found"),
        false if head.contains("x-aws-ec2-metadata-token:") => status("400 Bad Request"),
        false => ok(AWS),
    });
    assert_eq!(cloud.await.unwrap().provider, "aws");
}

// spec: metadata.md
#[tokio::test]
async fn gcp_ids_keep_every_digit() {
    let cloud = found(CloudProvider::Gcp, |head| match head.contains("metadata-flavor: google") {
        true => ok(GCP),
        false => status("403 Forbidden"),
    })
    .await
    .unwrap();
    assert_eq!(cloud.instance, part(Some("4306570268266786072".into()), Some("basepi-test".into())));
    assert_eq!((cloud.region.as_deref(), cloud.availability_zone.as_deref()), (Some("us-west3"), Some("us-west3-a")));
    assert_eq!(cloud.machine_type.as_deref(), Some("n1-standard-1"));
    assert_eq!(cloud.project.id.as_deref(), Some("elastic-apm"));
}

// spec: metadata.md
#[tokio::test]
async fn azure_metadata_is_requested() {
    let cloud = found(CloudProvider::Azure, |head| match head.contains("metadata: true") {
        true => ok(AZURE),
        false => status("400 Bad Request"),
    })
    .await
    .unwrap();
    assert_eq!((cloud.region.as_deref(), cloud.availability_zone), (Some("westus2"), None));
    assert_eq!(cloud.instance.id.as_deref(), Some("e11ebedc-019d-427f-84dd-56cd4388d3a8"));
    assert_eq!(cloud.account.id.as_deref(), Some("7657426d-c4c3-44ac-88a2-3b2cd59e6dba"));
    assert_eq!(cloud.project.name.as_deref(), Some("basepi-testing"));
    assert_eq!(cloud.machine_type.as_deref(), Some("Standard_D2s_v3"));
}

// spec: metadata.md
#[tokio::test]
async fn auto_uses_the_first_cloud_that_responds() {
    let cloud = found(CloudProvider::Auto, |head| match head.starts_with("get /metadata/instance") {
        true => ok(AZURE),
        false => status("404 Not Found"),
    });
    assert_eq!(cloud.await.unwrap().provider, "azure");
}

// spec: metadata.md
#[tokio::test]
async fn invalid_cloud_responses_are_ignored() {
    let answers: [fn(&str) -> Option<String>; 6] = [
        |_| None,
        |_| ok("<html>captive portal</html>"),
        |_| ok("{}"),
        |_| ok("[1, 2]"),
        |_| status("302 Found\r\nlocation: http://127.0.0.1:1/"),
        |_| Some("no HTTP at all\r\n\r\n".to_owned()),
    ];
    for answer in answers {
        assert_eq!(found(CloudProvider::Auto, answer).await, None);
    }
    let closed = Bases {
        aws: "http://127.0.0.1:1".into(),
        gcp: "http://127.0.0.1:1".into(),
        azure: "http://127.0.0.1:1".into(),
    };
    assert_eq!(CloudMetadata::with_bases(CloudProvider::Auto, closed).find().await, None);
}

// spec: metadata.md
#[test]
fn cloud_metadata_is_not_requested_if_disabled_or_local() {
    assert!(CloudMetadata::new(CloudProvider::None, false).is_none());
    assert!(CloudMetadata::new(CloudProvider::Auto, true).is_none());
    assert!(CloudMetadata::new(CloudProvider::Auto, false).is_some());
    assert!(CloudMetadata::new(CloudProvider::Aws, true).is_some());
}

// spec: metadata.md
#[test]
fn azure_app_service_is_read_from_variables() {
    let variables = [
        ("WEBSITE_OWNER_NAME", "f5940f10-2e30-3e4d-a259-63451ba6dae4+elastic-apm-AustraliaEastwebspace"),
        ("WEBSITE_INSTANCE_ID", "instance"),
        ("WEBSITE_SITE_NAME", "shop"),
        ("WEBSITE_RESOURCE_GROUP", "group"),
    ];
    let cloud = app_service(&variables.into_iter().collect()).unwrap();
    assert_eq!(cloud.account.id.as_deref(), Some("f5940f10-2e30-3e4d-a259-63451ba6dae4"));
    assert_eq!((cloud.region.as_deref(), cloud.instance.name.as_deref()), (Some("AustraliaEast"), Some("shop")));
    assert_eq!(app_service(&variables[1..].iter().copied().collect()), None);
}
