//! Signatures against the worked example of the Standard Webhooks specification.

use super::signatures;

/// Secret, id, timestamp, body and signature as the specification's own libraries test them.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIMESTAMP: &str = "1614265330";
const BODY: &str = r#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

#[test]
fn the_specifications_example_is_signed_alike() {
    assert_eq!(signatures(&[SECRET.to_owned()], ID, TIMESTAMP, BODY).unwrap(), SIGNATURE);
}

#[test]
fn each_secret_signs_and_a_bad_one_is_refused() {
    let two = signatures(&["whsec_AAAA".to_owned(), SECRET.to_owned()], ID, TIMESTAMP, BODY).unwrap();
    let parts: Vec<&str> = two.split(' ').collect();
    assert_eq!((parts.len(), parts[1]), (2, SIGNATURE));
    assert_ne!(parts[0], parts[1]);
    let bad = signatures(&["whsec_not base64".to_owned()], ID, TIMESTAMP, BODY).unwrap_err().to_string();
    assert!(bad.contains("base64") && !bad.contains("not base64\""), "{bad}");
    assert!(!bad.contains("whsec_not"), "the secret is not in the message: {bad}");
}
