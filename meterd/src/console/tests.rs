//! The console's files: small enough, complete, and nothing in them that the policy forbids or that asks elsewhere.

use std::fs;
use std::path::Path;

use super::{POLICY, asset, assets, runbook};

const TRANSFER_BYTES_MAX: usize = 100_000;

#[test]
fn the_whole_console_is_small() {
    let bytes: usize = assets().iter().map(|asset| asset.gzip.len()).sum();
    assert!(assets().iter().all(|asset| !asset.gzip.is_empty() && asset.gzip.len() < asset.plain.len()));
    assert!(bytes < TRANSFER_BYTES_MAX, "{bytes} bytes compressed");
}

#[test]
fn every_file_that_is_named_is_there_and_nothing_comes_from_elsewhere() {
    for asset in assets() {
        let text = std::str::from_utf8(asset.plain).unwrap();
        for elsewhere in ["http://", "https://", "//cdn", "@import", "eval(", "innerHTML", "style=", "onclick=\""] {
            let found =
                text.lines().find(|line| line.contains(elsewhere) && !line.contains("http://www.w3.org/2000/svg"));
            assert_eq!(found, None, "{}: {elsewhere}", asset.name);
        }
        for part in text.split(['"', '\'']) {
            let file = part.strip_prefix("/console/").or_else(|| part.strip_prefix("./"));
            if let Some(file) = file.filter(|file| file.ends_with(".js") || file.ends_with(".css")) {
                assert!(super::asset(file).is_some(), "{} names {file}", asset.name);
            }
        }
    }
    assert!(asset("nothing.js").is_none());
    assert!(POLICY.starts_with("default-src 'none'") && !POLICY.contains("unsafe"));
}

#[test]
fn every_runbook_is_a_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runbooks");
    let files = fs::read_dir(folder).unwrap().flatten().count();
    assert_eq!(runbook::RUNBOOKS.len(), files, "docs/runbooks and the embedded list differ");
    let page = runbook::page("MeterdDown").unwrap();
    assert!(page.contains("<h1>MeterdDown</h1>") && page.contains("<h2>Mitigation</h2>"), "{page}");
    assert!(page.contains("<code>systemctl status meterd</code>"), "{page}");
    for (name, _) in runbook::RUNBOOKS {
        let page = runbook::page(name).unwrap();
        assert_eq!(page.matches("<ul>").count(), page.matches("</ul>").count(), "{name}");
        assert_eq!(page.matches("<h2>").count(), 4, "{name}");
    }
    assert_eq!(runbook::page("../../Cargo"), None);
}
