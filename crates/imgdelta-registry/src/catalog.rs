//! Which repositories a registry has.
//!
//! Many registries do not tell, or only some people; who knows names need not ask.

use crate::{
    Client, Repository,
    failure::{Result, Why},
    token::Actions,
};
use imgdelta::{Error, Limits};
use reqwest::Method;

impl Client {
    /// Lists the repositories of a registry, all pages.
    pub async fn repositories(&self, host: &str) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct List {
            #[serde(default)]
            repositories: Option<Vec<String>>,
        }
        let registry = Repository::new(self, host, "");
        let mut ask = registry.ask(Method::GET, "", "list of repositories");
        ask.target = crate::client::Target::Path("_catalog?n=1000".into());
        ask.actions = Actions::Catalog;
        let mut names = Vec::new();
        for _ in 0..MOST_PAGES {
            let response = self.send(&ask).await?;
            let next = registry.next_page(&ask, &response).await?;
            let body = self.body(&ask, response, self.options().manifest_bytes).await?;
            let list: List = serde_json::from_slice(&body).map_err(|error| {
                ask.wrong(Error::bad_input_because(ask.what(), "no list of repositories", error))
            })?;
            names.extend(list.repositories.unwrap_or_default());
            Limits::admit(MOST_NAMES, names.len() as u64, "count of repositories", ask.what())
                .map_err(|error| ask.wrong(error))?;
            let Some(next) = next else { return Ok(names) };
            ask.target = next;
        }
        let (place, what) = (ask.what(), "count of pages");
        Err(ask.failure(Why::Wrong(Error::OverLimit {
            place,
            what,
            found: MOST_PAGES + 1,
            limit: MOST_PAGES,
        })))
    }
}

const MOST_PAGES: u64 = 1000;
const MOST_NAMES: u64 = 1_000_000;
