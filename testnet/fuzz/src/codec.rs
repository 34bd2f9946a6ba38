//! What a peer writes into the stream of a request: a length, and as many bytes.

use std::io::ErrorKind;
use std::sync::LazyLock;
use std::time::Duration;

use futures::io::Cursor;
use libp2p::StreamProtocol;
use libp2p::request_response::Codec as _;
use sotto_behaviours::chain_sync::protocol::Codec;
use sotto_proto::id::Height;
use sotto_proto::request::{ChainRequest, ChainResponse, Error, Message, MessageError};
use tokio::runtime::{Builder, Runtime};

/// Its timers are what deadlines are counted by; in here nothing waits.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime on this thread"));

type Chain = Codec<ChainRequest, ChainResponse>;

pub(crate) fn run(input: &[u8]) {
    RUNTIME.block_on(async {
        let mut codec = Chain::new(Duration::from_secs(5));
        let name = StreamProtocol::new("/fuzz");
        let mut stream = Cursor::new(input.to_vec());
        match codec.read_request(&name, &mut stream).await {
            Ok(Ok(request)) => {
                let mut again = Cursor::new(Vec::new());
                codec
                    .write_request(&name, &mut again, Ok(request.clone()))
                    .await
                    .expect("what was read can be written");
                again.set_position(0);
                assert_eq!(codec.read_request(&name, &mut again).await.expect("it was whole"), Ok(request));
            }
            Ok(Err(MessageError::TooLarge { actual, limit })) => {
                assert_eq!(limit, ChainRequest::MAX_BYTES);
                assert!(actual > limit && stream.position() == 4, "read on after a length that is too large");
            }
            Ok(Err(_)) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
        }
        let mut stream = Cursor::new(input.to_vec());
        match codec.read_response(&name, &mut stream).await {
            Ok(response) => {
                let mut again = Cursor::new(Vec::new());
                codec.write_response(&name, &mut again, response.clone()).await.expect("what was read can be written");
                again.set_position(0);
                assert_eq!(codec.read_response(&name, &mut again).await.expect("it was whole"), response);
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData)),
        }
    });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let framed = |bytes: Vec<u8>| {
        let length = u32::try_from(bytes.len()).expect("a short message").to_be_bytes();
        [&length[..], &bytes].concat()
    };
    let requests = [ChainRequest::Tip, ChainRequest::Blocks { from: Height(3), max_bytes: 9 }];
    let answers = [
        ChainResponse::Blocks { blocks: vec![vec![1, 2, 3], vec![4]], tip: Height(8) },
        ChainResponse::Error(Error::Unavailable { lowest: Height(4) }),
    ];
    let requests = requests.into_iter().map(|request| request.encode().expect("a request"));
    let answers = answers.into_iter().map(|answer| answer.encode().expect("an answer"));
    requests.chain(answers).map(framed).collect()
}
