//! `public-api-listing FILE`: the public interface that rustdoc's JSON in FILE describes, an item a line, sorted. What every type has
//! (blanket and auto trait implementations) is left out, and so are the methods of derived traits, but not that they are derived: losing
//! one breaks callers.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::io::{self, Write as _};

use public_api::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("usage: public-api-listing FILE")?;
    let written: BTreeSet<String> = listing(&file, true)?.into_iter().collect();
    let mut out = io::stdout().lock();
    for item in listing(&file, false)? {
        if item.starts_with("impl") || written.contains(&item) {
            writeln!(out, "{item}")?;
        }
    }
    Ok(())
}

fn listing(file: &OsStr, without_derived: bool) -> Result<Vec<String>, Box<dyn Error>> {
    let listing = Builder::from_rustdoc_json(file)
        .sorted(true)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(without_derived)
        .build()?;
    Ok(listing.items().map(ToString::to_string).collect())
}
