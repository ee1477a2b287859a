// SPDX-License-Identifier: GPL-2.0

//! The netlink attributes of a message, read and written by type.

use netlink_packet_core::{
    parse_string, parse_u16, parse_u32, parse_u64, parse_u8, DecodeError, Emitable, Nla,
    NlasIterator, NLA_F_NESTED,
};

#[derive(Clone, Debug, PartialEq)]
struct Attribute {
    kind: u16,
    value: Vec<u8>,
}

impl Nla for Attribute {
    fn value_len(&self) -> usize {
        self.value.len()
    }

    fn kind(&self) -> u16 {
        self.kind
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.value);
    }
}

/// The attributes of one message or of one nest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(Vec<Attribute>);

impl Attributes {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let attributes = NlasIterator::new(bytes).map(|nla| {
            nla.map(|nla| Attribute {
                kind: nla.kind(),
                value: nla.value().to_vec(),
            })
        });
        Ok(Self(attributes.collect::<Result<_, _>>()?))
    }

    pub fn put_u8(&mut self, kind: u16, value: u8) {
        self.put(kind, vec![value]);
    }

    pub fn put_u16(&mut self, kind: u16, value: u16) {
        self.put(kind, value.to_ne_bytes().to_vec());
    }

    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, value.to_ne_bytes().to_vec());
    }

    /// Add a string with the NUL that ends it.
    pub fn put_str(&mut self, kind: u16, value: &str) {
        self.put(kind, [value.as_bytes(), b"\0"].concat());
    }

    pub fn put_nest(&mut self, kind: u16, nest: &Self) {
        let mut value = vec![0; nest.buffer_len()];
        nest.emit(&mut value);
        self.put(kind | NLA_F_NESTED, value);
    }

    pub fn put(&mut self, kind: u16, value: Vec<u8>) {
        self.0.push(Attribute { kind, value });
    }

    pub fn get(&self, kind: u16) -> Option<&[u8]> {
        let attribute = self.0.iter().find(|attribute| attribute.kind == kind)?;
        Some(&attribute.value)
    }

    /// Every attribute of a kind that a message may have several times.
    pub fn all(&self, kind: u16) -> impl Iterator<Item = &[u8]> {
        let of_kind = self
            .0
            .iter()
            .filter(move |attribute| attribute.kind == kind);
        of_kind.map(|attribute| attribute.value.as_slice())
    }

    pub fn bool(&self, kind: u16) -> Result<bool, DecodeError> {
        self.typed(kind, parse_u8).map(|value| value != 0)
    }

    pub fn u8(&self, kind: u16) -> Result<u8, DecodeError> {
        self.typed(kind, parse_u8)
    }

    pub fn u16(&self, kind: u16) -> Result<u16, DecodeError> {
        self.typed(kind, parse_u16)
    }

    pub fn u32(&self, kind: u16) -> Result<u32, DecodeError> {
        self.typed(kind, parse_u32)
    }

    /// An integer of YNL's type `uint`: of 4 bytes when the value fits, else of 8.
    pub fn uint(&self, kind: u16) -> Result<u64, DecodeError> {
        self.typed(kind, |value| match value.len() {
            4 => parse_u32(value).map(u64::from),
            _ => parse_u64(value),
        })
    }

    pub fn string(&self, kind: u16) -> Result<String, DecodeError> {
        self.typed(kind, parse_string)
    }

    pub fn array<const N: usize>(&self, kind: u16) -> Result<[u8; N], DecodeError> {
        self.typed(kind, |value| {
            let array = value.try_into();
            array.map_err(|_| DecodeError::invalid_number(N, value.len()))
        })
    }

    pub fn nest(&self, kind: u16) -> Result<Self, DecodeError> {
        self.typed(kind, Self::parse)
    }

    fn typed<T>(
        &self,
        kind: u16,
        parse: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let value = self.get(kind).ok_or_else(|| "it is missing".into());
        let parsed = value.and_then(parse);
        parsed.map_err(|error: DecodeError| format!("attribute {kind}: {error}").into())
    }
}

impl Emitable for Attributes {
    fn buffer_len(&self) -> usize {
        self.0.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.0.as_slice().emit(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 4 + value.len() as u16;
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn written_as_the_kernel_reads_them() {
        let mut attributes = Attributes::new();
        attributes.put_str(2, "wg0");
        attributes.put_str(2, "wg12");
        attributes.put_u32(3, 0x0102_0304);
        let mut bytes = vec![0xff; attributes.buffer_len()];
        attributes.emit(&mut bytes);
        assert_eq!(
            bytes,
            [
                attribute(2, b"wg0\0"),
                attribute(2, b"wg12\0"),
                attribute(3, &0x0102_0304_u32.to_ne_bytes()),
            ]
            .concat()
        );
        assert_eq!(Attributes::parse(&bytes).unwrap(), attributes);
    }

    #[test]
    fn read_by_type() {
        let bytes = [
            attribute(1, &[1]),
            attribute(2, &7u32.to_ne_bytes()),
            attribute(3, &u64::MAX.to_ne_bytes()),
            attribute(4, b"wg0\0"),
            attribute(5, &[9; 32]),
            attribute(6 | 0x8000, &attribute(1, &3u32.to_ne_bytes())),
        ]
        .concat();
        let attributes = Attributes::parse(&bytes).unwrap();
        assert!(attributes.bool(1).unwrap());
        assert_eq!(attributes.u32(2).unwrap(), 7);
        assert_eq!(attributes.uint(2).unwrap(), 7);
        assert_eq!(attributes.uint(3).unwrap(), u64::MAX);
        assert_eq!(attributes.string(4).unwrap(), "wg0");
        assert_eq!(attributes.array(5).unwrap(), [9; 32]);
        assert_eq!(attributes.nest(6).unwrap().uint(1).unwrap(), 3);
    }

    #[test]
    fn of_the_wrong_size_or_missing() {
        let bytes = [attribute(1, &[0; 3]), attribute(2, &[0; 33])].concat();
        let attributes = Attributes::parse(&bytes).unwrap();
        assert!(attributes.u32(1).is_err());
        assert!(attributes.uint(1).is_err());
        assert!(attributes.array::<32>(2).is_err());
        assert!(attributes.nest(1).is_err());
        assert!(attributes.u32(3).is_err());
        assert!(attributes.get(3).is_none());
    }

    #[test]
    fn cut_off() {
        let bytes = attribute(1, &[0; 8]);
        assert!(Attributes::parse(&bytes[..10]).is_err());
        assert!(Attributes::parse(&bytes[..2]).is_err());
    }
}
