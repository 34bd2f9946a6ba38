//! Canonical bytes: fields in order, big-endian integers of fixed width, no padding, no options (B1).

/// Why bytes are not the canonical encoding of what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("truncated: {missing} more bytes expected")]
    Truncated {
        /// How many bytes the field lacks.
        missing: usize,
    },
    /// Bytes are left after the last field.
    #[error("{0} bytes left over")]
    Trailing(usize),
    /// A field holds a value that the format does not allow.
    #[error("bad value in field `{0}`")]
    Value(&'static str),
    /// A length or count is above its limit.
    #[error("field `{field}` is {actual}, at most {limit} allowed")]
    TooLong {
        /// The field.
        field: &'static str,
        /// The limit.
        limit: usize,
        /// What the bytes say.
        actual: usize,
    },
}

/// Reads canonical bytes from the front; never panics, never allocates by a length it has not checked.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.0.len()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated { missing: count.saturating_sub(self.0.len()) })?;
        self.0 = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) =
            self.0.split_first_chunk().ok_or(DecodeError::Truncated { missing: N.saturating_sub(self.0.len()) })?;
        self.0 = tail;
        Ok(*head)
    }

    /// The next `N` bytes as a value made from them (keys, hashes).
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn id<const N: usize, T: From<[u8; N]>>(&mut self) -> Result<T, DecodeError> {
        self.array().map(T::from)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes, big-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A `u32` length and that many bytes, at most `limit`.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] above the limit, [`DecodeError::Truncated`] if fewer are left.
    pub fn var_bytes(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if length > limit {
            return Err(DecodeError::TooLong { field, limit, actual: length });
        }
        self.bytes(length)
    }

    /// Everything is read.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if not.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.0.len())) }
    }
}
