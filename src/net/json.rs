//! JSON as some servers write it.

/// JSON without what is none: a byte order mark before it, and NaN or Infinity for numbers, which become null.
pub(super) fn usual(mut json: Vec<u8>) -> Vec<u8> {
    const ODD: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    if json.starts_with(b"\xef\xbb\xbf") {
        json.drain(..3);
    }
    // Most of it is not odd, and stays where it is.
    if !ODD.iter().any(|odd| json.windows(odd.len()).any(|part| part == *odd)) {
        return json;
    }
    let (mut out, mut quoted, mut at) = (Vec::with_capacity(json.len()), false, 0);
    while at < json.len() {
        if let Some(odd) = ODD.iter().find(|odd| !quoted && json[at..].starts_with(odd)) {
            out.extend_from_slice(b"null");
            at += odd.len();
            continue;
        }
        out.push(json[at]);
        match json[at] {
            b'\\' if quoted => {
                at += 1;
                out.extend(json.get(at));
            }
            b'"' => quoted = !quoted,
            _ => {}
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn numbers_that_json_does_not_have_become_nothing_and_words_stay() {
        let read = |text: &str| serde_json::from_slice::<Value>(&usual(text.as_bytes().to_vec()));
        let odd = read("\u{feff}{\"a\": NaN, \"b\": [-Infinity, Infinity, 1.5], \"c\": \"NaN \\\" Infinity\"}");
        assert_eq!(odd.expect("json"), json!({"a": null, "b": [null, null, 1.5], "c": "NaN \" Infinity"}));
        assert_eq!(read("{\"a\": \"\\\\\", \"b\": 1}").expect("json"), json!({"a": "\\", "b": 1}));
        assert!(read("{\"a\": NaNo}").is_err() && read("\"\\").is_err());
    }
}
