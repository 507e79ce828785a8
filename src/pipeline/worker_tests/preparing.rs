//! Events wait for the metadata of the service, up to a limit.

use super::*;

fn service(name: &str) -> Resource {
    Resource { service_name: name.to_owned(), ..Resource::default() }
}

// spec: transport.md, metadata.md
#[tokio::test]
async fn events_wait_for_the_metadata() {
    let (tell, told) = oneshot::channel();
    let rig = Rig::preparing(1, [], Some(Box::pin(async { told.await.unwrap() })));
    rig.record(3);
    let flushed = rig.worker.flush(Duration::from_secs(60));
    assert_eq!(rig.queue.stats().waiting, 3);
    tell.send(service("shop")).unwrap();
    flushed.await.unwrap();
    assert_eq!(*rig.described.lock().unwrap(), [(0, "shop".to_owned())], "described before the first event");
    assert_eq!(rig.sent(), [1, 1, 1]);
}

#[tokio::test]
async fn flush_sends_events_without_metadata_that_is_late() {
    let (tell, told) = oneshot::channel();
    let rig = Rig::preparing(1, [], Some(Box::pin(async { told.await.unwrap() })));
    rig.record(1);
    rig.worker.flush(Duration::from_millis(100)).await.unwrap();
    assert_eq!((rig.sent(), rig.described.lock().unwrap().len()), (vec![1], 0));
    tell.send(service("shop")).unwrap();
    rig.record(1);
    rig.worker.flush(SOON).await.unwrap();
    while rig.described.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    rig.worker.shutdown(SOON).await.unwrap();
}

#[tokio::test]
async fn shutdown_sends_events_without_metadata_that_is_late() {
    let rig = Rig::preparing(9, [], Some(Box::pin(std::future::pending())));
    rig.record(2);
    rig.worker.shutdown(Duration::from_millis(200)).await.unwrap();
    assert_eq!(rig.sent(), [2]);
}
