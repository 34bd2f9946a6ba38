//! Against a peer that writes its frames by hand.

use std::future::poll_fn;

use futures::future::{Either, select};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf};

use super::*;

/// Bytes that the peer puts into each of its streams.
const DATA: usize = 10_000;
const HEADER: usize = 12;
const SYN: u16 = 1;
const RST: u16 = 8;

/// tokio's pipe with the traits of the other world.
struct Pipe(DuplexStream);

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(tokio::io::AsyncRead::poll_read(Pin::new(&mut self.get_mut().0), cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.get_mut().0), cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.get_mut().0), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.get_mut().0), cx)
    }
}

/// Counts how often something is really sent.
struct Counted(Pipe, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1.fetch_add(1, Relaxed);
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_close(cx)
    }
}

/// A connection of a stranger, or of a node, and the peer's end of it.
fn connection(is_node: bool, shared: &Shared) -> (Muxer<Pipe>, DuplexStream) {
    let (own, peer) = tokio::io::duplex(256);
    let config = Config::new(is_node, shared.clone());
    (config.upgrade_inbound(Pipe(own), "/yamux/1.0.0").into_inner().unwrap(), peer)
}

fn shared() -> Shared {
    Shared::new(Counter::default())
}

fn frame(flags: u16, stream: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [&[0, 0], &flags.to_be_bytes()[..], &stream.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

/// The peer opens `count` streams, from the `first`.
async fn open(peer: &mut (impl tokio::io::AsyncWrite + Unpin), first: u32, count: u32) {
    for stream in first..first + count {
        if peer.write_all(&frame(SYN, 2 * stream + 1, &[7; DATA])).await.is_err() {
            return;
        }
    }
}

/// Reads until so many streams were reset.
async fn resets(peer: &mut (impl tokio::io::AsyncRead + Unpin), count: usize) {
    let (mut reset, mut header) = (0, [0; 12]);
    while reset < count {
        peer.read_exact(&mut header).await.unwrap();
        reset += usize::from(u16::from_be_bytes([header[2], header[3]]) & RST != 0);
    }
}

/// Drives the connection for as long as `peer` takes; nobody takes streams.
async fn drive<T>(muxer: &mut Muxer<Pipe>, peer: impl Future<Output = T>) -> io::Result<T> {
    let driven = poll_fn(|cx| match Pin::new(&mut *muxer).poll(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(error),
        _ => Poll::Pending,
    });
    match select(driven, std::pin::pin!(peer)).await {
        Either::Left((error, _)) => Err(error),
        Either::Right((done, _)) => Ok(done),
    }
}

/// The peer opens `count` streams and reads until as many were reset as are `refused`.
async fn flood(muxer: &mut Muxer<Pipe>, peer: &mut DuplexStream, count: u32, refused: usize) {
    let (mut reading, mut writing) = tokio::io::split(peer);
    let peer = async { tokio::join!(open(&mut writing, 0, count), resets(&mut reading, refused)) };
    drive(muxer, peer).await.unwrap();
}

async fn take(muxer: &mut Muxer<Pipe>) -> Stream {
    poll_fn(|cx| Pin::new(&mut *muxer).poll_inbound(cx)).await.unwrap()
}

#[tokio::test]
async fn of_hundreds_of_streams_that_nobody_takes_eight_are_kept() {
    let shared = shared();
    let (mut muxer, mut peer) = connection(false, &shared);
    flood(&mut muxer, &mut peer, 400, 400 - limits::WAITING_STREAMS).await;
    assert_eq!(lock(&muxer.connection).tally.open.load(Relaxed), limits::WAITING_STREAMS);
    assert_eq!(shared.refused.get() as usize, 400 - limits::WAITING_STREAMS);
    // The connection lives, and what was kept can be read.
    let mut stream = take(&mut muxer).await;
    let mut data = vec![0; DATA];
    drive(&mut muxer, stream.read_exact(&mut data)).await.unwrap().unwrap();
    assert_eq!(data, [7; DATA]);
}

#[tokio::test]
async fn who_is_no_node_has_fewer_streams_open_than_who_is_one() {
    const OPENED: u32 = 800;
    for (is_node, limit) in [(false, limits::INBOUND_STREAMS_OF_STRANGER), (true, limits::INBOUND_STREAMS_OF_NODE)] {
        let (mut muxer, peer) = connection(is_node, &shared());
        let (mut reading, mut writing) = tokio::io::split(peer);
        let mut peer = tokio::spawn(async move {
            tokio::join!(open(&mut writing, 0, OPENED), resets(&mut reading, OPENED as usize - limit));
            (reading, writing)
        });
        // Somebody takes all there are and holds them.
        let mut taken = Vec::new();
        let (_reading, mut writing) = loop {
            match select(Box::pin(take(&mut muxer)), &mut peer).await {
                Either::Left((stream, _)) => taken.push(stream),
                Either::Right((peer, _)) => break peer.unwrap(),
            }
        };
        assert_eq!(taken.len(), limit);
        taken.truncate(limit - 1);
        let again = tokio::spawn(async move { open(&mut writing, OPENED, 1).await });
        taken.push(take(&mut muxer).await);
        again.await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_reads_nothing_cannot_keep_its_streams_from_being_reset() {
    let (mut muxer, mut peer) = connection(true, &shared());
    let error = drive(&mut muxer, open(&mut peer, 0, 4000)).await.unwrap_err();
    assert!(error.get_ref().is_some_and(|inner| inner.is::<ReadsNothing>()), "{error}");
}

#[tokio::test]
async fn of_a_stranger_nothing_is_read_until_it_reads() {
    let shared = shared();
    let (mut muxer, peer) = connection(false, &shared);
    let (mut reading, mut writing) = tokio::io::split(peer);
    let mut writes = Box::pin(open(&mut writing, 0, 400));
    // More turns than 400 streams need.
    for _ in 0..100_000 {
        let turn = drive(&mut muxer, poll_fn(|cx| Poll::Ready(writes.as_mut().poll(cx).is_ready())));
        assert!(!turn.await.unwrap(), "it cannot write all");
        tokio::task::yield_now().await;
    }
    // A reset has twelve bytes, and the pipe holds 256 of them.
    assert!((20..40).contains(&shared.refused.get()), "{}", shared.refused.get());
    let peer = async { tokio::join!(writes, resets(&mut reading, 400 - limits::WAITING_STREAMS)) };
    drive(&mut muxer, peer).await.unwrap();
}

#[tokio::test]
async fn many_connections_together_hold_one_stream_each_and_what_the_host_spares() {
    let shared = shared();
    shared.places.store(10, Relaxed);
    let mut connections = Vec::new();
    for _ in 0..10 {
        let (mut muxer, mut peer) = connection(false, &shared);
        let free = shared.places.load(Relaxed).min(limits::WAITING_STREAMS - 1);
        flood(&mut muxer, &mut peer, 20, 20 - 1 - free).await;
        connections.push((muxer, peer));
    }
    let held: usize = connections.iter().map(|(muxer, _)| lock(&muxer.connection).tally.open.load(Relaxed)).sum();
    assert_eq!(held, 10 + 10);
    // Their places are free again once they end.
    drop(connections);
    assert_eq!(shared.places.load(Relaxed), 10);
}

#[tokio::test]
async fn what_many_streams_write_in_one_turn_is_sent_at_once() {
    let (own, mut peer) = tokio::io::duplex(1 << 16);
    let sent = Arc::new(AtomicUsize::new(0));
    let wire = Counted(Pipe(own), Arc::clone(&sent));
    let mut muxer = Config::new(true, shared()).upgrade_outbound(wire, "/yamux/1.0.0").into_inner().unwrap();
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = poll_fn(|cx| Pin::new(&mut muxer).poll_outbound(cx)).await.unwrap();
        stream.write_all(&[7; DATA / 8]).await.unwrap();
        stream.flush().await.unwrap();
        streams.push(stream);
    }
    let before = sent.load(Relaxed);
    let (mut data, mut buffer) = (0, vec![0; 1 << 16]);
    let driven = poll_fn(|cx| match Pin::new(&mut muxer).poll(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(error),
        _ => Poll::Pending,
    });
    let reading = async {
        while data < 8 * (DATA / 8) {
            let read = peer.read(&mut buffer).await.unwrap();
            data += buffer[..read].iter().filter(|byte| **byte == 7).count();
        }
    };
    if let Either::Left((error, _)) = select(driven, Box::pin(reading)).await {
        panic!("{error}");
    }
    assert!(sent.load(Relaxed) - before <= 2, "{} times", sent.load(Relaxed) - before);
}

#[tokio::test]
async fn a_frame_that_no_host_sends_ends_the_connection_before_it_is_there() {
    for (length, ends) in [(limits::YAMUX_FRAME, false), (limits::YAMUX_FRAME + 1, true), (1 << 20, true)] {
        let (mut muxer, mut peer) = connection(false, &shared());
        let header = frame(SYN, 1, &vec![7; length])[..HEADER + 100].to_vec();
        let driven = drive(&mut muxer, async {
            peer.write_all(&header).await.unwrap();
            // Turns enough to read a hundred bytes.
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(driven.await.is_err(), ends, "{length}");
    }
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_is_told_so_once_and_left() {
    let (mut muxer, mut peer) = connection(false, &shared());
    let driven = drive(&mut muxer, async {
        // The same stream, opened again and again.
        for _ in 0..100 {
            if peer.write_all(&frame(SYN, 1, &[])).await.is_err() {
                return;
            }
        }
        std::future::pending().await
    });
    let error = driven.await.unwrap_err();
    assert!(error.to_string().contains("broke the rules"), "{error}");
    drop(muxer);
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.chunks(HEADER).filter(|frame| frame[1] == 3).count(), 1, "{answer:?}");
}
