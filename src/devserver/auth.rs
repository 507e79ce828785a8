//! Who may talk to the server: anybody, or those who know a secret.

use std::fmt;

use http::{HeaderMap, header::AUTHORIZATION};
use subtle::ConstantTimeEq;

/// The credentials that are taken. None set: everybody is welcome.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) secret_token: Option<String>,
    pub(crate) api_key: Option<String>,
}

impl Credentials {
    pub(crate) fn required(&self) -> bool {
        self.secret_token.is_some() || self.api_key.is_some()
    }

    /// An error in the server's words if these headers do not open the door.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        if !self.required() {
            return Ok(());
        }
        let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (known, secret) = match sent.and_then(|value| value.split_once(' ')) {
            Some(("Bearer", secret)) => (&self.secret_token, secret),
            Some(("ApiKey", secret)) => (&self.api_key, secret),
            _ => {
                return Err(concat!(
                    "authentication failed: missing or improperly formatted Authorization header: ",
                    "expected 'Authorization: Bearer secret_token' or ",
                    "'Authorization: ApiKey base64(API key ID:API key)'"
                ));
            }
        };
        // the time of the comparison does not depend on the content; the length is not secret
        let is_equal = known.as_deref().is_some_and(|known| known.as_bytes().ct_eq(secret.as_bytes()).into());
        if is_equal { Ok(()) } else { Err("authentication failed") }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        f.debug_struct("Credentials")
            .field("secret_token", &hidden(&self.secret_token))
            .field("api_key", &hidden(&self.api_key))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_credential_is_accepted_and_not_shown() {
        let both = Credentials { secret_token: Some("hunter2".into()), api_key: Some("a2V5".into()) };
        for (sent, opens) in [
            (Some("Bearer hunter2"), true),
            (Some("ApiKey a2V5"), true),
            (Some("Bearer a2V5"), false),
            (Some("Bearer hunter"), false),
            (Some("hunter2"), false),
            (None, false),
        ] {
            let headers = sent.map(|sent| (AUTHORIZATION, sent.parse().unwrap())).into_iter().collect();
            assert_eq!(both.check(&headers).is_ok(), opens, "{sent:?}");
        }
        assert!(Credentials::default().check(&HeaderMap::new()).is_ok());
        assert!(!format!("{both:?}").contains("hunter2") && !format!("{both:?}").contains("a2V5"));
    }
}
