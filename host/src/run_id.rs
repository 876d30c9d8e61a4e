//! Run ids: ULIDs in lower case, 26 characters, ordered by the time they were made.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Makes ids that grow, also within one millisecond and when the clock is set back.
#[derive(Default)]
pub struct RunIds {
    last: Cell<u128>,
}

impl RunIds {
    pub fn make(&self) -> io::Result<String> {
        let mut random = [0; 10];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let mut bytes = [0; 16];
        bytes[6..].copy_from_slice(&random);
        let millis = u128::from(crate::clock::now().unsigned_abs() / 1000);
        let fresh = (millis << 80) | u128::from_be_bytes(bytes);
        let id = fresh.max(self.last.get() + 1);
        self.last.set(id);
        Ok((0..26).rev().map(|at| char::from(ALPHABET[((id >> (at * 5)) & 31) as usize])).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use super::*;

    #[test]
    fn ids_grow() {
        let ids = RunIds::default();
        let made: Vec<String> = (0..1000).map(|_| ids.make().unwrap()).collect();
        assert!(made.iter().all(|id| id.len() == 26 && id.starts_with("01")));
        assert!(made.is_sorted_by(|one, two| one < two));
    }
}
