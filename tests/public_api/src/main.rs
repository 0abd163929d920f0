//! Writes the public items of the library to `docs/public-api.txt`, so that a change of them shows in a diff:
//!
//! ```sh
//! cargo run -p public-api
//! ```
//!
//! The text comes from the pages that rustdoc writes, because its JSON needs a nightly compiler. For each item
//! there is its declaration, its methods, and the traits that it implements. Auto traits and blanket
//! implementations are left out. Another version of rustdoc may write a declaration in another way.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

fn main() -> io::Result<()> {
    fs::write(root().join(FILE), api()?)
}

const FILE: &str = "docs/public-api.txt";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns a line for each public item and for each part of it.
fn api() -> io::Result<String> {
    let pages = document()?;
    let mut items = BTreeMap::new();
    let all = fs::read_to_string(pages.join("all.html"))?;
    for page in all
        .split("href=\"")
        .filter_map(|rest| rest.split('"').next())
    {
        // Such as `key_rotation/struct.KeyPool.html`.
        let Some(name) = page.strip_suffix(".html").filter(|_| !page.contains("..")) else {
            continue;
        };
        let (module, name) = name.rsplit_once('/').unwrap_or(("", name));
        if let Some((_, name)) = name.split_once('.') {
            let path = format!("{module}/{name}");
            let path = path.trim_start_matches('/').replace('/', "::");
            items.insert(path, of_item(&fs::read_to_string(pages.join(page))?));
        }
    }
    let index = fs::read_to_string(pages.join("index.html"))?;
    let exports = between(&index, "<dt id=\"reexport.", "</dt>");
    let exports = exports.filter_map(|text| text.split_once('>').map(|(_, text)| plain(text)));
    let mut lines: Vec<_> = exports.collect();
    for (path, parts) in items {
        lines.push(format!("\n{path}"));
        lines.extend(parts.into_iter().map(|part| format!("    {part}")));
    }
    Ok(lines.join("\n") + "\n")
}

/// Runs rustdoc, and returns the folder of its pages.
fn document() -> io::Result<PathBuf> {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let status = Command::new(env!("CARGO"))
        .args([
            "doc",
            "--package",
            "tower-429",
            "--no-deps",
            "--all-features",
        ])
        .args(["--offline", "--quiet", "--target-dir"])
        .arg(&target)
        .current_dir(root())
        .status()?;
    match status.success() {
        true => Ok(target.join("doc/tower_429")),
        false => Err(io::Error::other("rustdoc failed")),
    }
}

/// Returns the declaration of an item, its methods, and the traits that it implements.
fn of_item(page: &str) -> Vec<String> {
    let page = page.split("id=\"synthetic-implementations\"").next();
    let page = page.unwrap_or_default();
    let (own, traits) = page
        .split_once("id=\"trait-implementations\"")
        .unwrap_or((page, ""));
    let mut parts: Vec<_> = between(own, "<pre class=\"rust item-decl\">", "</pre>")
        .map(plain)
        .collect();
    // The variants of an enum have headers too, and are in its declaration.
    let (_, own) = own.split_once("id=\"implementations\"").unwrap_or_default();
    for header in between(own, "class=\"code-header\">", "</section>") {
        let header = header.split("</h").next().unwrap_or_default();
        parts.push(plain(header));
    }
    let mut traits: Vec<_> = between(traits, "<h3 class=\"code-header\">", "</h3>")
        .map(plain)
        // Part of each derived `PartialEq`.
        .filter(|header| !header.contains(" StructuralPartialEq "))
        .collect();
    traits.sort_unstable();
    parts.extend(traits);
    parts
}

/// Returns each text between `start` and the next `end`.
fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = text.split(start).skip(1);
    parts.filter_map(move |rest| rest.split(end).next())
}

/// Returns the text of HTML on one line, without collapsed parts.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut is_hidden = false;
    for part in html.split('<') {
        let (tag, after) = part.split_once('>').unwrap_or(("", part));
        match tag.split(' ').next() {
            Some("summary") => is_hidden = true,
            Some("/summary") => is_hidden = false,
            Some("div" | "/div" | "br") => text.push(' '),
            _ => {}
        }
        if !is_hidden {
            text.push_str(after);
        }
    }
    for (entity, letter) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, letter);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn file_has_the_public_items() {
    let (file, api) = (fs::read_to_string(root().join(FILE)), api());
    let (file, api) = (file.unwrap(), api.unwrap());
    assert!(api.lines().count() > 500, "the pages are read");
    let (before, now): (Vec<_>, Vec<_>) = (file.lines().collect(), api.lines().collect());
    let gone = before.iter().filter(|line| !now.contains(line));
    let gone = gone.map(|line| format!("- {line}"));
    let new = now.iter().filter(|line| !before.contains(line));
    let changes: Vec<_> = gone.chain(new.map(|line| format!("+ {line}"))).collect();
    assert!(
        file == api,
        "`cargo run -p public-api` renews {FILE}:\n{}",
        changes.join("\n")
    );
}
