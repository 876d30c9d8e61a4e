//! [`Room`]: memory of a known size, of which each part goes to one container or text.

/// What is left of it.
pub(crate) struct Room<'a, T>(pub &'a mut [T]);

impl<'a, T> Room<'a, T> {
    /// So many items off its front.
    pub fn take(&mut self, count: usize) -> &'a mut [T] {
        let (items, rest) = std::mem::take(&mut self.0).split_at_mut(count);
        self.0 = rest;
        items
    }
}
