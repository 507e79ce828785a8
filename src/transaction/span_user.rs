//! Takes the user of a transaction from the attributes of its spans.

use opentelemetry::KeyValue;

use super::inner::TransactionInner;
use crate::record::is_user_attribute;

impl TransactionInner {
    /// Looks for the user in the attributes of a span that starts.
    #[inline]
    pub(crate) fn find_user(&self, attributes: &[KeyValue]) {
        if attributes.iter().any(|attribute| is_user_attribute(attribute.key.as_str())) {
            self.propose_user(attributes);
        }
    }

    /// Takes the user from the attributes of one span, unless the code has set a user or the transaction has ended.
    #[cold]
    pub(crate) fn propose_user(&self, attributes: &[KeyValue]) {
        if let Some(record) = &mut self.lock().record {
            record.context.propose_user(attributes);
        }
    }
}
