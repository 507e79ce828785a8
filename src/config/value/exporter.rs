//! The protocol in which events are sent, and the options of OTLP.

use super::{OptionType, Parsed, choice::choice};

/// The protocol in which events are sent (option `exporter`).
///
/// ```
/// use tower_apm::{Agent, EnvVars, Exporter};
///
/// # fn main() -> Result<(), tower_apm::BuildError> {
/// let agent = Agent::builder().env_vars(EnvVars::empty()).exporter(Exporter::Intake).build()?;
/// # let _ = agent;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Exporter {
    /// Elastic's intake v2, which loses no data.
    #[default]
    Intake,
    /// OTLP. Needs the feature `otlp`.
    Otlp,
    /// Intake v2, and a copy over OTLP. Needs the feature `otlp`.
    IntakeAndOtlp,
}

impl Exporter {
    /// Parses the value of the environment, in any case and order.
    fn parse(text: &str) -> Option<Self> {
        let (mut intake, mut otlp) = (false, false);
        for word in super::text::list(text) {
            match word.to_ascii_lowercase().as_str() {
                "intake" => intake = true,
                "otlp" => otlp = true,
                _ => return None,
            }
        }
        match (intake, otlp) {
            (true, false) => Some(Exporter::Intake),
            (false, true) => Some(Exporter::Otlp),
            (true, true) => Some(Exporter::IntakeAndOtlp),
            (false, false) => None,
        }
    }

    /// Returns the value as it is written in the environment.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Exporter::Intake => "intake",
            Exporter::Otlp => "otlp",
            Exporter::IntakeAndOtlp => "intake,otlp",
        }
    }

    /// Returns whether this build contains the exporter.
    fn is_built(self) -> bool {
        self == Exporter::Intake || cfg!(feature = "otlp")
    }
}

impl OptionType for Exporter {
    type Value = Exporter;
    type Code = Exporter;
    const ALLOWED: &'static str = match cfg!(feature = "otlp") {
        true => "`intake`, `otlp` or `intake,otlp`",
        false => {
            "`intake` (`otlp` and `intake,otlp` need tower-apm's feature `otlp`, which is not enabled in this build)"
        }
    };

    fn read(text: &str) -> Parsed<Exporter> {
        Parsed::from_option(Exporter::parse(text).filter(|exporter| exporter.is_built()))
    }

    fn check(code: &Exporter) -> Parsed<Exporter> {
        Parsed::from_option(code.is_built().then_some(*code))
    }

    fn show(value: &Exporter) -> String {
        value.as_str().to_owned()
    }

    fn show_code(code: &Exporter) -> String {
        code.as_str().to_owned()
    }
}

/// The transport of OTLP (option `otlp_protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OtlpProtocol {
    /// Protobuf in HTTP/1.1 requests.
    #[default]
    HttpProtobuf,
    /// gRPC. A proxy from the environment is used through a tunnel (`CONNECT`).
    Grpc,
}
choice!(OtlpProtocol, "`http/protobuf` or `grpc`",
    OtlpProtocol::HttpProtobuf => "http/protobuf",
    OtlpProtocol::Grpc => "grpc",
);

/// The compression of OTLP (option `otlp_compression`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OtlpCompression {
    /// Requests are compressed with gzip, except for a server on this machine.
    #[default]
    Auto,
    /// Requests are always compressed with gzip.
    Gzip,
    /// Requests are never compressed.
    None,
}
choice!(OtlpCompression, "`auto`, `gzip` or `none`",
    OtlpCompression::Auto => "auto",
    OtlpCompression::Gzip => "gzip",
    OtlpCompression::None => "none",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exporters_come_in_any_order_and_case() {
        for (text, want) in [
            ("intake", Some(Exporter::Intake)),
            (" OTLP ", Some(Exporter::Otlp)),
            ("otlp, Intake", Some(Exporter::IntakeAndOtlp)),
            ("intake,otlp", Some(Exporter::IntakeAndOtlp)),
            ("otlp,", Some(Exporter::Otlp)),
            ("jaeger", None),
            ("otlp,jaeger", None),
            (",", None),
        ] {
            let want = want.filter(|exporter| *exporter == Exporter::Intake || cfg!(feature = "otlp"));
            assert_eq!(Exporter::read(text).valid(), want, "{text}");
        }
        for exporter in [Exporter::Intake, Exporter::Otlp, Exporter::IntakeAndOtlp] {
            assert_eq!(Exporter::parse(exporter.as_str()), Some(exporter));
        }
    }
}
