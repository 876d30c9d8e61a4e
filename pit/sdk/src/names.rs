//! Enums that have a name for people and a code for records.

/// An enum whose variants have a name, as methods take it, and a code, as records hold it: their place in the list.
///
/// ```
/// symphony_pit::named! { Colour { Red = "red", Blue = "blue" } }
/// assert_eq!(Colour::from_name("colour", "blue"), Ok(Colour::Blue));
/// assert_eq!(Colour::from_code(Colour::Blue as u8), Ok(Colour::Blue));
/// assert!(Colour::from_name("colour", "mauve").is_err());
/// ```
#[macro_export]
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$item:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum $type { $($(#[$item])* $variant),+ }

        #[allow(dead_code, reason = "not every enum is read from both a name and a code")]
        impl $type {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// `what` says in the error what the name stands for.
            pub fn from_name(what: &str, name: &str) -> $crate::Result<Self> {
                Self::ALL.iter().find(|item| item.name() == name).copied().ok_or_else(|| {
                    let known = [$($name),+].join(", ");
                    $crate::Error::invalid(format!("{what}: expected one of {known}, got {name:?}"))
                })
            }

            pub fn from_code(code: u8) -> $crate::Result<Self> {
                Self::ALL.get(code as usize).copied().ok_or_else(|| {
                    $crate::Error::corrupt(format!(concat!("a record has ", stringify!($type), " {}"), code))
                })
            }
        }
    };
}
