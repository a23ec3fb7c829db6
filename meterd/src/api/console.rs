//! The console's page and files, and the runbooks: `/`, `/console/…`, `/runbooks/…`.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::answer::typed;
use super::extract::Path;
use crate::console::{self, Asset, POLICY, runbook};
use crate::server::body::header_text;
use crate::server::problem::Problem;

pub(super) async fn page(headers: HeaderMap) -> Result<Response, Problem> {
    file("", &headers)
}

pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    file(&name, &headers)
}

/// A runbook as a page: what an alert's `runbook_url` leads to.
pub(super) async fn runbooks(Path(name): Path<String>) -> Result<Response, Problem> {
    let html = runbook::page(&name)
        .ok_or_else(|| Problem::not_found(format!("no runbook {name:?}; docs/runbooks has them all")))?;
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", html);
    harden(response.headers_mut());
    Ok(response)
}

fn file(name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let asset = console::asset(name).ok_or_else(|| Problem::not_found(format!("the console has no file {name:?}")))?;
    let known = header_text(headers, &header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&asset.etag));
    let mut response = if known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        content(asset, headers)
    };
    let headers = response.headers_mut();
    harden(headers);
    // A file changes only with the daemon: ask each time, and get nothing when it is the same.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(etag) = HeaderValue::from_str(&asset.etag) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

fn content(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let gzip = header_text(headers, &header::ACCEPT_ENCODING).is_some_and(|accept| accept.contains("gzip"));
    if gzip && !asset.gzip.is_empty() {
        let mut response = typed(StatusCode::OK, asset.content_type, asset.gzip.as_slice());
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return response;
    }
    typed(StatusCode::OK, asset.content_type, asset.plain)
}

fn harden(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}
