//! Lists of a registry in pages: tags, repositories, referrers.
//!
//! The next page must be on the registry itself. Understands no entry.

use crate::{
    client::{Client, Request, RequestTarget},
    error::{RequestError, Result},
};
use hyper::header;
use imgdelta_core::{Error, limits::Ceiling};
use imgdelta_http::Response;
use serde::de::DeserializeOwned;

impl Client {
    /// Reads all pages of a list of names; `names` returns those of one page.
    pub(crate) async fn names<List: DeserializeOwned>(
        &self,
        mut request: Request<'_>,
        not_a_list: &str,
        names: fn(List) -> Option<Vec<String>>,
    ) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let response = self.send(&request).await?;
            let next = self.next_page(&request, &response).await?;
            let limit = self.options().manifest_bytes;
            let body = self.body(&request, response, limit).await?;
            let list = serde_json::from_slice(&body).map_err(|error| {
                let place = request.object_place();
                request.invalid(Error::bad_input_because(place, not_a_list, error))
            })?;
            all.extend(names(list).unwrap_or_default());
            Ceiling::fixed(MAX_NAMES)
                .admit(all.len() as u64, "count of names", request.object_place())
                .map_err(|error| request.invalid(error))?;
            let Some(next) = next else { return Ok(all) };
            request.target = next;
        }
        Err(too_many_pages(&request, MAX_PAGES))
    }

    /// Returns the address of a list's next page, which must be on the same server.
    pub(crate) async fn next_page(
        &self,
        request: &Request<'_>,
        response: &Response,
    ) -> Result<Option<RequestTarget>> {
        let base = self.base(request).await?;
        let link = response.headers().get_all(header::LINK).iter().find_map(|value| {
            let value = value.to_str().ok()?;
            let (address, rest) = value.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = rest.replace(['"', ' '], "").split(';').any(|part| part == "rel=next");
            is_next.then(|| address.to_owned())
        });
        let Some(address) = link else { return Ok(None) };
        match base.join(&address) {
            Ok(url) if url.is_same_server(&base) => Ok(Some(RequestTarget::Url(url))),
            _ => {
                let what = "the address of the next page is not on this registry";
                Err(request.invalid(Error::bad_input(request.object_place(), what)))
            }
        }
    }
}

pub(crate) fn too_many_pages(request: &Request<'_>, limit: u64) -> RequestError {
    let (place, what) = (request.object_place(), "count of pages");
    request.invalid(Error::OverLimit { place, what, name: None, found: limit + 1, limit })
}

/// A page has a thousand tags.
const MAX_PAGES: u64 = 1000;
const MAX_NAMES: u64 = 1_000_000;
