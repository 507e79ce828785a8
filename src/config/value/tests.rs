use std::time::Duration;

use super::{labels::mapping, *};

// spec: configuration.md
#[test]
fn durations_are_whole_numbers_with_a_unit() {
    let cases = [
        ("500ms", Some(500)),
        ("30s", Some(30_000)),
        ("2m", Some(120_000)),
        ("0s", Some(0)),
        ("-1ms", None),
        ("30", None),
        ("30S", None),
        ("1h", None),
        ("1.5s", None),
        ("1 s", None),
        (" 1s", None),
        ("+1s", None),
        ("--1s", None),
        ("s", None),
        ("1us", None),
        ("99999999999999999999s", None),
        ("18446744073709551615m", None),
    ];
    for (text, millis) in cases {
        assert_eq!(NonNegativeDuration::read(text).valid(), millis.map(Duration::from_millis), "{text}");
    }
    assert_eq!(NonZeroDuration::read("-5s"), Parsed::Invalid);
    assert_eq!(NonZeroDuration::read("0ms"), Parsed::Invalid);
    assert_eq!(GranularDuration::read("250us"), Parsed::Valid(Duration::from_micros(250)));
    assert_eq!(GranularDuration::read("250US"), Parsed::Invalid);
}

#[test]
fn timeouts_of_opentelemetry_are_milliseconds_without_a_unit() {
    for (text, millis) in [("10000", Some(10_000)), (" 1 ", Some(1)), ("0", None), ("10s", None), ("-1", None)] {
        let read = Milliseconds::read(text).valid().flatten();
        assert_eq!(read, millis.map(Duration::from_millis), "{text}");
    }
    assert_eq!(Milliseconds::show(&Some(Duration::from_secs(2))), "2000");
}

#[test]
fn durations_are_shown_as_they_would_be_written() {
    for text in ["0ms", "250us", "1500ms", "90s"] {
        assert_eq!(GranularDuration::show(&GranularDuration::read(text).valid().unwrap()), text);
    }
}

// spec: configuration.md
#[test]
fn span_frames_min_duration_swaps_the_meaning_of_zero_and_negative() {
    let (own, older) = (StackTraceMinDuration::read, StackTraceMinDuration::read_alias);
    let (always, never) = (Parsed::Valid(Some(Duration::ZERO)), Parsed::Valid(None));
    assert_eq!((own("0ms"), own("-1ms")), (always, never));
    let (always, never) = (Parsed::Valid(Some(Duration::ZERO)), Parsed::Valid(None));
    assert_eq!((older("0ms"), older("-1ms")), (never, always));
    assert_eq!(older("5ms"), own("5ms"));
    assert_eq!((own("5"), older("5")), (Parsed::Invalid, Parsed::Invalid));
}

// spec: configuration.md
#[test]
fn sizes_use_units_of_1024_in_any_case() {
    let cases = [
        ("1b", Some(1)),
        ("1kb", Some(1024)),
        ("3MB", Some(3 << 20)),
        ("1Gb", Some(1 << 30)),
        ("10", None),
        ("1k", None),
        ("1.5kb", None),
        ("-1kb", None),
        ("1 kb", None),
        ("99999999999999999999b", None),
        ("18446744073709551615gb", None),
    ];
    for (text, expected) in cases {
        assert_eq!(size::parse(text), expected, "{text}");
    }
    assert_eq!(RequestSize::read("1023b"), Parsed::Invalid);
    assert_eq!(RequestSize::read("6mb"), Parsed::Invalid);
    assert_eq!(RequestSize::show(&(768 << 10)), "768kb");
    assert_eq!(BacklogBytes::read("0b"), Parsed::Valid(0));
    assert_eq!(BacklogBytes::read("1025mb"), Parsed::Invalid);
    assert_eq!(QueueBytes::show(&((1 << 20) + 1)), "1048577b");
}

#[test]
fn switches_are_strict() {
    assert_eq!(Bool::read("true"), Parsed::Valid(true));
    assert_eq!(Bool::read("false"), Parsed::Valid(false));
    for text in ["True", "TRUE", "1", "yes", " true"] {
        assert_eq!(Bool::read(text), Parsed::Invalid, "{text}");
    }
}

#[test]
fn negative_limits_mean_no_limit() {
    assert_eq!(Limit::read("-1"), Parsed::Valid(-1));
    assert_eq!(Limit::read("0"), Parsed::Valid(0));
    assert_eq!(Limit::read("many"), Parsed::Invalid);
    assert_eq!(Limit::show(&-1), "-1");
    assert_eq!(Count::read("0"), Parsed::Invalid);
    assert_eq!(Count::read("99999999"), Parsed::Invalid);
}

// spec: tracing-sampling.md
#[test]
fn sample_rates_are_rounded_and_small_rates_stay_above_zero() {
    let cases = [
        ("0", Some(0.0)),
        ("1", Some(1.0)),
        ("1.0", Some(1.0)),
        ("0.55554", Some(0.5555)),
        ("0.55555", Some(0.5556)),
        ("0.00001", Some(0.0001)),
        ("0.99996", Some(1.0)),
        ("1.0001", None),
        ("-0.1", None),
        ("NaN", None),
        ("inf", None),
        ("1e-3", None),
        ("half", None),
    ];
    for (text, expected) in cases {
        assert_eq!(SampleRate::read(text).valid(), expected, "{text}");
    }
    assert_eq!(SampleRate::round(f64::NAN), None);
    assert!(SampleRate::round(-0.0).is_some_and(f64::is_sign_positive));
}

// spec: configuration.md
#[test]
fn mappings_split_at_the_first_equals_sign() {
    let pairs =
        |text| mapping(text).map(|pairs| pairs.into_iter().map(|(k, v)| format!("{k}|{v}")).collect::<Vec<_>>());
    assert_eq!(pairs(" a = 1 ,b=x=y,, c="), Some(vec!["a|1".into(), "b|x=y".into(), "c|".into()]));
    assert_eq!(pairs("a"), None);
    assert_eq!(pairs("=1"), None);
    assert!(Labels::check(&vec![(" ".to_owned(), "v".to_owned())]) == Parsed::Invalid);
}

#[test]
fn server_urls_are_validated() {
    let cases = [
        ("http://127.0.0.1:8200", Some(("http://127.0.0.1:8200/x", true))),
        ("http://localhost:8200/", Some(("http://localhost:8200/x", true))),
        ("http://[::1]:8200", Some(("http://[::1]:8200/x", true))),
        ("https://apm.example.com/prefix/", Some(("https://apm.example.com/prefix/x", false))),
        (" https://apm.example.com\n", Some(("https://apm.example.com/x", false))),
        ("apm.example.com:8200", None),
        ("localhost:8200", None),
        ("ftp://host", None),
        ("http://", None),
        ("http://host:99999", None),
        ("http://host/?a=b", None),
        ("http://host/#part", None),
        ("http://[]", None),
        ("http://host:port", None),
        ("http://ho st", None),
        ("http://:8200", None),
        ("https://m\u{fc}ller.example", None),
        ("HTTP://LocalHost:/a b/", Some(("http://localhost/a%20b/x", true))),
        ("http://host/a%20b", Some(("http://host/a%20b/x", false))),
        ("http://127.9.9.9", Some(("http://127.9.9.9/x", true))),
    ];
    for (text, expected) in cases {
        let url = ServerUrl::parse(text);
        let seen = url.as_ref().map(|url| (url.join("/x"), url.is_loopback()));
        assert_eq!(seen, expected.map(|(url, local)| (url.to_owned(), local)), "{text}");
    }
    let url = ServerUrl::parse("https://me:hunter2@host:1/p").unwrap();
    assert_eq!(url.to_string(), "https://***@host:1/p");
    assert_eq!(url.join(""), "https://host:1/p");
    assert_eq!(url.basic_auth().unwrap(), "Basic bWU6aHVudGVyMg==");
    assert!(url.basic_auth().unwrap().is_sensitive());
    let encoded = ServerUrl::parse("https://me%40home:p%3Aw%25@host").unwrap();
    assert_eq!(encoded.basic_auth().unwrap(), "Basic bWVAaG9tZTpwOncl");
}

#[test]
fn credentials_must_fit_into_a_header() {
    assert_eq!(Credential::read("  \n"), Parsed::Unset);
    assert_eq!(Credential::read("a\nb"), Parsed::Invalid);
    assert_eq!(Credential::read("käse"), Parsed::Invalid);
    let secret = Credential::read("abc\n").valid().flatten().unwrap();
    assert_eq!((secret.reveal(), format!("{secret}{secret:?}").as_str()), ("abc", "******"));
}

#[test]
fn choices_are_read_in_any_case() {
    assert_eq!(CaptureBody::read("Errors "), Parsed::Valid(CaptureBody::Errors));
    assert_eq!(LogLevel::read("WARN"), Parsed::Valid(LogLevel::Warning));
    assert_eq!(LogLevel::read("verbose"), Parsed::Invalid);
}

#[test]
fn service_names_keep_what_is_allowed() {
    assert_eq!(ServiceName::read(" my_shop-2 b "), Parsed::Valid("my_shop-2 b".to_owned()));
    assert_eq!(ServiceName::read("shop.eu"), Parsed::Corrected("shop_eu".to_owned()));
    assert_eq!(ServiceName::read("größe"), Parsed::Corrected("gr__e".to_owned()));
    assert_eq!(ServiceName::read("_-_"), Parsed::Invalid);
    assert_eq!(ServiceName::read("—"), Parsed::Invalid);
    assert_eq!(ServiceName::read(&"x".repeat(2000)), Parsed::Corrected("x".repeat(1024)));
}

// spec: sanitization.md
#[test]
fn wildcards_match_by_their_rules() {
    let cases = [
        ("*foo*oo*", "foooo", true),
        ("*foo*oo*", "fooo", false),
        ("foo*foo", "foo", false),
        ("foo*foo", "foofoo", true),
        ("a*b*c", "abc", true),
        ("a*b*c", "acb", false),
        ("*", "", true),
        ("**", "x", true),
        ("", "", true),
        ("", "x", false),
        ("/v?/x", "/v1/x", false),
        ("/health*", "/HEALTHZ", true),
        ("(?-i)/health*", "/HEALTHZ", false),
        ("(?i)Foo", "fOO", true),
        ("*ÄRGER*", "kein ärger hier", true),
        ("(?-i)*Ä", "ä", false),
        ("k*", "\u{212A}elvin", true),
        ("*key", "api_key", true),
        ("*key", "keys", false),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(Wildcard::new(pattern).matches(text), expected, "{pattern} against {text}");
    }
}

// spec: sanitization.md
#[test]
fn wildcard_matches_the_whole_text() {
    let cases: [(&str, &[&str], &[&str]); 13] = [
        ("cart", &["cart", "CART", "cArt"], &["", "car", "carts", "acart", "my cart", "ca*t"]),
        ("cart*", &["cart", "carts", "CART/7", "cart*"], &["", "car", "my cart", "xcart"]),
        ("*cart", &["cart", "my cart", "CARTCART"], &["", "art", "carts", "cart "]),
        ("*cart*", &["cart", "my carts", "cartcart"], &["", "car", "art", "ca rt"]),
        ("a*z", &["az", "a to z", "AZ", "azz"], &["a", "z", "za", "abc", "xaz"]),
        ("aba*aba", &["abaaba", "aba aba"], &["aba", "ababa", "abaab"]),
        ("*ab*ab*", &["abab", "ab/ab", "xabyabz"], &["ab", "aba", "xabx"]),
        ("*ab*cd*", &["abcd", "xabxcdx", "cdabcd"], &["ab", "cd", "cdab", "acbd"]),
        ("a*b*c*d", &["abcd", "a-b-c-d", "abbccd"], &["acbd", "abcde", "xabcd", "abd"]),
        ("***", &["", "x", "***"], &[]),
        ("a**b", &["ab", "a b"], &["a", "b"]),
        ("a.c?[d]", &["a.c?[d]", "A.C?[D]"], &["abc?[d]", "a.cx[d]", "a.c?d"]),
        ("*longer than the text*", &["longer than the text"], &["longer", "text", ""]),
    ];
    for (pattern, matching, other) in cases {
        for case_sensitive in [false, true] {
            let pattern = if case_sensitive { format!("(?-i){pattern}") } else { pattern.to_owned() };
            let wildcard = Wildcard::new(&pattern);
            assert_eq!(wildcard.as_str(), pattern);
            for text in matching {
                let has_its_case = *text == text.to_lowercase();
                assert_eq!(wildcard.matches(text), !case_sensitive || has_its_case, "{pattern} against {text}");
            }
            for text in other {
                assert!(!wildcard.matches(text), "{pattern} against {text}");
            }
        }
    }
}

// spec: sanitization.md
#[test]
fn wildcard_ignores_the_case_of_letters_beyond_ascii() {
    for (pattern, text) in [("größe*", "GRÖßE 7"), ("*Ω", "αω"), ("ΌΣ*", "όσα"), ("É", "é")] {
        assert!(Wildcard::new(pattern).matches(text), "{pattern} against {text}");
        assert!(!Wildcard::new(&format!("(?-i){pattern}")).matches(text), "{pattern} against {text}");
    }
    assert!(!Wildcard::new("grosse").matches("größe") && !Wildcard::new("e").matches("é"));
    assert!(Wildcard::new("(?-i)Größe*").matches("Größe 7"));
    assert!(!Wildcard::new("(?-I)a").matches("a"), "the mark itself is in lower case");
}

// spec: sanitization.md
#[test]
fn list_of_wildcards_is_split_at_commas() {
    let read = |text| Patterns::read(text).valid().unwrap();
    let sources = |text| read(text).iter().map(|wildcard| wildcard.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(sources(" a*, (?-i)*B ,c"), ["a*", "(?-i)*B", "c"]);
    assert_eq!(Patterns::show(&read("a*,b")), "a*, b");
    let code = vec![" a* ".to_owned(), "b,c".to_owned()];
    let checked = Patterns::check(&code).valid().unwrap();
    assert_eq!(checked.iter().map(Wildcard::as_str).collect::<Vec<_>>(), ["a*", "b,c"]);
    assert!(checked[0].matches("ab") && checked[1].matches("b,c"));
}

#[test]
#[ignore = "needs APM_SPEC_DIR"]
fn wildcards_match_the_published_vectors() {
    let groups = crate::spec_folder::json("json-specs/wildcard_matcher_tests.json");
    let mut tried = 0;
    for (group, patterns) in groups.as_object().unwrap() {
        for (pattern, texts) in patterns.as_object().unwrap() {
            for (text, expected) in texts.as_object().unwrap() {
                let matched = Wildcard::new(pattern).matches(text);
                assert_eq!(Some(matched), expected.as_bool(), "{group}: {pattern} against {text}");
                tried += 1;
            }
        }
    }
    assert!(tried > 30, "only {tried} vectors");
}
