//! Between columns and types.

use sotto_proto::address::Address;
use sotto_proto::codec::Reader;

use super::StoreError;

/// An unsigned number as the signed one of the same bits, which is what a column holds.
pub(super) const fn to_signed(number: u64) -> i64 {
    number.cast_signed()
}

/// The other way.
pub(super) const fn to_unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

/// For `map_err`: bytes in a column that this program cannot have written.
pub(super) fn damaged<E>(what: &'static str) -> impl FnOnce(E) -> StoreError {
    move |_| StoreError::Damaged(what)
}

pub(super) fn read_address(bytes: &[u8]) -> Result<Address, StoreError> {
    let mut reader = Reader::new(bytes);
    let address = Address::read(&mut reader).map_err(damaged("an address"))?;
    reader.finish().map_err(damaged("an address"))?;
    Ok(address)
}
