//! rustls without `tls12`, so that the default versions are TLS 1.3 alone.

fn main() {
    println!("{:?}", rustls::ALL_VERSIONS);
}
