//! Is this file a complete shared object for this machine? Loading a truncated one would kill the process (SIGBUS), so its
//! headers are read as data first. Only ELF is known; elsewhere the loader is the judge.

use std::path::Path;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const TYPE_SHARED: u16 = 3;
const MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

pub(crate) fn expected() -> String {
    format!("a complete shared library for {}", std::env::consts::ARCH)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Nothing, or what was found instead.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if cfg!(not(target_os = "linux")) {
        return Ok(());
    }
    if bytes.get(..4) != Some(b"\x7fELF") {
        let head = &bytes[..bytes.len().min(8)];
        return Err(format!("a file of {} bytes beginning with {head:02x?}", bytes.len()));
    }
    if bytes.len() < HEADER || bytes[4] != 2 || bytes[5] != 1 {
        return Err("an ELF file that is cut off, or not 64-bit little-endian".to_owned());
    }
    let word = |at| number(&bytes, at).map_or(0, u16::from_le_bytes);
    let long = |at| number(&bytes, at).map_or(0, u64::from_le_bytes);
    if word(16) != TYPE_SHARED {
        return Err(format!("an ELF file of type {}", word(16)));
    }
    if word(18) != MACHINE {
        return Err(format!("a library for another machine (ELF machine {})", word(18)));
    }
    let (table, count) = (usize::try_from(long(32)).unwrap_or(usize::MAX), usize::from(word(56)));
    let end = (0..count)
        .filter_map(|index| {
            let at = table.checked_add(index * PROGRAM_HEADER)?;
            long(at + 8).checked_add(long(at + 32))
        })
        .chain([table.saturating_add(count * PROGRAM_HEADER) as u64])
        .max()
        .unwrap_or(0);
    if end > bytes.len() as u64 {
        return Err(format!("a truncated one: {} bytes of at least {end}", bytes.len()));
    }
    Ok(())
}
