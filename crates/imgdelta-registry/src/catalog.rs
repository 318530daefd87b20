//! Which repositories a registry has.
//!
//! Many registries do not tell, or only some people; who knows names need not ask.

use crate::{Client, Repository, failure::Result, token::Actions};
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
        registry.names(ask, "no list of repositories", |list: List| list.repositories).await
    }
}
