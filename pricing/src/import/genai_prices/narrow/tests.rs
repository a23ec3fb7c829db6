//! Globs that a table refuses, and what stands for them.

use super::narrow;
use crate::import::draft::{Model, Pattern};

fn model(provider: &str, id: &str, glob: &str) -> Model {
    Model {
        provider: provider.to_owned(),
        id: id.to_owned(),
        patterns: vec![Pattern::Glob(glob.to_owned())],
        ..Model::default()
    }
}

fn check(models: Vec<Model>, clashes: usize, first: &[Pattern]) {
    let mut models = models;
    assert_eq!(narrow(&mut models).len(), clashes);
    assert_eq!(models[0].patterns, first);
}

fn exact(id: &str) -> Pattern {
    Pattern::Exact(id.to_owned())
}

fn prefix(prefix: &str) -> Pattern {
    Pattern::Prefix(prefix.to_owned())
}

fn glob(glob: &str) -> Pattern {
    Pattern::Glob(glob.to_owned())
}

#[test]
fn globs_without_a_rival_stay() {
    check(vec![model("p", "a", "*a*"), model("p", "bb", "*bb*")], 0, &[glob("*a*")]);
    check(vec![model("p", "a", "*ab"), model("p", "b", "*cd")], 0, &[glob("*ab")]);
}

#[test]
fn rivals_of_one_length_become_prefixes() {
    check(vec![model("p", "a", "*a*"), model("p", "b", "*b*")], 2, &[exact("a"), prefix("a")]);
    check(vec![model("p", "x", "*ab"), model("p", "y", "*c*")], 2, &[exact("ab")]);
}

#[test]
fn one_pair_of_rivals_narrows_the_whole_table() {
    let models = vec![model("p", "x", "*long-enough*"), model("p", "a", "*a*"), model("p", "b", "*b*")];
    check(models, 3, &[prefix("long-enough")]);
}

#[test]
fn the_models_own_id_still_means_it() {
    check(vec![model("p", "Big-M2", "*m2*"), model("p", "b", "*m3*")], 2, &[exact("big-m2"), prefix("m2")]);
}

#[test]
fn known_routes_are_written_out() {
    check(
        vec![model("aws", "n", "*amazon.nova-pro*"), model("aws", "b", "*amazon.nova-max*")],
        2,
        &[
            prefix("amazon.nova-pro"),
            prefix("apac.amazon.nova-pro"),
            prefix("global.amazon.nova-pro"),
            prefix("us-gov.amazon.nova-pro"),
            glob("??.amazon.nova-pro*"),
        ],
    );
    // A text that says its route gets no other; one that may stand without its maker gets both.
    check(
        vec![model("aws", "n", "*claude-x"), model("aws", "b", "*any-ids*")],
        2,
        &[
            exact("anthropic.claude-x"),
            exact("apac.anthropic.claude-x"),
            exact("apac.claude-x"),
            exact("claude-x"),
            exact("global.anthropic.claude-x"),
            exact("global.claude-x"),
            exact("us-gov.anthropic.claude-x"),
            exact("us-gov.claude-x"),
            glob("??.anthropic.claude-x"),
            glob("??.claude-x"),
        ],
    );
    check(vec![model("aws", "n", "*global.a.x*"), model("aws", "b", "*global.a.y*")], 2, &[prefix("global.a.x")]);
}
