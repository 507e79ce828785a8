//! What the options make of a transaction's name.

use std::borrow::Cow;

use crate::{
    config::Config,
    record::{Name, TransactionRecord, known_method},
};

/// The name by `use_path_as_transaction_name` and `transaction_name_groups`; None where it stays as it is. A group's name
/// is its pattern.
#[inline]
pub(super) fn renamed(record: &TransactionRecord, config: &Config) -> Option<Name> {
    let is_asked = !config.transaction_name_groups.is_empty() || config.use_path_as_transaction_name;
    if is_asked { by_options(record, config) } else { None }
}

#[cold]
fn by_options(record: &TransactionRecord, config: &Config) -> Option<Name> {
    let groups = &config.transaction_name_groups;
    let by_path = by_path(record).filter(|_| config.use_path_as_transaction_name);
    let group = {
        let name = by_path.as_deref().map_or_else(|| record.display_name(), Cow::Borrowed);
        groups.iter().find(|pattern| pattern.matches(&name))
    };
    let grouped = group.map(|pattern| pattern.as_str().to_owned());
    grouped.or(by_path).map(|name| Name::Text(name.into()))
}

/// For a request that met no route.
fn by_path(record: &TransactionRecord) -> Option<String> {
    let request = record.context.request.as_ref().filter(|_| matches!(record.name, Name::Route))?;
    let routed = request.text.route().is_some();
    (!routed).then(|| format!("{} {}", known_method(&request.method), request.text.path()))
}
