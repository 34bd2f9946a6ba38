//! Yamux frames, written by hand: none of them has to be one.

/// Bytes of a header.
pub(super) const HEADER: usize = 12;
/// Bytes into a stream before its receiver has allowed more.
pub(super) const WINDOW: u32 = 256 * 1024;

/// What a frame is.
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const WINDOW_UPDATE: u8 = 1;
    pub(in super::super) const PING: u8 = 2;
    pub(in super::super) const GO_AWAY: u8 = 3;
}

/// What it says of its stream.
pub(super) mod flag {
    pub(in super::super) const SYN: u16 = 1;
    pub(in super::super) const ACK: u16 = 2;
    pub(in super::super) const FIN: u16 = 4;
    pub(in super::super) const RST: u16 = 8;
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) version: u8,
    pub(super) kind: u8,
    pub(super) flags: u16,
    pub(super) stream: u32,
    /// Bytes of the body; for other frames than data whatever they carry.
    pub(super) length: u32,
}

impl Frame {
    /// A frame of the version that there is.
    pub(super) const fn new(kind: u8, flags: u16, stream: u32, length: u32) -> Self {
        Self { version: 0, kind, flags, stream, length }
    }

    /// Its bytes, without a body.
    pub(super) fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0] = self.version;
        bytes[1] = self.kind;
        bytes[2..4].copy_from_slice(&self.flags.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.stream.to_be_bytes());
        bytes[8..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// A header as it came.
    pub(super) const fn read(bytes: &[u8; HEADER]) -> Self {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        Self {
            version,
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        }
    }
}

/// A data frame with its body.
pub(super) fn data(stream: u32, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&Frame::new(kind::DATA, flags, stream, length).bytes(), body].concat()
}

/// The id of the `place`th stream that a dialer opens: odd, and ascending.
pub(super) const fn dialed(place: u32) -> u32 {
    place.wrapping_mul(2).wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_bytes_of_the_specification() {
        let frame = Frame::new(kind::WINDOW_UPDATE, flag::SYN | flag::FIN, 0x0102_0304, 0x0506_0708);
        assert_eq!(frame.bytes(), [0, 1, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Frame::read(&frame.bytes()), frame);
        assert_eq!(data(3, flag::SYN, b"ab"), [0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 2, b'a', b'b']);
    }

    #[test]
    fn a_dialer_s_streams_are_odd() {
        assert_eq!([0, 1, 2].map(dialed), [1, 3, 5]);
    }
}
