//! The text format of the values in Redis.

use super::{State, StoreError};
use crate::{
    money::Amount,
    wallet::{
        change::{Known, Outcome},
        log::{Epoch, Event},
    },
};

/// Returns the name of the field of a change. A key contains no space, so different changes have different names.
pub(super) fn field(user: &str, key: &str) -> String {
    format!("{key} {user}")
}

pub(super) fn parse_state(text: Option<&str>, is_active: bool) -> Result<State, StoreError> {
    Ok(match text.map(|text| text.split_once(' ')) {
        None => State::Lost,
        Some(Some(("ready", epoch))) => State::Ready(Epoch::from(epoch.to_owned())),
        Some(Some(("rebuilding", epoch))) => State::Rebuilding { epoch: Epoch::from(epoch.to_owned()), is_active },
        Some(_) => return Err(StoreError::Failed("the key of the state has unexpected content".into())),
    })
}

pub(super) fn state_text(state: &State) -> String {
    match state {
        State::Lost => String::new(),
        State::Rebuilding { epoch, .. } => format!("rebuilding {epoch}"),
        State::Ready(epoch) => format!("ready {epoch}"),
    }
}

pub(super) fn answer_text(event: &Event, balance: Amount) -> String {
    format!("accepted\n{}\n{}\n{}", event.amount.millionths(), balance.millionths(), event.reason)
}

pub(super) fn parse_answer(text: &str) -> Result<Known, StoreError> {
    let parse = || {
        let mut parts = text.splitn(4, '\n');
        let (outcome, amount, balance) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let balance = Amount::from_millionths(balance);
        let outcome = match outcome {
            "accepted" => Outcome::Accepted { balance },
            "refused" => Outcome::Refused { balance },
            _ => return None,
        };
        Some(Known { amount: Amount::from_millionths(amount), reason: parts.next()?.to_owned(), outcome })
    };
    parse().ok_or_else(|| StoreError::Failed("a stored answer cannot be read".into()))
}

pub(super) fn parse_event(text: &str) -> Result<Event, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Failed(error.into()))
}

pub(super) fn parse_amount(text: &str) -> Result<Amount, StoreError> {
    let millionths = text.parse().map_err(|_| StoreError::Failed("a balance is not a 64-bit number".into()))?;
    Ok(Amount::from_millionths(millionths))
}

pub(super) fn parts(reply: &[String]) -> (&str, &str) {
    (reply.first().map_or("", String::as_str), reply.get(1).map_or("", String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_answer_is_read_as_it_was_written() {
        let event = Event {
            epoch: Epoch::new("log"),
            user: "bob".into(),
            key: "k".into(),
            amount: Amount::from_millionths(-5),
            reason: "two\nlines".into(),
            at_ms: 0,
            traceparent: None,
        };
        let balance = Amount::from_millionths(9_007_199_254_740_993);
        let known = parse_answer(&answer_text(&event, balance)).unwrap();
        let outcome = Outcome::Accepted { balance };
        assert_eq!(known, Known { amount: event.amount, reason: event.reason, outcome });
        for text in ["", "accepted", "lost\n1\n2\nr", "accepted\n1\nx\nr", "accepted\n1\n2"] {
            assert!(parse_answer(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn state_is_read_as_it_was_written() {
        let epoch = Epoch::new("log");
        for state in [State::Ready(epoch.clone()), State::Rebuilding { epoch, is_active: true }] {
            assert_eq!(parse_state(Some(&state_text(&state)), true).unwrap(), state);
        }
        assert_eq!(parse_state(None, false).unwrap(), State::Lost);
        assert!(parse_state(Some("ready"), false).is_err());
    }
}
