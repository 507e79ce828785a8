//! One round of the demo: each kind of request and of failure, once.

use serde_json::{Value, json};

use super::{
    DemoError,
    visitor::{Visit, Visitors},
};

impl Visitors {
    /// Sends the requests of a round. The first round has more steps.
    pub(super) async fn round(&mut self, round: u32) -> Result<(), DemoError> {
        self.sell_and_buy(round).await?;
        self.send_refused_requests(round).await?;
        self.buy_refused_and_slow_tokens(round).await?;
        self.send_slow_requests().await?;
        self.chat(round).await?;
        if round == 1 {
            self.retry_credit().await?;
            self.buy_with_unknown_outcome().await?;
        }
        Ok(())
    }

    pub(super) async fn list(
        &mut self,
        seller: &str,
        token: &str,
        price: &str,
        story: &str,
    ) -> Result<Value, DemoError> {
        let body = json!({ "token_id": token, "seller": seller, "price": price });
        let listing = self.send(Visit::post(seller, "/market/listings", body).expect(201, story)).await?;
        Ok(listing["id"].clone())
    }

    pub(super) async fn buy(&mut self, buyer: &str, id: &Value, status: u16, story: &str) -> Result<(), DemoError> {
        let path = format!("/market/listings/{id}/purchase");
        self.send(Visit::post(buyer, path, json!({ "buyer": buyer })).expect(status, story)).await.map(|_| ())
    }

    async fn sell_and_buy(&mut self, round: u32) -> Result<(), DemoError> {
        for (user, amount) in [("bob", "250"), ("carol", "500")] {
            let body = json!({ "amount": amount, "reason": "card payment" });
            let path = format!("/wallet/{user}/credits");
            self.send(Visit::post(user, path, body).expect(200, "pays in")).await?;
        }
        let id = self.list("alice", &format!("sunrise-{round}"), "12.5", "lists a token").await?;
        let visitors = ["bob", "carol", "dave", "erin"];
        let browsing = visitors.map(|user| Visit::get(user, "/market/listings?status=open").expect(200, "browses"));
        self.send_together(&browsing).await?;
        self.send(Visit::get("carol", format!("/market/listings/{id}")).expect(200, "looks closer")).await?;
        self.buy("carol", &id, 200, "buys it").await?;
        self.buy("bob", &id, 409, "is too late").await?;
        for (user, what) in [("carol", "balance"), ("carol", "history"), ("alice", "balance")] {
            self.send(Visit::get(user, format!("/wallet/{user}/{what}")).expect(200, "checks the wallet")).await?;
        }
        Ok(())
    }

    async fn send_refused_requests(&mut self, round: u32) -> Result<(), DemoError> {
        let id = self.list("alice", &format!("masterpiece-{round}"), "1000000", "wants too much").await?;
        self.buy("dave", &id, 402, "has not enough money").await?;
        let body = json!({ "amount": "75", "reason": "withdrawal" });
        self.send(Visit::post("dave", "/wallet/dave/debits", body).expect(402, "has nothing to withdraw")).await?;
        self.send(Visit::get("erin", "/market/listings/999999").expect(404, "follows an old link")).await?;
        self.send(Visit::get("erin", "/nowhere/at/all").expect(404, "mistypes an address")).await?;
        let body = json!({ "token_id": "dusk", "seller": "alice", "price": "cheap" });
        self.send(Visit::post("alice", "/market/listings", body).expect(422, "sends an invalid price")).await?;
        let body = json!({ "token_id": "dusk", "seller": "alice", "price": "5" });
        let unknown = Visit::post("", "/market/listings", body).without_user();
        self.send(unknown.expect(401, "sends no user")).await.map(|_| ())
    }

    async fn buy_refused_and_slow_tokens(&mut self, round: u32) -> Result<(), DemoError> {
        let frozen = self.list("alice", &format!("revert-{round}"), "3", "lists a frozen token").await?;
        self.buy("bob", &frozen, 502, "the chain refuses").await?;
        self.send(Visit::get("bob", format!("/market/listings/{frozen}")).expect(200, "it is still for sale")).await?;
        let slow = self.list("alice", &format!("slow-{round}"), "4", "lists a token of a busy contract").await?;
        self.buy("bob", &slow, 200, "the chain is slow").await
    }

    async fn send_slow_requests(&mut self) -> Result<(), DemoError> {
        let slow = if self.quick { 100 } else { 2000 };
        let report = |delay: u64| format!("/market/reports/sales?delay_ms={delay}");
        self.send(Visit::get("alice", report(slow)).expect(200, "waits for a slow report")).await?;
        self.leave(&Visit::get("erin", report(4000)).expect(0, "disconnects before the report")).await
    }

    async fn chat(&mut self, round: u32) -> Result<(), DemoError> {
        let room = "/chat/rooms/alice";
        let listening = Visit::get("alice", format!("{room}/events")).expect(200, "opens an event stream");
        let mut stream = self.open(&listening).await?;
        let talking = Visit::get("dave", format!("{room}/ws")).expect(101, "opens a WebSocket");
        let mut socket = self.open_socket(&talking).await?;
        socket.say("dave", &format!("is sunrise-{round} still for sale?")).await?;
        let body = json!({ "from": "carol", "text": format!("thank you for sunrise-{round}!") });
        self.send(Visit::post("carol", format!("{room}/messages"), body).expect(201, "writes to the seller")).await?;
        stream.chunk().await?;
        Ok(())
    }
}
