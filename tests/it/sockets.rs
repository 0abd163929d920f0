//! Helpers for tests over real sockets.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body::Body;
use http_body_util::{StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::sync::mpsc;

pub(crate) type Boxed = BoxBody<Bytes, Infallible>;

pub(crate) fn hyper_client<B>() -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

/// Returns a sender and a body of the sent chunks, which ends when the sender is dropped.
pub(crate) fn upload() -> (mpsc::Sender<Bytes>, Boxed) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let pieces =
        stream::poll_fn(move |cx| receiver.poll_recv(cx)).map(|piece| Ok(Frame::data(piece)));
    (sender, BoxBody::new(StreamBody::new(pieces)))
}
