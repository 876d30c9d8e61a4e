//! A map by hash, in the order of the hashes. They are spread evenly, so that the beginning of a hash says nearly where it stands
//! among all: a look-up reads there, once in the table and once at the entry, where a tree is read level by level.

use std::cmp::Ordering;

use crate::hash::Hash;

#[derive(Clone, Copy)]
struct Slot {
    head: u32,
    /// Number of the entry; `FREE` where there is none.
    entry: u32,
}

const FREE: u32 = u32::MAX;

/// The beginning of a hash, in the same order.
const fn head(hash: &Hash) -> u32 {
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// The slots hold all hashes in their order, each at its home or behind it with none free between.
pub(crate) struct ByHash<V> {
    /// 2 to the power of `bits` of them, at most three quarters taken, and a few more where the last ones are crowded.
    slots: Vec<Slot>,
    bits: u32,
    entries: Vec<Option<(Hash, V)>>,
    /// Entries that can be taken again.
    empty: Vec<u32>,
}

impl<V> Default for ByHash<V> {
    fn default() -> Self {
        Self { slots: Vec::new(), bits: 0, entries: Vec::new(), empty: Vec::new() }
    }
}

impl<V> ByHash<V> {
    pub fn len(&self) -> usize {
        self.entries.len() - self.empty.len()
    }

    fn home(&self, head: u32) -> usize {
        usize::try_from((u64::from(head) << self.bits) >> 32).unwrap_or(0) // below 2^32
    }

    fn taken(&self, at: usize) -> Option<Slot> {
        self.slots.get(at).copied().filter(|slot| slot.entry != FREE)
    }

    fn entry(&self, slot: Slot) -> Option<&(Hash, V)> {
        self.entries.get(slot.entry as usize)?.as_ref()
    }

    /// The slot of a hash, or the one where it belongs.
    fn find(&self, hash: &Hash) -> Result<usize, usize> {
        let head = head(hash);
        let mut at = self.home(head);
        while let Some(slot) = self.taken(at) {
            let order = slot.head.cmp(&head);
            match order.then_with(|| self.entry(slot).map_or(Ordering::Equal, |(known, _)| known.cmp(hash))) {
                Ordering::Less => at += 1,
                Ordering::Equal => return Ok(at),
                Ordering::Greater => break,
            }
        }
        Err(at)
    }

    pub fn get(&self, hash: &Hash) -> Option<&V> {
        let at = self.find(hash).ok()?;
        self.entry(self.slots[at]).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, hash: &Hash) -> Option<&mut V> {
        let at = self.find(hash).ok()?;
        self.entries[self.slots[at].entry as usize].as_mut().map(|(_, value)| value)
    }

    pub fn contains_key(&self, hash: &Hash) -> bool {
        self.find(hash).is_ok()
    }

    /// Put a value in; gives the one that was there.
    pub fn insert(&mut self, hash: Hash, value: V) -> Option<V> {
        if (self.len() + 1) * 4 > (3 << self.bits) || self.slots.is_empty() {
            self.grow();
        }
        let at = match self.find(&hash) {
            Ok(at) => {
                let known = &mut self.entries[self.slots[at].entry as usize];
                return known.replace((hash, value)).map(|(_, value)| value);
            }
            Err(at) => at,
        };
        let entry = self.empty.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(FREE) // memory ends long before
        });
        self.entries[entry as usize] = Some((hash, value));
        let gap = (at..self.slots.len()).find(|at| self.taken(*at).is_none()).unwrap_or(self.slots.len());
        if gap == self.slots.len() {
            self.slots.push(Slot { head: 0, entry: FREE });
        }
        self.slots.copy_within(at..gap, at + 1);
        self.slots[at] = Slot { head: head(&hash), entry };
        None
    }

    pub fn remove(&mut self, hash: &Hash) -> Option<V> {
        let at = self.find(hash).ok()?;
        let entry = self.slots[at].entry;
        let stays = |at: &usize| self.taken(*at).is_none_or(|slot| self.home(slot.head) == *at);
        let end = (at + 1..self.slots.len()).find(stays).unwrap_or(self.slots.len());
        self.slots.copy_within(at + 1..end, at);
        self.slots[end - 1].entry = FREE;
        self.empty.push(entry);
        self.entries[entry as usize].take().map(|(_, value)| value)
    }

    fn grow(&mut self) {
        self.bits = (self.bits + 1).max(4);
        let old = std::mem::replace(&mut self.slots, vec![Slot { head: 0, entry: FREE }; 1 << self.bits]);
        let mut next = 0;
        for slot in old.into_iter().filter(|slot| slot.entry != FREE) {
            let at = self.home(slot.head).max(next);
            if at == self.slots.len() {
                self.slots.push(slot);
            } else {
                self.slots[at] = slot;
            }
            next = at + 1;
        }
    }

    /// In the order of the hashes, from the one behind `after`.
    pub fn behind(&self, after: Option<&Hash>) -> impl Iterator<Item = (&Hash, &V)> {
        let start = after.map_or(0, |hash| self.find(hash).map_or_else(|at| at, |at| at + 1));
        let taken = self.slots[start.min(self.slots.len())..].iter().filter(|slot| slot.entry != FREE);
        taken.filter_map(|slot| self.entry(*slot)).map(|(hash, value)| (hash, value))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Hash, &V)> {
        self.behind(None)
    }

    pub fn keys(&self) -> impl Iterator<Item = &Hash> {
        self.iter().map(|(hash, _)| hash)
    }

    /// In no order: as they lie.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().flatten().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Hashes as they are, those that begin alike, and those at either end of all.
    fn hash(number: u32) -> Hash {
        let mut hash: Hash = blake3::hash(&number.to_le_bytes()).into();
        match number % 8 {
            0 => hash[..4].fill(0xff),
            1 => hash[..4].fill(0),
            2 => hash[..4].copy_from_slice(&[7, 7, 7, u8::try_from(number % 16).unwrap()]),
            _ => {}
        }
        hash
    }

    fn equal(one: &ByHash<u32>, other: &BTreeMap<Hash, u32>) {
        assert_eq!(one.len(), other.len());
        assert!(one.iter().eq(other.iter()));
        assert!(one.keys().eq(other.keys()));
        assert_eq!(
            one.values().map(|value| u64::from(*value)).sum::<u64>(),
            other.values().map(|v| u64::from(*v)).sum()
        );
    }

    #[test]
    fn it_is_an_ordered_map() {
        let (mut map, mut tree) = (ByHash::default(), BTreeMap::new());
        equal(&map, &tree);
        let mut chance = 1_u32;
        for step in 0..6_000 {
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = hash((chance >> 8) % 700);
            // Mostly put in at first, mostly taken out in the end.
            if (chance >> 24) % 6_000 < (6_000 - step) / 24 {
                assert_eq!(map.insert(key, step), tree.insert(key, step));
            } else {
                assert_eq!(map.remove(&key), tree.remove(&key));
            }
            assert_eq!((map.get(&key), map.contains_key(&key)), (tree.get(&key), tree.contains_key(&key)));
            if step % 100 == 0 {
                equal(&map, &tree);
                let bounds = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
                assert!(map.behind(Some(&key)).eq(tree.range(bounds)));
            }
        }
        for key in tree.keys().copied().collect::<Vec<_>>() {
            map.get_mut(&key).into_iter().for_each(|value| *value += 1);
            tree.entry(key).and_modify(|value| *value += 1);
        }
        equal(&map, &tree);
    }

    #[test]
    fn what_is_taken_out_leaves_its_memory_to_the_next() {
        let mut map = ByHash::default();
        for number in 0..10_000 {
            map.insert(hash(number), number);
            map.remove(&hash(number));
        }
        assert_eq!((map.len(), map.entries.len(), map.slots.len() < 100), (0, 1, true));
    }
}
