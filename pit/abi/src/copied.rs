//! [`Copied`]: a value in one piece, for what is kept or given back without a look inside.

use std::ffi::c_void;

use crate::layout::{RawValue, Returned, Tag};
use crate::room::Room;
use crate::view::ValueRef;

/// A copy of a value in two blocks of memory, where a [`Value`](crate::Value) has one for each text and container.
///
/// ```
/// use symphony_pit_abi::Value;
///
/// let value = Value::List(vec![Value::from("a"), Value::Int(1)]);
/// let copied = value.with_ref(|view| view.copied());
/// assert_eq!(copied.view().to_owned(), value);
/// ```
pub struct Copied {
    value: RawValue,
    cells: Vec<RawValue>,
    bytes: Vec<u8>,
}

// SAFETY: all pointers in it lead into its own two blocks, which nobody changes.
unsafe impl Send for Copied {}
// SAFETY: as above.
unsafe impl Sync for Copied {}

unsafe extern "C" fn release_copied(owner: *mut c_void) {
    // SAFETY: `owner` is the box made in `Returned::from_copied`, released once.
    drop(unsafe { Box::from_raw(owner.cast::<Copied>()) });
}

#[derive(Default)]
struct Size {
    cells: usize,
    bytes: usize,
}

fn measure(cells: &[RawValue], size: &mut Size) {
    for cell in cells {
        // SAFETY: a part of a well-formed value.
        let view = unsafe { ValueRef::new(cell) };
        if let Some(content) = view.content() {
            size.bytes += content.len();
        } else if let Some(cells) = view.cells() {
            size.cells += cells.len();
            measure(cells, size);
        }
    }
}

fn copy(from: &[RawValue], to: &mut [RawValue], cells: &mut Room<'_, RawValue>, bytes: &mut Room<'_, u8>) {
    for (from, to) in from.iter().zip(to) {
        // SAFETY: a part of a well-formed value.
        let view = unsafe { ValueRef::new(from) };
        if from.tag <= Tag::Float as u32 {
            *to = *from;
        } else if let Some(content) = view.content() {
            let own = bytes.take(content.len());
            own.copy_from_slice(content);
            let tag = if from.tag == Tag::Buffer as u32 { Tag::Bytes as u32 } else { from.tag };
            *to = RawValue { tag, ..RawValue::span(Tag::Bytes, own.as_ptr().cast(), own.len()) };
        } else if let Some(parts) = view.cells() {
            let own = cells.take(parts.len());
            copy(parts, own, cells, bytes);
            let len = if from.tag == Tag::Map as u32 { own.len() / 2 } else { own.len() };
            let span = RawValue::span(Tag::List, own.as_ptr().cast(), len);
            *to = RawValue { tag: from.tag, kind: from.kind, ..span };
        }
    }
}

impl Copied {
    /// The value, as it is lent to a call.
    pub fn view(&self) -> ValueRef<'_> {
        // SAFETY: made here, of parts that live as long as this.
        unsafe { ValueRef::new(&self.value) }
    }
}

impl ValueRef<'_> {
    /// A copy in one piece. Handles and errors, which stand for something of a component's, become None.
    pub fn copied(self) -> Copied {
        let root = std::slice::from_ref(self.raw());
        let mut size = Size::default();
        measure(root, &mut size);
        let mut copied = Copied {
            value: RawValue::NONE,
            cells: vec![RawValue::NONE; size.cells],
            bytes: vec![0; size.bytes],
        };
        let (mut cells, mut bytes) = (Room(&mut copied.cells), Room(&mut copied.bytes));
        copy(root, std::slice::from_mut(&mut copied.value), &mut cells, &mut bytes);
        copied
    }
}

impl Returned {
    /// As [`Returned::from_value`], of a copy in one piece.
    pub fn from_copied(copied: Copied) -> Self {
        let value = copied.value;
        if copied.cells.is_empty() && copied.bytes.is_empty() {
            let value = match value.tag {
                tag if tag <= Tag::Float as u32 => value,
                // Empty, so that nothing is read where it would point to.
                _ => RawValue { data: RawValue::span(Tag::None, std::ptr::null(), 0).data, ..value },
            };
            return Self { value, ..Self::EMPTY };
        }
        Self { value, owner: Box::into_raw(Box::new(copied)).cast(), release: Some(release_copied) }
    }
}
