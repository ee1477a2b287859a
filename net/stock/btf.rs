// SPDX-License-Identifier: GPL-2.0

//! BTF, as far as it says where a module's structs have their members.
//!
//! [`include/uapi/linux/btf.h`](srctree/include/uapi/linux/btf.h)

const MAGIC: u32 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

/// The length of `struct btf_type` and of `struct btf_member`.
const WORDS: usize = 12;

/// Read a word; [`None`] behind the end.
fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// The types and strings of vmlinux, or those of a module, which are numbered on from these.
pub(super) struct Image<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Image<'a> {
    /// Take the content of a file of /sys/kernel/btf.
    pub(super) fn new(data: &'a [u8]) -> Option<Self> {
        // struct btf_header
        if word(data, 0)? & 0xffff != MAGIC {
            return None;
        }
        let body = data.get(word(data, 4)? as usize..)?;
        let section = |at| {
            let start = word(data, at)? as usize;
            body.get(start..start.checked_add(word(data, at + 4)? as usize)?)
        };
        Some(Self {
            types: section(8)?,
            strings: section(16)?,
        })
    }

    fn types(&self) -> Types<'a> {
        Types(self.types)
    }
}

/// The types of an image, up to one of an unknown kind.
struct Types<'a>(&'a [u8]);

struct Type<'a> {
    name: u32,
    kind: u32,
    /// Whether the offset of a member has the size of a bit-field in it.
    has_bits: bool,
    size: u32,
    /// The array of `struct btf_member`, of a struct or union.
    members: &'a [u8],
}

impl<'a> Iterator for Types<'a> {
    type Item = Type<'a>;

    fn next(&mut self) -> Option<Type<'a>> {
        let (name, info, size) = (word(self.0, 0)?, word(self.0, 4)?, word(self.0, 8)?);
        let kind = info >> 24 & 0x7f;
        let len = (info & 0xff_ffff) as usize;
        let behind = match kind {
            // Int, variable, declaration tag
            1 | 14 | 17 => 4,
            // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag
            2 | 7..=12 | 16 | 18 => 0,
            // Array
            3 => 12,
            // Enum, prototype
            6 | 13 => len * 8,
            // Struct, union, section, 64-bit enum
            KIND_STRUCT | KIND_UNION | 15 | 19 => len * 12,
            _ => return None,
        };
        let (members, rest) = self.0.get(WORDS..)?.split_at_checked(behind)?;
        self.0 = rest;
        Some(Type {
            name,
            kind,
            has_bits: info >> 31 != 0,
            size,
            members,
        })
    }
}

/// The BTF of a module.
pub(super) struct Module<'a> {
    vmlinux: Image<'a>,
    own: Image<'a>,
    /// The number of the module's first type.
    first: usize,
}

impl<'a> Module<'a> {
    /// Take the image of a module, and that of vmlinux which it builds on.
    pub(super) fn new(vmlinux: Image<'a>, own: Image<'a>) -> Self {
        // Type 0, void, is in no image.
        let first = vmlinux.types().count() + 1;
        Self {
            vmlinux,
            own,
            first,
        }
    }

    fn is_named(&self, offset: u32, name: &[u8]) -> bool {
        let offset = offset as usize;
        let string = match offset.checked_sub(self.vmlinux.strings.len()) {
            Some(offset) => self.own.strings.get(offset..),
            None => self.vmlinux.strings.get(offset..),
        };
        string.is_some_and(|string| {
            string
                .strip_prefix(name)
                .is_some_and(|s| s.first() == Some(&0))
        })
    }

    fn find(&self, name: &[u8]) -> Option<Type<'a>> {
        self.own
            .types()
            .find(|t| t.kind == KIND_STRUCT && self.is_named(t.name, name))
    }

    /// Return the size of a struct in bytes.
    pub(super) fn size_of(&self, name: &[u8]) -> Option<u32> {
        self.find(name).map(|t| t.size)
    }

    /// Return the offset of a struct's member in bytes, also of one in a struct or union without a
    /// name; [`None`] if there is no such member, or if it is a bit-field.
    pub(super) fn offset_of(&self, name: &[u8], member: &[u8]) -> Option<u32> {
        let bits = self.bits_before(&self.find(name)?, member, 0)?;
        (bits % 8 == 0).then_some(bits / 8)
    }

    fn bits_before(&self, container: &Type<'_>, member: &[u8], depth: u32) -> Option<u32> {
        for entry in container.members.chunks_exact(WORDS) {
            let (name, id, offset) = (word(entry, 0)?, word(entry, 4)?, word(entry, 8)?);
            if container.has_bits && offset >> 24 != 0 {
                continue;
            }
            if self.is_named(name, member) {
                return Some(offset);
            }
            let inner = (id as usize)
                .checked_sub(self.first)
                .filter(|_| depth < 4 && self.is_named(name, b""))
                .and_then(|index| self.own.types().nth(index))
                .filter(|t| t.kind == KIND_STRUCT || t.kind == KIND_UNION)
                .and_then(|t| self.bits_before(&t, member, depth + 1));
            if let Some(inner) = inner {
                return offset.checked_add(inner);
            }
        }
        None
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(wgvia_btf)]
mod tests {
    use super::*;
    use kernel::prelude::*;

    /// Make an image of words of types and of strings.
    fn image(types: &[u32], strings: &[u8]) -> Result<KVec<u8>> {
        let mut data = KVec::new();
        let len = types.len() as u32 * 4;
        let header = [MAGIC | 1 << 16, 24, 0, len, len, strings.len() as u32];
        for word in [&header, types].into_iter().flatten() {
            data.extend_from_slice(&word.to_ne_bytes(), GFP_KERNEL)?;
        }
        data.extend_from_slice(strings, GFP_KERNEL)?;
        Ok(data)
    }

    const VMLINUX: &[u8] = b"\0int\0list\0";
    const INT: [u32; 4] = [1, 1 << 24, 4, 32];

    #[test]
    fn layouts() -> Result {
        let vmlinux = image(&INT, VMLINUX)?;
        // int is 1, so the module's first type is 2; its strings begin behind those of vmlinux,
        // whose "list" it uses too.
        let at = VMLINUX.len() as u32;
        let (peer, refs, addr) = (at, at + 5, at + 10);
        #[rustfmt::skip]
        let types = [
            // union { int addr; }
            0, KIND_UNION << 24 | 1, 4,
            addr, 1, 0,
            // struct peer { int list; union { int addr; }; int refs; }
            peer, KIND_STRUCT << 24 | 3, 12,
            5, 1, 0,
            0, 2, 32,
            refs, 1, 64,
        ];
        let own = image(&types, b"peer\0refs\0addr\0")?;
        let (Some(vmlinux), Some(own)) = (Image::new(&vmlinux), Image::new(&own)) else {
            return Err(EINVAL);
        };
        let module = Module::new(vmlinux, own);
        assert_eq!(module.size_of(b"peer"), Some(12));
        assert_eq!(module.size_of(b"pee"), None);
        for (member, offset) in [(b"list", 0), (b"addr", 4), (b"refs", 8)] {
            assert_eq!(module.offset_of(b"peer", member), Some(offset));
        }
        assert_eq!(module.offset_of(b"peer", b"ref"), None);
        Ok(())
    }

    /// An image that is cut off, or no BTF, gives nothing and does not panic.
    #[test]
    fn broken() -> Result {
        let whole = image(&INT, VMLINUX)?;
        for len in 0..whole.len() {
            let cut = whole.get(..len).unwrap_or_default();
            assert!(Image::new(cut).is_none());
        }
        assert!(Image::new(&[0; 64]).is_none());
        Ok(())
    }
}
