//! How far an attacker behaves, before it begins with what it came for.
//!
//! ```text
//!  Tcp ── multistream ──▶ Noise ── handshake ──▶ Upgrade ── multistream ──▶ Yamux ── SYN ──▶ Stream ── multistream ──▶ Body
//! ```

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::core::upgrade::OutboundConnectionUpgrade as _;
use libp2p::{StreamProtocol, noise};
use sotto_behaviours::names::Names;

use super::super::Scene;
use super::crowd::{Attacker, within};
use super::frame::{Frame, HEADER, data, flag, kind};

/// What all of multistream-select begins with.
pub(super) const MULTISTREAM: &str = "/multistream/1.0.0";
/// The names below the protocols.
pub(super) const NOISE: &str = "/noise";
pub(super) const YAMUX: &str = "/yamux/1.0.0";
/// How long all of the good behaviour may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest line that is read.
const LINE: u8 = 127;
/// The longest body of a frame that is read: no host of ours sends a longer one.
const BODY: u32 = 1 << 20;

/// Bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection at some layer.
pub(super) type Wire = Box<dyn Duplex>;

/// What an attacker has come to; everything before it was done properly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// A connection on which nothing was said.
    Tcp,
    /// Noise is agreed on.
    Noise,
    /// Noise's handshake is done.
    Upgrade,
    /// Yamux is agreed on.
    Yamux,
    /// A stream has to be opened by the first frame; the protocol is negotiated on it.
    Stream,
    /// A protocol is agreed on.
    Body,
}

impl Layer {
    /// All of them, the deepest first.
    pub(super) const ALL: [Self; 6] = [Self::Body, Self::Stream, Self::Yamux, Self::Upgrade, Self::Noise, Self::Tcp];

    /// `bytes` as they are sent at this layer: on a stream in a frame. `first`: nothing was sent there yet.
    pub(super) fn wrap(self, bytes: &[u8], first: bool) -> Vec<u8> {
        match self {
            Self::Stream if first => data(1, flag::SYN, bytes),
            Self::Stream | Self::Body => data(1, 0, bytes),
            Self::Tcp | Self::Noise | Self::Upgrade | Self::Yamux => bytes.to_vec(),
        }
    }
}

impl Attacker {
    /// Connects and behaves up to `layer`. `protocol` is what a body is for.
    pub(super) async fn reach(&self, layer: Layer, protocol: &StreamProtocol) -> io::Result<Wire> {
        within(PATIENCE, async {
            let mut tcp = self.scene.connect(self.source()).await?;
            if layer == Layer::Tcp {
                return Ok(Box::new(tcp) as Wire);
            }
            select(&mut tcp, NOISE).await?;
            if layer == Layer::Noise {
                return Ok(Box::new(tcp) as Wire);
            }
            let mut secured = secure(&self.scene, tcp, self.source()).await?;
            if layer == Layer::Upgrade {
                return Ok(secured);
            }
            select(&mut secured, YAMUX).await?;
            if layer == Layer::Body {
                secured.write_all(&data(1, flag::SYN, &proposal(protocol.as_ref()))).await?;
                secured.flush().await?;
            }
            Ok(secured)
        })
        .await
    }

    /// A connection with Yamux on it.
    pub(super) async fn muxed(&self) -> io::Result<Wire> {
        self.reach(Layer::Yamux, &Names::new(&self.scene.network.chain).chain()).await
    }

    /// The protocols that streams are opened for: those who attack at one layer take them in turn.
    pub(super) fn protocol(&self) -> StreamProtocol {
        let names = Names::new(&self.scene.network.chain);
        let all = [
            names.chain(),
            names.list(),
            names.path(),
            names.tunnel(),
            names.status(),
            names.repair(),
            names.offer(),
            names.chain_gossip(),
            names.swarm_gossip(),
        ];
        all[self.source() / Layer::ALL.len() % all.len()].clone()
    }
}

/// Noise as libp2p has it, as a stranger.
pub(super) async fn secure<S: Duplex + 'static>(scene: &Scene, io: S, source: usize) -> io::Result<Wire> {
    let identity = scene.stranger("outside", source)?;
    let config = noise::Config::new(&identity).map_err(io::Error::other)?;
    let (_, secured) = config.upgrade_outbound(io, NOISE).await.map_err(io::Error::other)?;
    Ok(Box::new(secured))
}

/// A line of multistream-select.
pub(super) fn line(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(LINE);
    [&[length], text.as_bytes(), b"\n"].concat()
}

/// What a dialer says first, when it proposes one name.
pub(super) fn proposal(protocol: &str) -> Vec<u8> {
    [line(MULTISTREAM), line(protocol)].concat()
}

/// Agrees on a protocol, as the dialer.
pub(super) async fn select(io: &mut (impl AsyncRead + AsyncWrite + Unpin), protocol: &str) -> io::Result<()> {
    io.write_all(&proposal(protocol)).await?;
    io.flush().await?;
    for expected in [MULTISTREAM, protocol] {
        let mut length = [0];
        io.read_exact(&mut length).await?;
        let mut text = vec![0; usize::from(length[0].min(LINE))];
        io.read_exact(&mut text).await?;
        if text != [expected.as_bytes(), b"\n"].concat() {
            return Err(io::Error::other(format!("{protocol} was refused")));
        }
    }
    Ok(())
}

/// Reads Yamux frames until the victim ends the connection, and counts them.
pub(super) async fn drain(mut io: impl AsyncRead + Unpin, scene: &Scene) -> io::Result<()> {
    let mut header = [0; HEADER];
    let mut body = vec![0; 16 * 1024];
    loop {
        io.read_exact(&mut header).await?;
        scene.tally.answered(1);
        let frame = Frame::read(&header);
        if frame.flags & flag::RST != 0 || frame.kind == kind::GO_AWAY {
            scene.tally.refused();
        }
        let mut left = if frame.kind == kind::DATA { frame.length } else { 0 };
        if left > BODY {
            return Err(io::Error::other("a frame that nobody sends"));
        }
        while left > 0 {
            let most = usize::try_from(left).unwrap_or_default().min(body.len());
            io.read_exact(&mut body[..most]).await?;
            left = left.saturating_sub(u32::try_from(most).unwrap_or(left));
        }
    }
}

/// Does `write` on one half of a connection while reading the other one; ends with the connection, or after `linger` more
/// when it has nothing more to write.
pub(super) async fn converse<F, Fut>(wire: Wire, scene: &Scene, linger: Duration, write: F) -> io::Result<()>
where
    F: FnOnce(futures::io::WriteHalf<Wire>) -> Fut,
    Fut: Future<Output = io::Result<futures::io::WriteHalf<Wire>>>,
{
    let (reading, writing) = wire.split();
    let writes = async {
        let kept = write(writing).await?;
        tokio::time::sleep(linger).await;
        drop(kept);
        Ok(())
    };
    tokio::select! {
        ended = drain(reading, scene) => ended,
        written = writes => written,
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    #[test]
    fn lines_and_frames_are_those_of_the_specifications() {
        assert_eq!(proposal(NOISE), b"\x13/multistream/1.0.0\n\x07/noise\n");
        assert_eq!(Layer::Tcp.wrap(b"x", true), b"x");
        assert_eq!(Layer::Stream.wrap(b"x", true), data(1, flag::SYN, b"x"));
        assert_eq!(Layer::Body.wrap(b"x", true), data(1, 0, b"x"));
    }

    #[tokio::test]
    async fn a_name_that_is_not_echoed_is_refused() {
        for (answer, agreed) in [(proposal(NOISE), true), ([line(MULTISTREAM), line("na")].concat(), false)] {
            // What is written goes before what is read, in the same buffer.
            let asked = proposal(NOISE).len();
            let mut io = Cursor::new([vec![0; asked], answer].concat());
            assert_eq!(select(&mut io, NOISE).await.is_ok(), agreed);
        }
    }
}
