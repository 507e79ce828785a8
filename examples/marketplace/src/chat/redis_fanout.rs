//! Delivers events to all instances through Redis pub/sub.
//!
//! The room `lobby` is the channel `<prefix>chat:lobby`. An event is the JSON of its row. Redis 6 or later is required,
//! because the subscriber uses RESP3: the Redis client then calls a function for each event, so there is no unbounded
//! queue between the connection and the listeners.

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, ProtocolVersion, PushInfo, PushKind, RedisError,
    RedisResult, Value,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower_apm::redis::InstrumentedConnection;

use super::{
    entity::Model as Message,
    event::Event,
    fanout::{Fanout, PublishError},
    rooms::{Listener, Rooms, Source},
};
use crate::config::SecretUrl;

/// How long publishing an event can take.
const PUBLISH_LIMIT: Duration = Duration::from_secs(1);
/// How long connecting and sending an event can take.
///
/// Shorter than [`PUBLISH_LIMIT`], so that the span records the failure.
const SEND_LIMIT: Duration = Duration::from_millis(800);
/// How long a new listener waits for the subscription to its room. After this time, the listener starts without live
/// events and receives [`Event::Missed`] when the subscription succeeds.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(1);
/// How long connecting and each command of the subscriber can take.
const COMMAND_LIMIT: Duration = Duration::from_secs(2);
/// How often the subscriber checks an idle connection.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// The shortest and the longest pause between two attempts to connect.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The maximum number of channels in one command.
const CHANNELS_PER_COMMAND: usize = 500;

/// Publishes events to Redis and delivers the events of Redis to the listeners of this process.
///
/// There is one connection for publishing and one for subscriptions. The subscriber subscribes to the rooms that have
/// listeners. After a lost connection, it reconnects with a back-off, subscribes again, and reports [`Event::Missed`]
/// to the listeners, because Redis does not store the events that were published in the meantime.
#[derive(Debug)]
pub struct RedisFanout {
    publisher: InstrumentedConnection<ConnectionManager>,
    prefix: Arc<str>,
    rooms: Arc<Rooms>,
    subscriber: JoinHandle<()>,
}

impl RedisFanout {
    /// Starts the subscriber without waiting for Redis. Fails if the URL is invalid.
    ///
    /// Must be called inside a Tokio runtime. `prefix` is the prefix of all channels.
    pub fn connect(url: &SecretUrl, prefix: &str) -> RedisResult<Self> {
        let info = url.expose().into_connection_info()?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings))?;
        // A single attempt, because `send` repeats a command that was not sent.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(SEND_LIMIT))
            .set_response_timeout(Some(SEND_LIMIT));
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        let publisher = tower_apm::redis::instrument(manager).connection_info(client.get_connection_info());

        let prefix: Arc<str> = format!("{prefix}chat:").into();
        let rooms = Arc::<Rooms>::default();
        let subscriber = Subscriber { client, prefix: prefix.clone(), rooms: rooms.clone() };
        Ok(Self { publisher, prefix, rooms, subscriber: tokio::spawn(subscriber.run()) })
    }

    async fn send(&self, channel: &str, json: &str) -> Result<(), RedisError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(json);
        let mut connection = self.publisher.clone();
        match publish.exec_async(&mut connection).await {
            // The connection was lost while it was idle. The failed command has started a new connection.
            Err(error) if error.is_io_error() && !error.is_timeout() => publish.exec_async(&mut connection).await,
            sent => sent,
        }
    }
}

#[async_trait]
impl Fanout for RedisFanout {
    async fn publish(&self, event: &Arc<Message>) -> Result<(), PublishError> {
        let channel = format!("{}{}", self.prefix, event.room);
        let json = serde_json::to_string(&**event)?;
        match timeout(PUBLISH_LIMIT, self.send(&channel, &json)).await {
            Ok(sent) => Ok(sent?),
            Err(elapsed) => Err(PublishError::TimedOut(io::Error::new(io::ErrorKind::TimedOut, elapsed))),
        }
    }

    async fn subscribe(&self, room: &str) -> Listener {
        let (listener, mut source) = self.rooms.add_listener(room, Source::Pending);
        let active = source.wait_for(|source| *source == Source::Active);
        if timeout(SUBSCRIBE_LIMIT, active).await.is_err() {
            self.rooms.interrupt_pending(room);
        }
        listener
    }
}

impl Drop for RedisFanout {
    fn drop(&mut self) {
        self.subscriber.abort();
    }
}

/// The task with the subscriber connection.
struct Subscriber {
    client: Client,
    prefix: Arc<str>,
    rooms: Arc<Rooms>,
}

impl Subscriber {
    async fn run(self) {
        let mut pause = BACK_OFF.0;
        let mut is_reported = false;
        loop {
            let lost = Arc::<Notify>::default();
            let error = match self.open(lost.clone()).await {
                Ok(connection) => {
                    if is_reported {
                        tracing::info!("the chat is connected to Redis again");
                    }
                    (pause, is_reported) = (BACK_OFF.0, false);
                    let Err(error) = self.follow(connection, &lost).await;
                    error
                }
                Err(error) => error,
            };
            self.rooms.interrupt_active();
            if !is_reported {
                tracing::warn!(%error, "the chat is not connected to Redis: live events are lost until it is");
                is_reported = true;
            }
            sleep(pause).await;
            pause = (pause * 2).min(BACK_OFF.1);
        }
    }

    async fn open(&self, lost: Arc<Notify>) -> RedisResult<MultiplexedConnection> {
        let (prefix, rooms) = (self.prefix.clone(), self.rooms.clone());
        let receive = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            match push.kind {
                PushKind::Message => deliver(&rooms, &prefix, &push.data),
                PushKind::Disconnection => lost.notify_one(),
                _ => {}
            }
            Ok(())
        };
        let config = AsyncConnectionConfig::new()
            .set_push_sender(receive)
            .set_connection_timeout(Some(COMMAND_LIMIT))
            .set_response_timeout(Some(COMMAND_LIMIT));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Keeps the subscriptions equal to the rooms until the connection is lost.
    async fn follow(
        &self,
        mut connection: MultiplexedConnection,
        lost: &Notify,
    ) -> Result<std::convert::Infallible, RedisError> {
        let mut subscribed = HashSet::new();
        loop {
            let wanted = self.rooms.names();
            for channels in self.channels(subscribed.difference(&wanted)) {
                connection.unsubscribe(channels).await?;
            }
            for channels in self.channels(wanted.difference(&subscribed)) {
                connection.subscribe(channels).await?;
            }
            // This includes rooms whose last listener left before a new one came: they were not unsubscribed.
            self.rooms.activate(&wanted);
            subscribed = wanted;
            tokio::select! {
                () = lost.notified() => return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
                () = self.rooms.changed.notified() => {}
                () = sleep(PING_INTERVAL) => redis::cmd("PING").exec_async(&mut connection).await?,
            }
        }
    }

    fn channels<'a>(&self, rooms: impl Iterator<Item = &'a String>) -> Vec<Vec<String>> {
        let channels: Vec<_> = rooms.map(|room| format!("{}{room}", self.prefix)).collect();
        channels.chunks(CHANNELS_PER_COMMAND).map(<[String]>::to_vec).collect()
    }
}

/// Delivers a published event to the listeners. If the event cannot be read, for instance because another version
/// published it, a warning is logged.
fn deliver(rooms: &Rooms, prefix: &str, push: &[Value]) {
    let [Value::BulkString(channel), Value::BulkString(json)] = push else { return };
    let Some(room) = std::str::from_utf8(channel).ok().and_then(|channel| channel.strip_prefix(prefix)) else { return };
    match serde_json::from_slice::<Message>(json) {
        Ok(message) => rooms.deliver(room, Event::Stored(Arc::new(message))),
        // The error quotes neither the text nor the sender of a message.
        Err(error) => tracing::warn!(line = error.line(), column = error.column(), "a chat event cannot be read"),
    }
}
