//! The compiler's messages for the mistakes in `tests/compile_errors`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const FOLDER: &str = "tests/compile_errors/src";

/// Checks the package without the network. Returns the compiler's messages for each file.
fn messages() -> BTreeMap<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "rustc",
            "--package",
            "compile-errors",
            "--lib",
            "--profile",
            "check",
        ])
        .args(["--offline", "--message-format", "json", "--target-dir"])
        .arg(target)
        .args(["--", "--cfg", "mistakes"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let mut messages = BTreeMap::<_, String>::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let file = line["message"]["spans"]
            .as_array()
            .and_then(|spans| spans.iter().find(|span| span["is_primary"] == true))
            .and_then(|span| span["file_name"].as_str());
        if let (Some(file), Some(rendered)) = (file, line["message"]["rendered"].as_str()) {
            messages.entry(file.into()).or_default().push_str(rendered);
        }
    }
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!messages.is_empty(), "{error}");
    messages
}

/// Returns each file with the text that the compiler must print.
fn mistakes() -> BTreeMap<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let names = paths.map(|entry| entry.file_name());
    names
        .filter(|name| name != "lib.rs")
        .map(|name| {
            let path = Path::new(FOLDER).join(name);
            let text = fs::read_to_string(&path).unwrap();
            let first = text.lines().next().unwrap();
            (path, first.strip_prefix("//! ").unwrap().to_owned())
        })
        .collect()
}

#[test]
fn compiler_explains_how_to_fix_each_mistake() {
    let (mistakes, messages) = (mistakes(), messages());
    let named: BTreeSet<_> = messages.keys().collect();
    assert_eq!(named, mistakes.keys().collect(), "{messages:#?}");
    for (path, expected) in &mistakes {
        // A long type is truncated, and a long line is not.
        let message = &messages[path];
        assert!(message.contains(expected), "{}:\n{message}", path.display());
    }
}
