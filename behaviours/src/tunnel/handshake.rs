//! The first records of a tunnel: Noise NK in one round trip, with the request in its first message (B6).
//!
//! ```text
//! client                                                       destination
//! ClientHandshake::new ── u16 n ‖ suite ‖ key tag ‖ message 1 ──▶ FirstRecord::push … read
//!                                                                  replay set: seen?
//!                                                                  open ─▶ OpenedTunnel
//!                                                                  minute near? remember
//! push … finish ◀─────────── u16 n ‖ message 2 [‖ records] ────── answer
//! ```
//!
//! The first message is protected by the destination's key alone and could be sent again, so it carries only requests
//! that may be repeated, a service node keeps a replay set for tunnels, and to servers, whose key never changes, it
//! carries nothing. The destination is a service node, whose keys rotate, or a server; both have [`HopSecrets`].

use std::fmt;

use rand_core::CryptoRng;
use sotto_proto::cell::{KeyTag, Minute, key_tag};
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::domain;
use sotto_proto::id::{ChainId, NodeId};
use sotto_proto::limits::budget::{ANSWER_RECORD, FIRST_RECORD, KEY, RECORD_BYTES, TAG};
use sotto_proto::limits::{BODY_DATA, REQUEST_MAX, RESPONSE_MAX, TUNNEL_CELLS};
use zeroize::Zeroizing;

use super::TunnelError;
use super::record::{
    Inbound, LENGTH, Outbound, RecordBuffer, answer_flight, bytes_and_zeros, fill, fill_bytes, flags, nothing_left,
    overhead, part, record_length, records, too_long,
};
use crate::noise::{self, Handshake, Pattern, Secret, Split};
use crate::onion::build::{HopSecrets, ephemeral};
use crate::onion::{Ephemeral, HopInfo};

/// `Noise_NK_25519_AESGCM_SHA256`.
const SUITE: u8 = 1;
/// Suite and key tag, in front of message 1.
const HEAD: usize = 1 + 4;
/// What Noise adds to a payload: `e`, tag.
const NOISE: usize = KEY + TAG;
/// Flags and minute, in front of message 1's request.
const REQUEST_PREFIX: usize = 1 + 4;

/// `lp("sotto/tunnel/1") ‖ chain ‖ destination ‖ suite ‖ key tag`.
fn prologue(chain: &ChainId, destination: &NodeId, tag: KeyTag) -> Vec<u8> {
    let mut prologue = domain::TUNNEL.prefixed();
    prologue.extend_from_slice(chain.as_ref());
    prologue.extend_from_slice(destination.as_ref());
    prologue.push(SUITE);
    prologue.extend_from_slice(tag.as_bytes());
    prologue
}

/// The client's side, until the answer came.
pub struct ClientHandshake {
    handshake: Handshake,
    records: RecordBuffer,
}

impl ClientHandshake {
    /// The first flight, with a request that may be repeated, or an empty one. Its first cell is an OPEN that holds
    /// `first_bytes` (see [`sotto_proto::cell::Destination::first_bytes`]), the others are DATA and full.
    ///
    /// # Errors
    /// [`TunnelError`] if the request is longer than any, or the destination's key is of small order.
    pub fn new(
        chain: &ChainId,
        to: &HopInfo,
        first_bytes: usize,
        minute: Minute,
        request: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, Self), TunnelError> {
        too_long("request", REQUEST_MAX, request.len())?;
        let mut sizes = (0..TUNNEL_CELLS).map(|cells| first_bytes + cells * BODY_DATA);
        let flight = sizes.find(|&flight| FIRST_RECORD + request.len() <= flight);
        let mut out = vec![0; flight.ok_or(DecodeError::Value("first bytes"))?];

        let tag = key_tag(&to.x25519);
        let (head, message) = out.split_at_mut(LENGTH + HEAD);
        head[..LENGTH].copy_from_slice(&record_length(HEAD + message.len())?);
        head[LENGTH] = SUITE;
        head[LENGTH + 1..].copy_from_slice(tag.as_bytes());

        let mut payload = Zeroizing::new(vec![0; message.len() - NOISE]);
        write_request(&mut payload, minute, request)?;
        let mut handshake = Handshake::initiator(Pattern::Nk, &prologue(chain, &to.node, tag), None, &to.x25519)?;
        handshake.write(&payload, noise::draw(rng), message)?;
        Ok((out, Self { handshake, records: RecordBuffer::default() }))
    }

    /// Adds bytes that came back; true when the destination's first record is there.
    ///
    /// # Errors
    /// [`TunnelError`] if more came than that record and the cell it ends in.
    pub fn push(&mut self, data: &[u8]) -> Result<bool, TunnelError> {
        too_long("record", RECORD_BYTES + BODY_DATA, self.records.len() + data.len())?;
        self.records.push(data);
        Ok(self.records.peek().is_some())
    }

    /// Opens the destination's first record. The answer comes out of [`Inbound::poll`]; it is empty if the request was.
    ///
    /// # Errors
    /// [`TunnelError`] if it is not the destination's.
    pub fn finish(mut self) -> Result<(Outbound, Inbound), TunnelError> {
        let message = self.records.take().ok_or(TunnelError::Incomplete)?;
        let mut payload = Zeroizing::new(vec![0; message.len().saturating_sub(NOISE)]);
        self.handshake.read(message, &mut payload)?;
        let Split { forward, backward } = self.handshake.split()?;
        let inbound = Inbound::new(&backward, RESPONSE_MAX, self.records, Some(part(&payload)?))?;
        Ok((Outbound::new(&forward), inbound))
    }
}

/// `u8 flags ‖ u32 minute ‖ u32 len ‖ len bytes ‖ zeros`.
fn write_request(payload: &mut [u8], minute: Minute, request: &[u8]) -> Result<(), DecodeError> {
    let (prefix, rest) = payload.split_first_chunk_mut::<REQUEST_PREFIX>().ok_or(DecodeError::Value("first bytes"))?;
    let [a, b, c, d] = minute.0.to_be_bytes();
    *prefix = [0, a, b, c, d];
    nothing_left(fill_bytes(rest, request)?)
}

fn read_request(payload: &[u8]) -> Result<(Minute, &[u8]), DecodeError> {
    let mut reader = Reader::new(payload);
    if flags(&mut reader)? {
        // What would go on could only be sent when the answer has come.
        return Err(DecodeError::Value("flags"));
    }
    let minute = Minute(reader.u32()?);
    Ok((minute, bytes_and_zeros(reader)?))
}

impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientHandshake({} bytes waiting)", self.records.len())
    }
}

/// The client's first record, on its way to a destination: nothing was computed of it, and nobody knows whose it is.
#[derive(Default)]
pub struct FirstRecord {
    records: RecordBuffer,
}

impl FirstRecord {
    /// Nothing came yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the bytes of a cell; true when the record is complete.
    ///
    /// # Errors
    /// [`TunnelError`] if it is shorter than any first record, or there is something behind it: a client has to wait for
    /// the answer.
    pub fn push(&mut self, data: &[u8]) -> Result<bool, TunnelError> {
        too_long("record", RECORD_BYTES, self.records.len() + data.len())?;
        self.records.push(data);
        let Some(record) = self.records.peek() else { return Ok(false) };
        let (record, all) = (LENGTH + record.len(), self.records.len());
        match all.checked_sub(record) {
            Some(0) if record >= FIRST_RECORD => Ok(true),
            Some(0) => Err(DecodeError::Truncated { missing: FIRST_RECORD.saturating_sub(record) }.into()),
            _ => Err(DecodeError::Trailing(all.saturating_sub(record)).into()),
        }
    }

    /// Bytes that wait here.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.records.len()
    }

    /// Reads suite and key tag, and chooses the key.
    ///
    /// # Errors
    /// [`TunnelError`]: not for this destination.
    pub fn read<'a>(&'a self, secrets: &'a HopSecrets) -> Result<ArrivedTunnel<'a>, TunnelError> {
        let mut reader = Reader::new(self.records.peek().ok_or(TunnelError::Incomplete)?);
        match reader.u8()? {
            SUITE => {}
            other => return Err(TunnelError::Suite(other)),
        }
        let key_tag: KeyTag = reader.id()?;
        let secret = secrets.by_tag(key_tag).ok_or(TunnelError::UnknownKey(key_tag))?;
        let message = reader.bytes(reader.remaining())?;
        Ok(ArrivedTunnel { secret, key_tag, ephemeral: ephemeral(message)?, message })
    }
}

impl fmt::Debug for FirstRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirstRecord({} bytes)", self.buffered())
    }
}

/// A first message that arrived at its destination, of which nothing was computed.
pub struct ArrivedTunnel<'a> {
    secret: &'a Secret,
    key_tag: KeyTag,
    ephemeral: Ephemeral,
    message: &'a [u8],
}

impl ArrivedTunnel<'_> {
    /// The tag of the key that is used.
    #[must_use]
    pub const fn key_tag(&self) -> KeyTag {
        self.key_tag
    }

    /// What a replay shows in: to be looked up before [`open`](Self::open).
    #[must_use]
    pub const fn ephemeral(&self) -> Ephemeral {
        self.ephemeral
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`TunnelError`]: it does not open, or holds what no first message holds.
    pub fn open(self, chain: &ChainId, node: &NodeId) -> Result<OpenedTunnel, TunnelError> {
        let prologue = prologue(chain, node, self.key_tag);
        let mut handshake = Handshake::responder(Pattern::Nk, &prologue, self.secret)?;
        let mut payload = Zeroizing::new(vec![0; self.message.len().saturating_sub(NOISE)]);
        handshake.read(self.message, &mut payload)?;
        let (minute, request) = read_request(&payload)?;
        let request = request.to_vec();
        Ok(OpenedTunnel { key_tag: self.key_tag, ephemeral: self.ephemeral, minute, request, handshake })
    }
}

impl fmt::Debug for ArrivedTunnel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArrivedTunnel({} bytes)", self.message.len())
    }
}

/// A tunnel whose first message opened. Before it is answered, its minute must be near, and its ephemeral key
/// remembered.
pub struct OpenedTunnel {
    key_tag: KeyTag,
    ephemeral: Ephemeral,
    minute: Minute,
    request: Vec<u8>,
    handshake: Handshake,
}

impl OpenedTunnel {
    /// The tag of the key that was used.
    #[must_use]
    pub const fn key_tag(&self) -> KeyTag {
        self.key_tag
    }

    /// What a replay shows in.
    #[must_use]
    pub const fn ephemeral(&self) -> Ephemeral {
        self.ephemeral
    }

    /// When the client sent it.
    #[must_use]
    pub const fn minute(&self) -> Minute {
        self.minute
    }

    /// The request; empty if it comes later.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// The destination's first flight, with the answer; an empty one if there was no request.
    ///
    /// # Errors
    /// [`TunnelError`] if the answer is longer than any, or the client's ephemeral key is of small order.
    pub fn answer(
        mut self,
        message: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, Outbound, Inbound), TunnelError> {
        too_long("answer", RESPONSE_MAX, message.len())?;
        let flight = answer_flight(|flight| message.len() + overhead(flight, ANSWER_RECORD));
        let mut out = vec![0; flight.ok_or(DecodeError::Value("message"))?];
        let first = records(out.len(), LENGTH + NOISE).next().unwrap_or(out.len());
        let (record, behind) = out.split_at_mut(first);
        let (length, sealed) = record.split_at_mut(LENGTH);
        length.copy_from_slice(&record_length(sealed.len())?);

        let mut payload = Zeroizing::new(vec![0; sealed.len() - NOISE]);
        let later = fill(&mut payload, message, behind.is_empty())?;
        self.handshake.write(&payload, noise::draw(rng), sealed)?;
        let Split { forward, backward } = self.handshake.split()?;
        let mut outbound = Outbound::new(&backward);
        outbound.records(later, behind)?;
        let inbound = Inbound::new(&forward, REQUEST_MAX, RecordBuffer::default(), None)?;
        Ok((out, outbound, inbound))
    }
}

impl fmt::Debug for OpenedTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenedTunnel({} bytes of request)", self.request.len())
    }
}

#[cfg(test)]
mod tests;
