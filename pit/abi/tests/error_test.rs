//! An error on the other side of the ABI is the error that was given. markers: unit
#![allow(unsafe_code)] // reads a result as the host does

use symphony_pit_abi::{Error, ErrorKind, Returned};

#[test]
fn an_error_crosses_with_its_context_and_the_chain_of_its_causes() {
    let parse = "soon".parse::<u32>().map_err(std::io::Error::other).err();
    let middle =
        parse.map(|parse| Error::corrupt("the header is bad").with("file", "a.idx").caused_by(&parse));
    let error = middle.map(|middle| Error::conflict("the index cannot be opened").caused_by(&middle));
    let Some(error) = error else { panic!("soon is no number") };
    let mut out = Returned::from_error(error.clone());
    // SAFETY: read once and released.
    let back = unsafe {
        let back = out.to_error(ErrorKind::Conflict as u32);
        out.release();
        back
    };
    assert_eq!(back, error);
    let chain: Vec<String> = std::iter::successors(Some(&back), |error| error.source.as_deref())
        .map(|error| format!("{:?}: {error}", error.kind))
        .collect();
    assert_eq!(
        chain,
        [
            "Conflict: the index cannot be opened",
            "Corrupt: the header is bad (file: a.idx)",
            "Io: invalid digit found in string",
        ]
    );
}
