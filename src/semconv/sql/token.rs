//! Splits a SQL statement into tokens, well enough to find verb and table. It never fails: what is left open runs to
//! the end of the text.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ident,
    Keyword(Keyword),
    Number,
    String,
    Comment,
    LeftParen,
    RightParen,
    Period,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// As written; a quoted identifier without its outer quotes.
    pub(super) text: &'a str,
}

macro_rules! keywords {
    ($($word:ident)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Keyword {
            $($word,)+
        }

        impl Keyword {
            fn of(text: &str) -> Option<Self> {
                $(if text.eq_ignore_ascii_case(stringify!($word)) {
                    return Some(Self::$word);
                })+
                None
            }
        }
    };
}
keywords! { As Call Delete From Insert Into Or Replace Select Set Table Truncate Update }

pub(super) struct Tokens<'a> {
    rest: &'a str,
    unclosed: u8,
}

/// Quotations `$tag$` without an end that are searched for one to the end of the statement; each costs its length.
const MAX_UNCLOSED: u8 = 8;

impl<'a> Tokens<'a> {
    pub(super) fn new(statement: &'a str) -> Self {
        Self { rest: statement, unclosed: 0 }
    }

    fn token(&mut self, kind: Kind, length: usize) -> Token<'a> {
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        Token { kind, text }
    }

    /// The bytes from the start of the rest while `belongs` holds.
    fn run(&self, belongs: impl Fn(char) -> bool) -> usize {
        self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len())
    }

    fn word(&mut self) -> Token<'a> {
        let length = self.run(|c| c == '_' || c == '$' || c.is_alphanumeric());
        let mut token = self.token(Kind::Ident, length);
        if let Some(keyword) = Keyword::of(token.text) {
            token.kind = Kind::Keyword(keyword);
        }
        token
    }

    fn number(&mut self) -> Token<'a> {
        let (mut dot, mut exponent, mut after_exponent) = (false, false, false);
        let length = self.rest.find(|c: char| {
            let sign_may_come = std::mem::replace(&mut after_exponent, false);
            match c {
                '0'..='9' => false,
                '.' if !dot => {
                    dot = true;
                    false
                }
                'e' | 'E' if !exponent => {
                    (exponent, after_exponent) = (true, true);
                    false
                }
                '+' | '-' => !sign_may_come,
                _ => true,
            }
        });
        self.token(Kind::Number, length.unwrap_or(self.rest.len()))
    }

    /// `"…"`, with `""` standing for a quote; the text is what is between the outer quotes.
    fn quoted(&mut self, close: char) -> Token<'a> {
        let inner = self.rest.get(1..).unwrap_or_default();
        let mut from = 0;
        let end = loop {
            let Some(at) = inner[from..].find(close).map(|at| from + at) else { break inner.len() };
            if close == '"' && inner[at + 1..].starts_with('"') {
                from = at + 2;
            } else {
                break at;
            }
        };
        self.rest = inner.get(end + 1..).unwrap_or_default();
        Token { kind: Kind::Ident, text: &inner[..end] }
    }

    fn string(&mut self) -> Token<'a> {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        while at < bytes.len() {
            match bytes[at] {
                b'\\' => at += 2,
                b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
                b'\'' => return self.token(Kind::String, at + 1),
                _ => at += 1,
            }
        }
        self.token(Kind::String, self.rest.len())
    }

    /// `$1`, or PostgreSQL's `$tag$ … $tag$`.
    fn dollar(&mut self) -> Token<'a> {
        let after = &self.rest[1..];
        match after.chars().next() {
            Some('0'..='9') => {
                let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
                self.token(Kind::Other, 1 + digits)
            }
            Some(c) if c == '$' || c == '_' || c.is_alphabetic() => {
                let tag_ends = after.find(|c: char| c == '$' || c.is_whitespace());
                if let Some(close) = tag_ends.filter(|at| after[*at..].starts_with('$') && self.unclosed < MAX_UNCLOSED)
                {
                    let tag = &self.rest[..close + 2];
                    if let Some(end) = self.rest[tag.len()..].find(tag) {
                        return self.token(Kind::String, tag.len() + end + tag.len());
                    }
                    self.unclosed += 1;
                }
                let length = self.run(|c| !c.is_whitespace());
                self.token(Kind::Other, length)
            }
            _ => self.token(Kind::Other, 1),
        }
    }

    fn block_comment(&mut self) -> Token<'a> {
        let bytes = self.rest.as_bytes();
        let (mut depth, mut at) = (1, 2);
        while at < bytes.len() && depth > 0 {
            match &bytes[at..bytes.len().min(at + 2)] {
                b"/*" => (depth, at) = (depth + 1, at + 2),
                b"*/" => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
        }
        self.token(Kind::Comment, if depth == 0 { at } else { bytes.len() })
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.rest = self.rest.trim_start();
        let first = self.rest.chars().next()?;
        Some(match first {
            '(' => self.token(Kind::LeftParen, 1),
            ')' => self.token(Kind::RightParen, 1),
            '.' => self.token(Kind::Period, 1),
            '"' => self.quoted('"'),
            '`' => self.quoted('`'),
            '[' => self.quoted(']'),
            '\'' => self.string(),
            '$' => self.dollar(),
            '0'..='9' => self.number(),
            '-' | '/' if self.rest.starts_with("--") || self.rest.starts_with("//") => {
                let length = self.run(|c| c != '\n');
                self.token(Kind::Comment, length)
            }
            '/' if self.rest.starts_with("/*") => self.block_comment(),
            '_' => self.word(),
            c if c.is_alphabetic() => self.word(),
            c => self.token(Kind::Other, c.len_utf8()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(kind: Kind) -> &'static str {
        match kind {
            Kind::Ident => "IDENT",
            Kind::Keyword(_) => "KEYWORD",
            Kind::Number => "NUMBER",
            Kind::String => "STRING",
            Kind::Comment => "COMMENT",
            Kind::LeftParen => "LPAREN",
            Kind::RightParen => "RPAREN",
            Kind::Period => "PERIOD",
            Kind::Other => "OTHER",
        }
    }

    /// The tokens of a statement as one text: `KIND text, KIND text`.
    fn listed(statement: &str) -> String {
        let tokens: Vec<_> =
            Tokens::new(statement).map(|token| format!("{} {}", name(token.kind), token.text)).collect();
        tokens.join(" | ")
    }

    // spec: tracing-instrumentation-db.md
    #[test]
    fn words_numbers_and_punctuation_are_tokens() {
        for (statement, tokens) in [
            ("", ""),
            (" \t\r\n\u{a0}", ""),
            ("shop.Orders_2", "IDENT shop | PERIOD . | IDENT Orders_2"),
            ("_id $ total$ größe", "IDENT _id | OTHER $ | IDENT total$ | IDENT größe"),
            ("f((a), ?)", "IDENT f | LPAREN ( | LPAREN ( | IDENT a | RPAREN ) | OTHER , | OTHER ? | RPAREN )"),
            ("a-b/c;→@x", "IDENT a | OTHER - | IDENT b | OTHER / | IDENT c | OTHER ; | OTHER → | OTHER @ | IDENT x"),
            (
                "7 0.25 1e3 2E-4 5e+60 9.",
                "NUMBER 7 | NUMBER 0.25 | NUMBER 1e3 | NUMBER 2E-4 | NUMBER 5e+60 | NUMBER 9.",
            ),
            ("1.5.25", "NUMBER 1.5 | PERIOD . | NUMBER 25"),
            ("1e2e3 4-2", "NUMBER 1e2 | IDENT e3 | NUMBER 4 | OTHER - | NUMBER 2"),
            ("1e-+2 1e5-3", "NUMBER 1e- | OTHER + | NUMBER 2 | NUMBER 1e5 | OTHER - | NUMBER 3"),
            ("3x", "NUMBER 3 | IDENT x"),
        ] {
            assert_eq!(listed(statement), tokens, "{statement}");
        }
    }

    // spec: tracing-instrumentation-db.md
    #[test]
    fn keywords_are_found_in_any_case() {
        let words = "as call delete from insert into or replace select set table truncate update";
        for statement in [words.to_owned(), words.to_uppercase(), words.replace('e', "E")] {
            let kinds: Vec<_> = Tokens::new(&statement).map(|token| name(token.kind)).collect();
            assert_eq!(kinds, ["KEYWORD"; 13], "{statement}");
        }
        let mut tokens = Tokens::new("Select FROM into");
        assert_eq!(tokens.next().unwrap().kind, Kind::Keyword(Keyword::Select));
        assert_eq!(tokens.next().unwrap().kind, Kind::Keyword(Keyword::From));
        assert_eq!(tokens.next().unwrap().kind, Kind::Keyword(Keyword::Into));
        assert_eq!(listed("selects from_ \"from\""), "IDENT selects | IDENT from_ | IDENT from");
    }

    // spec: tracing-instrumentation-db.md
    #[test]
    fn quoted_names_lose_their_outer_quotes() {
        for (statement, tokens) in [
            ("\"big table\".`odd``[name]`", "IDENT big table | PERIOD . | IDENT odd | IDENT [name]"),
            ("[dbo].[a`\"b] c", "IDENT dbo | PERIOD . | IDENT a`\"b | IDENT c"),
            ("\"say \"\"hi\"\"\" x", "IDENT say \"\"hi\"\" | IDENT x"),
            ("\"\" x", "IDENT  | IDENT x"),
            ("\"\"\"\" x", "IDENT \"\" | IDENT x"),
            ("x \"open FROM t", "IDENT x | IDENT open FROM t"),
            ("[a]]b", "IDENT a | OTHER ] | IDENT b"),
            ("`", "IDENT "),
        ] {
            assert_eq!(listed(statement), tokens, "{statement}");
        }
    }

    // spec: tracing-instrumentation-db.md
    #[test]
    fn strings_end_at_a_quote_that_is_neither_doubled_nor_escaped() {
        for (statement, tokens) in [
            ("'a' b", "STRING 'a' | IDENT b"),
            ("'' b", "STRING '' | IDENT b"),
            ("'it''s' b", "STRING 'it''s' | IDENT b"),
            (r"'it\'s' b", r"STRING 'it\'s' | IDENT b"),
            (r"'a\\' b", r"STRING 'a\\' | IDENT b"),
            ("'a'b'c'", "STRING 'a' | IDENT b | STRING 'c'"),
            ("'a FROM b", "STRING 'a FROM b"),
            ("'a''", "STRING 'a''"),
            (r"'a\", r"STRING 'a\"),
        ] {
            assert_eq!(listed(statement), tokens, "{statement}");
        }
    }

    // spec: tracing-instrumentation-db.md
    #[test]
    fn dollars_begin_placeholders_and_quotations() {
        for (statement, tokens) in [
            ("$1 $23a", "OTHER $1 | OTHER $23 | IDENT a"),
            ("$$it's $1$$ b", "STRING $$it's $1$$ | IDENT b"),
            ("$$$$b", "STRING $$$$ | IDENT b"),
            ("$q$ a $$ $p$ b $q$ c", "STRING $q$ a $$ $p$ b $q$ | IDENT c"),
            ("$_1$ a $_1$", "STRING $_1$ a $_1$"),
            ("$é$ a $é$", "STRING $é$ a $é$"),
            ("$name, $x y$ z", "OTHER $name, | OTHER $x | IDENT y$ | IDENT z"),
            ("$q$ open", "OTHER $q$ | IDENT open"),
            ("$) a", "OTHER $ | RPAREN ) | IDENT a"),
        ] {
            assert_eq!(listed(statement), tokens, "{statement}");
        }
    }

    #[test]
    fn few_quotations_without_an_end_are_searched() {
        let unclosed = |count: usize| (0..count).map(|tag| format!("$t{tag}$ ")).collect::<String>();
        let last = |count| listed(&format!("{}$z$ a $z$", unclosed(count)));
        assert!(last(7).ends_with("| STRING $z$ a $z$"), "{}", last(7));
        assert!(last(8).ends_with("| OTHER $z$ | IDENT a | OTHER $z$"), "{}", last(8));
    }

    // spec: tracing-instrumentation-db.md
    #[test]
    fn comments_end_with_the_line_or_with_their_closing_mark() {
        for (statement, tokens) in [
            ("a -- b 'c\nd", "IDENT a | COMMENT -- b 'c | IDENT d"),
            ("a // b\nd", "IDENT a | COMMENT // b | IDENT d"),
            ("a --", "IDENT a | COMMENT --"),
            ("a /* b\n * c */ d", "IDENT a | COMMENT /* b\n * c */ | IDENT d"),
            ("/* a /* b */ c */ d", "COMMENT /* a /* b */ c */ | IDENT d"),
            ("/**/a", "COMMENT /**/ | IDENT a"),
            ("/*/ a", "COMMENT /*/ a"),
            ("/* a /* b */ c", "COMMENT /* a /* b */ c"),
            ("-/a", "OTHER - | OTHER / | IDENT a"),
        ] {
            assert_eq!(listed(statement), tokens, "{statement}");
        }
    }

    #[test]
    #[ignore = "needs APM_SPEC_DIR"]
    fn tokens_match_the_published_vectors() {
        let cases = crate::spec_folder::json("json-specs/sql_token_examples.json");
        for case in cases.as_array().unwrap() {
            let got: Vec<_> = Tokens::new(case["input"].as_str().unwrap())
                .map(|token| serde_json::json!({ "kind": name(token.kind), "text": token.text }))
                .collect();
            let want = case.get("tokens").and_then(|tokens| tokens.as_array()).cloned().unwrap_or_default();
            assert_eq!(got, want, "{}", case["name"]);
        }
    }

    #[test]
    fn unterminated_token_extends_to_the_end() {
        for text in ["'abc\\", "\"abc", "`abc", "[abc", "/* abc /* */", "$tag$ abc", "-- abc", "$", "é", "1e"] {
            let tokens: Vec<_> = Tokens::new(text).collect();
            assert!(!tokens.is_empty(), "{text}");
        }
    }
}
