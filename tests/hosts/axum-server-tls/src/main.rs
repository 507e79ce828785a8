//! axum-server with `tls-rustls`, which takes the only provider that is compiled in.

use axum_server::tls_rustls::RustlsConfig;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes());
    let config = RustlsConfig::from_pem(certificate, key).await.unwrap();
    println!("{:?}", config.get_inner().alpn_protocols);
}
