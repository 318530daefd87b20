//! The service of images: names and the manifests they stand for.
//! Never creates or deletes a name.

use super::{
    connection::{CallError, Connection, SHORT_CALL, if_there},
    messages::{
        BlobReference, FilterRequest, GetImageRequest, GetImageResponse, ImageRecord,
        ListImagesResponse,
    },
};
use imgdelta_image::store::{Descriptor, descriptor::MOST_BYTES};

/// An image that the runtime knows by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeImage {
    /// Its name, such as `docker.io/library/nginx:1`.
    pub name: String,
    /// Its manifest or index.
    pub target: Descriptor,
}

/// Returns all images; those without a valid digest and size are left out.
pub(super) async fn list(connection: Connection) -> Result<Vec<NodeImage>, CallError> {
    let method = "/containerd.services.images.v1.Images/List";
    let request = FilterRequest { filters: Vec::new() };
    let answer: ListImagesResponse = connection.unary(method, request, SHORT_CALL).await?;
    Ok(answer.images.into_iter().filter_map(node_image).collect())
}

/// Returns the image of a name; `None` if there is none.
pub(super) async fn find(
    connection: Connection,
    name: String,
) -> Result<Option<NodeImage>, CallError> {
    let method = "/containerd.services.images.v1.Images/Get";
    let answer = connection.unary(method, GetImageRequest { name }, SHORT_CALL).await;
    let answer: Option<GetImageResponse> = if_there(answer)?;
    Ok(answer.and_then(|answer| node_image(answer.image?)))
}

fn node_image(record: ImageRecord) -> Option<NodeImage> {
    Some(NodeImage { name: record.name, target: descriptor(&record.target?)? })
}

fn descriptor(blob: &BlobReference) -> Option<Descriptor> {
    let size_bytes = u64::try_from(blob.size).ok().filter(|bytes| *bytes <= MOST_BYTES)?;
    let media_type = Some(blob.media_type.as_str()).filter(|text| !text.is_empty());
    Some(Descriptor::new(media_type, blob.digest.parse().ok()?, size_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_digest_or_with_an_impossible_size_are_no_images() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        let record = |digest: &str, size| {
            let target = BlobReference { media_type: "x".into(), digest: digest.into(), size };
            node_image(ImageRecord { name: "a".into(), target: Some(target) })
        };
        let image = record(&digest, 7).unwrap();
        assert_eq!(image.target, Descriptor::new(Some("x"), digest.parse().unwrap(), 7));
        assert_eq!(record(&digest, -1), None);
        assert_eq!(record(&digest, i64::MAX), None);
        assert_eq!(record("sha256:00", 7), None);
        assert_eq!(node_image(ImageRecord { name: "a".into(), target: None }), None);
    }
}
