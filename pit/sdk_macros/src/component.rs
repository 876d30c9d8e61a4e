//! `#[pit_component]`: from an impl block to the exported entry.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, ExprLit, ExprUnary, FnArg, ImplItem, ImplItemFn, ItemImpl, Lit, LitInt, LitStr,
    Pat, Result, ReturnType, Token, Type, UnOp, bracketed, parse2,
};

use crate::docs;

/// Arguments lie on the bridge's stack.
const MAX_PARAMS: usize = 12;

/// `id = "…", description = "…", revision = 1, calls = ["…"]`
struct Header {
    id: LitStr,
    description: LitStr,
    revision: LitInt,
    calls: Vec<LitStr>,
}

impl Parse for Header {
    fn parse(input: ParseStream) -> Result<Self> {
        let (mut id, mut description, mut revision, mut calls) = (None, None, None, Vec::new());
        while !input.is_empty() {
            let key: syn::Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "id" => id = Some(input.parse()?),
                "description" => description = Some(input.parse()?),
                "revision" => revision = Some(input.parse()?),
                "calls" => {
                    let list;
                    bracketed!(list in input);
                    calls = list.parse_terminated(<LitStr as Parse>::parse, Token![,])?.into_iter().collect();
                }
                _ => return Err(Error::new(key.span(), "expected id, description, revision or calls")),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let missing = |what| Error::new(input.span(), format!("a component needs {what}"));
        Ok(Self {
            id: id.ok_or_else(|| missing("id = \"name.of_it\""))?,
            description: description.ok_or_else(|| missing("description = \"one line\""))?,
            revision: revision.ok_or_else(|| missing("revision = 1"))?,
            calls,
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Fast,
    Blocking,
    Waiting,
    Async,
    Stream,
}

struct Param {
    name: String,
    kind: Type,
    /// A Python literal; empty = required.
    default: String,
}

pub fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let header: Header = parse2(arguments)?;
    let mut block: ItemImpl = parse2(item)?;
    if let Some((_, path, _)) = &block.trait_ {
        return Err(Error::new(path.span(), "expected the component's own impl block, not a trait's"));
    }
    let component = (*block.self_ty).clone();
    let mut methods = Vec::new();
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else { continue };
        if let Some(at) = function.attrs.iter().position(|known| known.path().is_ident("pit_method")) {
            let marker = function.attrs.remove(at);
            methods.push(method(&component, function, &marker)?);
        }
    }
    let Header { id, description, revision, calls } = header;
    Ok(quote! {
        #[allow(
            clippy::unused_self,
            clippy::needless_pass_by_value,
            reason = "the method table calls with an instance and with owned arguments"
        )]
        #block

        #[allow(unsafe_code)] // the exported symbol and its functions are the ABI's: generated here and nowhere else
        const _: () = {
            use ::std::ffi::c_void;
            use ::symphony_pit::abi::{self, Entry, HostTable, Method, Param, RawRecord, RawValue, Returned, Str};

            unsafe extern "C" fn create(table: *const HostTable, out: *mut Returned) -> *mut c_void {
                unsafe { abi::create::<#component>(table, out) }
            }
            unsafe extern "C" fn restore(this: *const c_void, bytes: *const u8, len: usize, out: *mut Returned) -> u32 {
                unsafe { abi::restore::<#component>(this, bytes, len, out) }
            }
            unsafe extern "C" fn replay(this: *const c_void, record: *const RawRecord, out: *mut Returned) -> u32 {
                unsafe { abi::replay::<#component>(this, record, out) }
            }
            unsafe extern "C" fn start(this: *const c_void, out: *mut Returned) -> u32 {
                unsafe { abi::start::<#component>(this, out) }
            }
            unsafe extern "C" fn snapshot(this: *const c_void, out: *mut Returned) -> u32 {
                unsafe { abi::snapshot::<#component>(this, out) }
            }
            unsafe extern "C" fn stop(this: *const c_void) {
                unsafe { abi::stop::<#component>(this) }
            }
            unsafe extern "C" fn destroy(this: *mut c_void) {
                unsafe { abi::destroy::<#component>(this) }
            }

            static METHODS: &[Method] = &[#(#methods),*];
            static CALLS: &[Str] = &[#(Str::new(#calls)),*];

            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)] // the name is the ABI's
            pub static symphony_pit_entry_v1: Entry = Entry {
                magic: abi::MAGIC,
                size: size_of::<Entry>() as u32,
                abi_major: abi::ABI_MAJOR,
                abi_minor: abi::ABI_MINOR,
                id: Str::new(#id),
                version: Str::new(env!("CARGO_PKG_VERSION")),
                description: Str::new(#description),
                methods: METHODS.as_ptr(),
                method_count: METHODS.len(),
                calls: CALLS.as_ptr(),
                call_count: CALLS.len(),
                revision: #revision,
                reserved: [0; 3],
                create,
                restore: Some(restore),
                replay: Some(replay),
                start: Some(start),
                snapshot: Some(snapshot),
                stop: Some(stop),
                destroy,
                extension: None,
            };
        };
    })
}

/// One element of the method table; takes the markers of the parameters out of the function.
fn method(component: &Type, function: &mut ImplItemFn, marker: &Attribute) -> Result<TokenStream> {
    let kind = kind(function, marker)?;
    receiver(function, kind)?;
    let params = params(function)?;
    let doc = docs::text(&function.attrs);
    let name = &function.sig.ident;
    if doc.is_empty() {
        return Err(Error::new(name.span(), "a Pit method needs a doc comment: it is what help() shows"));
    }
    let ReturnType::Type(_, returns) = &function.sig.output else {
        return Err(Error::new(name.span(), "a Pit method returns a symphony_pit::Result"));
    };
    let flag = match kind {
        Kind::Fast => quote!(abi::FLAG_FAST),
        Kind::Blocking => quote!(abi::FLAG_BLOCKING),
        Kind::Waiting => quote!(abi::FLAG_BLOCKING | abi::FLAG_WAITING),
        Kind::Async => quote!(abi::FLAG_ASYNC),
        Kind::Stream => quote!(abi::FLAG_ASYNC | abi::FLAG_STREAM),
    };
    let names: Vec<&String> = params.iter().map(|param| &param.name).collect();
    let kinds: Vec<&Type> = params.iter().map(|param| &param.kind).collect();
    let defaults: Vec<&String> = params.iter().map(|param| &param.default).collect();
    let values: Vec<_> = (0..params.len()).map(|index| format_ident!("value_{index}")).collect();
    let indices = 0..params.len();
    let call = match kind {
        Kind::Async => quote! {
            let this = this.shared();
            Ok(abi::operation(async move {
                ::symphony_pit::convert::owned(<#component>::#name(this, #(#values),*).await)
            }))
        },
        Kind::Stream => quote! {
            <#component>::#name(this.shared(), #(#values),*).map(::symphony_pit::Stream::into_operation)
        },
        Kind::Fast | Kind::Blocking | Kind::Waiting => quote! {
            ::symphony_pit::convert::returned(<#component>::#name(this, #(#values),*))
        },
    };
    let text = name.to_string();
    Ok(quote! { {
        static PARAMS: &[Param] = &[#(Param {
            name: Str::new(#names),
            type_name: Str::new(<#kinds as ::symphony_pit::FromPit<'_>>::NAME),
            default: Str::new(#defaults),
        }),*];
        unsafe extern "C" fn call(
            this: *const c_void, args: *const RawValue, count: usize, out: *mut Returned,
        ) -> u32 {
            unsafe {
                abi::call::<#component>(this, args, count, out, PARAMS, |this, args| {
                    #(let #values = ::symphony_pit::convert::argument(args, #indices, #names)?;)*
                    #call
                })
            }
        }
        Method {
            size: size_of::<Method>() as u32,
            flags: #flag,
            name: Str::new(#text),
            params: PARAMS.as_ptr(),
            param_count: PARAMS.len(),
            returns: Str::new(<#returns as ::symphony_pit::convert::Outcome>::NAME),
            doc: Str::new(#doc),
            call,
        }
    } })
}

fn kind(function: &ImplItemFn, marker: &Attribute) -> Result<Kind> {
    const EXPECTED: &str = "expected #[pit_method], or one with (blocking), (waiting) or (stream)";
    let chosen = match &marker.meta {
        syn::Meta::Path(_) => None,
        syn::Meta::List(list) => {
            let word: syn::Ident = list.parse_args()?;
            match word.to_string().as_str() {
                "blocking" => Some(Kind::Blocking),
                "waiting" => Some(Kind::Waiting),
                "stream" => Some(Kind::Stream),
                _ => return Err(Error::new(word.span(), EXPECTED)),
            }
        }
        syn::Meta::NameValue(pair) => return Err(Error::new(pair.span(), EXPECTED)),
    };
    match (function.sig.asyncness, chosen) {
        (Some(word), Some(Kind::Stream)) => {
            Err(Error::new(word.span(), "a stream is returned at once: its items are waited for"))
        }
        (Some(word), Some(_)) => Err(Error::new(word.span(), "an async method does not block")),
        (Some(_), None) => Ok(Kind::Async),
        (None, Some(kind)) => Ok(kind),
        (None, None) => Ok(Kind::Fast),
    }
}

fn receiver(function: &ImplItemFn, kind: Kind) -> Result<()> {
    let shared = matches!(kind, Kind::Async | Kind::Stream);
    let wanted = if shared { "self: Arc<Self>" } else { "&self" };
    let error = |span| Err(Error::new(span, format!("this Pit method takes {wanted}")));
    match function.sig.inputs.first() {
        Some(FnArg::Receiver(receiver)) => {
            let fits = if shared {
                receiver.colon_token.is_some()
            } else {
                receiver.reference.is_some() && receiver.mutability.is_none()
            };
            if fits { Ok(()) } else { error(receiver.span()) }
        }
        _ => error(function.sig.ident.span()),
    }
}

fn params(function: &mut ImplItemFn) -> Result<Vec<Param>> {
    let mut params: Vec<Param> = Vec::new();
    for argument in &mut function.sig.inputs {
        let FnArg::Typed(typed) = argument else { continue };
        let Pat::Ident(name) = &*typed.pat else {
            return Err(Error::new(typed.pat.span(), "a parameter of a Pit method is a plain name"));
        };
        let name = name.ident.to_string().trim_start_matches("r#").to_owned();
        let at = typed.attrs.iter().position(|known| known.path().is_ident("default"));
        let default = match at {
            Some(at) => literal(&typed.attrs.remove(at).parse_args()?)?,
            None => String::new(),
        };
        if default.is_empty() && params.last().is_some_and(|last| !last.default.is_empty()) {
            return Err(Error::new(typed.span(), "a parameter without a default follows one with a default"));
        }
        params.push(Param { name, kind: (*typed.ty).clone(), default });
    }
    if params.len() > MAX_PARAMS {
        let message = format!("a Pit method takes at most {MAX_PARAMS} parameters");
        return Err(Error::new(function.sig.inputs.span(), message));
    }
    Ok(params)
}

/// A Rust literal, or None, as a Python literal.
fn literal(value: &Expr) -> Result<String> {
    let refuse =
        || Err(Error::new(value.span(), "expected a literal: a number, a string, true, false or None"));
    match value {
        Expr::Lit(ExprLit { lit, .. }) => match lit {
            Lit::Int(number) => Ok(number.base10_digits().to_owned()),
            Lit::Float(number) => Ok(number.base10_digits().to_owned()),
            Lit::Bool(truth) => Ok(if truth.value { "True" } else { "False" }.to_owned()),
            Lit::Str(text) => Ok(format!("'{}'", text.value().replace('\\', "\\\\").replace('\'', "\\'"))),
            _ => refuse(),
        },
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => Ok(format!("-{}", literal(expr)?)),
        Expr::Path(path) if path.path.is_ident("None") => Ok("None".to_owned()),
        _ => refuse(),
    }
}
