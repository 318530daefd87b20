//! The list of a runtime image's resources: the part in which its index is compared.
//! Never knows how the index is laid out.

/// Resources in the order of their content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResourceList<'a> {
    /// The first bytes of the file: magic number, version and flags.
    pub(super) start: &'a [u8],
    pub(super) resources: Vec<Resource<'a>>,
    /// The table of strings, if it is not that of the names in order.
    pub(super) strings: &'a [u8],
}

/// A resource: a class, or another file of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resource<'a> {
    /// Module, package, name and extension; each may be empty.
    pub(super) names: [&'a [u8]; NAMES],
    /// Bytes when it is unpacked.
    pub(super) bytes: u32,
    /// Bytes that the file stores, 0 if it is not compressed.
    pub(super) packed_bytes: u32,
}

impl Resource<'_> {
    /// Returns the bytes that the file stores.
    pub(super) fn stored_bytes(&self) -> u32 {
        if self.packed_bytes == 0 { self.bytes } else { self.packed_bytes }
    }
}

impl<'a> ResourceList<'a> {
    /// Writes the list.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut list = self.start.to_vec();
        let count = u32::try_from(self.resources.len()).expect("as many as in a header");
        list.extend_from_slice(&count.to_le_bytes());
        for resource in &self.resources {
            for name in resource.names {
                list.extend_from_slice(name);
                list.push(0);
            }
            list.extend_from_slice(&resource.bytes.to_le_bytes());
            list.extend_from_slice(&resource.packed_bytes.to_le_bytes());
        }
        list.extend_from_slice(self.strings);
        list
    }

    /// Reads a list; `None` if it is cut or has too many resources.
    pub(super) fn read(list: &'a [u8]) -> Option<Self> {
        let (start, mut rest) = list.split_at_checked(START_BYTES)?;
        let count = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
        // The shortest resource has four empty names.
        let count = usize::try_from(count).ok().filter(|count| {
            *count <= rest.len() / LEAST_BYTES && *count <= MOST_RESOURCES as usize
        })?;
        let mut resources = Vec::with_capacity(count);
        for _ in 0..count {
            let mut names = [&rest[..0]; NAMES];
            for name in &mut names {
                let end = rest.iter().position(|byte| *byte == 0)?;
                *name = rest.split_off(..end)?;
                rest.split_off_first()?;
            }
            let mut number = || Some(u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?));
            let (bytes, packed_bytes) = (number()?, number()?);
            resources.push(Resource { names, bytes, packed_bytes });
        }
        Some(Self { start, resources, strings: rest })
    }
}

/// Names of a resource.
pub(super) const NAMES: usize = 4;
/// Bytes of magic number, version and flags.
pub(super) const START_BYTES: usize = 12;
/// Bytes of a resource with empty names.
pub(super) const LEAST_BYTES: usize = NAMES + 8;
/// Most bytes of a list. That of the whole JDK has 2 MB.
pub(super) const MOST_LIST_BYTES: usize = 16 << 20;
/// Most resources, each of which takes some hundred bytes of memory. The whole JDK has 30,000.
pub(super) const MOST_RESOURCES: u32 = 1 << 18;
