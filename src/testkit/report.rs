//! What a failed expectation says.

use std::{fmt::Write, panic::Location};

use super::{hints::hints, scene::Scene, waterfall::waterfall};

/// As [`report`], for something that has not arrived: with the likeliest reasons.
pub(super) fn report_missing(scene: &Scene, wanted: &str, but: &str, at: Option<&Location<'_>>) -> String {
    let mut but = but.to_owned();
    for hint in hints(scene) {
        let _ = write!(but, "\nlikely reason: {hint}");
    }
    report(scene, wanted, &but, at)
}

/// `at`: where the expectation stands, when the panic itself cannot tell.
pub(super) fn report(scene: &Scene, wanted: &str, but: &str, at: Option<&Location<'_>>) -> String {
    let mut out = format!("expected {wanted}\nbut {but}\n");
    if let Some(at) = at {
        let _ = writeln!(out, "at {at}");
    }
    let _ = write!(out, "\nwhat arrived:\n{}\nagent: {}\n", waterfall(&scene.received()), scene.agent.stats());
    let server = scene.store.stats();
    let rejected = server.rejected.events() + server.rejected.metadata + server.unrecognized;
    let _ = write!(out, "server: {} requests, {} events accepted", server.requests, server.accepted.events());
    let _ = match &server.last_rejection {
        Some(why) => writeln!(out, ", {rejected} lines refused, the last because: {why}"),
        None => writeln!(out, ", none refused"),
    };
    for warning in scene.agent.warnings() {
        let _ = writeln!(out, "agent's warning: {warning}");
    }
    if let Some(note) = scene.note {
        let _ = writeln!(out, "note: {note}");
    }
    out
}
