//! The destination's end of tunnels: one task each, from the handshake to the last answer.
//!
//! ```text
//!  exit ─ frames ─▶ first record (≤ 16 MiB of all tunnels) ─ key, replay, Noise, minute ─▶ request ─┐
//!                     later records ──────────────────────────────────────────────▶ request ─┤ events (256)
//!                                                                                              ▼
//!  exit ◀─ frames ◀─ sealed, padded ◀─ answers (16 a tunnel, ≤ 16 MiB of all) ◀─ Network::tunnel_answer ─ owner
//! ```
//!
//! A tunnel carries one request after the other; the next is read while the last answer is awaited, and handed over
//! after it. A subscription goes on answering until the tunnel ends, and so does a listening. Whatever does not open resets the tunnel.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use futures::{AsyncRead as _, AsyncWriteExt as _};
use sotto_proto::cell::{Frame, read_tunnel_frame};
use sotto_proto::limits::{BODY_DATA, COALESCED_CELLS, FRAME, TUNNEL_ANSWERS};
use sotto_proto::request::{Error, Message as _, SwarmRequest, SwarmResponse};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::flights::{Flight, Flights};
use super::handshake::{FirstRecord, OpenedTunnel};
use super::record::Inbound;
use crate::onion::books::{Books, Counted, Kind};
use crate::onion::hop::Hop;

/// Requests of all tunnels that the owner has not taken yet; tunnels wait beyond it.
pub(crate) const EVENTS: usize = 256;

/// A tunnel of this host's, as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(u64);

impl TunnelId {
    /// The tunnel with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number, for whoever knows tunnels by another type.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// What happens on tunnels.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most of what happens is requests, and each is passed on at once")]
pub(crate) enum TunnelEvent {
    Request {
        tunnel: TunnelId,
        request: SwarmRequest,
    },
    /// An answer that the owner waits for is sent: there is room for the next.
    Ready {
        tunnel: TunnelId,
    },
    Closed {
        tunnel: TunnelId,
    },
}

/// An answer, encoded.
#[derive(Debug)]
struct Answer {
    bytes: Vec<u8>,
    /// Whether others follow.
    more: bool,
    /// Whether the owner is told when it is sent.
    told: bool,
    sending: Flight,
}

/// The open tunnels. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Tunnels {
    open: Arc<Mutex<Open>>,
    flights: Flights,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    tunnels: BTreeMap<TunnelId, Way>,
}

/// How answers get into a tunnel.
#[derive(Debug)]
struct Way {
    answers: mpsc::Sender<Answer>,
    given_up: Arc<Notify>,
}

/// A tunnel's own end of it.
struct Inside {
    tunnel: TunnelId,
    answers: mpsc::Receiver<Answer>,
    given_up: Arc<Notify>,
    flights: Flights,
}

impl Inside {
    /// An answer that the owner does not know of.
    fn own_answer(&self, bytes: Vec<u8>) -> Answer {
        let sending = self.flights.enter(bytes.len(), Arc::clone(&self.given_up));
        Answer { bytes, more: false, told: false, sending }
    }
}

impl Tunnels {
    /// None yet; their answers have `answer_bytes` bytes at most, from when they are given to when they are sent.
    pub(crate) fn new(answer_bytes: usize) -> Self {
        Self { open: Arc::default(), flights: Flights::new(answer_bytes) }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Inside {
        let (sender, answers) = mpsc::channel(TUNNEL_ANSWERS);
        let given_up = Arc::new(Notify::new());
        let mut open = self.lock();
        let tunnel = TunnelId(open.next);
        open.next = open.next.wrapping_add(1);
        open.tunnels.insert(tunnel, Way { answers: sender, given_up: Arc::clone(&given_up) });
        Inside { tunnel, answers, given_up, flights: self.flights.clone() }
    }

    /// Ends a tunnel, after the answers it was given.
    pub(crate) fn close(&self, tunnel: TunnelId) {
        self.lock().tunnels.remove(&tunnel);
    }

    /// Sends an answer; `false` if the tunnel has ended. One that has too many waiting ends.
    pub(crate) fn answer(&self, tunnel: TunnelId, response: SwarmResponse, more: bool) -> bool {
        let mut open = self.lock();
        let Some(way) = open.tunnels.get(&tunnel) else { return false };
        // A page of mail is much, and who makes it makes no more of them than are taken.
        let told = more || matches!(response, SwarmResponse::Records(_));
        let given = encode(response).is_ok_and(|bytes| {
            let sending = self.flights.enter(bytes.len(), Arc::clone(&way.given_up));
            way.answers.try_send(Answer { bytes, more, told, sending }).is_ok()
        });
        if !given {
            open.tunnels.remove(&tunnel);
        }
        given
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().tunnels.len()
    }
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The other end, or the host, was done.
    Closed,
    /// Its first message did not come whole in time.
    Incomplete,
    /// Too many bytes of first messages wait.
    Crowded,
    /// Something did not open, or was no request.
    Malformed,
    /// Its first message was there before.
    Replayed,
    /// Its time is too far from ours.
    Time,
    /// No first message can be remembered now.
    Busy,
    /// The other end does not read, or there are too many others whose ends do not.
    Stalled,
    /// The owner ended it, or gave it more answers than it could send.
    GivenUp,
}

impl End {
    const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Incomplete => "incomplete",
            Self::Crowded => "crowded",
            Self::Malformed => "malformed",
            Self::Replayed => "replayed",
            Self::Time => "time",
            Self::Busy => "busy",
            Self::Stalled => "stalled",
            Self::GivenUp => "given_up",
        }
    }
}

/// Reads frames; nothing is lost when a read is given up half way.
struct Frames {
    stream: Counted,
    frame: Frame,
    filled: usize,
    ended: bool,
}

impl Frames {
    fn new(stream: Counted) -> Self {
        Self { stream, frame: Frame::zeroed(), filled: 0, ended: false }
    }

    /// The bytes of the next frame; `None` at the end.
    async fn next(&mut self) -> Result<Option<&[u8]>, End> {
        if self.filled == FRAME {
            self.filled = 0;
        }
        let read = poll_fn(|cx| {
            while self.filled < FRAME && !self.ended {
                let Some(space) = self.frame.as_mut_bytes().get_mut(self.filled..) else { break };
                match ready!(Pin::new(&mut self.stream).poll_read(cx, space)) {
                    // A stream is not to be touched after an error of a read.
                    Ok(0) | Err(_) => self.ended = true,
                    Ok(read) => self.filled += read,
                }
            }
            Poll::Ready(())
        });
        read.await;
        match self.filled {
            FRAME => read_tunnel_frame(&self.frame).map(Some).map_err(|_| End::Malformed),
            0 => Ok(None),
            _ => Err(End::Malformed),
        }
    }

    /// Writes the bytes of a flight: whole cells. `moved` hears of each piece that was taken.
    async fn write(&mut self, flight: &[u8], moved: impl Fn()) -> std::io::Result<()> {
        let mut frames = Vec::with_capacity(COALESCED_CELLS * FRAME);
        for cells in flight.chunks(COALESCED_CELLS * BODY_DATA) {
            frames.clear();
            for cell in cells.chunks(BODY_DATA) {
                let end = frames.len() + FRAME;
                frames.extend_from_slice(&u16::try_from(cell.len()).unwrap_or(0).to_be_bytes());
                frames.extend_from_slice(cell);
                frames.resize(end, 0);
            }
            self.stream.write_all(&frames).await?;
            moved();
        }
        self.stream.flush().await
    }
}

/// One tunnel, from its first frame to its end.
pub(crate) async fn serve(hop: &Hop, books: &Books, stream: Counted) {
    let mut frames = Frames::new(stream);
    let age = Instant::now() + hop.deadlines.tunnel_age;
    let end = match first_message(hop, books, &mut frames).await {
        Ok(opened) => {
            tokio::select! {
                end = converse(hop, books, &mut frames, opened) => end,
                () = tokio::time::sleep_until(age) => End::Closed,
                () = hop.shutdown.cancelled() => End::Closed,
            }
        }
        Err(end) => end,
    };
    hop.metrics.tunnel_ended(end.label());
    tracing::debug!(exit = books.node.short(), end = end.label(), "a tunnel ended");
}

/// Reads and opens the first message.
async fn first_message(hop: &Hop, books: &Books, frames: &mut Frames) -> Result<OpenedTunnel, End> {
    let deadline = Instant::now() + hop.deadlines.first_message;
    let mut first = FirstRecord::new();
    // Held while nobody has shown any key.
    let mut held: Option<OwnedSemaphorePermit> = None;
    loop {
        let data = timeout_at(deadline, frames.next()).await.map_err(|_| End::Incomplete)??;
        let data = data.ok_or(End::Incomplete)?;
        let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let place = Arc::clone(&hop.books.unauthenticated).try_acquire_many_owned(bytes);
        let place = place.map_err(|_| End::Crowded)?;
        match &mut held {
            Some(held) => held.merge(place),
            None => held = Some(place),
        }
        if first.push(data).map_err(|_| End::Malformed)? {
            let _turn = books.line().turn().await;
            return open(hop, &first);
        }
    }
}

fn open(hop: &Hop, first: &FirstRecord) -> Result<OpenedTunnel, End> {
    let secrets = Arc::clone(&hop.secrets.borrow());
    let arrived = first.read(&secrets).map_err(|_| End::Malformed)?;
    if hop.replays.contains(Kind::Tunnel, arrived.key_tag(), &arrived.ephemeral()) {
        return Err(End::Replayed);
    }
    let opened = arrived.open(&hop.chain, &hop.own).map_err(|_| End::Malformed)?;
    if !opened.minute().is_near(hop.minute()) {
        return Err(End::Time);
    }
    use crate::onion::replay::ReplayRefusal::Replayed;
    match hop.replays.remember(Kind::Tunnel, opened.key_tag(), opened.ephemeral(), opened.minute(), hop.seconds()) {
        Ok(()) => Ok(opened),
        Err(Replayed) => Err(End::Replayed),
        Err(_) => Err(End::Busy),
    }
}

/// The place of a tunnel among the open ones, and what the owner hears of its end.
struct Place<'h> {
    hop: &'h Hop,
    books: &'h Books,
    tunnel: TunnelId,
    /// The owner knows of the tunnel.
    known: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.hop.tunnels.close(self.tunnel);
        if !self.known {
            return;
        }
        let event = TunnelEvent::Closed { tunnel: self.tunnel };
        if let Err(mpsc::error::TrySendError::Full(event)) = self.hop.events.try_send(event) {
            // There is at most one of these for each open tunnel.
            let events = self.hop.events.clone();
            self.hop.tasks.spawn(async move {
                let _owner_gone = events.send(event).await;
            });
        }
    }
}

/// Requests and answers.
async fn converse(hop: &Hop, books: &Books, frames: &mut Frames, opened: OpenedTunnel) -> End {
    let mut inside = hop.tunnels.open();
    let given_up = Arc::clone(&inside.given_up);
    let mut place = Place { hop, books, tunnel: inside.tunnel, known: false };
    tokio::select! {
        biased;
        ended = exchange(&mut place, frames, &mut inside, opened) => match ended {
            Ok(never) => match never {},
            Err(end) => end,
        },
        () = given_up.notified() => End::Stalled,
    }
}

async fn exchange(
    place: &mut Place<'_>,
    frames: &mut Frames,
    inside: &mut Inside,
    opened: OpenedTunnel,
) -> Result<std::convert::Infallible, End> {
    let Answer { bytes: first, more, told, sending } = match opened.request() {
        [] => inside.own_answer(Vec::new()),
        request => match SwarmRequest::decode(request) {
            Ok(request) if request.may_be_first() => {
                ask(place, request).await?;
                inside.answers.recv().await.ok_or(End::GivenUp)?
            }
            Ok(_) | Err(_) => inside.own_answer(encode(SwarmResponse::Error(Error::Malformed))?),
        },
    };
    let malformed = !opened.request().is_empty() && !place.known;
    let (flight, mut outbound, mut inbound) = {
        let _turn = place.books.line().turn().await;
        let mut rng = place.hop.rng();
        opened.answer(&first, &mut *rng).map_err(|_| End::Malformed)?
    };
    drop(first);
    send(place.hop, frames, &flight, sending).await?;
    drop(flight);
    if malformed {
        return Err(End::Malformed);
    }
    if told {
        invite(place).await?;
    }
    // A request whose answers never end lasts as long as somebody hears them; the others as long as it takes.
    let (mut answering, mut subscribed, mut waiting) = (more, more, None::<SwarmRequest>);
    loop {
        // Whoever asks for something else has heard enough of a subscription.
        if (!answering || subscribed)
            && let Some(request) = waiting.take()
        {
            ask(place, request).await?;
            (answering, subscribed) = (true, false);
        }
        // What is read ahead is one request at most.
        let reads = waiting.is_none() && !frames.ended;
        if frames.ended && (!answering || subscribed) && waiting.is_none() {
            return Err(End::Closed);
        }
        tokio::select! {
            biased;
            answer = inside.answers.recv() => {
                let Answer { bytes, more, told, sending } = answer.ok_or(End::GivenUp)?;
                (answering, subscribed) = (more, more);
                let flight = outbound.answer(&bytes).map_err(|_| End::Malformed)?;
                drop(bytes);
                send(place.hop, frames, &flight, sending).await?;
                if told {
                    invite(place).await?;
                }
            }
            data = frames.next(), if reads => {
                let Some(data) = data? else { continue };
                match receive(&mut inbound, data) {
                    Ok(request) => waiting = request,
                    Err(()) => {
                        let Answer { bytes, sending, .. } =
                            inside.own_answer(encode(SwarmResponse::Error(Error::Malformed))?);
                        let flight = outbound.answer(&bytes).map_err(|_| End::Malformed)?;
                        send(place.hop, frames, &flight, sending).await?;
                        return Err(End::Malformed);
                    }
                }
            }
        }
    }
}

/// A request, once all its bytes are there. An error is a message that opened and is none.
fn receive(inbound: &mut Inbound, data: &[u8]) -> Result<Option<SwarmRequest>, ()> {
    inbound.push(data).map_err(|_| ())?;
    match inbound.poll().map_err(|_| ())? {
        Some(message) => SwarmRequest::decode(&message).map(Some).map_err(|_| ()),
        None => Ok(None),
    }
}

/// Tells the owner that an answer is sent: a subscription's next push, or the mailbox's next page, may come.
async fn invite(place: &Place<'_>) -> Result<(), End> {
    place.hop.events.send(TunnelEvent::Ready { tunnel: place.tunnel }).await.map_err(|_| End::Closed)
}

async fn ask(place: &mut Place<'_>, request: SwarmRequest) -> Result<(), End> {
    place.known = true;
    place.hop.events.send(TunnelEvent::Request { tunnel: place.tunnel, request }).await.map_err(|_| End::Closed)
}

fn encode(response: SwarmResponse) -> Result<Vec<u8>, End> {
    response.encode().map_err(|error| {
        tracing::error!(%error, "an answer cannot be sent");
        End::Malformed
    })
}

async fn send(hop: &Hop, frames: &mut Frames, flight: &[u8], sending: Flight) -> Result<(), End> {
    // As long as a path may stall for each window's worth of it.
    let patience = hop.deadlines.write_stall * u32::try_from(1 + flight.len() / (128 * FRAME)).unwrap_or(1);
    sending.takes(flight.len());
    match timeout(patience, frames.write(flight, || sending.moved())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Closed),
        Err(_) => Err(End::Stalled),
    }
}
