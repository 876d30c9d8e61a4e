//! The address of content: its BLAKE3 hash.

use symphony_pit::{Error, Result};

pub(crate) type Hash = [u8; 32];

pub(crate) fn hex(hash: &Hash) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

pub(crate) fn parse(id: &str) -> Result<Hash> {
    blake3::Hash::from_hex(id)
        .map(Into::into)
        .map_err(|_| Error::invalid(format!("id: expected 64 hexadecimal digits, got {id:?}")))
}

pub(crate) fn parse_all<T: AsRef<str>, C: FromIterator<Hash>>(ids: &[T]) -> Result<C> {
    ids.iter().map(|id| parse(id.as_ref())).collect()
}
