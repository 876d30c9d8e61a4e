//! Texts by number, each with what is known of it: an open-addressing table of numbers, and an entry for each text. A number is
//! the text's place in the order of first mention.
//!
//! In a large graph every key that is looked up is found in memory, not in a cache: a slot and an entry are all that is read,
//! and an entry is one line of the cache, with the text in it where that is short.

use std::hint::black_box;
use std::ops::{Index, IndexMut};

/// No such text.
pub(crate) const NONE: u32 = u32::MAX;

/// Bytes of a text that stands in its entry.
const SHORT: usize = 24;

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    number: u32,
}

const FREE: Slot = Slot { hash: 0, number: NONE };

#[repr(align(64))]
struct Entry<T> {
    len: u32,
    /// The text, or the four bytes of its place among the long ones.
    text: [u8; SHORT],
    value: T,
}

impl<T> Entry<T> {
    /// Where a long text begins.
    fn start(&self) -> Option<usize> {
        let [a, b, c, d, ..] = self.text;
        (self.len as usize > SHORT).then_some(u32::from_le_bytes([a, b, c, d]) as usize)
    }

    fn bytes<'a>(&'a self, long: &'a str) -> &'a [u8] {
        match self.start() {
            None => &self.text[..self.len as usize],
            Some(start) => &long.as_bytes()[start..start + self.len as usize],
        }
    }
}

pub(crate) struct Interner<T> {
    entries: Vec<Entry<T>>,
    long: String,
    /// A power of two of slots, at most three quarters taken.
    slots: Vec<Slot>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), long: String::new(), slots: Vec::new() }
    }
}

impl<T> Index<u32> for Interner<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.entries[number as usize].value
    }
}

impl<T> IndexMut<u32> for Interner<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.entries[number as usize].value
    }
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

impl<T: Default> Interner<T> {
    pub fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(NONE)
    }

    pub fn get(&self, number: u32) -> &str {
        // Copied from a text, so it is one.
        std::str::from_utf8(self.entries[number as usize].bytes(&self.long)).unwrap_or_default()
    }

    pub fn find(&self, text: &str) -> Option<u32> {
        self.probe(text, hash(text)).ok()
    }

    /// Bring into the cache what a look-up of each text reads. Step by step for several of them: so the waits for memory run side
    /// by side, where look-ups one by one wait one after the other.
    pub fn fetch<'a>(&self, mut texts: impl Iterator<Item = &'a str>) {
        const TOGETHER: usize = 8;
        let mask = self.slots.len().wrapping_sub(1);
        let mut places = [0; TOGETHER];
        loop {
            let mut count = 0;
            for (place, text) in places.iter_mut().zip(&mut texts) {
                *place = hash(text) as usize & mask;
                count += 1;
            }
            for place in &mut places[..count] {
                *place = self.slots.get(*place).map_or(0, |slot| slot.number as usize);
            }
            for number in &places[..count] {
                black_box(self.entries.get(*number).map(|entry| entry.len));
            }
            if count < TOGETHER {
                return;
            }
        }
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
            if slot.hash == hash && self.entries[slot.number as usize].bytes(&self.long) == text.as_bytes() {
                return Ok(slot.number);
            }
            at = (at + 1) & mask;
        }
    }

    /// Make room for so many texts in all.
    pub fn reserve(&mut self, texts: usize) {
        self.entries.reserve(texts.saturating_sub(self.entries.len()));
        let slots = (texts * 4).div_ceil(3).next_power_of_two();
        if slots > self.slots.len() {
            self.rebuild(slots);
        }
    }

    /// Whether a text has, or now gets, this number.
    pub fn confirm(&mut self, number: u32, text: &str) -> bool {
        match self.entries.get(number as usize) {
            Some(entry) => entry.bytes(&self.long) == text.as_bytes(),
            None => self.intern(text) == Some(number),
        }
    }

    /// The number of a text, a new one if it is new. None: there is no room for 4 GiB of text.
    pub fn intern(&mut self, text: &str) -> Option<u32> {
        let hash = hash(text);
        let free = match self.probe(text, hash) {
            Ok(known) => return Some(known),
            Err(free) => free,
        };
        let number = u32::try_from(self.entries.len()).ok().filter(|number| *number < NONE)?;
        let mut entry = Entry { len: u32::try_from(text.len()).ok()?, text: [0; SHORT], value: T::default() };
        if let Some(short) = entry.text.get_mut(..text.len()) {
            short.copy_from_slice(text.as_bytes());
        } else {
            let start = u32::try_from(self.long.len()).ok()?;
            entry.text[..4].copy_from_slice(&start.to_le_bytes());
            self.long.push_str(text);
        }
        self.entries.push(entry);
        let slot = Slot { hash, number };
        if self.entries.len() * 4 > self.slots.len() * 3 {
            self.rebuild((self.slots.len() * 2).max(16));
            self.put(slot);
        } else {
            self.slots[free] = slot;
        }
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
        if let Some(start) = self.entries[len as usize..].iter().find_map(Entry::start) {
            self.long.truncate(start);
        }
        self.entries.truncate(len as usize);
        for slot in &mut self.slots {
            if slot.number >= len {
                *slot = FREE;
            }
        }
        self.rebuild(self.slots.len());
    }

    /// The texts from a number on.
    pub fn since(&self, number: u32) -> impl ExactSizeIterator<Item = &str> + Clone {
        (number..self.len()).map(|number| self.get(number))
    }

    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<T>>()
            + self.long.capacity()
            + self.slots.capacity() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_order_of_first_mention() {
        let mut texts = Interner::<()>::default();
        for number in 0..10_000 {
            assert_eq!(texts.intern(&format!("step-{number}")), Some(number));
        }
        assert_eq!(texts.intern("step-77"), Some(77));
        assert_eq!(texts.find("step-9999"), Some(9999));
        assert_eq!((texts.find("other"), texts.get(3), texts.len()), (None, "step-3", 10_000));
    }

    #[test]
    fn a_number_is_confirmed_for_its_own_text_alone() {
        let mut texts = Interner::<()>::default();
        texts.reserve(3);
        assert!(texts.confirm(0, "a") && texts.confirm(1, "b") && texts.confirm(0, "a"));
        assert!(!texts.confirm(1, "a") && !texts.confirm(2, "a") && !texts.confirm(3, "c"));
        assert_eq!((texts.find("b"), texts.find("c"), texts.len()), (Some(1), Some(2), 3));
    }

    #[test]
    fn what_is_truncated_is_new_again() {
        let mut texts = Interner::<()>::default();
        for number in 0..100 {
            texts.intern(&format!("{number}"));
        }
        texts.truncate(40);
        assert_eq!((texts.len(), texts.find("40"), texts.find("39")), (40, None, Some(39)));
        assert_eq!((texts.intern("new"), texts.get(40)), (Some(40), "new"));
    }

    #[test]
    fn empty_and_long_texts_are_texts() {
        let mut texts = Interner::<()>::default();
        assert_eq!(texts.find(""), None);
        assert_eq!(texts.intern(""), Some(0));
        assert_eq!(texts.intern(&"ä".repeat(1000)), Some(1));
        assert_eq!((texts.get(0), texts.get(1).len()), ("", 2000));
    }

    #[test]
    fn texts_of_every_length_are_told_apart_and_truncated_together() {
        let all: Vec<String> = (0..3 * SHORT).map(|length| "k".repeat(length)).collect();
        let mut texts = Interner::<()>::default();
        for _ in 0..2 {
            for (number, text) in (0..).zip(&all) {
                assert_eq!(texts.intern(text), Some(number));
            }
            assert!(texts.since(0).eq(all.iter().map(String::as_str)));
            texts.truncate(10); // a second time they take the places of the first
        }
        let few = texts.bytes();
        assert_eq!((texts.find(&all[40]), texts.find(&all[9])), (None, Some(9)));
        assert_eq!((texts.intern(&all[50]), texts.get(10), texts.bytes()), (Some(10), all[50].as_str(), few));
    }

    #[test]
    fn what_is_known_of_a_text_stays_with_it() {
        let mut texts = Interner::<u64>::default();
        for number in 0..1_000 {
            let key = texts.intern(&format!("{number}")).unwrap();
            texts[key] += number;
        }
        texts.fetch(["7", "none"].into_iter().cycle().take(20)); // changes nothing
        assert!(
            (0..1_000_u64)
                .all(|number| texts.find(&number.to_string()).map(|key| texts[key]) == Some(number))
        );
    }
}
