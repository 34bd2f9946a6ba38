//! A stream by hand: its protocol's name in front, then whatever bytes.
//!
//! ```text
//! \x13 /multistream/1.0.0 \n   length, name, \n        the same comes back from whoever speaks the protocol
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::core::muxing::SubstreamBox;
use sotto_proto::cell::Frame;
use sotto_proto::limits::FRAME;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::super::Tally;

/// How long the victim may take for anything that it is asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// The name of the negotiation itself.
const NEGOTIATION: &str = "/multistream/1.0.0";
/// The longest line of it that is read.
const LINE: usize = 127;

/// Why an attack could not go on as it did.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// Nothing came in time, or nothing was taken.
    #[error("nothing in time")]
    Silent(#[from] Elapsed),
    /// The stream or the connection ended.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is no connection any more, or never was.
    #[error("not connected: {0}")]
    Gone(String),
    /// No path, or none any more.
    #[error("no path: {0}")]
    Path(String),
    /// What was to be sent could not even be made.
    #[error("not made: {0}")]
    Unmade(String),
}

impl Failed {
    /// What could not be made.
    pub(super) fn unmade(error: impl std::fmt::Display) -> Self {
        Self::Unmade(error.to_string())
    }
}

/// What a dialer says first, and a listener that speaks the protocol repeats.
pub(super) fn greeting(protocol: &str) -> Vec<u8> {
    [line(NEGOTIATION), line(protocol)].concat()
}

fn line(text: &str) -> Vec<u8> {
    // Names are far shorter than a length of one byte can say.
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[length], text.as_bytes(), b"\n"].concat()
}

/// An own stream.
pub(super) struct Wire {
    stream: SubstreamBox,
    /// Not sent yet: goes with the first bytes.
    unsent: Vec<u8>,
    /// What must come back in front of everything else.
    expected: Vec<u8>,
    tally: Arc<Tally>,
}

impl Wire {
    pub(super) fn new(stream: SubstreamBox, protocol: &str, tally: &Arc<Tally>) -> Self {
        let greeting = greeting(protocol);
        Self { stream, unsent: greeting.clone(), expected: greeting, tally: Arc::clone(tally) }
    }

    /// Writes and flushes; counted as one message.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let greeting = std::mem::take(&mut self.unsent);
        let writing = async {
            if !greeting.is_empty() {
                self.stream.write_all(&greeting).await?;
            }
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        self.tally.due().await;
        timeout(PATIENCE, writing).await??;
        self.tally.sent(1, bytes.len());
        Ok(())
    }

    /// Ends the own half.
    pub(super) async fn finish(&mut self) -> Result<(), Failed> {
        Ok(timeout(PATIENCE, self.stream.close()).await??)
    }

    /// Reads exactly as many bytes; after an error the stream is of no use.
    pub(super) async fn recv_exact(&mut self, bytes: &mut [u8]) -> Result<(), Failed> {
        let reading = async {
            self.greeted().await?;
            self.stream.read_exact(bytes).await
        };
        Ok(timeout(PATIENCE, reading).await??)
    }

    /// The next frame of a path.
    pub(super) async fn recv_frame(&mut self) -> Result<Frame, Failed> {
        let mut frame = [0; FRAME];
        self.recv_exact(&mut frame).await?;
        self.tally.answered(1);
        Ok(Frame::from(frame))
    }

    /// Reads to the end of what the victim sends and throws it away; gives how much there was.
    pub(super) async fn drain(&mut self) -> Result<usize, Failed> {
        let reading = async {
            self.greeted().await?;
            let (mut buffer, mut all) = ([0; 4096], 0);
            loop {
                match self.stream.read(&mut buffer).await? {
                    0 => return Ok::<_, io::Error>(all),
                    count => all += count,
                }
            }
        };
        let all = timeout(PATIENCE, reading).await??;
        self.tally.answered(u64::from(all > 0));
        Ok(all)
    }

    async fn greeted(&mut self) -> io::Result<()> {
        let expected = std::mem::take(&mut self.expected);
        let mut came = vec![0; expected.len()];
        self.stream.read_exact(&mut came).await?;
        if came == expected { Ok(()) } else { Err(io::Error::other("the protocol is not spoken")) }
    }
}

/// Answers a negotiation that the other side began, with the first name of `spoken` that it proposes; gives that name.
pub(super) async fn negotiate<S>(stream: &mut S, spoken: &[String]) -> io::Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if read_line(stream).await? != NEGOTIATION {
        return Err(io::Error::other("another negotiation"));
    }
    stream.write_all(&line(NEGOTIATION)).await?;
    // Ours propose one name; a second is for whoever has two.
    for _ in 0..2 {
        let proposed = read_line(stream).await?;
        let known = spoken.contains(&proposed);
        stream.write_all(&line(if known { &proposed } else { "na" })).await?;
        stream.flush().await?;
        if known {
            return Ok(proposed);
        }
    }
    Err(io::Error::other("no protocol in common"))
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut length = [0];
    stream.read_exact(&mut length).await?;
    let mut text = vec![0; usize::from(length[0]).min(LINE)];
    stream.read_exact(&mut text).await?;
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    Ok(text.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    /// What was said to us, and what we say.
    struct Said(futures::io::Cursor<Vec<u8>>, Vec<u8>);

    impl AsyncRead for Said {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Said {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.1).poll_write(cx, buf)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_greeting_names_the_negotiation_and_the_protocol_each_with_its_length() {
        let greeting = greeting("/sotto/abababab/path/1");
        assert_eq!(greeting, b"\x13/multistream/1.0.0\n\x17/sotto/abababab/path/1\n");
    }

    #[tokio::test]
    async fn what_is_spoken_is_agreed_on_and_the_rest_refused() {
        let proposed = [line(NEGOTIATION), line("/b/1"), line("/a/1")].concat();
        let mut stream = Said(futures::io::Cursor::new(proposed), Vec::new());
        assert_eq!(negotiate(&mut stream, &["/a/1".to_owned()]).await.unwrap(), "/a/1");
        assert_eq!(stream.1, [line(NEGOTIATION), line("na"), line("/a/1")].concat());
    }
}
