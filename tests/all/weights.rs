//! Weight files in the forms that others save them in.

use crate::common::published::{Entry, index, write_pth};

#[test]
fn weights_in_several_files_are_read_by_their_index() {
    let dir = tempfile::tempdir().expect("folder");
    let write = |file: &str, name: &str, value: f32| {
        let path = dir.path().join(file);
        let data = value.to_le_bytes();
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &data).expect("tensor");
        safetensors::serialize_to_file([(name, view)], None, &path).expect("file");
    };
    write("model-00001-of-00002.safetensors", "module.a", 1.0);
    write("model-00002-of-00002.safetensors", "module.b", 2.0);
    let index = dir.path().join("model.safetensors.index.json");
    let read = |map: serde_json::Value| {
        std::fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).expect("index");
        copgen::model::read_weights(&index).map_err(|e| e.to_string())
    };
    let [first, second] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let found = read(serde_json::json!({ "module.a": first, "module.b": second })).expect("both");
    assert_eq!(
        found.iter().map(|(name, data)| (&**name, data.bytes.clone())).collect::<Vec<_>>(),
        [("a", 1f32.to_le_bytes().to_vec()), ("b", 2f32.to_le_bytes().to_vec()),]
    );
    for (map, says) in [
        (serde_json::json!({ "module.a": second }), "has no module.a"),
        (serde_json::json!({ "a": "../model.safetensors" }), "names no file for a"),
        (serde_json::json!({ "a": "none.safetensors" }), "none.safetensors"),
        (serde_json::json!(7), "weight_map"),
    ] {
        let problem = read(map).expect_err("wrong");
        assert!(problem.contains(says), "{problem}");
    }
}

/// The index of a checkpoint: entries that are no weights, and sets of them.
fn checkpoint(sets: &[&str], weights: &[Entry]) -> Vec<u8> {
    let mut p = b"\x80\x02}(X\x05\0\0\0epochJ\x03\0\0\0".to_vec();
    for name in sets {
        p.push(b'X');
        p.extend((name.len() as u32).to_le_bytes());
        p.extend(name.bytes());
        let inner = index(weights);
        p.extend(&inner[2..inner.len() - 1]);
    }
    p.extend(b"u.");
    p
}

#[test]
fn weights_of_checkpoints_and_of_wrapped_networks_are_found_and_changed_views_are_refused() {
    let dir = tempfile::tempdir().expect("folder");
    let weights = |prefix: &str| -> Vec<Entry> {
        ["a.weight", "b"].map(|name| (format!("{prefix}{name}"), vec![2], vec![1.0, -2.0])).to_vec()
    };
    let read = |index: &[u8], entries: &[Entry]| {
        let path = dir.path().join("weights.pth");
        write_pth(&path, index, entries);
        copgen::model::read_weights(&path)
            .map(|found| found.keys().cloned().collect::<Vec<_>>())
            .map_err(|e| e.to_string())
    };
    let plain = weights("");
    let names = Ok(vec!["a.weight".to_owned(), "b".to_owned()]);
    assert_eq!(read(&index(&plain), &plain), names);
    assert_eq!(read(&checkpoint(&["state_dict"], &plain), &plain), names);
    let several = read(&checkpoint(&["model", "ema"], &plain), &plain).expect_err("which?");
    assert!(several.contains("model, ema") && several.contains("weights.pth"), "{several}");
    for prefix in ["module.", "_orig_mod.", "module._orig_mod."] {
        let wrapped = weights(prefix);
        assert_eq!(read(&index(&wrapped), &wrapped), names, "{prefix}");
    }
    let mut mixed = weights("module.");
    mixed[1].0 = "b".into();
    assert_eq!(read(&index(&mixed), &mixed), Ok(vec!["b".to_owned(), "module.a.weight".to_owned()]));
    // The stored numbers are those of another tensor, with the other sign.
    let text = index(&plain);
    let end = text.windows(4).position(|bytes| bytes == b")RtR").expect("a tensor") + 2;
    let negated = [&text[..end], &b"}X\x03\0\0\0neg\x88s"[..], &text[end..]].concat();
    let problem = read(&negated, &plain).expect_err("negated");
    assert!(problem.contains("negated") && problem.contains("resolve_neg"), "{problem}");
}

/// The index of a plain dictionary of tensors, as a part of another one.
fn set(weights: &[Entry]) -> Vec<u8> {
    let inner = index(weights);
    inner[2..inner.len() - 1].to_vec()
}

/// A text as a pickle has it.
fn text(value: &str) -> Vec<u8> {
    [&b"X"[..], &(value.len() as u32).to_le_bytes(), value.as_bytes()].concat()
}

#[test]
fn what_trainers_keep_beside_weights_does_not_hide_them() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("weights.pth");
    let plain: Vec<Entry> = ["a.weight", "b"].map(|name| (name.to_owned(), vec![2], vec![1.0, -2.0])).to_vec();
    let read = |entries: &[Vec<u8>]| {
        write_pth(&path, &[&b"\x80\x02}("[..], &entries.concat(), b"u."].concat(), &plain);
        copgen::model::read_weights(&path)
            .map(|found| found.into_iter().map(|(name, data)| (name, data.bytes)).collect::<Vec<_>>())
            .map_err(|e| e.to_string())
    };
    let bytes: Vec<u8> = [1f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let expected = Ok(vec![("a.weight".to_owned(), bytes.clone()), ("b".to_owned(), bytes)]);
    let weights = [text("state_dict"), set(&plain)].concat();
    assert_eq!(read(std::slice::from_ref(&weights)), expected);
    let number = [&b"G"[..], &0.12f64.to_be_bytes()].concat();
    let rate = [&text("lr")[..], &number].concat();
    for (what, beside) in [
        ("a loss", number.clone()),
        ("an empty list", b"]".to_vec()),
        ("a list of one", [&b"]"[..], &number, b"a"].concat()),
        ("a list of numbers and dictionaries", [&b"]("[..], &number, b"}(", &rate, b"ue"].concat()),
        ("lists in lists", b"](]K\x01ae".to_vec()),
        ("an optimiser", [&b"}("[..], &text("param_groups"), b"]}(", &rate, b"uau"].concat()),
        ("numbers as text", b"I01\n".to_vec()),
        ("long numbers as text", b"L1234567890L\n".to_vec()),
        ("a text of bytes", b"U\x03abc".to_vec()),
    ] {
        assert_eq!(read(&[weights.clone(), text("beside"), beside]), expected, "{what}");
    }
    // Two dictionaries deep, with something beside it.
    let deep = [&text("ema")[..], b"}(", &text("params"), &set(&plain), &text("decay"), &number, b"u"].concat();
    assert_eq!(read(&[deep]), expected);
    let both = [&text("ema")[..], b"}(", &text("params"), &set(&plain), &text("shadow"), &set(&plain), b"u"].concat();
    assert!(read(&[both]).is_err(), "nobody says which");
    assert!(read(&[[text("beside"), b"K\x01a".to_vec()].concat()]).is_err(), "a number is no list");
}

#[test]
fn what_lies_in_the_place_of_weights_is_told_for_what_it_is() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("weights.pth");
    let header = b"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    let safetensors = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    for (bytes, said) in [
        (&b"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>"[..], "a web page"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html>", "a web page"),
        (b"<!-- x --><html>", "a web page"),
        (b"{\"error\":\"Repository not found\"}", "a text in JSON"),
        (b"Invalid username or password.", "a short text"),
        (b"", "empty"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "gzip"),
        (&safetensors, "the safetensors format"),
        (b"\x01\x02\x03\x04 noise", "no zip container"),
    ] {
        std::fs::write(&path, bytes).expect("file");
        let problem = copgen::model::read_weights(&path).map(|_| ()).expect_err(said).to_string();
        assert!(problem.contains(said) && problem.contains("weights.pth"), "{problem}");
    }
}
