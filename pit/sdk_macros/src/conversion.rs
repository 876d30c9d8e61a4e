//! `#[derive(ToPit, FromPit)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DataEnum, DeriveInput, Error, Fields, FieldsNamed, Ident, Result, parse2};

enum Shape<'a> {
    Struct(&'a FieldsNamed),
    Enum(&'a DataEnum),
}

fn shape(input: &DeriveInput) -> Result<Shape<'_>> {
    let refuse = || {
        let message = "expected a struct with named fields, or an enum without fields";
        Err(Error::new(input.ident.span(), message))
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new(input.ident.span(), "a type without parameters is expected here"));
    }
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(Shape::Struct(fields)),
            _ => refuse(),
        },
        Data::Enum(data) if data.variants.iter().all(|variant| variant.fields.is_empty()) => {
            Ok(Shape::Enum(data))
        }
        _ => refuse(),
    }
}

/// `WaitingForInput` → `waiting_for_input`
fn snake(name: &Ident) -> String {
    let mut text = String::new();
    for letter in name.to_string().chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

fn variants(data: &DataEnum) -> (Vec<&Ident>, Vec<String>) {
    data.variants.iter().map(|variant| (&variant.ident, snake(&variant.ident))).unzip()
}

pub fn to_pit(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = parse2(item)?;
    let name = &input.ident;
    let (python, body) = match shape(&input)? {
        Shape::Struct(fields) => {
            let names: Vec<_> = fields.named.iter().filter_map(|field| field.ident.as_ref()).collect();
            let keys: Vec<String> = names.iter().map(ToString::to_string).collect();
            let body = quote! {
                ::symphony_pit::Value::map([#((#keys, ::symphony_pit::ToPit::to_pit(self.#names))),*])
            };
            ("dict[str, Any]", body)
        }
        Shape::Enum(data) => {
            let (idents, texts) = variants(data);
            ("str", quote! { ::symphony_pit::Value::from(match self { #(Self::#idents => #texts),* }) })
        }
    };
    Ok(quote! {
        impl ::symphony_pit::ToPit for #name {
            const NAME: &'static str = #python;

            fn to_pit(self) -> ::symphony_pit::Value {
                #body
            }
        }
    })
}

pub fn from_pit(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = parse2(item)?;
    let name = &input.ident;
    let (python, body) = match shape(&input)? {
        Shape::Struct(fields) => {
            let names: Vec<_> = fields.named.iter().filter_map(|field| field.ident.as_ref()).collect();
            let keys: Vec<String> = names.iter().map(ToString::to_string).collect();
            let body = quote! {
                let fields = ::symphony_pit::convert::Fields::of(value, &[#(#keys),*])?;
                Ok(Self { #(#names: fields.get(#keys)?),* })
            };
            ("dict[str, Any]", body)
        }
        Shape::Enum(data) => {
            let (idents, texts) = variants(data);
            let known = texts.join(", ");
            let body = quote! {
                match value.as_str() {
                    #(Some(#texts) => Ok(Self::#idents),)*
                    _ => Err(::symphony_pit::convert::unknown_name(#known, value)),
                }
            };
            ("str", body)
        }
    };
    Ok(quote! {
        impl<'a> ::symphony_pit::FromPit<'a> for #name {
            const NAME: &'static str = #python;

            fn from_pit(value: ::symphony_pit::ValueRef<'a>) -> ::symphony_pit::Result<Self> {
                #body
            }
        }
    })
}
