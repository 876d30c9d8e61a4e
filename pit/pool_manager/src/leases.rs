//! Who has a model: leases by number, in a slab, so that giving and taking one allocates nothing.

use symphony_pit::{Error, Result};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lease {
    /// Index of the model.
    pub model: usize,
    pub slots: u32,
}

#[derive(Default)]
struct Place {
    /// Raised with every use, so that the number of a lease is never given twice.
    generation: u32,
    lease: Option<Lease>,
}

#[derive(Default)]
pub(crate) struct Leases {
    places: Vec<Place>,
    free: Vec<u32>,
}

impl Leases {
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    #[inline]
    pub fn give(&mut self, lease: Lease) -> i64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX) // memory ends long before
        });
        let place = &mut self.places[index as usize];
        place.generation += 1;
        place.lease = Some(lease);
        i64::from(place.generation) << 32 | i64::from(index)
    }

    /// The place of a lease that is out, and its index.
    #[inline]
    fn place(&mut self, number: i64) -> Result<(&mut Place, u32)> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the lower half is the index, the upper the generation"
        )]
        let (generation, index) = ((number >> 32) as u32, number as u32);
        match self.places.get_mut(index as usize) {
            Some(place) if place.generation == generation && place.lease.is_some() => Ok((place, index)),
            _ => Err(Error::not_found(format!("no lease {number}: it was given back, or never given"))),
        }
    }

    pub fn get(&mut self, number: i64) -> Result<Lease> {
        let lease = self.place(number)?.0.lease;
        lease.ok_or_else(|| Error::not_found(format!("no lease {number}")))
    }

    #[inline]
    pub fn take(&mut self, number: i64) -> Result<Lease> {
        let (place, index) = self.place(number)?;
        let lease = place.lease.take().ok_or_else(|| Error::not_found(format!("no lease {number}")))?;
        self.free.push(index);
        Ok(lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_given_back_once_and_its_number_never_comes_again() {
        let mut leases = Leases::default();
        let lease = Lease { model: 3, slots: 2 };
        let first = leases.give(lease);
        assert_eq!(leases.get(first), Ok(lease));
        assert_eq!(leases.take(first), Ok(lease));
        assert!(leases.take(first).is_err());
        let second = leases.give(lease);
        assert_ne!(first, second);
        assert!(leases.take(first).is_err());
        assert_eq!(leases.len(), 1);
        assert!(leases.take(-1).is_err() && leases.take(0).is_err() && leases.take(i64::MAX).is_err());
    }
}
