//! Answers of the mirror that are not the registry's.

use crate::body::AnswerBody;
use hyper::{Response, StatusCode, header};
use serde_json::json;

/// Makes an answer in the form of the distribution specification's errors. Runtimes then ask the
/// registry itself.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Response<AnswerBody> {
    let text = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    with_type(status, "application/json", text)
}

/// Makes an answer of plain text.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<AnswerBody> {
    with_type(status, "text/plain; charset=utf-8", text.to_owned())
}

/// Makes an answer of a text in a media type.
pub(crate) fn with_type(
    status: StatusCode,
    media_type: &'static str,
    text: String,
) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::bytes(text));
    *response.status_mut() = status;
    let media_type = header::HeaderValue::from_static(media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}
