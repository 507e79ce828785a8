//! The signature of a statement, such as `SELECT FROM listings`.

use std::borrow::Cow;

use super::token::{Keyword, Kind, Token, Tokens};

/// Verb and first table of the outermost statement, without values, so that it can be a span's name. A statement of
/// another kind gives its first word in upper case, an empty one gives an empty name. The verb is always upper case.
pub(crate) fn signature(statement: &str) -> Cow<'_, str> {
    let mut tokens = Parser { tokens: Tokens::new(statement) };
    let Some(first) = tokens.next() else { return Cow::Borrowed("") };
    let named = match first.kind {
        Kind::Keyword(Keyword::Call) => tokens.seek(Kind::Ident).map(|name| format!("CALL {}", name.text)),
        Kind::Keyword(Keyword::Delete) => tokens.table_after(Keyword::From).map(|table| format!("DELETE FROM {table}")),
        Kind::Keyword(Keyword::Insert) => tokens.table_after(Keyword::Into).map(|table| format!("INSERT INTO {table}")),
        Kind::Keyword(Keyword::Replace) => {
            tokens.table_after(Keyword::Into).map(|table| format!("REPLACE INTO {table}"))
        }
        Kind::Keyword(Keyword::Select) => tokens.outer_from().map(|table| format!("SELECT FROM {table}")),
        Kind::Keyword(Keyword::Update) => tokens.updated().map(|table| format!("UPDATE {table}")),
        _ => None,
    };
    named.map_or_else(|| upper(first.text), Cow::Owned)
}

fn upper(word: &str) -> Cow<'_, str> {
    // a title-case letter such as `ǋ` is no lower-case one either
    match word.chars().any(|letter| letter.to_uppercase().ne([letter])) {
        true => Cow::Owned(word.to_uppercase()),
        false => Cow::Borrowed(word),
    }
}

struct Parser<'a> {
    tokens: Tokens<'a>,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        self.tokens.find(|token| token.kind != Kind::Comment)
    }

    fn seek(&mut self, kind: Kind) -> Option<Token<'a>> {
        self.tokens.find(|token| token.kind == kind)
    }

    /// The possibly dotted name that must come next.
    fn table(&mut self) -> Option<String> {
        let mut table = self.next().filter(|token| token.kind == Kind::Ident)?.text.to_owned();
        while self.next().is_some_and(|token| token.kind == Kind::Period) {
            let Some(part) = self.next().filter(|token| token.kind == Kind::Ident) else { break };
            table.push('.');
            table.push_str(part.text);
        }
        Some(table)
    }

    fn table_after(&mut self, keyword: Keyword) -> Option<String> {
        self.seek(Kind::Keyword(keyword))?;
        self.table()
    }

    /// The table behind the `FROM` that is in no parentheses.
    fn outer_from(&mut self) -> Option<String> {
        let mut depth = 0_i32;
        while let Some(token) = self.next() {
            match token.kind {
                Kind::LeftParen => depth += 1,
                Kind::RightParen => depth -= 1,
                Kind::Keyword(Keyword::From) if depth == 0 => return self.table(),
                _ => {}
            }
        }
        None
    }

    /// Words such as `ONLY` or `IGNORE` may stand before the table: the last one before a dot or `SET` is it.
    fn updated(&mut self) -> Option<String> {
        let mut table = self.next().filter(|token| token.kind == Kind::Ident)?.text.to_owned();
        let (mut dotted, mut after_period) = (false, false);
        while let Some(token) = self.next() {
            match token.kind {
                Kind::Ident if after_period => table.push_str(token.text),
                Kind::Ident if !dotted => table = token.text.to_owned(),
                Kind::Ident => {}
                Kind::Period => {
                    dotted = true;
                    table.push('.');
                }
                _ => break,
            }
            after_period = token.kind == Kind::Period;
        }
        Some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: tracing-instrumentation-db.md
    #[test]
    fn statement_is_named_after_its_verb_and_outermost_table() {
        for (statement, name) in [
            ("", ""),
            (" \n", ""),
            ("/* a */ -- b", ""),
            ("SELECT a FROM shop.public.orders WHERE b = 1", "SELECT FROM shop.public.orders"),
            ("SELECT a FROM [Order Details] o", "SELECT FROM Order Details"),
            ("SELECT a FROM `shop`.`orders`", "SELECT FROM shop.orders"),
            ("SELECT a FROM \"a.b\n\"", "SELECT FROM a.b\n"),
            ("SELECT a FROM orders, items", "SELECT FROM orders"),
            ("SELECT a FROM orders o JOIN items i ON i.id = o.id", "SELECT FROM orders"),
            ("SELECT (SELECT max(b) FROM items), f((1)) FROM orders", "SELECT FROM orders"),
            ("SELECT a /* FROM b */ FROM -- c\n orders", "SELECT FROM orders"),
            ("SELECT 'FROM a', $$ FROM b $$ FROM orders", "SELECT FROM orders"),
            ("SELECT a FROM orders /* o */ . items", "SELECT FROM orders.items"),
            ("SELECT a FROM orders.", "SELECT FROM orders"),
            ("SELECT a FROM orders.'x'", "SELECT FROM orders"),
            ("SELECT a FROM (SELECT b FROM items) i", "SELECT"),
            ("SELECT a) FROM orders", "SELECT"),
            ("SELECT a FROM 1", "SELECT"),
            ("SELECT a FROM", "SELECT"),
            ("SELECT 'a FROM orders", "SELECT"),
            ("DELETE FROM shop.orders", "DELETE FROM shop.orders"),
            ("DELETE o FROM orders o", "DELETE FROM orders"),
            ("DELETE orders", "DELETE"),
            ("INSERT INTO orders (a) VALUES (1)", "INSERT INTO orders"),
            ("INSERT OR IGNORE INTO shop.orders VALUES (1)", "INSERT INTO shop.orders"),
            ("INSERT orders VALUES (1)", "INSERT"),
            ("INSERT INTO (1)", "INSERT"),
            ("REPLACE DELAYED INTO orders VALUES (1)", "REPLACE INTO orders"),
            ("REPLACE orders", "REPLACE"),
            ("UPDATE orders SET a = 1", "UPDATE orders"),
            ("UPDATE ONLY shop.public.orders SET a = 1", "UPDATE shop.public.orders"),
            ("UPDATE shop.orders o SET a = 1", "UPDATE shop.orders"),
            ("UPDATE orders AS o SET a = 1", "UPDATE orders"),
            ("UPDATE /* a */ orders -- b\n SET a = c", "UPDATE orders"),
            ("UPDATE orders", "UPDATE orders"),
            ("UPDATE (orders) SET a = 1", "UPDATE"),
            ("CALL settle(1, 'a')", "CALL settle"),
            ("CALL ('a') settle", "CALL settle"),
            ("CALL ('a')", "CALL"),
            ("BEGIN", "BEGIN"),
            ("commit; SELECT a FROM orders", "COMMIT"),
            ("TRUNCATE TABLE orders", "TRUNCATE"),
            ("create table orders (a int)", "CREATE"),
            ("with o as (select 1) select a from o", "WITH"),
            ("(SELECT a FROM orders)", "("),
            ("straße", "STRASSE"),
            ("ǲ", "Ǳ"),
        ] {
            assert_eq!(signature(statement), name, "{statement}");
        }
    }

    #[test]
    fn verb_in_upper_case_is_not_copied() {
        assert!(matches!(signature("COMMIT"), Cow::Borrowed("COMMIT")));
        assert!(matches!(signature("SELECT 1"), Cow::Borrowed("SELECT")));
    }

    #[test]
    #[ignore = "needs APM_SPEC_DIR"]
    fn signatures_match_the_published_vectors() {
        let cases = crate::spec_folder::json("json-specs/sql_signature_examples.json");
        for case in cases.as_array().unwrap() {
            assert_eq!(signature(case["input"].as_str().unwrap()), case["output"].as_str().unwrap());
        }
    }

    // spec: tracing-instrumentation-db.md
    #[test]
    fn signature_does_not_depend_on_case_comments_and_values() {
        for (statement, name) in [
            ("select * from listings where id = $1", "SELECT FROM listings"),
            ("/* by orm */ SELECT \"id\" FROM \"listings\" WHERE \"id\" = ?", "SELECT FROM listings"),
            ("insert into \"shop\".\"orders\" values ('x')", "INSERT INTO shop.orders"),
            ("replace into t values (1)", "REPLACE INTO t"),
            ("UPDATE wallets SET balance = balance - 5", "UPDATE wallets"),
            ("UPDATE IGNORE shop.wallets w SET x = 1", "UPDATE shop.wallets"),
            ("UPDATE foo AS bar SET x = 1", "UPDATE foo"),
            ("begin;", "BEGIN"),
            ("-- nothing", ""),
            ("call settle(1)", "CALL settle"),
            ("SELECT 1", "SELECT"),
            ("SELECT a FROM (SELECT b FROM c)", "SELECT"),
        ] {
            assert_eq!(signature(statement), name, "{statement}");
        }
    }
}
