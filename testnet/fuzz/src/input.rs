//! Fuzzed bytes as decisions: what to do next, how often, with what. Past the end everything is zero, so that any input
//! is a whole sequence of steps.

/// What is left of an input.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes, at most so many.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(most.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// Bytes behind a length of two bytes.
    pub(crate) fn chunk(&mut self) -> &'a [u8] {
        let length = usize::from(self.u16());
        self.bytes(length)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Yes when the next byte is odd.
    pub(crate) fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// A number below `count`, from as few bytes as it takes; 0 when there is nothing to choose from.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        match count {
            0 | 1 => 0,
            2..=256 => usize::from(self.u8()) % count,
            _ => usize::from(self.u16()) % count,
        }
    }

    /// One of some.
    pub(crate) fn pick<'b, T>(&mut self, from: &'b [T]) -> Option<&'b T> {
        let index = self.below(from.len());
        from.get(index)
    }

    /// A number that is small most of the time, and as large as there are sometimes.
    pub(crate) fn number(&mut self) -> u64 {
        match self.u8() {
            0xff => u64::MAX,
            0xfe => u64::MAX - 1,
            0xfd => self.u64(),
            small => small.into(),
        }
    }

    /// Changes bytes in one way; an input that is used up changes nothing.
    pub(crate) fn edit(&mut self, bytes: &mut Vec<u8>) {
        let (how, at, value) = (self.u8() % 6, usize::from(self.u16()), self.u8());
        let at = at % bytes.len().max(1);
        match how {
            0 => {}
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= value),
            2 => bytes.truncate(at),
            3 => bytes.extend(std::iter::repeat_n(value, 1 + at % 40)),
            4 => bytes.iter_mut().skip(at).take(usize::from(value)).for_each(|byte| *byte = 0),
            _ => bytes.rotate_left(at),
        }
    }
}
