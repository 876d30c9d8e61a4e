//! Texts by number: one arena of text and an open-addressing table of numbers, so that a key costs its bytes and about
//! twenty more. A number is the text's place in the order of first mention.

/// No such text.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    number: u32,
}

const FREE: Slot = Slot { hash: 0, number: NONE };

#[derive(Default)]
pub(crate) struct Interner {
    text: String,
    ends: Vec<u32>,
    /// A power of two of slots, at most three quarters taken.
    slots: Vec<Slot>,
}

/// Not seeded: numbers are the same on every replay, and the texts are the user's own.
fn hash(text: &str) -> u32 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut mixed = PRIME ^ text.len() as u64;
    let mut chunks = text.as_bytes().chunks_exact(8);
    let mut mix = |word: u64| {
        let wide = u128::from(mixed ^ word) * u128::from(PRIME);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
        let folded = (wide as u64) ^ ((wide >> 64) as u64);
        mixed = folded;
    };
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        mix(u64::from_le_bytes(word));
    }
    let mut word = [0; 8];
    word[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    mix(u64::from_le_bytes(word));
    #[expect(clippy::cast_possible_truncation, reason = "the better half of the bits")]
    let folded = (mixed ^ (mixed >> 32)) as u32;
    folded
}

impl Interner {
    pub fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(NONE)
    }

    pub fn get(&self, number: u32) -> &str {
        let at = number as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text[start..self.ends[at] as usize]
    }

    pub fn find(&self, text: &str) -> Option<u32> {
        self.probe(text, hash(text)).ok()
    }

    /// The number of a text, or the free slot where it belongs.
    fn probe(&self, text: &str, hash: u32) -> Result<u32, usize> {
        if self.slots.is_empty() {
            return Err(0);
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.number == NONE {
                return Err(at);
            }
            if slot.hash == hash && self.get(slot.number) == text {
                return Ok(slot.number);
            }
            at = (at + 1) & mask;
        }
    }

    /// The number of a text, a new one if it is new. None: there is no room for 4 GiB of text.
    pub fn intern(&mut self, text: &str) -> Option<u32> {
        let hash = hash(text);
        if let Ok(known) = self.probe(text, hash) {
            return Some(known);
        }
        let end = u32::try_from(self.text.len() + text.len()).ok()?;
        if (self.ends.len() + 1) * 4 > self.slots.len() * 3 {
            self.rebuild((self.slots.len() * 2).max(16));
        }
        let number = self.len();
        self.text.push_str(text);
        self.ends.push(end);
        self.put(Slot { hash, number });
        Some(number)
    }

    fn put(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot.hash as usize & mask;
        while self.slots[at].number != NONE {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    fn rebuild(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![FREE; slots]);
        for slot in old.into_iter().filter(|slot| slot.number != NONE) {
            self.put(slot);
        }
    }

    /// Forget all texts from `len` on: what was interned for a record that could not be written.
    pub fn truncate(&mut self, len: u32) {
        if len >= self.len() {
            return;
        }
        self.ends.truncate(len as usize);
        self.text.truncate(self.ends.last().map_or(0, |end| *end as usize));
        for slot in &mut self.slots {
            if slot.number >= len {
                *slot = FREE;
            }
        }
        self.rebuild(self.slots.len());
    }

    /// The texts from a number on.
    pub fn since(&self, number: u32) -> impl ExactSizeIterator<Item = &str> {
        (number as usize..self.ends.len()).map(|at| {
            let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
            &self.text[start..self.ends[at] as usize]
        })
    }

    pub fn bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * 4 + self.slots.capacity() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_order_of_first_mention() {
        let mut texts = Interner::default();
        for number in 0..10_000 {
            assert_eq!(texts.intern(&format!("step-{number}")), Some(number));
        }
        assert_eq!(texts.intern("step-77"), Some(77));
        assert_eq!(texts.find("step-9999"), Some(9999));
        assert_eq!((texts.find("other"), texts.get(3), texts.len()), (None, "step-3", 10_000));
    }

    #[test]
    fn what_is_truncated_is_new_again() {
        let mut texts = Interner::default();
        for number in 0..100 {
            texts.intern(&format!("{number}"));
        }
        texts.truncate(40);
        assert_eq!((texts.len(), texts.find("40"), texts.find("39")), (40, None, Some(39)));
        assert_eq!((texts.intern("new"), texts.get(40)), (Some(40), "new"));
    }

    #[test]
    fn empty_and_long_texts_are_texts() {
        let mut texts = Interner::default();
        assert_eq!(texts.find(""), None);
        assert_eq!(texts.intern(""), Some(0));
        assert_eq!(texts.intern(&"ä".repeat(1000)), Some(1));
        assert_eq!((texts.get(0), texts.get(1).len()), ("", 2000));
    }
}
