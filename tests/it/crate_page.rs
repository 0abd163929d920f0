//! The README is also the crate's page, where relative links to files do not work.

use std::{collections::BTreeSet, path::Path, process::Command};

const README: &str = include_str!("../../README.md");
const LIB: &str = include_str!("../../src/lib.rs");

/// Returns the files of the crate's package, as cargo lists them.
fn packaged() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--package", "tower-429", "--list"])
        .args(["--allow-dirty", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let files = String::from_utf8(output.stdout).unwrap();
    files.lines().map(str::to_owned).collect()
}

/// Returns the lines outside code blocks.
fn prose() -> impl Iterator<Item = &'static str> {
    let mut is_code = false;
    README.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

#[test]
fn readme_links_work_wherever_it_is_shown() {
    for line in prose() {
        for (before, link) in line.match_indices("](").map(|(at, _)| line.split_at(at)) {
            let target = link[2..].split(')').next().unwrap();
            let is_picture = before
                .rfind('[')
                .is_some_and(|at| before[..at].ends_with('!'));
            // The crate's page leaves pictures out.
            let is_known = is_picture && target.starts_with("docs/");
            let is_anywhere = target.starts_with("https://") || target.starts_with('#');
            assert!(is_known || is_anywhere, "{line}");
        }
    }
}

#[test]
fn crates_page_redefines_the_links_that_the_readme_defines_by_path() {
    let (before, _) = LIB.split_once("include_str!(\"../README.md\")").unwrap();
    let packaged = packaged();
    let mut defined = 0;
    for line in prose().filter(|line| line.starts_with('[')) {
        let Some((name, path)) = line.split_once("]: ") else {
            continue;
        };
        assert!(Path::new(path).exists(), "{path}");
        let definition = format!("#![doc = \"{name}]: ");
        let (_, rest) = before.split_once(&definition).expect(&definition);
        let target = rest.split('"').next().unwrap();
        match target.strip_prefix("https://docs.rs/crate/tower-429/latest/source/") {
            Some(file) => assert!(packaged.contains(file), "{file}"),
            // A path in `src` stands for the module or item that the file documents.
            None => assert!(
                path.starts_with("src/") && target.starts_with("crate::"),
                "{line}"
            ),
        }
        defined += 1;
    }
    assert!(defined > 10);
}

#[test]
fn package_has_the_sources_and_the_linked_files_and_no_tests() {
    let packaged = packaged();
    for file in [
        "src/lib.rs",
        "docs/demo.svg",
        "docs/simulation.svg",
        "LICENSE-MIT",
    ] {
        assert!(packaged.contains(file), "{file}");
    }
    let is_left_out = |file: &&String| {
        let folders = [
            "tests/",
            "fuzz/",
            "benches/",
            "proptest-regressions/",
            ".ci/",
        ];
        folders.iter().any(|folder| file.starts_with(folder)) && *file != "benches/README.md"
            || file.ends_with(".png")
    };
    let left_out: Vec<_> = packaged.iter().filter(is_left_out).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}

#[test]
fn readme_is_short_and_hides_no_line() {
    assert!(README.lines().count() <= 220);
    assert!(README.split_whitespace().count() <= 1_600);
    let is_hidden = |line: &&str| line.trim_start() == "#" || line.starts_with("# ");
    let hidden: Vec<_> = README.lines().skip(1).filter(is_hidden).collect();
    let comments = hidden.iter().filter(|line| line.contains('=')).count();
    assert_eq!(hidden.len(), comments, "{hidden:?}");
}

#[test]
fn pictures_of_the_crates_page_are_one_html_block_each() {
    for picture in [
        include_str!("../../docs/demo.svg"),
        include_str!("../../docs/simulation.svg"),
    ] {
        // A blank line would end the block, and a background would hide a dark page.
        assert!(picture.starts_with("<svg ") && !picture.contains("\n\n"));
        assert!(!picture.contains("#ffffff"));
    }
}
