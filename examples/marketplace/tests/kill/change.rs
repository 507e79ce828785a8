//! Sends a credit or a debit until its outcome is definite, as a client with an idempotency key does.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    ledger::{ChangeId, Ledger, Outcome},
    random::Random,
    support::http::{Answer, Client, Request, millionths},
};

/// How long a change can remain without a definite outcome.
const DECIDED_WITHIN: Duration = Duration::from_secs(60);

/// A credit or a debit.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) user: String,
    pub(crate) key: String,
    /// Millionths, negative for a debit.
    pub(crate) amount: i64,
}

impl Change {
    pub(crate) fn id(&self) -> ChangeId {
        (self.user.clone(), self.key.clone())
    }

    fn request(&self) -> Request {
        let what = if self.amount < 0 { "debits" } else { "credits" };
        let amount = self.amount.unsigned_abs();
        let amount = format!("{}.{:06}", amount / 1_000_000, amount % 1_000_000);
        let body = json!({ "amount": amount, "reason": "kill test" });
        let request = Request::post(format!("/wallet/{}/{what}", self.user), body);
        Request { key: Some(self.key.clone()), ..request }
    }
}

/// Sends a new change until it is accepted or refused. If this takes too long, records a violation and returns `None`.
pub(crate) async fn make(client: &Client, ledger: &Ledger, random: &mut Random, change: &Change) -> Option<Outcome> {
    let id = change.id();
    ledger.begin(&id, change.amount);
    let started = Instant::now();
    while started.elapsed() < DECIDED_WITHIN {
        let mut request = change.request();
        if random.chance(5) {
            // the client sometimes stops waiting early, while the service continues
            request.timeout = random.millis(50);
        }
        let api = random.index(client.apis.len());
        let answers = if random.chance(10) {
            let other = random.index(client.apis.len());
            let (first, second) = tokio::join!(client.send(api, &request), client.send(other, &request));
            vec![(api, first), (other, second)]
        } else {
            vec![(api, client.send(api, &request).await)]
        };
        let mut outcome = None;
        for (api, answer) in answers {
            ledger.request(&id, &format!("api-{} {answer:?}", api + 1));
            match read(change, &answer) {
                Ok(None) => ledger.count("requests without an outcome"),
                Ok(Some(read)) if outcome.is_none_or(|outcome| outcome == read) => outcome = Some(read),
                Ok(Some(other)) => {
                    ledger.violation(format!("{id:?}: concurrent requests disagree: {outcome:?} and {other:?}"));
                }
                Err(violation) => ledger.violation(violation),
            }
        }
        if let Some(outcome) = outcome {
            ledger.decide(&id, outcome);
            ledger.count(match outcome {
                Outcome::Accepted(_) => "accepted changes",
                Outcome::Refused(_) => "refused changes",
            });
            return Some(outcome);
        }
        tokio::time::sleep(random.millis(100)).await;
    }
    ledger.violation(format!("no definite outcome after {DECIDED_WITHIN:?}: {}", ledger.describe(&id)));
    None
}

/// Repeats a change that was accepted. The answer must be the same.
pub(crate) async fn repeat(client: &Client, ledger: &Ledger, random: &mut Random, change: &Change, accepted: Outcome) {
    let answer = client.send(random.index(client.apis.len()), &change.request()).await;
    ledger.request(&change.id(), &format!("repeated {answer:?}"));
    match read(change, &answer) {
        Ok(None) => {}
        Ok(Some(outcome)) if outcome == accepted => ledger.count("repeated changes"),
        Ok(outcome) => ledger.violation(format!("{:?}: repeated, {outcome:?} instead of {accepted:?}", change.id())),
        Err(violation) => ledger.violation(violation),
    }
}

/// Returns the outcome in an answer if the answer is definite.
fn read(change: &Change, answer: &Answer) -> Result<Option<Outcome>, String> {
    match answer {
        Answer::Unknown(_) => Ok(None),
        Answer::Definite(200, body) if body["key"] == change.key.as_str() => {
            millionths(&body["balance"]).map(|balance| Some(Outcome::Accepted(balance))).ok_or(format!("{answer:?}"))
        }
        Answer::Definite(402, _) if change.amount < 0 => Ok(Some(Outcome::Refused(402))),
        Answer::Definite(..) => Err(format!("{:?}: unexpected {answer:?}", change.id())),
    }
}
