//! Probes: small requests without events that check whether the server is reachable.

use http::HeaderMap;

use super::ServerClient;

impl ServerClient {
    /// Sends `GET /`. Returns false if there is no answer, or if the answer is 429, 502, 503 or 504, which a busy server or
    /// a proxy sends. If there are several servers, later requests then go to the next one.
    pub(crate) async fn probe(&self) -> bool {
        let asked = self.in_use();
        let answer = self.get("/", HeaderMap::new()).await;
        let is_reached = answer.is_ok_and(|answer| !matches!(answer.status, 429 | 502..=504));
        if !is_reached {
            self.go_on_from(asked);
        }
        is_reached
    }
}
