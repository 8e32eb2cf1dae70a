//! The program built without its window.

use crate::common::{copgen, failure, success};

#[test]
fn what_needs_the_window_says_so() {
    for arguments in [&[][..], &["--model", "nowhere"], &["screenshots", "pictures", "--samples", "2"]] {
        let message = failure(copgen().args(arguments), 1);
        assert!(message.contains("built without its window") && message.contains("copgen generate"), "{message}");
    }
    assert!(success(copgen().arg("--help")).contains("generate"));
}
