//! Detects a filter on the whole subscriber that hides spans or SQL statements from the agent.
//!
//! Such a filter can also hide the warning about itself. For each callsite, a subscriber returns whether it is
//! interested in the callsite at all. A filter on one layer does not change this result. The agent therefore registers
//! callsites of its own, which no code reaches. `Subscriber::enabled` cannot be used instead, because a call changes
//! the state of the filters of layers.

use tracing::{
    Dispatch, Level, Metadata,
    callsite::{Callsite, Identifier},
    field::FieldSet,
    level_filters::{LevelFilter, STATIC_MAX_LEVEL},
    metadata::Kind,
    subscriber::Interest,
};

pub(super) const WARNING: &str = "the level or filter of the `tracing` subscriber hides spans from the agent, so they are not \
     recorded. A filter on the whole subscriber applies to every layer. Put the filter on the layer that prints: \
     `registry().with(fmt::layer().with_filter(filter)).with(agent.tracing_layer())`. \
     See https://docs.rs/tower-apm/latest/tower_apm/docs/subscriber/";

pub(super) const STATEMENTS: &str = "the level or filter of the `tracing` subscriber, or a feature of `tracing` such as \
     `release_max_level_info`, hides DEBUG events from the agent. If the service uses sqlx, its SQL statements are not \
     recorded. Put the filter on the layer that prints: \
     `registry().with(fmt::layer().with_filter(filter)).with(agent.tracing_layer())`";

/// The name of a library that no filter contains, so that the default of the filter applies.
const ANY_LIBRARY: &str = "library_that_no_filter_names";

struct Probe(Metadata<'static>);

impl Callsite for Probe {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        &self.0
    }
}

static SPAN: Probe = Probe(Metadata::new(
    "probe",
    ANY_LIBRARY,
    Level::INFO,
    None,
    None,
    None,
    FieldSet::new(&[], Identifier(&SPAN)),
    Kind::SPAN,
));

/// The event with which sqlx logs a statement.
static STATEMENT: Probe = Probe(Metadata::new(
    "probe",
    "sqlx::query",
    Level::DEBUG,
    None,
    None,
    None,
    FieldSet::new(&[], Identifier(&STATEMENT)),
    Kind::EVENT,
));

static WARNING_EVENT: Probe = Probe(Metadata::new(
    "probe",
    "tower_apm",
    Level::WARN,
    None,
    None,
    None,
    FieldSet::new(&[], Identifier(&WARNING_EVENT)),
    Kind::EVENT,
));

fn hides(subscriber: &Dispatch, probe: &'static Probe) -> bool {
    *probe.0.level() > STATIC_MAX_LEVEL || subscriber.register_callsite(&probe.0).is_never()
}

/// Returns true if INFO spans of any library are hidden, although the agent records spans of this level.
pub(super) fn hides_spans(subscriber: &Dispatch, recorded: LevelFilter) -> bool {
    recorded >= LevelFilter::INFO && hides(subscriber, &SPAN)
}

/// Returns true if the statements that sqlx logs are hidden.
pub(super) fn hides_statements(subscriber: &Dispatch) -> bool {
    hides(subscriber, &STATEMENT)
}

/// Returns true if the agent's own warnings are hidden.
pub(super) fn hides_warnings(subscriber: &Dispatch) -> bool {
    hides(subscriber, &WARNING_EVENT)
}
