//! rustls with its default features. With a second provider compiled in, `builder()` cannot choose and panics.

use rustls::{ClientConfig, RootCertStore};

fn main() {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let suites: Vec<_> = config.crypto_provider().cipher_suites.iter().map(|suite| suite.suite()).collect();
    println!("{suites:?}");
}
