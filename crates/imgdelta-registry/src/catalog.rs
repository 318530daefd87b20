//! The list of a registry's repositories.
//!
//! Never needed to pull or push. Many registries do not have it, or only for some users.

use crate::{
    client::{Client, RequestTarget},
    error::Result,
    repository::Repository,
    token::Actions,
};
use reqwest::Method;

impl Client {
    /// Lists the repositories of a registry, all pages.
    pub async fn repositories(&self, host: &str) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct RepositoryList {
            #[serde(default)]
            repositories: Option<Vec<String>>,
        }
        let registry = Repository::new(self, host, "");
        let mut request = registry.request(Method::GET, "", "list of repositories");
        request.target = RequestTarget::Path("_catalog?n=1000".into());
        request.actions = Actions::Catalog;
        let names = |list: RepositoryList| list.repositories;
        registry.names(request, "not a list of repositories", names).await
    }
}
