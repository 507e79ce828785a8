//! Is the server there? A small request without events.

use http::HeaderMap;

use super::ServerClient;

impl ServerClient {
    /// Sends `GET /`, and returns false where no answer comes, or one that says that the server is away or busy (429, 502,
    /// 503, 504: a proxy's words). Of several servers the next one is called from then on.
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
