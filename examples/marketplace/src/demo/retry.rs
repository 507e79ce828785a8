//! Repeated requests: a credit that is sent twice, and a purchase whose outcome is not known at first.

use serde_json::json;
use uuid::Uuid;

use super::{
    DemoError,
    visitor::{Visit, Visitors},
};

impl Visitors {
    /// Sends a credit twice with the same key, and then another credit with that key.
    pub(super) async fn retry_credit(&mut self) -> Result<(), DemoError> {
        println!("  -- a retry with the same Idempotency-Key");
        let key = Uuid::new_v4().to_string();
        let credit = |amount| {
            let body = json!({ "amount": amount, "reason": "gift card" });
            Visit::post("carol", "/wallet/carol/credits", body).with_key(&key)
        };
        let first = self.send(credit("20").expect(200, "redeems a gift card")).await?;
        let second = self.send(credit("20").expect(200, "sends the request again")).await?;
        self.check(
            first == second,
            &format!("both answers are equal, the balance has changed once. All requests have the label idempotency_key {key}"),
            &format!("the first answer is {first}, the second {second}"),
        );
        self.send(credit("30").expect(422, "uses the key for another amount")).await.map(|_| ())
    }

    /// Buys a token whose transfer succeeds without an answer of the chain.
    pub(super) async fn buy_with_unknown_outcome(&mut self) -> Result<(), DemoError> {
        println!("  -- a purchase whose outcome is not known at first");
        let id = self.list("alice", "flaky-1", "6", "lists another token").await?;
        self.buy("bob", &id, 502, "the chain does not answer in time").await?;
        let listing = Visit::get("bob", format!("/market/listings/{id}")).expect(200, "waits for the repair");
        let sold = self.wait_for(listing, |_, listing| listing["status"] == "sold").await?;
        self.check(
            sold.is_some(),
            &format!(
                "the repair has completed the purchase. The request and the repair have the label listing_id {id}"
            ),
            &format!("listing {id} is not sold"),
        );
        Ok(())
    }
}
