use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

fn clean(text: &str) -> String {
    Sanitizer::default().text(text).into_owned()
}

/// Texts as they come, and what is sent of them.
const TEXTS: &[(&str, &str)] = &[
    // prose, log lines, command lines
    ("login password=hunter2 user=bob", "login password=[REDACTED] user=bob"),
    ("password = hunter2, user = bob", "password = [REDACTED], user = bob"),
    ("PASSWORD: hunter2", "PASSWORD: [REDACTED]"),
    ("password='hunter 2' ok", "password='[REDACTED]' ok"),
    ("password=\"hunter 2\" ok", "password=\"[REDACTED]\" ok"),
    ("api_key := hunter2", "api_key := [REDACTED]"),
    ("password => \"hunter2\"", "password => \"[REDACTED]\""),
    ("password != hunter2", "password != [REDACTED]"),
    ("(password=hunter2)", "(password=[REDACTED])"),
    ("the password (password=hunter2) is old", "the password (password=[REDACTED]) is old"),
    ("password=hun,ter2;x", "password=[REDACTED]"),
    ("token=a1,user=bob", "token=[REDACTED],user=bob"),
    ("pin: 1234, cvv: 123.", "pin: [REDACTED], cvv: [REDACTED]."),
    ("pin:1234", "pin:[REDACTED]"),
    ("token:123456", "token:[REDACTED]"),
    ("login -pin=1234", "login -pin=[REDACTED]"),
    ("mysql --password hunter2 --host db", "mysql --password [REDACTED] --host db"),
    ("mysql --password=hunter2 --host=db", "mysql --password=[REDACTED] --host=db"),
    ("card number: 4111111111111111", "card number: [REDACTED]"),
    ("session id: abc1", "session id: [REDACTED]"),
    ("mnemonic: abandon ability able\nnext", "mnemonic: [REDACTED]\nnext"),
    ("passphrase: abandon ability able\nnext", "passphrase: [REDACTED]\nnext"),
    ("x-api-key: ApiKey abcd", "x-api-key: [REDACTED]"),
    ("proxy-authorization: Custom abc def\nnext", "proxy-authorization: [REDACTED]\nnext"),
    ("x-auth: Digest username=\"bob\", response=\"6629fa\"\nnext", "x-auth: [REDACTED]\nnext"),
    ("token=abc&flag x", "token=[REDACTED]&flag x"),
    ("token: abc&user=bob", "token: [REDACTED]&user=bob"),
    ("password=abc<br>", "password=[REDACTED]<br>"),
    ("'password=abc' x", "'password=[REDACTED]' x"),
    // headers
    ("authorization: Basic dXNlcjpw\nhost: a", "authorization: [REDACTED]\nhost: a"),
    ("> Authorization: Bearer abc", "> Authorization: [REDACTED]"),
    ("authorization=Bearer abc user=bob", "authorization=[REDACTED] user=bob"),
    ("cookie: a=b; sid=\"x y\"; c=d", "cookie: [REDACTED]"),
    ("Bearer abc-def", "Bearer [REDACTED]"),
    ("got Bearer abc.def-123 here", "got Bearer [REDACTED] here"),
    ("BASIC dXNlcjpwYXNz", "BASIC [REDACTED]"),
    ("sent basic dXNlcjpwYXNzd29yZA== twice", "sent basic [REDACTED] twice"),
    ("Digest username=\"Mufasa\", response=\"6629fae49393\"", "Digest [REDACTED]"),
    ("Token 9944b09199c62bcf9418", "Token [REDACTED]"),
    ("ApiKey VnVhQ2ZHY0JDZGJrUW0", "ApiKey [REDACTED]"),
    ("Token 9944b09199c62bcf9418ad846dd0e4bb", "Token [REDACTED]"),
    ("AWS4-HMAC-SHA256 Credential=AKIA/20240101, SignedHeaders=host, Signature=fe5f80", "AWS4-HMAC-SHA256 [REDACTED]"),
    ("no eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln today", "no [REDACTED] today"),
    ("got Bearer abcdefghijklmnop here", "got Bearer [REDACTED] here"),
    ("got Basic abcdef== here", "got Basic [REDACTED] here"),
    ("ApiKey abcdefghijklmnopqrst", "ApiKey [REDACTED]"),
    // Debug output
    (
        r#"Credentials { username: "bob", password: "hunter2" }"#,
        r#"Credentials { username: "bob", password: "[REDACTED]" }"#,
    ),
    (r#"Json(Login { pw: Some("hunter2"), n: 1 })"#, r#"Json(Login { pw: [REDACTED], n: 1 })"#),
    (r#"{"authorization": "Basic dXNlcg==", "host": "a"}"#, r#"{"authorization": "[REDACTED]", "host": "a"}"#),
    (r#"[("password", "hunter2"), ("a", "b")]"#, r#"[("password", "[REDACTED]"), ("a", "b")]"#),
    (r#"Form([("password", "hunter2")])"#, r#"Form([("password", "[REDACTED]")])"#),
    (r#"x [["password","hunter2"],["a","b"]]"#, r#"x [["password","[REDACTED]"],["a","b"]]"#),
    (r#"args ["--password", "hunter2", "x"]"#, r#"args ["--password", "[REDACTED]", "x"]"#),
    (r#""mysql" "--password" "hunter2""#, r#""mysql" "--password" "[REDACTED]""#),
    (r#"Some(Password("hunter2"))"#, r#"Some(Password([REDACTED]))"#),
    ("Authorization(Bearer(\"hunter2\"))", "Authorization([REDACTED])"),
    ("Otp(123456)", "Otp([REDACTED])"),
    (r#"body: b"{\"password\":\"hunter2\"}""#, r#"body: b"{\"password\":\"[REDACTED]\"}""#),
    (r#"User { secret: b"hunter2", id: 1 }"#, r#"User { secret: b"[REDACTED]", id: 1 }"#),
    (r##"key: r#"hunter2"#"##, r##"key: r#"[REDACTED]"#"##),
    ("User {\n    password: Some(\n        \"hunter2\",\n    ),\n}", "User {\n    password: [REDACTED],\n}"),
    (
        "[\n    (\n        \"password\",\n        \"hunter2\",\n    ),\n]",
        "[\n    (\n        \"password\",\n        \"[REDACTED]\",\n    ),\n]",
    ),
    (r#"{"credentials": {"a": "}", "b": [1]}, "c": 2"#, r#"{"credentials": "[REDACTED]", "c": 2"#),
    (
        r#"v: "{\"a\": \"{\\\"password\\\": \\\"hunter2\\\"}\"}" w"#,
        r#"v: "{\"a\": \"{\\\"password\\\": \\\"[REDACTED]\\\"}\"}" w"#,
    ),
    (r#"x headers["password"] = "hunter2""#, r#"x headers["password"] = "[REDACTED]""#),
    (
        r#"Header { name: "authorization", value: "hunter2" }"#,
        r#"Header { name: "authorization", value: "[REDACTED]" }"#,
    ),
    (r#"KeyValue { key: "password", value: String("hunter2") }"#, r#"KeyValue { key: "password", value: [REDACTED] }"#),
    (r#"x Cookie { cookie_string: Some("id=hunter2"), name: Indexed(0, 2) } y"#, "x Cookie {[REDACTED]} y"),
    ("Cookie {\n    cookie_string: None,\n    value: Concrete(\n        \"hunter2\"", "Cookie {[REDACTED]"),
    ("bearer: hunter2, Bearer=hunter2", "bearer: [REDACTED], Bearer=[REDACTED]"),
    (
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\nend",
        "-----BEGIN PRIVATE KEY-----[REDACTED]-----END PRIVATE KEY-----\nend",
    ),
    (
        "PRIVATE KEY-----\nhunter2-----END A----- -----BEGIN EC PRIVATE KEY-----\nhunter2",
        "PRIVATE KEY-----[REDACTED]-----END A----- -----BEGIN EC PRIVATE KEY-----[REDACTED]",
    ),
    ("key: -----BEGIN RSA PRIVATE KEY-----\nhunter2\n", "key: [REDACTED] RSA PRIVATE KEY-----[REDACTED]"),
    (r#"{"pin": 1234, x}"#, r#"{"pin": "[REDACTED]", x}"#),
    (r#"x "password=abc\nnext""#, r#"x "password=[REDACTED]\nnext""#),
    (r#"x "cookie: a=b\nhost: c""#, r#"x "cookie: [REDACTED]\nhost: c""#),
    (r#"x password: "a\"b" c"#, r#"x password: "[REDACTED]" c"#),
    (r#"x password: Secret<str>("a b") c"#, "x password: [REDACTED] c"),
    (r#"x password: Header { a: "b c" } d"#, "x password: [REDACTED] d"),
    (r#"x password: &Some("a b") c"#, "x password: [REDACTED] c"),
    ("tokens: [']', 'a'] b", "tokens: [REDACTED] b"),
    (r#"v "{\"password\": \"abc" w"#, r#"v "{\"password\": \"[REDACTED]" w"#),
    (r#"v "{\"token\": [1, 2" w"#, r#"v "{\"token\": \"[REDACTED]\"" w"#),
    (r#"x "pass\u0077ord": "hunter2""#, r#"x "pass\u0077ord": "[REDACTED]""#),
    (r#"x (b"password", b"abc")"#, r#"x (b"password", b"[REDACTED]")"#),
    (r#"x ("password", Some("abc"), 1)"#, r#"x ("password", [REDACTED], 1)"#),
    (r#"x ("pin", 1234)"#, r#"x ("pin", [REDACTED])"#),
    (r#"x Basic("abc")"#, r#"x Basic([REDACTED])"#),
    (r#"args "--password", "hunter2""#, r#"args "--password", "[REDACTED]""#),
    // JSON, forms, URLs, multipart, XML
    (r#"{"value":"abc","name":"password"}"#, r#"{"value":"[REDACTED]","name":"password"}"#),
    (r#""{\"password\":\"hunter2\"}""#, r#""{\"password\":\"[REDACTED]\"}""#),
    (r#"{"a":"{\"b\":\"password=hunter2\"}"}"#, r#"{"a":"{\"b\":\"password=[REDACTED]\"}"}"#),
    ("a=b&p%61ssword=hunter2&c=d", "a=b&p%61ssword=[REDACTED]&c=d"),
    ("a=b next=%2Fb%3Ftoken%3Dhunter2 c", "a=b next=%2Fb%3Ftoken%3D[REDACTED] c"),
    ("user[password]=hunter2&c=d", "user[password]=[REDACTED]&c=d"),
    ("GET /a?next=%2Fb%3Ftoken%3Dhunter2", "GET /a?next=%2Fb%3Ftoken%3D[REDACTED]"),
    ("see /a?next=https://u:hunter2@h/", "see /a?next=https://[REDACTED]@h/"),
    ("cannot connect: postgres://u:hunt", "cannot connect: postgres://[REDACTED]"),
    (
        r#"body "form-data; name=\"password\"\r\n\r\nabc\r\n--b""#,
        r#"body "form-data; name=\"password\"\r\n\r\n[REDACTED]\r\n--b""#,
    ),
    ("form-data; name=\"password\"\n\nabc\n--b", "form-data; name=\"password\"\n\n[REDACTED]\n--b"),
    (
        "Content-Disposition: form-data; name=\"password\"\r\n\r\nhunter2\r\n--b\r\n",
        "Content-Disposition: form-data; name=\"password\"\r\n\r\n[REDACTED]\r\n--b\r\n",
    ),
    ("see postgres://ada:p@ss@db/x", "see postgres://[REDACTED]@db/x"),
    ("<a:pin>1234</a:pin>", "<a:pin>[REDACTED]</a:pin>"),
    ("<token/><x>1</x><token>abc</token>", "<token/><x>1</x><token>[REDACTED]</token>"),
    ("<a><ns:password x=\"1\">hunter2</ns:password></a>", "<a><ns:password x=\"1\">[REDACTED]</ns:password></a>"),
    ("<f name=\"password\">hunter2</f><g>1</g>", "<f name=\"password\">[REDACTED]</f><g>1</g>"),
    ("<key>password</key> <string>hunter2</string>", "<key>password</key> <string>[REDACTED]</string>"),
    ("<login password=\"hunter2\"/></x>", "<login password=\"[REDACTED]\"/></x>"),
    // sentences about a value
    ("password: must not be empty", "password: must not be empty"),
    (
        "password: invalid type: integer `1234`, expected a string",
        "password: invalid type: integer `[REDACTED]`, expected a string",
    ),
    (
        "password: Validation error: length [{\"value\": String(\"hunter2\")}]",
        "password: Validation error: length [{\"[REDACTED]\": String(\"[REDACTED]\")}]",
    ),
    ("Key (token)=(hunter2) already exists.", "Key (token)=[REDACTED] already exists."),
];

#[test]
fn secrets_in_free_text_are_redacted() {
    let shown = TEXTS.iter().map(|(text, expected)| (*text, clean(text), *expected));
    let failed: Vec<_> = shown.filter(|(_, shown, expected)| shown != expected).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn text_without_secrets_is_not_changed() {
    let texts = [
        "",
        "a plain sentence, with a comma",
        "error: token expired",
        "token_id=42 seller=0xabc",
        "TokenId { token_id: 42 }",
        "password: required",
        "password=",
        "password: None, token: null, secret: \"\", auth: true",
        "password=***",
        "password=$1",
        "tower_sessions::session::Error: gone",
        "auth::login: user 7",
        "connect to auth-service:8080 failed",
        "12:30:45 GET /listings 200",
        "Basic authentication required",
        "basic plan, bearer of news, token expired",
        "token revert-1 of listing 1 was not transferred to bob",
        "execution reverted: token ape-2026-11 is frozen",
        "Token 42 sold",
        "WWW: Bearer realm=\"api\"",
        "http://h:80/a?b=c#d",
        "{\"price\": 12.5, \"seller\": \"0xabc\"}",
        "Order { id: 1, items: [\"a\", \"b\"], note: Some(\"x: y\") }",
        "fields [\"password\", \"token\", \"email\"]",
        "assertion `left == right` failed\n  left: 1\n right: 2",
        "Result<Token, Error> and Vec<Session> </x>",
        "AuthError(Io(\"no such file\"))",
        "author: Ada, discarded: 5",
        "[REDACTED]",
        "password=[REDACTED] token: \"[REDACTED]\"",
        "auth://host/path is the address",
        "\"no\ntoken\": 5 items",
        "tokens: [], secret: {}, auth: ()",
        "password: \"***\", token: \"<redacted>\"",
        "sort: \"token\", value: \"asc\"",
        "form-data; name=\"password\"\r\n\r\n[REDACTED]\r\n--b\r\n",
        "sorted by [\"token\", 5]",
        "Unauthorized(\"missing header\") and Key(7)",
        "token(42) and Password([REDACTED]) and Token(***)",
        "foo--token bar",
        "mysql --password --host db",
        "Digest of the day",
        "redis://cache:port is down",
        "<name><b>password</b></name><v>1</v>",
        "UPDATE users SET password=? WHERE token = %s",
        "Bearer realm=api",
        "Bearer a1 and Basic b2",
        "ApiKey 0x12ab34cd56ef",
        "Token 0x12ab34cd56ef7890ab sold",
        "token abcdefghijklmnopqrst",
        "see eyJ.md",
        "cursor eyJpZCI6NDIsImRpciI6ImFzYyJ9",
        "monkeyJungle.forest.river.lake",
    ];
    let changed: Vec<_> = texts.iter().map(|text| (*text, clean(text))).filter(|(text, shown)| text != shown).collect();
    assert!(changed.is_empty(), "{changed:#?}");
    for text in texts {
        assert!(matches!(Sanitizer::default().text(text), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn truncated_text_contains_no_secret() {
    for (text, _) in TEXTS.iter().filter(|(text, _)| text.contains("hunter2")) {
        let head = text.find("hunter2").unwrap();
        for end in head + 3..text.len() {
            if text.is_char_boundary(end) && !text.contains("validation") && !text.contains(['<', '\r']) {
                let shown = clean(&text[..end]);
                assert!(!shown.contains("hunt"), "{} became {shown}", &text[..end]);
            }
        }
    }
}

#[test]
fn unclosed_element_of_truncated_xml_is_redacted() {
    let xml = |text: &str| Sanitizer::default().xml_text(text).into_owned();
    assert_eq!(xml("<a><user>bob</user><password>hunt"), "<a><user>bob</user><password>[REDACTED]");
    assert_eq!(xml("<a><user>bob"), "<a><user>bob");
}

#[test]
fn queries_and_secrets_are_removed_from_names() {
    let name = |name: &str| Sanitizer::default().name(name).into_owned();
    for (before, after) in [
        ("GET /a?access_token=hunter2", "GET /a"),
        ("GET /a?x=1 HTTP/1.1", "GET /a HTTP/1.1"),
        ("GET /a?flag", "GET /a"),
        ("call \"/a?x=1\" again", "call \"/a\" again"),
        ("call(/a?x=1)", "call(/a)"),
        ("GET https://u:hunter2@h/a?b=c#d=e", "GET https://[REDACTED]@h/a"),
        ("login password=hunter2", "login password=[REDACTED]"),
        ("GET /a;jsessionid=hunter2", "GET /a;jsessionid=[REDACTED]"),
        ("why?", "why?"),
        ("SELECT ? FROM a", "SELECT ? FROM a"),
        ("GET /items/{id}", "GET /items/{id}"),
        ("C# build #7", "C# build #7"),
    ] {
        assert_eq!(name(before), after);
    }
}

#[test]
fn session_cookies_and_tokens_in_cookies_are_redacted() {
    let shown = |header: &str| {
        let cookies = Sanitizer::default().cookies(header);
        cookies.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    };
    for name in [
        "id",
        "sid",
        "jwt",
        "remember",
        "remember_me",
        "app-remember",
        "tide.sid",
        "__Host-id",
        "__Secure-id",
        "axum_session",
        "rocket_session",
        "_csrf",
    ] {
        assert_eq!(shown(&format!("{name}=hunter2; theme=dark")), format!("{name}=[REDACTED]; theme=dark"));
    }
    assert_eq!(shown("token_id=42; cart-id=7"), "token_id=42; cart-id=7");
    assert_eq!(shown("x=V3rYl0ngT0kenValue; lang=en-US"), "x=[REDACTED]; lang=en-US");
    assert_eq!(shown("x=a,V3rYl0ngT0kenValue"), "x=[REDACTED]");
    assert_eq!(shown("x=abcdefghijklmnop; y=abcdefghijklmno"), "x=[REDACTED]; y=abcdefghijklmno");
    assert_eq!(shown("x=a=b&pin=12"), "x=a=b&pin=[REDACTED]");
    assert_eq!(shown("prefs=%7B%22pw%22%3A1%7D"), "prefs=[REDACTED]");
    let set = |header| Sanitizer::default().set_cookie(header).into_owned();
    assert_eq!(set("id=hunter2; Path=/; HttpOnly"), "id=[REDACTED]; Path=/; HttpOnly");
    assert_eq!(set("theme=dark; Path=/"), "theme=dark; Path=/");
}

#[test]
fn name_and_value_members_are_redacted_as_pairs() {
    let json = |text: &str| Sanitizer::default().json_text(text).unwrap();
    assert_eq!(
        json(r#"[{"name":"password","value":"hunter2"},{"value":{"a":1},"name":"token"},{"name":"a","value":"b"}]"#),
        r#"[{"name":"password","value":"[REDACTED]"},{"value":"[REDACTED]","name":"token"},{"name":"a","value":"b"}]"#
    );
    assert_eq!(json(r#"{"key":"password","value":1}"#), r#"{"key":"[REDACTED]","value":"[REDACTED]"}"#);
    for (text, expected) in [
        (r#"[["password","hunter2"],["a","b"]]"#, r#"[["password","[REDACTED]"],["a","b"]]"#),
        (r#"["password", {"a": 1} ]"#, r#"["password", "[REDACTED]" ]"#),
        (r#"["password","token","email"]"#, r#"["password","token","email"]"#),
        (r#"["password"]"#, r#"["password"]"#),
        (r#"{"type":"password","value":"hunter2"}"#, r#"{"type":"password","value":"[REDACTED]"}"#),
        (r#"{"v":"hunter2","k":"token"}"#, r#"{"v":"[REDACTED]","k":"token"}"#),
    ] {
        assert_eq!(json(text), expected);
    }
    let cut = Sanitizer::default().json_prefix(r#"[["password","hunt"#).unwrap();
    assert!(!cut.contains("hunt"), "{cut}");
    let query = |text: &str| Sanitizer::default().query(text).into_owned();
    assert_eq!(query("next=%2Fa%3Ftoken%3Dhunter2&b=c"), "next=%2Fa%3Ftoken%3D[REDACTED]&b=c");
    assert_eq!(query("next=%252Fa%253Ftoken%253Dhunter2"), "next=%252Fa%253Ftoken%253D[REDACTED]");
    assert_eq!(query("d=%7B%22password%22%3A%22hunter2%22%7D"), "d=%7B%22password%22%3A%22[REDACTED]%22%7D");
}

#[test]
fn default_patterns_match_secret_names_only() {
    let is_secret = |name| Sanitizer::default().is_secret(name);
    for name in [
        "jwt",
        "x-jwt-assertion",
        "client_assertion",
        "oidc_state",
        "x-csrf-token",
        "_csrf",
        "XSRF-TOKEN",
        "credentials",
        "x-amz-signature",
        "sig",
        "otp",
        "totp",
        "otp_code",
        "user.otp",
        "sms_otp_code",
        "sid",
        "connect.sid",
        "cvv",
        "cvv2",
        "pin",
        "user_pin",
        "ssn",
        "DPoP",
        "SAMLResponse",
        "code_verifier",
    ] {
        assert!(is_secret(name), "{name}");
    }
    for name in [
        "hotpink",
        "footprint",
        "option",
        "rootpath",
        "side",
        "sidebar",
        "account_sid",
        "spin",
        "pinned",
        "shipping",
        "ssn_type_hint",
        "author",
        "discarded",
        "wildcard",
        "access-control-allow-credentials",
        "opinion",
    ] {
        assert!(!is_secret(name), "{name}");
    }
}

/// Steps are counted by time elsewhere; here 100 kB of each kind must come to an end.
#[test]
fn hostile_text_takes_linear_time() {
    let parts = [
        "password=",
        "token:",
        "\"token\",",
        "[\"token\",",
        "(\"token\", [",
        "{\"value\":",
        "password='",
        "\\\"token\\\":",
        "name=\"token\"",
        "Token(",
        "<token>",
        "<name>",
        "</x><token>",
        "Digest a=",
        "Bearer ",
        "eyJ",
        "--token ",
        "a?b=%2525",
        "://u:p",
        ":::",
        "===",
        "token=`",
        "token: {",
        "Key (token",
        "\\\\\\\"",
        "password: invalid \"",
    ];
    let sanitizer = Sanitizer::default();
    for part in parts {
        let text = part.repeat(100_000 / part.len());
        let shown = sanitizer.text(&text);
        assert!(shown.len() <= 11 * text.len() + 100, "{part}");
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "password",
        "token",
        "name",
        "value",
        "key",
        ":",
        "=",
        "\"",
        "'",
        "`",
        "\\",
        "\\\"",
        " ",
        "\n",
        ",",
        ";",
        "&",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "<",
        ">",
        "/",
        "//",
        "?",
        "#",
        "%",
        "%22",
        "%3D",
        "@",
        "Bearer ",
        "Basic ",
        "Digest ",
        "a",
        "ä",
        "\u{1f680}",
        "hunter2",
        "Some(",
        "b\"",
        "--",
        "eyJ",
        ".",
        "[REDACTED]",
        "Token",
        "</",
        "1",
        "\r\n\r\n",
    ]);
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn redaction_of_any_text_neither_panics_nor_exceeds_its_limit(text in pieces()) {
        let sanitizer = Sanitizer::default();
        let shown = sanitizer.text(&text);
        prop_assert!(shown.len() <= 11 * text.len() + 100, "{text:?} became {shown:?}");
        let _ = sanitizer.name(&text);
        let _ = sanitizer.xml_text(&text);
        let _ = sanitizer.query(&text);
        let _ = sanitizer.cookies(&text);
        let _ = sanitizer.set_cookie(&text);
        let _ = sanitizer.json_prefix(&text);
        let _ = sanitizer.path(&text);
    }

    #[test]
    fn secret_before_any_text_is_redacted(text in pieces()) {
        let text = text.replace("hunter2", "");
        for secret in ["password=hunter2 ", "{\"password\":\"hunter2\"} ", "password: \"hunter2\" "] {
            let shown = clean(&format!("{secret}{text}"));
            prop_assert!(!shown.contains("hunter2"), "{secret}{text:?} became {shown:?}");
        }
    }
}

#[test]
fn texts_that_may_hold_a_secret_are_recognised() {
    for case in ["a:", "a=", "\"", "a(", "bearer ", "a Basic ", "eyJ", "a --", "a </", "Token ", "negotiate "] {
        assert!(text::may_hold_secret(case), "{case}");
    }
    for case in ["", "request", "HTTP 2xx", "GET /a/{id}", "a token ", "(a)", "basics", "Jey", "ey", "a-b", "<a>", "<"]
    {
        assert!(!text::may_hold_secret(case), "{case}");
    }
}
