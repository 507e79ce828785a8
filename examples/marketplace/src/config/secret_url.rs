//! URLs that can contain a password.

/// A URL that can contain a password or a key. Its `Debug` output contains only the scheme.
#[derive(Clone)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Returns the whole URL, including the password. Use it only to create drivers and clients.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the part before the first colon.
    pub(crate) fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }
}

impl From<&str> for SecretUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl From<String> for SecretUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl std::fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:***", self.scheme())
    }
}
