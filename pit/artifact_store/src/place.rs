//! Where a content lies on disk, and in which form.

use std::num::NonZeroU64;

use crate::hash::Hash;
use crate::records::Event;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Pack { pack: u32, offset: u64 },
    File,
}

/// A content as it lies: `cold` is the number of bytes that it takes compressed, none where it is as it was put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    pub place: Place,
    pub size: u64,
    pub cold: Option<NonZeroU64>,
}

impl Kept {
    /// Bytes at its place.
    pub fn bytes(self) -> u64 {
        self.cold.map_or(self.size, NonZeroU64::get)
    }

    /// Bytes that it saves by being cold.
    pub fn saved(self) -> u64 {
        self.size.saturating_sub(self.bytes())
    }

    /// What the log says of content that has come to this place.
    pub fn event(self, hash: Hash) -> Event {
        let Self { place, size, cold } = self;
        match cold {
            None => Event::Stored { hash, size, place },
            Some(bytes) => Event::Cooled { hash, place, bytes },
        }
    }

    /// Which place a record names.
    pub fn of(event: &Event) -> Option<Self> {
        match *event {
            Event::Stored { size, place, .. } => Some(Self { place, size, cold: None }),
            Event::Cooled { place, bytes, .. } => Some(Self { place, size: bytes.get(), cold: Some(bytes) }),
            _ => None,
        }
    }
}
