//! Documents read from text: what a tree looks like, which problems are named, and what is bounded.

use super::*;

/// One document in, canonical JSON out; or the problems, one a line.
fn read(text: &str) -> String {
    match parse(text) {
        Ok(documents) => documents.iter().map(Node::to_json).collect::<Vec<_>>().join("\n"),
        Err(problems) => problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"),
    }
}

fn check(text: &str, expected: &str) {
    assert_eq!(read(text), expected, "reading {text:?}");
}

#[test]
fn scalars_keep_their_kind() {
    check(
        "{a: 1, b: \"1\", c: true, d: 'true', e: ~, f: null, g: , h: text}",
        r#"{"a":1,"b":"1","c":true,"d":"true","e":null,"f":null,"g":null,"h":"text"}"#,
    );
    check(
        "a: 2026-10-01\nb: 10:30\nc: 0x1F\nd: 1_000\ne: .inf\nf: 1.2.3",
        r#"{"a":"2026-10-01","b":"10:30","c":"0x1F","d":"1_000","e":".inf","f":"1.2.3"}"#,
    );
    check("a: |\n  two\n  lines\nb: >\n  folded\n  line\n", r#"{"a":"two\nlines\n","b":"folded line\n"}"#);
}

#[test]
fn numbers_are_shortest_and_exact() {
    let cases = [
        ("1.10", "1.1"),
        ("+5", "5"),
        ("-0", "0"),
        ("007", "7"),
        ("1e3", "1000"),
        ("1.5e-7", "0.00000015"),
        (".5", "0.5"),
        ("5.", "5"),
        ("12300", "12300"),
        ("-12.30", "-12.3"),
        ("1e60", "1e60"),
        ("12e-60", "1.2e-59"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("0e999999999", "0"),
        ("1e99999999999", "\"1e99999999999\""),
        ("-e", "\"-e\""),
        ("e5", "\"e5\""),
        (".", "\".\""),
    ];
    for (text, expected) in cases {
        check(&format!("a: {text}"), &format!("{{\"a\":{expected}}}"));
    }
}

#[test]
fn keys_sort_by_utf16_units_and_text_is_escaped() {
    check(
        "{\"\u{1F600}\": 1, \"\u{FB33}\": 2, b: 3, a: \"q\\\"\\\\\\n\\x01é\"}",
        "{\"a\":\"q\\\"\\\\\\n\\u0001é\",\"b\":3,\"\u{1F600}\":1,\"\u{FB33}\":2}",
    );
}

#[test]
fn documents_are_many_and_the_empty_ones_are_left_out() {
    check("---\na: 1\n---\n# nothing\n---\n- 2\n...\n", "{\"a\":1}\n[2]");
    check("", "");
    check("\u{feff}{\"a\":[1,{\"b\":[]}],\"c\":{}}", r#"{"a":[1,{"b":[]}],"c":{}}"#);
}

#[test]
fn problems_are_all_named_with_place_path_and_hint() {
    check(
        "a: 1\nb:\n  c: 2\n  c: 3\na: &x 4\nd: !!str 5\n",
        "4:3: error: b.c: the key is given twice, first on line 3 (keep one of the two)\n\
         5:1: error: a: the key is given twice, first on line 1 (keep one of the two)\n\
         5:4: error: a: anchors are not read (remove the &name and write the value out where it is needed)\n\
         6:4: error: d: tags are not read (remove the tag; quote the value to make it text)",
    );
    check(
        "a: &x 1\nb: [0, *x]\n<<: {c: 1}\n",
        "1:4: error: a: anchors are not read (remove the &name and write the value out where it is needed)\n\
         2:8: error: b[1]: aliases are not read (write the value out)\n\
         3:1: error: merge keys are not read (write the merged keys out)",
    );
    check(
        "? [a, b]\n: 1\n? {c: d}\n: 2\n: 3\n",
        "1:3: error: a key that is not text (use plain text as the key)\n\
         3:3: error: a key that is not text (use plain text as the key)\n\
         5:1: error: a key without text (give the key a name)",
    );
}

#[test]
fn duplicates_are_found_in_large_mappings_too() {
    let mut text: String = (0..100).map(|index| format!("k{index}: 0\n")).collect();
    text.push_str("k50: 1\nk99: 1\n");
    check(
        &text,
        "101:1: error: k50: the key is given twice, first on line 51 (keep one of the two)\n\
         102:1: error: k99: the key is given twice, first on line 100 (keep one of the two)",
    );
}

#[test]
fn broken_text_is_one_problem_at_its_place() {
    let problems = parse("a:\n  b: [1, 2\nc: 3\n").unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].place.line, problems[0].severity), (3, Severity::Error));
    assert!(problems[0].message.starts_with("not YAML: "));
    check("a: 1\0\nb: 2", "1:5: error: a control character (remove it, or write it as an escape in double quotes)");
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX)).is_ok());
    let problems = parse(&nested(DEPTH_MAX + 1)).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "nested deeper than 64 levels");
    let block: String = (0..300).map(|depth| format!("{}k:\n", " ".repeat(depth))).collect();
    assert_eq!(parse(&block).unwrap_err()[0].message, "nested deeper than 64 levels");
    let many = format!("[{}]", "0,".repeat(NODES_MAX + 1));
    assert_eq!(parse(&many).unwrap_err()[0].message, "more than 2000000 values");
}

#[test]
fn canonical_json_reads_back_to_itself() {
    for text in ["a: [1, two, {c: ~}]\nb: 'x'", "[true, \"true\", 1e-9, \"\\u0000\", -3]", "{}"] {
        let once = read(text);
        check(&once, &once);
    }
}

#[test]
fn helpers_read_what_is_there() {
    let node = parse("a: {b: [x, 'true', true, 1]}\nn:").unwrap().remove(0);
    let list = node.get("a").and_then(|a| a.get("b")).and_then(Node::as_list).unwrap();
    assert_eq!(list.iter().map(Node::kind_name).collect::<Vec<_>>(), ["text", "text", "true or false", "a number"]);
    assert_eq!(list.iter().map(|node| node.as_bool()).collect::<Vec<_>>(), [None, None, Some(true), None]);
    assert_eq!(list[1].text(), Some("true"));
    assert!(node.get("n").unwrap().is_null());
    assert!(node.get("zzz").is_none());
    assert_eq!(node.as_map().unwrap()[0].0.place, Place { line: 1, column: 1 });
}

#[test]
fn the_nearest_word_is_suggested_only_if_near() {
    let words = ["rates", "adjust", "match", "provider"];
    for (word, expected) in [
        ("rate", Some("rates")),
        ("raets", Some("rates")),
        ("Provider", Some("provider")),
        ("adjusts", Some("adjust")),
        ("xyz", None),
        ("", None),
    ] {
        assert_eq!(nearest(word, words), expected, "{word}");
    }
    assert_eq!(nearest("a", []), None);
}
