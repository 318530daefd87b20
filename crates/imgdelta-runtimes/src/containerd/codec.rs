//! Messages as the bytes that gRPC carries.
//! Never bounds their size, which the connection does.

use prost::Message;
use std::marker::PhantomData;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Encodes requests `Q` and decodes answers `A`.
#[derive(Debug)]
pub(super) struct MessageCodec<Q, A>(PhantomData<(Q, A)>);

impl<Q, A> MessageCodec<Q, A> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Q, A> Codec for MessageCodec<Q, A>
where
    Q: Message + Send + 'static,
    A: Message + Default + Send + 'static,
{
    type Encode = Q;
    type Decode = A;
    type Encoder = MessageEncoder<Q>;
    type Decoder = MessageDecoder<A>;

    fn encoder(&mut self) -> Self::Encoder {
        MessageEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(PhantomData)
    }
}

#[derive(Debug)]
pub(super) struct MessageEncoder<Q>(PhantomData<Q>);

impl<Q: Message> Encoder for MessageEncoder<Q> {
    type Item = Q;
    type Error = Status;

    fn encode(&mut self, message: Q, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

#[derive(Debug)]
pub(super) struct MessageDecoder<A>(PhantomData<A>);

impl<A: Message + Default> Decoder for MessageDecoder<A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        let message = A::decode(buffer);
        message.map(Some).map_err(|error| Status::internal(format!("bad answer: {error}")))
    }
}
