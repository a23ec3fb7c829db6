//! The same text comes out, however it went in, and what is kept of it has a bound.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{NAME_BYTES_MAX, NAMES, NAMES_MAX};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fact {
    #[serde(deserialize_with = "super::id")]
    id: Arc<str>,
    #[serde(deserialize_with = "super::name")]
    name: Arc<str>,
    #[serde(default, deserialize_with = "super::maybe_name")]
    team: Option<Arc<str>>,
    #[serde(default, deserialize_with = "super::maybe_id")]
    response: Option<Arc<str>>,
    #[serde(default, deserialize_with = "super::pairs")]
    labels: Vec<(Arc<str>, Arc<str>)>,
}

fn fact(number: usize) -> Fact {
    Fact {
        id: format!("id-{number}").into(),
        name: format!("näme-{number}").into(),
        team: number.is_multiple_of(2).then(|| format!("team-{number}").into()),
        response: number.is_multiple_of(3).then(|| format!("msg-{number}").into()),
        labels: vec![("stage".into(), format!("{number}").into())],
    }
}

#[test]
fn what_went_in_comes_out() {
    for number in (0..2 * NAMES_MAX).chain(0..100) {
        let fact = fact(number);
        let bytes = postcard::to_stdvec(&fact).unwrap();
        assert_eq!(postcard::from_bytes::<Fact>(&bytes).unwrap(), fact);
        let text = serde_json::to_string(&fact).unwrap();
        assert_eq!(serde_json::from_str::<Fact>(&text).unwrap(), fact);
    }
    let escaped: Fact = serde_json::from_str(r#"{"id":"a\n","name":"b\"c"}"#).unwrap();
    assert_eq!((&*escaped.id, &*escaped.name, escaped.team), ("a\n", "b\"c", None));
}

#[test]
fn a_name_is_shared_and_an_id_is_not() {
    let bytes = postcard::to_stdvec(&fact(2)).unwrap();
    let (one, other): (Fact, Fact) = (postcard::from_bytes(&bytes).unwrap(), postcard::from_bytes(&bytes).unwrap());
    assert!(Arc::ptr_eq(&one.name, &other.name));
    assert!(Arc::ptr_eq(one.team.as_ref().unwrap(), other.team.as_ref().unwrap()));
    assert!(!Arc::ptr_eq(&one.id, &other.id));
}

#[test]
fn what_is_kept_has_a_bound() {
    for number in 0..10 * NAMES_MAX {
        super::shared(&format!("n-{number}"));
        super::shared(&format!("{number}-{}", "x".repeat(NAME_BYTES_MAX)));
    }
    NAMES.with_borrow(|names| {
        assert_eq!(names.len(), NAMES_MAX);
        assert!(names.iter().flatten().all(|name| name.len() <= NAME_BYTES_MAX));
    });
}
