//! Enums that have a name for people and a code for records.

macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$item:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub(crate) enum $type { $($(#[$item])* $variant),+ }

        #[allow(dead_code, reason = "not every enum is read from both a name and a code")]
        impl $type {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// `what` says in the error what the name stands for.
            pub fn from_name(what: &str, name: &str) -> symphony_pit::Result<Self> {
                Self::ALL.iter().find(|item| item.name() == name).copied().ok_or_else(|| {
                    let known = [$($name),+].join(", ");
                    symphony_pit::Error::invalid(format!("{what}: expected one of {known}, got {name:?}"))
                })
            }

            pub fn from_code(code: u8) -> symphony_pit::Result<Self> {
                Self::ALL.get(code as usize).copied().ok_or_else(|| {
                    symphony_pit::Error::corrupt(format!(concat!("a record has ", stringify!($type), " {}"), code))
                })
            }
        }
    };
}

pub(crate) use named;
