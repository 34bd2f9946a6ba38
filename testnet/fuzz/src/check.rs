//! What must hold for every parser.

use std::fmt::Debug;

use sotto_proto::request::Message;

/// Decodes; what decodes must encode to the same bytes again: one value, one encoding.
pub(crate) fn canonical<T, E>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Option<T> {
    let value = decode(bytes).ok()?;
    assert!(encode(&value) == bytes, "decodes and does not encode to the same bytes");
    Some(value)
}

/// Decodes a message of protobuf, which has many encodings: ours must decode to the same message, and both must keep
/// to the message's bound.
pub(crate) fn message<M: Message + Clone + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    assert!(bytes.len() <= M::MAX_BYTES, "longer than any message");
    let again = message.clone().encode().expect("what was read can be sent");
    assert_eq!(M::decode(&again).as_ref(), Ok(&message), "another message after it was encoded");
    Some(message)
}

/// Parses text; what it shows itself as must parse to the same.
pub(crate) fn shown<T: std::str::FromStr + ToString + PartialEq + Debug>(text: &str) -> Option<T> {
    let value = text.parse::<T>().ok()?;
    let again = value.to_string().parse::<T>().ok();
    assert_eq!(again.as_ref(), Some(&value), "shows itself as another: {:?}", value.to_string());
    Some(value)
}

/// `bytes`, cut or filled with zeros to `length`: most layouts have one length, and mutations rarely hit it.
pub(crate) fn fit(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut fitted = bytes.to_vec();
    fitted.resize(length, 0);
    fitted
}

/// A seed for a target that chooses by its first byte what the rest is; zeros at the end are left out.
pub(crate) fn seed(choice: u8, bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    [&[choice], &bytes[..end]].concat()
}

/// The same with all of its bytes.
pub(crate) fn whole(choice: u8, bytes: &[u8]) -> Vec<u8> {
    [&[choice], bytes].concat()
}
