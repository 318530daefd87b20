//! The kubelet's interface to containerd: pulling an image.
//! Never runs a pod.

use hyper_util::rt::TokioIo;
use std::{marker::PhantomData, path::Path};
use tokio::{net::UnixStream, runtime::Builder};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Endpoint,
};

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AuthConfig {
    #[prost(string, tag = "1")]
    username: String,
    #[prost(string, tag = "2")]
    password: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PullImageRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
    #[prost(message, optional, tag = "2")]
    auth: Option<AuthConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PullImageResponse {
    #[prost(string, tag = "1")]
    image_ref: String,
}

/// Pulls an image and unpacks it, with a user and password if they are given. A refusal of the
/// runtime is for the caller.
pub(crate) fn pull(socket: &Path, name: &str, login: Option<(&str, &str)>) -> Result<(), String> {
    let (socket, name) = (socket.to_owned(), name.to_owned());
    let auth = login.map(|(user, password)| AuthConfig {
        username: user.to_owned(),
        password: password.to_owned(),
    });
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost");
        let channel = channel.connect_with_connector(connector).await;
        let mut grpc = Grpc::new(channel.map_err(|error| error.to_string())?);
        grpc.ready().await.map_err(|error| error.to_string())?;
        let request = PullImageRequest { image: Some(ImageSpec { image: name }), auth };
        let path = "/runtime.v1.ImageService/PullImage".parse().unwrap();
        let answer = grpc.unary(Request::new(request), path, PullCodec(PhantomData)).await;
        let answer = answer.map_err(|status| status.message().to_owned())?;
        assert!(!answer.into_inner().image_ref.is_empty());
        Ok(())
    })
}

struct PullCodec(PhantomData<()>);

impl Codec for PullCodec {
    type Encode = PullImageRequest;
    type Decode = PullImageResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(PhantomData)
    }

    fn decoder(&mut self) -> Self {
        Self(PhantomData)
    }
}

impl Encoder for PullCodec {
    type Item = PullImageRequest;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost::Message::encode(&item, buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for PullCodec {
    type Item = PullImageResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let message = prost::Message::decode(buffer);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
