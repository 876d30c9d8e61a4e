//! What bytes from a client get before a method sees them; for tests and the fuzz target, which only look.

use super::request::{Message, Parsed, answer, batch};
use super::schema::Method;

/// The answer to each line: the error that is in it, or, for a request that fits, the parameters that its method would get.
pub fn examine(bytes: &[u8]) -> Vec<String> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| examine_message(Message::parse(line))).collect()
}

fn examine_message(message: Message) -> Option<String> {
    match message {
        Message::Nothing => None,
        Message::Single(parsed) => examine_request(parsed),
        Message::Batch(all) => {
            let answers: Vec<String> = all.into_iter().filter_map(examine_request).collect();
            (!answers.is_empty()).then(|| batch(&answers))
        }
    }
}

fn examine_request(parsed: Parsed) -> Option<String> {
    let (id, result) = match parsed {
        Err((id, failure)) => (id, Err(failure)),
        Ok(request) => {
            let checked = Method::of(&request.method, &request.parameters)
                .map(|method| method.pass(&request.parameters));
            (request.id?, checked)
        }
    };
    Some(answer(&id, &result))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use std::path::Path;

    use serde_json::value::RawValue;

    use super::*;
    use crate::json::Fields;

    /// The error's code, or 0.
    fn check_one(answer: &[u8]) -> i64 {
        let fields = Fields::parse(answer).unwrap();
        assert_eq!(fields.str("jsonrpc").unwrap(), "2.0");
        assert!(
            fields.raw("id").is_some() && fields.get("error").is_some() != fields.raw("result").is_some()
        );
        fields.json("error").map_or(0, |error| error.value()["code"].as_i64().unwrap())
    }

    fn check(bytes: &[u8]) -> Vec<i64> {
        let mut codes = Vec::new();
        for answer in examine(bytes) {
            assert!(!answer.contains(['\n', '\r']), "{answer}");
            match serde_json::from_str::<Vec<&RawValue>>(&answer) {
                Ok(all) => codes.extend(all.iter().map(|one| check_one(one.get().as_bytes()))),
                Err(_) => codes.push(check_one(answer.as_bytes())),
            }
        }
        assert!(codes.iter().all(|code| [0, -32_700, -32_600, -32_601, -32_602].contains(code)), "{codes:?}");
        codes
    }

    /// The fuzz target's function over its corpus and over seeded mutations of it: whatever comes, the answer is an answer.
    #[test]
    fn whatever_a_client_sends_the_answer_is_one() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/request");
        let files = std::fs::read_dir(corpus).unwrap();
        let seeds: Vec<Vec<u8>> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        let mut seen: Vec<i64> = seeds.iter().flat_map(|seed| check(seed)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [-32_700, -32_602, -32_601, -32_600, 0], "the corpus has each kind of line");
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below.max(1) as u64).unwrap()
        };
        let rounds = std::env::var("SYMPHONY_REQUEST_EXAMPLES").map_or(300, |rounds| rounds.parse().unwrap());
        let pieces: [&[u8]; 9] = [b"{", b"}", b"[", b"]", b"\"", b"\\", b"null", b",", b"\n"];
        for seed in &seeds {
            for _ in 0..rounds {
                let mut bytes = seed.clone();
                for _ in 0..=random(4) {
                    let at = random(bytes.len());
                    match random(4) {
                        0 if !bytes.is_empty() => bytes[at] ^= 1 << random(8),
                        1 => bytes.truncate(at),
                        2 => drop(bytes.splice(at..at, pieces[random(pieces.len())].iter().copied())),
                        _ => {
                            let end = (at + random(64)).min(bytes.len());
                            let piece = bytes[at..end].to_vec();
                            let to = random(bytes.len());
                            bytes.splice(to..to, piece);
                        }
                    }
                }
                check(&bytes);
            }
        }
    }
}
