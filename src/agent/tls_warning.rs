//! The warning about an `https` server in a process that has no TLS provider.

#[cfg(feature = "otlp")]
use crate::config::Exporter;
use crate::{
    apm_server::ServerSettings,
    config::{Config, ServerUrl},
    transport::Tls,
};

/// Returns the warning if a server is `https` and there is no provider. This is not an error, because the service can
/// install a provider later.
pub(super) fn missing_provider(config: &Config) -> Option<String> {
    let sends = config.enabled && !config.disable_send && !config.context_propagation_only;
    if !sends || Tls::has_provider() {
        return None;
    }
    https_url(config).map(|url| warning(&url))
}

fn https_url(config: &Config) -> Option<ServerUrl> {
    let https = |settings: ServerSettings| settings.urls().find(|url| url.is_https()).cloned();
    #[cfg(feature = "otlp")]
    if let Some(url) =
        (config.exporter != Exporter::Intake).then(|| https(ServerSettings::for_otlp(config, None))).flatten()
    {
        return Some(url);
    }
    #[cfg(feature = "otlp")]
    if super::builder::has_no_apm_server(config) {
        return None;
    }
    https(ServerSettings::from_config(config, None))
}

fn warning(url: &ServerUrl) -> String {
    let version = concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
    format!(
        "the server {url} is https, and the process has no TLS provider. Add one of these lines to Cargo.toml, with \
         the provider that the rest of the service uses: \
         `tower-apm = {{ version = \"{version}\", features = [\"tls-aws-lc-rs\"] }}` or \
         `tower-apm = {{ version = \"{version}\", features = [\"tls-ring\"] }}`. Or install a default provider of the process with \
         `rustls::crypto::CryptoProvider::install_default`. Events wait in the queue until then."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CodeOptions, EnvVars, resolve};

    fn https_of(variables: &[(&str, &str)]) -> Option<String> {
        let (config, _) = resolve(&CodeOptions::default(), &EnvVars::from_iter(variables.iter().copied()));
        https_url(&config).map(|url| url.to_string())
    }

    #[test]
    fn tls_warning_contains_server_features_and_manifest_line() {
        let text = warning(&ServerUrl::parse("https://me:hunter2@apm.example").unwrap());
        for part in ["https://***@apm.example ", "Cargo.toml", "features = [\"tls-aws-lc-rs\"]", "[\"tls-ring\"]"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn tls_warning_covers_only_servers_in_use() {
        assert_eq!(https_of(&[]), None);
        assert_eq!(https_of(&[("ELASTIC_APM_SERVER_URL", "https://a")]).as_deref(), Some("https://a"));
        assert_eq!(https_of(&[("ELASTIC_APM_SERVER_URLS", "http://a,https://b")]).as_deref(), Some("https://b"));
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector");
        assert_eq!(https_of(&[endpoint]), None, "the exporter is not OTLP");
        let otlp = https_of(&[endpoint, ("ELASTIC_APM_EXPORTER", "otlp")]);
        assert_eq!(otlp.as_deref(), cfg!(feature = "otlp").then_some("https://collector"));
    }
}
