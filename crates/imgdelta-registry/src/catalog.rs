//! The list of a registry's repositories.
//!
//! Never needed to pull or push. Many registries do not have it, or only for some users.

use crate::{
    client::{Client, Request, RequestTarget},
    error::Result,
    token::Actions,
};
use hyper::Method;
use imgdelta_image::reference::RepositoryName;

/// The repositories that a registry lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepositoryList {
    /// The names, in the registry's order.
    pub names: Vec<RepositoryName>,
    /// Entries that are not names of repositories, and were ignored.
    pub ignored_entries: u64,
}

impl Client {
    /// Lists the repositories of a registry, all pages.
    pub async fn repositories(&self, host: &str) -> Result<RepositoryList> {
        #[derive(serde::Deserialize)]
        struct CatalogPage {
            #[serde(default)]
            repositories: Option<Vec<String>>,
        }
        let target = RequestTarget::Path("_catalog?n=1000".into());
        let object = "list of repositories".to_owned();
        let request = Request::new(host, "", Method::GET, target, Actions::Catalog, object);
        let names = |page: CatalogPage| page.repositories;
        let entries = self.names(request, "not a list of repositories", names).await?;
        let mut list = RepositoryList::default();
        for entry in entries {
            match RepositoryName::parse(host, &entry) {
                Ok(name) => list.names.push(name),
                Err(_) => list.ignored_entries += 1,
            }
        }
        Ok(list)
    }
}
