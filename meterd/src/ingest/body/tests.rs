//! Encodings and caps.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::{Limits, decompress};

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn check(body: &[u8], encoding: Option<&str>, limits: Limits, expected: Result<&[u8], (&str, u16)>) {
    let got = decompress(body, encoding, &limits);
    match expected {
        Ok(plain) => assert_eq!(got.as_deref(), Ok(plain)),
        Err((code, status)) => {
            let error = got.expect_err("an error");
            assert_eq!((error.code, error.status), (code, status), "{}", error.message);
        }
    }
}

#[test]
fn encodings() {
    let limits = Limits::default();
    check(b"{}", None, limits, Ok(b"{}"));
    check(b"{}", Some(""), limits, Ok(b"{}"));
    check(b"{}", Some("Identity"), limits, Ok(b"{}"));
    check(&gzip(b"{}"), Some("gzip"), limits, Ok(b"{}"));
    check(&gzip(b"{}"), Some(" GZIP "), limits, Ok(b"{}"));
    let two_members = [gzip(b"{"), gzip(b"}")].concat();
    check(&two_members, Some("gzip"), limits, Ok(b"{}"));
    check(b"{}", Some("gzip"), limits, Err(("malformed_gzip", 400)));
    check(&gzip(b"some text")[..15], Some("gzip"), limits, Err(("malformed_gzip", 400)));
    check(b"{}", Some("br"), limits, Err(("unsupported_encoding", 415)));
    check(&gzip(b"{}"), Some("gzip, gzip"), limits, Err(("unsupported_encoding", 415)));
}

#[test]
fn caps_hold_before_and_after_decompression() {
    let limits = Limits { body_bytes_max: 1 << 20, ratio_max: 100 };
    check(&vec![b' '; (1 << 20) + 1], None, limits, Err(("body_too_large", 413)));
    let bomb = gzip(&vec![0u8; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    check(&bomb, Some("gzip"), limits, Err(("body_too_large", 413)));
    let dense = gzip(&vec![0u8; 512 << 10]);
    check(&dense, Some("gzip"), limits, Err(("compression_ratio", 413)));
    let small = vec![b'a'; 60 << 10];
    check(&gzip(&small), Some("gzip"), limits, Ok(&small));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_no_answer_is_over_the_cap(body in proptest::collection::vec(any::<u8>(), 0..512)) {
        let limits = Limits { body_bytes_max: 1024, ratio_max: 10 };
        for encoding in [None, Some("gzip")] {
            if let Ok(plain) = decompress(&body, encoding, &limits) {
                prop_assert!(plain.len() <= 1024);
            }
        }
        let round_trip = gzip(&body);
        prop_assert_eq!(&*decompress(&round_trip, Some("gzip"), &limits).unwrap(), &body[..]);
    }
}
