//! The `Retry-After` header (RFC 9110, 10.2.3).

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap,
    header::{DATE, HeaderName, RETRY_AFTER},
};

use super::Answer;

impl Answer {
    /// Returns the wait from the `Retry-After` header of a 429 or 503: a number of seconds, or the time until a date. A date
    /// is compared with the server's `Date` header if there is one. Returns None without a valid header.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        if !matches!(self.status, 429 | 503) {
            return None;
        }
        let value = text(&self.headers, &RETRY_AFTER)?;
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
        }
        let then = httpdate::parse_http_date(value).ok()?;
        let now = text(&self.headers, &DATE).and_then(|date| httpdate::parse_http_date(date).ok());
        Some(then.duration_since(now.unwrap_or_else(SystemTime::now)).unwrap_or_default())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn wait(status: u16, headers: &[(HeaderName, &str)]) -> Option<Duration> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::try_from(*value).unwrap()));
        Answer { status, headers: headers.collect(), ..Answer::default() }.retry_after()
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        const DATED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for status in [429, 503] {
            assert_eq!(wait(status, &[(RETRY_AFTER, "7")]), seconds(7));
            assert_eq!(wait(status, &[(RETRY_AFTER, " 0 ")]), seconds(0));
            assert_eq!(wait(status, &[(RETRY_AFTER, "99999999999999999999999")]), seconds(u64::MAX));
            for date in ["Sun, 06 Nov 1994 08:50:07 GMT", "Sunday, 06-Nov-94 08:50:07 GMT", "Sun Nov  6 08:50:07 1994"]
            {
                assert_eq!(wait(status, &[(RETRY_AFTER, date), (DATE, DATED)]), seconds(30), "{date}");
            }
            assert_eq!(wait(status, &[(RETRY_AFTER, DATED)]), seconds(0), "a date that has passed");
            let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
            let by_our_clock = wait(status, &[(RETRY_AFTER, &soon), (DATE, "yesterday")]).unwrap();
            assert!((90..=100).contains(&by_our_clock.as_secs()), "{by_our_clock:?}");
            for unreadable in ["", "-1", "1.5", "soon", "7 s"] {
                assert_eq!(wait(status, &[(RETRY_AFTER, unreadable)]), None, "{unreadable}");
            }
        }
        assert_eq!(wait(500, &[(RETRY_AFTER, "7")]), None);
        assert_eq!(wait(503, &[]), None);
    }
}
