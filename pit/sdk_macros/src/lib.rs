//! The macros of `symphony-pit`; use them from there.
//!
//! `component` turns an impl block into an entry and its method table, `conversion` derives `ToPit` and `FromPit`. Everything
//! that needs `unsafe` is generated into one block, and calls the glue of the ABI crate.

mod component;
mod conversion;
mod docs;

use proc_macro::TokenStream;

/// Export a type as a Pit component: the methods marked `#[pit_method]` become its method table.
///
/// `id`, `description` and `revision` (the highest record revision that the component reads) are required; `calls` names the
/// components that it calls. See the documentation of `symphony-pit` for an example.
#[proc_macro_attribute]
pub fn pit_component(arguments: TokenStream, item: TokenStream) -> TokenStream {
    component::expand(arguments.into(), item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// A struct as a dict with its fields' names, a fieldless enum as its variants' names in snake case.
#[proc_macro_derive(ToPit)]
pub fn to_pit(item: TokenStream) -> TokenStream {
    conversion::to_pit(item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// The other way: a missing key is None, an unknown key an error, a wrong type an error with the path to it.
#[proc_macro_derive(FromPit)]
pub fn from_pit(item: TokenStream) -> TokenStream {
    conversion::from_pit(item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}
