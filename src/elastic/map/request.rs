//! `context.request` and `context.response` of an HTTP transaction.

use std::borrow::Cow;

use http::Version;

use super::{body::body, origin::Origin, url::url};
use crate::{
    elastic::model::{Entries, HeaderValue, Headers, Request, Response, Socket},
    record::{self, HttpRequest, HttpResponse},
    sanitize::{REDACTED, Sanitizer},
    semconv::{free_keyword, keyword, map_text},
};

/// Cookies of one request that are sent.
const MAX_COOKIES: usize = 128;

pub(super) fn request<'a>(request: &'a HttpRequest, sanitizer: &Sanitizer) -> Request<'a> {
    let mut origin = Origin::default();
    let mut cookies = Entries::default();
    for (name, value) in request.origin.iter().flat_map(|headers| headers.iter()) {
        origin.header(name, &value);
    }
    let headers = request.headers.as_ref().map_or_else(Headers::default, |captured| {
        headers(captured, sanitizer, |name, content, value| match content {
            Content::Origin => origin.header(name, value),
            Content::Cookies => {
                let named = sanitizer.cookies(value).into_iter().filter(|(name, _)| !name.is_empty());
                for (name, value) in named.take(MAX_COOKIES.saturating_sub(cookies.0.len())) {
                    cookies.set(Cow::Owned(name.into_owned()), keyword(value.into_owned()));
                }
            }
            _ => {}
        })
    });
    Request {
        method: keyword(request.method.as_str()),
        http_version: version(request.version),
        url: Some(url(request, origin, sanitizer)),
        headers,
        cookies,
        body: request.body.as_ref().map(|captured| body(captured, sanitizer)),
        socket: request.remote.map(|peer| Socket { remote_address: Some(peer.ip().to_canonical()) }),
    }
}

pub(super) fn response<'a>(response: &'a HttpResponse, sanitizer: &Sanitizer) -> Response<'a> {
    let headers = response.headers.as_ref();
    Response {
        status_code: Some(response.status.into()),
        headers: headers.map_or_else(Headers::default, |captured| self::headers(captured, sanitizer, |_, _, _| {})),
        finished: Some(response.finished),
        headers_sent: Some(true),
        ..Response::default()
    }
}

/// Names repeat one behind the other.
fn headers<'a>(
    captured: &'a record::Headers,
    sanitizer: &Sanitizer,
    mut look: impl FnMut(&str, Content, &str),
) -> Headers<'a> {
    let mut entries: Vec<(Cow<'a, str>, HeaderValue<'a>)> = Vec::with_capacity(captured.iter().size_hint().0);
    for (name, value) in captured.iter() {
        let content = Content::of(name);
        look(name, content, &value);
        let value = header_value(name, content, value, sanitizer);
        match entries.last_mut().filter(|(last, _)| last == name) {
            Some((_, present)) => present.push(value),
            None => entries.push((Cow::Borrowed(name), HeaderValue::One(value))),
        }
    }
    Entries(entries)
}

/// Returns the value of a header as it is sent. `name` is in lower case.
pub(super) fn header_value<'a>(
    name: &str,
    content: Content,
    value: Cow<'a, str>,
    sanitizer: &Sanitizer,
) -> Cow<'a, str> {
    let is_secret = match content {
        // cookies are sent separately
        Content::Cookies => true,
        // a host with `@` contains a user and a password
        Content::Host | Content::Origin if value.contains('@') => true,
        _ => sanitizer.is_secret(name),
    };
    match content {
        _ if is_secret => Cow::Borrowed(REDACTED),
        Content::Baggage => keyword(sanitizer.baggage(&value).into_owned()),
        Content::SetCookie => keyword(sanitizer.set_cookie(&value).into_owned()),
        Content::Host | Content::NoText => keyword(map_text(value, |text| sanitizer.urls_in(text))),
        Content::Cookies | Content::Origin | Content::Text => free_keyword(value, sanitizer),
    }
}

/// The content of a header value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    Cookies,
    SetCookie,
    Baggage,
    Host,
    /// The scheme, the host or the port that the client used, as reported by a proxy.
    Origin,
    /// A header that browsers and frameworks send with every request, and whose grammar does not allow names and values
    /// of the application. It is not searched as free text.
    NoText,
    Text,
}

impl Content {
    /// Returns the kind of the header. `name` is in lower case.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "cookie" => Self::Cookies,
            "set-cookie" => Self::SetCookie,
            "baggage" => Self::Baggage,
            "host" => Self::Host,
            "accept" | "accept-encoding" | "accept-language" | "cache-control" | "connection" | "content-length"
            | "content-type" | "date" | "etag" | "if-modified-since" | "if-none-match" | "last-modified"
            | "sec-ch-ua" | "traceparent" | "transfer-encoding" | "user-agent" | "vary" => Self::NoText,
            _ if record::names_origin(name) => Self::Origin,
            _ => Self::Text,
        }
    }
}

fn version(version: Version) -> Option<&'static str> {
    Some(match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2.0",
        Version::HTTP_3 => "3.0",
        _ => return None,
    })
}
