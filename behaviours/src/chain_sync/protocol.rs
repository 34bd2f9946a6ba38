//! One question and one answer on a stream, each a `u32` length and as many bytes of protobuf.
//!
//! A length above the message's bound ends the reading before anything is allocated. Every phase has a deadline of its
//! own, counted from its begin, so that a peer that sends a byte now and then gains nothing.
//!
//! A request that can be read to its end but not understood is not a broken stream: it comes up as an error, so that
//! the asker gets a typed answer and not only a reset.

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use libp2p::core::upgrade::NegotiationError;
use libp2p::request_response::{self, OutboundFailure};
use sotto_proto::request::{Message, MessageError};

use crate::network::RequestError;

/// A request as it came: understood or not.
pub type Received<Q> = Result<Q, MessageError>;

/// Reads and writes requests `Q` and answers `A`.
pub struct Codec<Q, A> {
    deadline: Duration,
    messages: PhantomData<fn() -> (Q, A)>,
}

impl<Q, A> Codec<Q, A> {
    /// `deadline` is for each phase: reading a request, writing one, reading an answer, writing one.
    #[must_use]
    pub const fn new(deadline: Duration) -> Self {
        Self { deadline, messages: PhantomData }
    }
}

impl<Q, A> Clone for Codec<Q, A> {
    fn clone(&self) -> Self {
        Self::new(self.deadline)
    }
}

impl<Q, A> request_response::Codec for Codec<Q, A>
where
    Q: Message + Send + 'static,
    A: Message + Send + 'static,
{
    type Protocol = StreamProtocol;
    type Request = Received<Q>;
    type Response = A;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Received<Q>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let read = async {
            match read_frame(io, Q::MAX_BYTES).await? {
                Ok(bytes) => Ok(Q::decode(&bytes)),
                Err(too_large) => Ok(Err(too_large)),
            }
        };
        within(self.deadline, read).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<A>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = within(self.deadline, read_frame(io, A::MAX_BYTES)).await?.map_err(invalid)?;
        A::decode(&bytes).map_err(invalid)
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Received<Q>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let bytes = request.and_then(Q::encode).map_err(invalid)?;
        within(self.deadline, write_frame(io, &bytes)).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: A) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let bytes = response.encode().map_err(invalid)?;
        within(self.deadline, write_frame(io, &bytes)).await
    }
}

fn invalid(error: MessageError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The outer error is the stream's, the inner one the message's.
async fn read_frame<T>(io: &mut T, limit: usize) -> io::Result<Result<Vec<u8>, MessageError>>
where
    T: AsyncRead + Unpin,
{
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > limit {
        return Ok(Err(MessageError::TooLarge { limit, actual: length }));
    }
    let mut bytes = vec![0; length];
    io.read_exact(&mut bytes).await?;
    Ok(Ok(bytes))
}

async fn write_frame<T>(io: &mut T, bytes: &[u8]) -> io::Result<()>
where
    T: AsyncWrite + Unpin,
{
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

async fn within<T>(deadline: Duration, phase: impl Future<Output = io::Result<T>> + Send) -> io::Result<T> {
    tokio::time::timeout(deadline, phase).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl From<OutboundFailure> for RequestError {
    fn from(failure: OutboundFailure) -> Self {
        match failure {
            OutboundFailure::DialFailure => Self::Unreachable,
            OutboundFailure::Timeout => Self::Timeout,
            OutboundFailure::ConnectionClosed => Self::ConnectionClosed,
            OutboundFailure::UnsupportedProtocols => Self::Unsupported,
            OutboundFailure::Io(error) => error.into(),
        }
    }
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        // Lazily negotiated, a protocol that the peer does not speak shows in the first read.
        if error.get_ref().is_some_and(|inner| inner.is::<NegotiationError>()) {
            return Self::Unsupported;
        }
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::InvalidData => Self::Malformed(error.to_string()),
            _ => Self::Io(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;
    use proptest::prelude::*;
    use sotto_proto::id::Height;
    use sotto_proto::request::{ChainRequest, ChainResponse};

    use super::*;

    type Chain = Codec<ChainRequest, ChainResponse>;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn codec() -> Chain {
        Codec::new(Duration::from_secs(5))
    }

    fn name() -> StreamProtocol {
        StreamProtocol::new("/test")
    }

    fn framed(length: u32, bytes: &[u8]) -> Cursor<Vec<u8>> {
        Cursor::new([&length.to_be_bytes(), bytes].concat())
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let request = ChainRequest::Blocks { from: Height(7), max_bytes: 1 << 20 };
        let mut stream = Cursor::new(Vec::new());
        block_on(codec().write_request(&name(), &mut stream, Ok(request.clone()))).unwrap();
        stream.set_position(0);
        assert_eq!(block_on(codec().read_request(&name(), &mut stream)).unwrap(), Ok(request));
    }

    #[test]
    fn a_length_above_the_bound_is_refused_before_anything_is_read() {
        let mut stream = framed(u32::MAX, &[]);
        let read = block_on(codec().read_request(&name(), &mut stream)).unwrap();
        assert!(matches!(read, Err(MessageError::TooLarge { .. })), "{read:?}");
        let error = block_on(codec().read_response(&name(), &mut framed(u32::MAX, &[]))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_truncated_message_is_an_error_of_the_stream() {
        let error = block_on(codec().read_request(&name(), &mut framed(100, &[0; 99]))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_peer_that_says_nothing_is_given_up_in_time() {
        let silent = &mut futures::io::empty().chain(Silent);
        let error = block_on(Chain::new(Duration::from_millis(10)).read_request(&name(), silent)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    struct Silent;

    impl AsyncRead for Silent {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::Poll::Pending
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = block_on(codec().read_request(&name(), &mut Cursor::new(bytes.clone())));
            let _ = block_on(codec().read_request(&name(), &mut framed(bytes.len() as u32, &bytes)));
            let _ = block_on(codec().read_response(&name(), &mut framed(bytes.len() as u32, &bytes)));
        }
    }
}
