use std::borrow::Cow;

use serde_json::json;

use super::*;
use crate::config::Wildcard;

fn default() -> Sanitizer {
    Sanitizer::default()
}

// spec: sanitization.md
#[test]
fn default_sanitize_field_names_match_secret_names() {
    let secret = [
        "password",
        "PASSWORD",
        "passwd",
        "pwd",
        "secret",
        "x-api-key",
        "apiKey",
        "token",
        "access_token",
        "id_token",
        "PHPSESSID",
        "x-session-id",
        "creditScore",
        "card_number",
        "authorization",
        "proxy-authorization",
        "set-cookie",
        "cookie",
        "user_principal_name",
        "new_password",
        "client_secret",
        "connect.sid",
        "user[password]",
        "a.b.token",
        "token[value]",
        "x-token-id",
        "session_token_id",
    ];
    let plain = [
        "host",
        "user-agent",
        "content-type",
        "x-user-id",
        "theme",
        "seller",
        "price",
        ":authority",
        ":path",
        "token_id",
        "token_ids",
        "tokenId",
        "order[token_id]",
        "order.tokenId",
        "",
        ".",
    ];
    for name in secret {
        assert!(default().is_secret(name), "{name} must not be shown");
    }
    for name in plain {
        assert!(!default().is_secret(name), "{name} may be shown");
    }
}

// spec: sanitization.md
#[test]
fn each_pattern_of_the_default_list_decides_about_a_name() {
    let names = [
        "pwd",
        "apikey",
        "token1",
        "sessions",
        "credit_limit",
        "card_no",
        "oauth",
        "set-cookie",
        "principals",
        "pw",
        "pass",
        "new_password",
        "passwd2",
        "passphrase",
        "passcode",
        "client_secret",
        "mnemonic",
        "cookie",
        "phpsessid",
        "jwt",
        "client_assertion",
        "oidc_state",
        "saml",
        "csrf",
        "xsrf",
        "credentials",
        "signature",
        "sig",
        "otp1",
        "totp",
        "my_otp_code",
        "my-otp-code",
        "sid",
        "cvv2",
        "my_cvv",
        "cvc",
        "pin",
        "user_pin",
        "pin_code",
        "pincode",
        "ssn",
        "user_ssn",
        "dpop",
        "code_verifier",
        "token_id",
        "token_ids",
        "tokenid",
        "tokenids",
        "author",
        "authors",
        "author_name",
        "authority",
        "discard",
        "wildcard",
        "cardinality",
        "access-control-allow-credentials",
    ];
    let verdicts = |sanitizer: &Sanitizer| names.map(|name| sanitizer.is_secret(name));
    let patterns = crate::config::Config::default().sanitize_field_names;
    // another pattern includes each of these
    let included = ["password", "passwd", "secret", "connect.sid"];
    for (index, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| !included.contains(&pattern.as_str())) {
        let mut others = patterns.clone();
        others.remove(index);
        assert_ne!(verdicts(&Sanitizer::new(&others)), verdicts(&default()), "{pattern:?}");
    }
}

// spec: sanitization.md
#[test]
fn each_part_of_a_name_is_compared_with_the_patterns() {
    let sanitizer = Sanitizer::new(&["pin", "*card*", "!*_card", "whole.name"].map(Wildcard::new));
    for name in ["pin", "user.pin", "pin.user", "user[pin]", "user[a][pin]", "a.b[PIN].c", "whole.name", "card.number"]
    {
        assert!(sanitizer.is_secret(name), "{name}");
    }
    for name in ["pins", "user.pins", "user[pins]", "user_pin", "my_card", "order.my_card", "a.b", "..", "[]"] {
        assert!(!sanitizer.is_secret(name), "{name}");
    }
}

#[test]
fn configured_list_replaces_the_default() {
    let sanitizer = Sanitizer::new(&["*token*", "pin", "!*_token_public"].map(Wildcard::new));
    assert!(sanitizer.is_secret("token_id") && sanitizer.is_secret("Pin"));
    assert!(!sanitizer.is_secret("password") && !sanitizer.is_secret("my_token_public"));
    assert!(!Sanitizer::new(&[]).is_secret("password"));
}

#[test]
fn queries_and_forms_are_redacted() {
    let cases = [
        ("a=1&token=x", "a=1&token=[REDACTED]"),
        ("token=x&a=1&password=y", "token=[REDACTED]&a=1&password=[REDACTED]"),
        ("p%61ssword=x", "p%61ssword=[REDACTED]"),
        ("user%5Bpassword%5D=x&user[name]=ada", "user%5Bpassword%5D=[REDACTED]&user[name]=ada"),
        ("token=a=b", "token=[REDACTED]"),
        ("a=1;token=x&b=2", "a=1;token=[REDACTED]&b=2"),
        // it cannot be known whether the `;` ends the pair or is a part of the password
        ("password=hun;ter2", "password=[REDACTED]"),
        ("password=hun;ter2;token=x&a=1;b=2", "password=[REDACTED]&a=1;b=2"),
        ("token=x&", "token=[REDACTED]&"),
    ];
    for (query, expected) in cases {
        assert_eq!(default().query(query), expected, "{query}");
    }
    for untouched in ["", "status=open", "token_id=42&q=a%20b", "token", "token=", "&&=&", "=x"] {
        assert!(matches!(default().query(untouched), Cow::Borrowed(same) if same == untouched), "{untouched}");
    }
}

#[test]
fn cookies_are_parsed_and_redacted() {
    let cookies = |header| {
        let pairs = default().cookies(header).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let pairs: Vec<String> = pairs;
        pairs.join(", ")
    };
    assert_eq!(cookies("session=secret1; theme=dark"), "session: [REDACTED], theme: dark");
    assert_eq!(cookies(" a = b=c ;; x; =y;a=d"), "a: b=c, a: d");
    assert_eq!(cookies(""), "");
}

#[test]
fn json_values_are_redacted() {
    let value = json!({
        "token_id": "42", "password": "x", "nested": [{"auth": {"a": 1}, "api_key": 1, "n": null}],
        "link": "https://u:p@h/?token=x", "price": 1.5,
    });
    let clean: serde_json::Value = serde_json::from_str(&default().json_text(&value.to_string()).unwrap()).unwrap();
    let expected = json!({
        "token_id": "42", "password": REDACTED, "nested": [{"auth": REDACTED, "api_key": REDACTED, "n": null}],
        "link": "https://[REDACTED]@h/?token=[REDACTED]", "price": 1.5,
    });
    assert_eq!(clean, expected);
}

#[test]
fn json_text_keeps_what_is_not_secret_as_it_was_written() {
    let cases = [
        (
            r#"{"token_id":"42","seller":"0xabc","price":"12.5","password":"secret3"}"#,
            r#"{"token_id":"42","seller":"0xabc","price":"12.5","password":"[REDACTED]"}"#,
        ),
        (
            r#" { "z" : 123456789012345678901234567890 , "a" : [ 1.50 , true ] } "#,
            r#" { "z" : 123456789012345678901234567890 , "a" : [ 1.50 , true ] } "#,
        ),
        (r#"{"token":{"a":["}",{"b":"\""}]},"x":1}"#, r#"{"token":"[REDACTED]","x":1}"#),
        (
            r#"{"\u0070assword":"x","pwd":null,"pwd":-1e5}"#,
            r#"{"\u0070assword":"[REDACTED]","pwd":"[REDACTED]","pwd":"[REDACTED]"}"#,
        ),
        (r#"[{"secret":"a\\"},"secret"]"#, r#"[{"secret":"[REDACTED]"},"secret"]"#),
        (r#""http:\/\/h\/?token=x""#, r#""http://h/?token=[REDACTED]""#),
        (r#"{"path":"/buy?token=x","q":"why?"}"#, r#"{"path":"/buy?token=[REDACTED]","q":"why?"}"#),
        ("{}", "{}"),
        ("[]", "[]"),
        ("null", "null"),
        ("\"ä\"", "\"ä\""),
    ];
    for (text, expected) in cases {
        assert_eq!(default().json_text(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn invalid_json_is_not_shown() {
    let texts = [
        "",
        " ",
        "password=x",
        "{password:1}",
        r#"{"password":"x"} {"#,
        r#"{"a" "b"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        "[1,]",
        "[1 2]",
        "[1}",
        "nul",
        "01",
        "{\"a\":\"line\nfeed\"}",
        r#"{"\q":1}"#,
        r#"{"password":,"a":1}"#,
        "'a'",
    ];
    for text in texts {
        assert_eq!(default().json_text(text), None, "{text}");
    }
}

#[test]
fn json_that_was_cut_shows_no_secret() {
    let text =
        r#"{"name":"ada","password":{"now":"hunter2"},"link":"https://me:hunter2@h/?token=hunter2","n":-1.5,"t":true}"#;
    for end in 0..text.len() {
        let clean = default().json_prefix(&text[..end]).unwrap();
        assert!(!clean.contains("hunter"), "{clean}");
        assert!(default().json_text(&text[..end]).is_none(), "{end}");
        if end > 15 {
            assert!(clean.starts_with(r#"{"name":"ada""#), "{clean}");
        }
    }
    let cut = |text| default().json_prefix(text).unwrap();
    assert_eq!(cut(r#"{"a":"see http://u:p@h/ and why? htt"#), r#"{"a":"see http://[REDACTED]@h/ and why? …"#);
    assert_eq!(cut("{\"a\":\"why?\u{2028}htt"), "{\"a\":\"why?\u{2028}…");
    assert_eq!(cut(r#"{"a":"a long text that goes o"#), r#"{"a":"a long text that goes o"#);
    assert_eq!(default().json_prefix("<html>"), None);
    assert_eq!(default().json_prefix("password=x"), None);
}

#[test]
fn json_depth_is_limited() {
    let text = format!("{}\"password\"{}", "[".repeat(5000), "]".repeat(5000));
    let expected = format!("{}\"…\"{}", "[".repeat(32), "]".repeat(32));
    assert_eq!(default().json_text(&text).as_deref(), Some(&*expected));
}

#[test]
fn urls_in_text_are_redacted() {
    let cases = [
        (
            "error sending request for url (http://h/buy?token=abc&x=1)",
            "error sending request for url (http://h/buy?token=[REDACTED]&x=1)",
        ),
        ("postgres://me:pw@db:5432/shop refused", "postgres://[REDACTED]@db:5432/shop refused"),
        ("postgres://me:p/w@db/shop refused", "postgres://[REDACTED]@db/shop refused"),
        ("redis://:pw@[::1]:6379", "redis://[REDACTED]@[::1]:6379"),
        (
            "\"https://h/?api_key=a\", then https://h/#access_token=b.",
            "\"https://h/?api_key=[REDACTED]\", then https://h/#access_token=[REDACTED].",
        ),
        ("GET /buy?password=x failed", "GET /buy?password=[REDACTED] failed"),
        ("http://a/http://u:p@b", "http://a/http://[REDACTED]@b"),
        ("ä http://h/?token=ä ö", "ä http://h/?token=[REDACTED] ö"),
    ];
    for (message, expected) in cases {
        let clean = default().urls_in(message);
        assert_eq!(clean, expected);
        assert_eq!(default().urls_in(&clean), expected, "a second pass changes nothing");
    }
    for untouched in
        ["", "why?", "token=x", "http://h:80/a@b?c=d#e", "http://[::1]/x@y", "://", "https://h/?token_id=1"]
    {
        assert!(matches!(default().urls_in(untouched), Cow::Borrowed(same) if same == untouched), "{untouched}");
    }
}

#[test]
fn baggage_members_are_redacted_by_name() {
    let sanitizer = Sanitizer::default();
    let header = "user=0xabc;ttl=1, session=hunter2;secret=x,other=1";
    assert_eq!(sanitizer.baggage(header), "user=0xabc;ttl=1, session=[REDACTED],other=1");
    assert!(matches!(sanitizer.baggage("user=0xabc,other=1"), std::borrow::Cow::Borrowed(_)));
}
