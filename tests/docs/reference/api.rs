//! `api.md`: every operation with its bodies, parameters and statuses, from the API's own description.

use serde_json::Value;

use super::{code, compare, page, table};

const INTRO: &str = "\
Every path of the API listener (default `127.0.0.1:7460`), as `GET /openapi.json` describes it. `/healthz` and `/readyz` are on the
metrics listener (default `127.0.0.1:9460`) too, beside `/metrics`.

Amounts of money in JSON are decimal strings; joch resources write numbers, the shortest exact decimal. Times are RFC 3339.
Request bodies may have `content-encoding: gzip`. [Sending usage](../guides/send-usage.md) and [budgets](../guides/budgets.md)
show the bodies at work.";

const ERRORS: &str = "\
Every refusal is an RFC 9457 problem, `application/problem+json`:";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Content types of a `content` object.
fn types(content: &Value) -> String {
    let types = content.as_object().map(|types| types.keys().map(|name| code(name)).collect::<Vec<_>>());
    types.unwrap_or_default().join(", ")
}

fn operation(method: &str, path: &str, operation: &Value) -> String {
    let mut out = format!("## {} {path}\n\n{}\n\n", method.to_uppercase(), text(operation, "summary"));
    let taken = types(&operation["requestBody"]["content"]);
    if !taken.is_empty() {
        out.push_str(&format!("Body: {taken}.\n\n"));
    }
    let roles = operation["x-roles"].as_array().cloned().unwrap_or_default();
    let roles: Vec<String> = roles.iter().filter_map(Value::as_str).map(code).collect();
    let who = if roles.is_empty() { "everybody".to_owned() } else { format!("{} or `admin`", roles.join(", ")) };
    out.push_str(&format!("For: {}.\n\n", who.replace("`admin` or `admin`", "`admin`")));
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let query: Vec<&Value> = parameters.iter().filter(|parameter| parameter["in"] == "query").collect();
    if !query.is_empty() {
        let rows = query.into_iter().map(|one| vec![code(text(one, "name")), text(one, "description").to_owned()]);
        out.push_str(&format!("{}\n", table(&["query", "meaning"], rows)));
    }
    let responses = operation["responses"].as_object().expect("an operation has responses");
    let rows = responses.iter().map(|(status, response)| {
        vec![status.clone(), text(response, "description").to_owned(), types(&response["content"])]
    });
    out.push_str(&format!("{}\n", table(&["status", "meaning", "body"], rows)));
    out
}

fn problem(document: &Value) -> String {
    let schema = &document["components"]["schemas"]["Problem"];
    let required: Vec<&str> = schema["required"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let members = schema["properties"].as_object().expect("members");
    let rows = members.iter().map(|(name, member)| {
        let always = if required.contains(&name.as_str()) { "always" } else { "where there is one" };
        vec![code(name), text(member, "type").to_owned(), always.to_owned(), text(member, "description").to_owned()]
    });
    format!("## Errors\n\n{ERRORS}\n\n{}\n", table(&["member", "type", "there", "meaning"], rows))
}

#[test]
fn api_page_is_fresh() {
    let document = meterd::api::openapi_document();
    let paths = document["paths"].as_object().expect("paths");
    let mut body = String::new();
    for (path, operations) in paths {
        for (method, described) in operations.as_object().expect("operations") {
            body.push_str(&operation(method, path, described));
        }
    }
    body.push_str(&problem(&document));
    compare("api.md", &page("API", INTRO, &body));
}
