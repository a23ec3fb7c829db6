//! Writes the tables of a genai-prices data.json into a directory, one file a provider; prints what they leave out.
//! Usage: `seed DATA_JSON SOURCE_VERSION TABLE_VERSION DIRECTORY [PROVIDER…]`; without providers, every table.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use pricing::import::genai_prices::{Options, convert};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, source_version, table_version, directory, wanted @ ..] = arguments.as_slice() else {
        return Err("usage: seed DATA_JSON SOURCE_VERSION TABLE_VERSION DIRECTORY [PROVIDER…]".into());
    };
    let options = Options { source_version: source_version.clone(), table_version: table_version.clone() };
    let is_wanted = |provider: &String| wanted.is_empty() || wanted.contains(provider);
    let import = convert(&std::fs::read_to_string(file)?, &options)?;
    for (provider, text) in import.tables.iter().filter(|(provider, _)| is_wanted(provider)) {
        std::fs::write(Path::new(directory).join(format!("{provider}.yaml")), text)?;
    }
    for left in import.left_out.iter().filter(|left| is_wanted(&left.provider)) {
        let model = left.model.as_deref().unwrap_or("*");
        println!("{}\t{model}\t{}\t{}", left.provider, left.what, left.why);
    }
    Ok(())
}
