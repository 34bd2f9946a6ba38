//! The frames of one direction: none of them may be longer than those that a host sends, and after a farewell is none.
//!
//! Yamux reads a whole frame, of up to 1 MiB, before it looks at what the stream's window allows. Whoever sends all of it
//! but the last byte would have four windows kept for each connection, without even a stream. And it says farewell when
//! the peer breaks its rules, but goes on with the connection.

use sotto_proto::limits;

/// Bytes of a header: version, type, two of flags, four of a stream, four of a length.
const HEADER: usize = 12;
/// The type of frames that have a body.
const DATA: u8 = 0;
/// The type of the last frame.
const GO_AWAY: u8 = 3;

/// A frame that no host sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes, at most {max}", max = limits::YAMUX_FRAME)]
pub(super) struct TooLong(u32);

/// How far the frame that is on its way has come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header that are there.
    read: usize,
    /// Bytes of the body that are not.
    body: u32,
    farewell: bool,
}

impl Frames {
    /// Whether the last frame has come.
    pub(super) const fn farewell(&self) -> bool {
        self.farewell
    }

    /// Takes note of bytes, however they are cut.
    pub(super) fn note(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        loop {
            let skipped = bytes.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
            self.body -= u32::try_from(skipped).unwrap_or(self.body);
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            let taken = bytes.len().min(HEADER - self.read);
            self.header[self.read..self.read + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            self.read += taken;
            if self.read == HEADER {
                self.read = 0;
                self.body = body(&self.header)?;
                self.farewell |= self.header[1] == GO_AWAY;
            }
        }
    }
}

fn body(header: &[u8; HEADER]) -> Result<u32, TooLong> {
    let [_, kind, .., a, b, c, d] = *header;
    let length = u32::from_be_bytes([a, b, c, d]);
    match kind {
        DATA if usize::try_from(length).is_ok_and(|length| length <= limits::YAMUX_FRAME) => Ok(length),
        DATA => Err(TooLong(length)),
        // What stands there is something else.
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u32, body: usize) -> Vec<u8> {
        [&[0, kind, 0, 0, 0, 0, 0, 1], &length.to_be_bytes()[..], &vec![0xff; body]].concat()
    }

    fn data(length: usize) -> Vec<u8> {
        frame(DATA, u32::try_from(length).unwrap(), length)
    }

    #[test]
    fn frames_are_told_apart_however_they_are_cut() {
        let good =
            [data(0), data(1), frame(1, u32::MAX, 0), data(limits::YAMUX_FRAME), frame(2, 7, 0), data(300)].concat();
        let bad = [&good[..], &frame(DATA, 1 << 20, 0)].concat();
        for piece in [1, 2, 5, 11, 12, 13, 100, 1 << 20] {
            let read = |bytes: &[u8]| {
                let mut frames = Frames::default();
                bytes.chunks(piece).try_for_each(|piece| frames.note(piece))
            };
            assert_eq!(read(&good), Ok(()), "{piece}");
            assert_eq!(read(&bad), Err(TooLong(1 << 20)), "{piece}");
            assert_eq!(read(&bad[..bad.len() - 1]), Ok(()), "{piece}: not before the length is there");
        }
    }

    #[test]
    fn a_farewell_is_told_from_a_body_that_looks_like_one() {
        let farewell = frame(GO_AWAY, 1, 0);
        let mut frames = Frames::default();
        frames.note(&[&frame(DATA, 12, 0)[..], &farewell].concat()).unwrap();
        assert!(!frames.farewell());
        frames.note(&farewell).unwrap();
        assert!(frames.farewell());
    }

    #[test]
    fn one_byte_more_than_hosts_send_is_too_long() {
        let length = u32::try_from(limits::YAMUX_FRAME).unwrap();
        assert_eq!(Frames::default().note(&frame(DATA, length, 0)), Ok(()));
        assert_eq!(Frames::default().note(&frame(DATA, length + 1, 0)), Err(TooLong(length + 1)));
    }
}
