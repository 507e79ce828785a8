//! Balances in Redis.
//!
//! | key after the prefix | content |
//! |---|---|
//! | `wallet:state` | `ready <epoch>` or `rebuilding <epoch>` |
//! | `wallet:rebuild` | the lease of a rebuild. It expires if the rebuild makes no progress |
//! | `wallet:<epoch>:balances` | hash: user, millionths |
//! | `wallet:<epoch>:waiting` | hash: key and user, event |
//! | `wallet:<epoch>:answer:<key> <user>` | outcome, amount, balance and reason; expires |
//! | `wallet:<epoch>:rebuilt` | hash: key and user, answer that the rebuild found in the log |
//! | `wallet:<epoch>:answered` | sorted set: key and user of accepted changes, by time |
//!
//! Redis must be a single primary without eviction (`maxmemory-policy noeviction`). Persistence is not needed and
//! should be disabled, because restored data could be out of date, while lost data is rebuilt.

use std::time::Duration;

use async_trait::async_trait;
use redis::{
    Client, FromRedisValue, Script, ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tower_apm::redis::InstrumentedConnection;

use super::{
    ANSWER_KEPT, Balances, Begin, Confirm, Find, MAX_BALANCE, MAX_WAITING, OLD_ANSWERS, REBUILD_LEASE, Rebuilt, State,
    StoreError, UNBOOKED_ANSWER_KEPT,
    redis_text::{answer_text, field, parse_amount, parse_answer, parse_event, parse_state, parts, state_text},
};
use crate::{
    clock,
    config::SecretUrl,
    money::Amount,
    wallet::log::{Epoch, Event},
};

/// How long a connection attempt can take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a reply can take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The number of commands in one pipeline of a rebuild.
const PIPELINE: usize = 1000;
/// How long the data of an unfinished rebuild is kept, in seconds.
const UNFINISHED_KEPT: i64 = 600;

/// Balances in Redis, for any number of instances.
pub struct RedisBalances {
    connection: InstrumentedConnection<ConnectionManager>,
    prefix: String,
    scripts: Scripts,
}

struct Scripts {
    begin: Script,
    confirm: Script,
    read: Script,
    start_rebuild: Script,
    switch: Script,
}

/// An error of opening the balances in Redis.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    #[error("REDIS_URL is not a URL of Redis")]
    Url,
    #[error("Redis cannot be reached")]
    Connect(#[source] redis::RedisError),
}

impl RedisBalances {
    /// Connects to the server. All keys begin with `prefix`.
    pub async fn connect(url: &SecretUrl, prefix: &str) -> Result<Self, RedisError> {
        let client = Client::open(url.expose()).map_err(|_| RedisError::Url)?;
        // Few attempts, so that requests fail fast. The next request tries again.
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(200));
        let info = client.get_connection_info().clone();
        let connection = ConnectionManager::new_with_config(client, config).await.map_err(RedisError::Connect)?;
        let connection = tower_apm::redis::instrument(connection).connection_info(&info);
        Ok(Self { connection, prefix: prefix.to_owned(), scripts: Scripts::default() })
    }

    fn state_key(&self) -> String {
        format!("{}wallet:state", self.prefix)
    }

    fn lease_key(&self) -> String {
        format!("{}wallet:rebuild", self.prefix)
    }

    /// Returns a key of the data set of an epoch.
    fn data_key(&self, epoch: &Epoch, name: &str) -> String {
        format!("{}wallet:{epoch}:{name}", self.prefix)
    }

    fn answer_key(&self, epoch: &Epoch, user: &str, key: &str) -> String {
        self.data_key(epoch, &format!("answer:{}", field(user, key)))
    }

    /// Returns the invocation of a script with the keys of a change.
    fn on_change<'a>(&self, script: &'a Script, epoch: &Epoch, user: &str, key: &str) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        call.key(self.state_key())
            .key(self.data_key(epoch, "balances"))
            .key(self.data_key(epoch, "waiting"))
            .key(self.answer_key(epoch, user, key))
            .key(self.data_key(epoch, "answered"))
            .key(self.data_key(epoch, "rebuilt"))
            .arg(epoch.as_str());
        call
    }

    async fn call<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        call.invoke_async(&mut self.connection.clone()).await.map_err(store_error)
    }

    /// Changes the state of an epoch from `from` to `to`, and ends the lease.
    async fn switch(&self, epoch: &Epoch, from: &str, to: &str, balances: &str) -> Result<bool, StoreError> {
        let mut call = self.scripts.switch.prepare_invoke();
        call.key(self.state_key()).key(self.lease_key()).key(self.data_key(epoch, "balances"));
        call.key(self.data_key(epoch, "answered"))
            .key(self.data_key(epoch, "rebuilt"))
            .arg(format!("{from} {epoch}"))
            .arg(format!("{to} {epoch}"))
            .arg(balances);
        self.call(&call).await
    }

    async fn read(&self, epoch: &Epoch, what: &str, user: &str, key: &str) -> Result<Vec<String>, StoreError> {
        self.call(self.on_change(&self.scripts.read, epoch, user, key).arg(what).arg(user).arg(field(user, key))).await
    }
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            begin: Script::new(include_str!("begin.lua")),
            confirm: Script::new(include_str!("confirm.lua")),
            read: Script::new(include_str!("read.lua")),
            start_rebuild: Script::new(include_str!("start_rebuild.lua")),
            switch: Script::new(include_str!("switch.lua")),
        }
    }
}

fn store_error(error: redis::RedisError) -> StoreError {
    match error.is_connection_refusal() {
        true => StoreError::Unreachable(error.into()),
        false => StoreError::Failed(error.into()),
    }
}

fn unexpected(reply: &[String]) -> StoreError {
    let kind = reply.first().map_or("", String::as_str);
    StoreError::Failed(format!("a script returned the unexpected reply {kind:?}").into())
}

#[async_trait]
impl Balances for RedisBalances {
    async fn state(&self) -> Result<State, StoreError> {
        let (state, lease): (Option<String>, bool) = redis::pipe()
            .get(self.state_key())
            .exists(self.lease_key())
            .query_async(&mut self.connection.clone())
            .await
            .map_err(store_error)?;
        parse_state(state.as_deref(), lease)
    }

    async fn get(&self, epoch: &Epoch, user: &str) -> Result<Option<Amount>, StoreError> {
        let reply = self.read(epoch, "balance", user, "").await?;
        match parts(&reply) {
            ("not ready", _) => Ok(None),
            ("ready", balance) => parse_amount(balance).map(Some),
            _ => Err(unexpected(&reply)),
        }
    }

    async fn begin(&self, event: &Event, is_new: bool) -> Result<Begin, StoreError> {
        let json = serde_json::to_string(event).map_err(|error| StoreError::Failed(error.into()))?;
        let Event { epoch, user, key, .. } = event;
        let reply: Vec<String> = self
            .call(
                self.on_change(&self.scripts.begin, epoch, user, key)
                    .arg(user)
                    .arg(event.amount.millionths())
                    .arg(field(user, key))
                    .arg(json)
                    .arg(u8::from(is_new))
                    .arg(MAX_WAITING)
                    .arg(MAX_BALANCE)
                    .arg(&event.reason)
                    .arg(ANSWER_KEPT.as_millis().to_string()),
            )
            .await?;
        Ok(match parts(&reply) {
            ("not ready", _) => Begin::NotReady,
            ("unknown", _) => Begin::Unknown,
            ("known", answer) => Begin::Known(parse_answer(answer)?),
            ("waiting", event) => Begin::Waiting(parse_event(event)?),
            ("full", _) => Begin::Full,
            ("overflow", _) => Begin::Overflow,
            ("begun", _) => Begin::Begun,
            _ => return Err(unexpected(&reply)),
        })
    }

    async fn confirm(&self, event: &Event) -> Result<Confirm, StoreError> {
        let Event { epoch, user, key, .. } = event;
        let reply: Vec<String> = self
            .call(
                self.on_change(&self.scripts.confirm, epoch, user, key)
                    .arg(user)
                    .arg(event.amount.millionths())
                    .arg(field(user, key))
                    .arg(&event.reason)
                    .arg(UNBOOKED_ANSWER_KEPT.as_millis().to_string())
                    .arg(clock::now_ms()),
            )
            .await?;
        Ok(match parts(&reply) {
            ("not ready", _) => Confirm::NotReady,
            ("unknown", _) => Confirm::Unknown,
            ("known", answer) => Confirm::Known(parse_answer(answer)?),
            _ => return Err(unexpected(&reply)),
        })
    }

    async fn find(&self, epoch: &Epoch, user: &str, key: &str) -> Result<Find, StoreError> {
        let reply = self.read(epoch, "answer", user, key).await?;
        Ok(match parts(&reply) {
            ("not ready", _) => Find::NotReady,
            ("unknown", _) => Find::Unknown,
            ("known", answer) => Find::Known(parse_answer(answer)?),
            _ => return Err(unexpected(&reply)),
        })
    }

    async fn waiting(&self, epoch: &Epoch) -> Result<Vec<Event>, StoreError> {
        let reply = self.read(epoch, "waiting", "", "").await?;
        reply.iter().skip(1).map(|event| parse_event(event)).collect()
    }

    async fn old_answers(&self, epoch: &Epoch, before_ms: i64) -> Result<Vec<(String, String)>, StoreError> {
        let fields: Vec<String> = redis::cmd("ZRANGEBYSCORE")
            .arg(self.data_key(epoch, "answered"))
            .arg("-inf")
            .arg(before_ms)
            .arg("LIMIT")
            .arg(0)
            .arg(OLD_ANSWERS)
            .query_async(&mut self.connection.clone())
            .await
            .map_err(store_error)?;
        let changes = fields.iter().filter_map(|field| field.split_once(' '));
        Ok(changes.map(|(key, user)| (user.to_owned(), key.to_owned())).collect())
    }

    async fn forget_answers(&self, epoch: &Epoch, changes: &[(String, String)]) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        for (user, key) in changes {
            pipeline.unlink(self.answer_key(epoch, user, key)).ignore();
            pipeline.hdel(self.data_key(epoch, "rebuilt"), field(user, key)).ignore();
            pipeline.zrem(self.data_key(epoch, "answered"), field(user, key)).ignore();
        }
        pipeline.exec_async(&mut self.connection.clone()).await.map_err(store_error)
    }

    async fn discard(&self, epoch: &Epoch) -> Result<(), StoreError> {
        self.switch(epoch, "ready", "rebuilding", "").await.map(|_| ())
    }

    async fn start_rebuild(&self, observed: &State, epoch: &Epoch) -> Result<bool, StoreError> {
        let mut call = self.scripts.start_rebuild.prepare_invoke();
        call.key(self.state_key()).key(self.lease_key());
        if let State::Rebuilding { epoch: old, .. } | State::Ready(old) = observed {
            for name in ["balances", "waiting", "answered", "rebuilt"] {
                call.key(self.data_key(old, name));
            }
        }
        let lease = REBUILD_LEASE.as_millis().to_string();
        self.call(call.arg(state_text(observed)).arg(epoch.as_str()).arg(lease)).await
    }

    async fn renew_rebuild(&self, epoch: &Epoch) -> Result<(), StoreError> {
        let lease = u64::try_from(REBUILD_LEASE.as_millis()).unwrap_or(u64::MAX);
        redis::cmd("SET")
            .arg(self.lease_key())
            .arg(epoch.as_str())
            .arg("PX")
            .arg(lease)
            .exec_async(&mut self.connection.clone())
            .await
            .map_err(store_error)
    }

    async fn abandon_rebuild(&self, epoch: &Epoch) -> Result<(), StoreError> {
        self.switch(epoch, "rebuilding", "rebuilding", "").await.map(|_| ())
    }

    async fn load(&self, epoch: &Epoch, rebuilt: &Rebuilt) -> Result<(), StoreError> {
        let mut connection = self.connection.clone();
        let balances = self.data_key(epoch, "balances");
        for chunk in rebuilt.balances.chunks(PIPELINE) {
            let values: Vec<_> = chunk.iter().map(|(user, balance)| (user, balance.millionths())).collect();
            let mut pipeline = redis::pipe();
            pipeline.hset_multiple(&balances, &values).ignore().expire(&balances, UNFINISHED_KEPT).ignore();
            pipeline.exec_async(&mut connection).await.map_err(store_error)?;
        }
        let (answers, answered) = (self.data_key(epoch, "rebuilt"), self.data_key(epoch, "answered"));
        let now_ms = clock::now_ms();
        for chunk in rebuilt.answers.chunks(PIPELINE) {
            let mut pipeline = redis::pipe();
            for (event, balance) in chunk {
                let field = field(&event.user, &event.key);
                pipeline.hset(&answers, &field, answer_text(event, *balance)).ignore();
                pipeline.zadd(&answered, &field, now_ms).ignore();
            }
            pipeline.expire(&answers, UNFINISHED_KEPT).ignore();
            pipeline.expire(&answered, UNFINISHED_KEPT).ignore();
            pipeline.exec_async(&mut connection).await.map_err(store_error)?;
        }
        Ok(())
    }

    async fn finish_rebuild(&self, epoch: &Epoch, rebuilt: &Rebuilt) -> Result<bool, StoreError> {
        self.switch(epoch, "rebuilding", "ready", &rebuilt.balances.len().to_string()).await
    }
}

impl std::fmt::Debug for RedisBalances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBalances").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
