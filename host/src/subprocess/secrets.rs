//! The values of secrets, which the interpreter tells of before it gives them to a step: taken out of all that it writes.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;

/// One form of a value, and what stands in its place.
struct Secret {
    value: Vec<u8>,
    shown: Vec<u8>,
}

/// What one interpreter has read so far.
pub(super) struct Secrets {
    /// Does not block.
    told: UnixStream,
    unread: Vec<u8>,
    known: Vec<Secret>,
    /// The end of what was written last, which may be the beginning of a value.
    held: Vec<u8>,
}

impl Secrets {
    /// `told` gives frames: the length of what is shown as four bytes, it, the length of the value, it.
    pub fn new(told: UnixStream) -> Self {
        Self { told, unread: Vec::new(), known: Vec::new(), held: Vec::new() }
    }

    /// Take in all that was told before now.
    fn learn(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.told.read(&mut buffer) {
                Ok(count @ 1..) => self.unread.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        while let Some((secret, length)) = frame(&self.unread) {
            self.unread.drain(..length);
            self.known.push(secret);
        }
        self.known.sort_by_key(|secret| std::cmp::Reverse(secret.value.len())); // the longest of several that fit
    }

    /// What was written, without values. Of the beginning of one it is told once more is known.
    pub fn clean(&mut self, written: &[u8]) -> Vec<u8> {
        self.learn();
        let mut text = std::mem::take(&mut self.held);
        text.extend(written);
        let mut clean = Vec::with_capacity(text.len());
        let mut rest = &text[..];
        while let Some((&first, after)) = rest.split_first() {
            if let Some(secret) = self.known.iter().find(|secret| rest.starts_with(&secret.value)) {
                clean.extend(&secret.shown);
                rest = &rest[secret.value.len()..];
            } else if self.known.iter().any(|secret| secret.value.starts_with(rest)) {
                self.held = rest.to_vec();
                break;
            } else {
                clean.push(first);
                rest = after;
            }
        }
        clean
    }

    /// Nothing more will be written: what was held back is a part of a value at most.
    pub fn rest(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        match self.known.iter().find(|secret| secret.value.starts_with(&held)) {
            Some(secret) if held.len() > 1 => secret.shown.clone(),
            _ => held,
        }
    }
}

/// The first frame, if all of it is there, and its length.
fn frame(bytes: &[u8]) -> Option<(Secret, usize)> {
    let part = |bytes: &[u8]| -> Option<Vec<u8>> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        rest.get(..u32::from_le_bytes(*length) as usize).map(<[u8]>::to_vec)
    };
    let shown = part(bytes)?;
    let value = part(&bytes[4 + shown.len()..])?;
    let length = 8 + shown.len() + value.len();
    Some((Secret { value, shown }, length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use std::io::Write;

    use super::*;

    fn tell(stream: &mut UnixStream, shown: &str, value: &str) {
        for part in [shown, value] {
            stream.write_all(&u32::try_from(part.len()).unwrap().to_le_bytes()).unwrap();
            stream.write_all(part.as_bytes()).unwrap();
        }
    }

    fn pair() -> (UnixStream, Secrets) {
        let (teller, told) = UnixStream::pair().unwrap();
        told.set_nonblocking(true).unwrap();
        (teller, Secrets::new(told))
    }

    #[test]
    fn a_value_is_found_wherever_it_is_cut() {
        let written = b"a hunter2 and hunter22, hunt, hunter2";
        for at in 0..written.len() {
            let (mut teller, mut secrets) = pair();
            tell(&mut teller, "[A]", "hunter2");
            tell(&mut teller, "[B]", "hunter22");
            let mut clean = secrets.clean(&written[..at]);
            clean.extend(secrets.clean(&written[at..]));
            clean.extend(secrets.rest());
            assert_eq!(String::from_utf8(clean).unwrap(), "a [A] and [B], hunt, [A]", "cut at {at}");
        }
    }

    #[test]
    fn what_is_told_before_it_is_written_is_known() {
        let (mut teller, mut secrets) = pair();
        assert_eq!(secrets.clean(b"hunter2\n"), b"hunter2\n");
        tell(&mut teller, "[A]", "hunter2");
        assert_eq!(secrets.clean(b"hunter2\n"), b"[A]\n");
    }

    #[test]
    fn a_part_of_a_value_at_the_end_is_taken_out() {
        let (mut teller, mut secrets) = pair();
        tell(&mut teller, "[A]", "hunter2");
        assert_eq!(secrets.clean(b"it is hunt"), b"it is ");
        assert_eq!(secrets.rest(), b"[A]");
    }
}
