//! The sources keep the structure that DESIGN.md describes.

mod sources;

use std::collections::{BTreeMap, BTreeSet};

use self::sources::{Source, sources, texts};

/// The longest function, in lines of code.
const LONGEST_FUNCTION: usize = 60;

/// The floors, the lowest first. A room imports from lower floors and from itself.
const FLOORS: &[&[&str]] = &[
    &["clock", "jitter"],
    &["serialize"],
    &["request"],
    &["rejection", "replay"],
    &["share"],
    &["call", "quota"],
    &["telemetry"],
    &["retry"],
    &["backoff", "key_rotation", "fallback", "inspect"],
];

/// Public names that were replaced by terms of the field.
const REPLACED: &[&str] = &[
    "AsReqwest",
    "Cures",
    "Dialect",
    "Refusal",
    "ServiceBuilderExt",
    "TryAnyway",
    "cools_for",
    "patience",
    "respond_when_exhausted",
];

/// Names that conventions require: tower's for the future of a service, and Rust's for a sealed trait.
const CONVENTIONAL: &[&str] = &["ResponseFuture", "Sealed"];

#[test]
fn imports_point_to_lower_floors() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = floor(source.room()) else {
            continue;
        };
        for import in &source.imports {
            let room = import.first().map_or("", String::as_str);
            if room != source.room() && floor(room).is_some_and(|its| its >= own) {
                wrong.push(format!("{} imports {}", source.path, import.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_two_files_import_each_other_in_a_circle() {
    let sources = sources();
    let graph: BTreeMap<_, _> = sources
        .iter()
        .map(|source| (&*source.path, source.imported_files(&sources)))
        .collect();
    let mut circles = BTreeSet::new();
    for start in graph.keys() {
        if let Some(circle) = circle_from(start, &graph) {
            circles.insert(circle);
        }
    }
    let circles: Vec<_> = circles.iter().map(|circle| circle.join(" -> ")).collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn files_are_short() {
    let mut lengths: Vec<_> = sources().iter().map(Source::lines).collect();
    lengths.sort_unstable();
    let (median, ninth_of_ten) = (lengths[lengths.len() / 2], lengths[lengths.len() * 9 / 10]);
    assert!(median < 100, "the median is {median} lines");
    assert!(
        ninth_of_ten < 250,
        "one in ten has {ninth_of_ten} lines or more"
    );
}

#[test]
fn no_function_is_long() {
    let sources = sources();
    let functions = sources.iter().flat_map(Source::functions);
    let long = functions.filter(|(_, lines)| *lines > LONGEST_FUNCTION);
    let long: Vec<_> = long
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn no_two_types_share_a_name() {
    let sources = sources();
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for source in &sources {
        for name in source.types() {
            owners.entry(name).or_default().push(&source.path);
        }
    }
    let shared = owners
        .iter()
        .filter(|(name, paths)| paths.len() > 1 && !CONVENTIONAL.contains(*name));
    let shared: Vec<_> = shared
        .map(|(name, paths)| format!("{name}: {}", paths.join(", ")))
        .collect();
    assert!(shared.is_empty(), "{}", shared.join("\n"));
}

#[test]
fn replaced_names_are_gone() {
    let mut found = Vec::new();
    for (path, text) in texts() {
        let has_name = |name: &&&str| words(&text).any(|word| word == **name);
        let names = REPLACED.iter().filter(has_name);
        found.extend(names.map(|name| format!("{path}: {name}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Returns the shortest circle of imports through a file, beginning with its least name.
fn circle_from<'a>(
    start: &'a str,
    graph: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> Option<Vec<&'a str>> {
    let mut paths = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in &paths {
            for next in graph.get(path.last()?).into_iter().flatten() {
                if *next == start {
                    let least = path.iter().enumerate().min_by_key(|(_, name)| **name)?.0;
                    let mut circle = path.clone();
                    circle.rotate_left(least);
                    return Some(circle);
                }
                if seen.insert(*next) {
                    longer.push([&**path, &[*next]].concat());
                }
            }
        }
        paths = longer;
    }
    None
}
