//! Bytes in JSON.

/// None for what is no base64 with padding, as the host writes it.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let whole = text.as_bytes();
    if !whole.len().is_multiple_of(4) {
        return None;
    }
    for (number, four) in whole.chunks_exact(4).enumerate() {
        let padding = four.iter().rev().take_while(|letter| **letter == b'=').count();
        if padding > 2 || (padding > 0 && (number + 1) * 4 != whole.len()) {
            return None;
        }
        let letters = four[..4 - padding].iter().map(|letter| value(*letter));
        let bits = letters.collect::<Option<Vec<u32>>>()?.into_iter().fold(0, |bits, six| (bits << 6) | six);
        let [_, three @ ..] = (bits << (6 * padding)).to_be_bytes();
        bytes.extend_from_slice(&three[..3 - padding]);
    }
    Some(bytes)
}

fn value(letter: u8) -> Option<u32> {
    Some(u32::from(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        let decoded = |text| decode(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        for (text, bytes) in [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("YWJjZA==", "abcd")]
        {
            assert_eq!(decoded(text).as_deref(), Some(bytes));
        }
        assert_eq!(decode("+/8A"), Some(vec![0xfb, 0xff, 0]));
        for wrong in ["a", "ab=c", "YQ==YQ==", "a===", "Y Q="] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
