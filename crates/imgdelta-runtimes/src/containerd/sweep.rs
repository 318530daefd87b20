//! Removing what was staged: the leases of this program.
//! Never touches a lease of others.

use super::{
    Containerd,
    connection::SHORT_CALL,
    leases,
    messages::{FilterRequest, ListLeasesResponse},
};
use imgdelta_core::Result;

impl Containerd {
    /// Removes all leases of this program, and waits until containerd has collected what only they
    /// kept; returns their number. Layers that an image uses stay.
    pub fn remove_staged(&self) -> Result<usize> {
        let ids: Vec<String> = self.connection.call(|connection| async move {
            let method = "/containerd.services.leases.v1.Leases/List";
            let request = FilterRequest { filters: Vec::new() };
            let answer: ListLeasesResponse = connection.unary(method, request, SHORT_CALL).await?;
            let ids = answer.leases.into_iter().map(|lease| lease.id);
            Ok(ids.filter(|id| id.starts_with(leases::PREFIX)).collect())
        })?;
        for id in &ids {
            let id = id.clone();
            self.connection.call(|connection| leases::delete(connection, id))?;
        }
        Ok(ids.len())
    }
}
