//! The service of leases: what is under a lease is not collected as garbage.
//! Never decides what belongs under one.

use super::{
    connection::{CallError, Connection, LONG_CALL, SHORT_CALL},
    messages::{
        CreateLeaseRequest, DeleteLeaseRequest, Empty, LeaseResource, LeaseResourceRequest,
    },
};
use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    process,
    time::{Duration, SystemTime},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Start of the ids of this program's leases.
pub(super) const PREFIX: &str = "imgdelta-";

/// Creates a lease that ends by itself, and returns its id.
///
/// `purpose` becomes part of the id, for people who list leases.
pub(super) async fn create(
    connection: Connection,
    purpose: &str,
    duration: Duration,
) -> Result<String, CallError> {
    let id = format!("{PREFIX}{purpose}-{}", unique());
    let labels = HashMap::from([(EXPIRY_LABEL.to_owned(), time_after(duration))]);
    let request = CreateLeaseRequest { id: id.clone(), labels };
    let method = "/containerd.services.leases.v1.Leases/Create";
    // The answer repeats the lease.
    let Empty {} = connection.unary(method, request, SHORT_CALL).await?;
    Ok(id)
}

/// Deletes a lease, and waits until garbage was collected.
pub(super) async fn delete(connection: Connection, id: String) -> Result<(), CallError> {
    send_delete(&connection, DeleteLeaseRequest { id, sync: true }).await
}

/// Deletes a lease; containerd collects garbage later.
pub(super) async fn end(connection: &Connection, id: String) -> Result<(), CallError> {
    send_delete(connection, DeleteLeaseRequest { id, sync: false }).await
}

async fn send_delete(
    connection: &Connection,
    request: DeleteLeaseRequest,
) -> Result<(), CallError> {
    let method = "/containerd.services.leases.v1.Leases/Delete";
    let Empty {} = connection.unary(method, request, LONG_CALL).await?;
    Ok(())
}

/// Collects garbage, and waits for it. The service has no call for that except deleting a lease.
pub(super) async fn collect(connection: Connection) -> Result<(), CallError> {
    let id = create(connection.clone(), "collection", COLLECTION).await?;
    delete(connection, id).await
}

/// Puts a resource under a lease, even one that is not there.
pub(super) async fn add(
    connection: &Connection,
    id: &str,
    resource: LeaseResource,
) -> Result<(), CallError> {
    let method = "/containerd.services.leases.v1.Leases/AddResource";
    let request = LeaseResourceRequest { id: id.to_owned(), resource: Some(resource) };
    let Empty {} = connection.unary(method, request, SHORT_CALL).await?;
    Ok(())
}

/// Releases a resource from a lease; the resource stays if something else refers to it.
pub(super) async fn release(
    connection: &Connection,
    id: &str,
    resource: LeaseResource,
) -> Result<(), CallError> {
    let method = "/containerd.services.leases.v1.Leases/DeleteResource";
    let request = LeaseResourceRequest { id: id.to_owned(), resource: Some(resource) };
    let Empty {} = connection.unary(method, request, SHORT_CALL).await?;
    Ok(())
}

/// Returns a text that no other call here and no other process on this machine returns.
pub(super) fn unique() -> String {
    // Each state has random keys.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(process::id());
    format!("{:016x}", hasher.finish())
}

/// Returns the time after a duration, as labels spell it.
fn time_after(duration: Duration) -> String {
    let now = OffsetDateTime::from(SystemTime::now());
    let end = now.checked_add(time::Duration::try_from(duration).unwrap_or(time::Duration::MAX));
    // A duration of thousands of years is as good as ten.
    let end = end.filter(|end| end.year() < 9999).unwrap_or(now + time::Duration::days(3650));
    let end = end.replace_nanosecond(0).expect("zero is in range");
    end.format(&Rfc3339).expect("years below 9999 can be formatted")
}

const EXPIRY_LABEL: &str = "containerd.io/gc.expire";
/// The lease that starts a collection is deleted at once; its expiry covers a kill in between.
const COLLECTION: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ends_of_leases_are_times_and_never_overflow() {
        for duration in [Duration::ZERO, Duration::from_secs(86400), Duration::MAX] {
            let text = time_after(duration);
            let end = OffsetDateTime::parse(&text, &Rfc3339).unwrap();
            assert!(end.unix_timestamp() > 0 && end.nanosecond() == 0, "{text}");
        }
    }

    #[test]
    fn unique_texts_differ() {
        let texts: HashSet<String> = (0..1000).map(|_| unique()).collect();
        assert_eq!(texts.len(), 1000);
    }
}
