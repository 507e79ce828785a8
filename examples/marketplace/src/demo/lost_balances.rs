//! Redis loses its data: the marketplace rebuilds the balances.

use redis::{Client, Script};

use super::{
    DemoError,
    visitor::{Visit, Visitors},
};
use crate::config::SecretUrl;

/// Deletes all keys that match a pattern at once, like a server that restarts without persistence. `KEYS` reads all keys of
/// the server: do not do this on a server with other data.
const DELETE: &str = "
local deleted = 0
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  deleted = deleted + redis.call('UNLINK', key)
end
return deleted";

impl Visitors {
    /// Deletes the balances in Redis and reads a balance again.
    pub(super) async fn lose_balances(&mut self, url: &SecretUrl, prefix: &str) -> Result<(), DemoError> {
        println!("  -- Redis loses its data");
        let balance = |story| Visit::get("carol", "/wallet/carol/balance").expect(200, story);
        let before = self.send(balance("checks the wallet")).await?;
        let pattern = format!("{prefix}wallet:*");
        let deleted = delete(url, &pattern).await.map_err(DemoError::Redis)?;
        if deleted == 0 {
            let problem = format!("Redis has no keys {pattern}. Set REDIS_URL and REDIS_PREFIX as for the marketplace");
            self.check(false, "", &problem);
            return Ok(());
        }
        println!("  -> the demo has deleted {deleted} keys in Redis: {pattern}");
        let after = self.wait_for(balance("checks the wallet again"), |status, _| status == 200).await?;
        self.check(
            after.as_ref() == Some(&before),
            &format!("the balance is still {}. Look for the transaction \"rebuild the balances\"", before["balance"]),
            &format!("the answer was {before} and is now {after:?}"),
        );
        Ok(())
    }
}

/// Returns the number of deleted keys.
async fn delete(url: &SecretUrl, pattern: &str) -> Result<u64, redis::RedisError> {
    let mut connection = Client::open(url.expose())?.get_multiplexed_async_connection().await?;
    Script::new(DELETE).arg(pattern).invoke_async(&mut connection).await
}
