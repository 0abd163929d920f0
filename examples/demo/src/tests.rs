//! What the demo prints and draws of runs that are made up.

use std::{fs, path::Path, time::Duration};

use mock_provider::Entry;

use crate::{
    picture::Picture,
    runs::{CALLS, MODELS, PROJECTS, Run},
    table::Table,
    target_folder,
};

/// A run with as wide numbers as there can be.
fn run(name: &'static str, allowed: usize) -> Run {
    let entry = |index: usize| Entry {
        at: Duration::from_millis(50 * index as u64),
        project: PROJECTS[index % 3].into(),
        model: MODELS[index % 2].name.into(),
        limited: index % 4 == 3,
    };
    Run {
        name,
        allowed,
        answered: CALLS,
        rejected: CALLS,
        took: Duration::from_secs(99),
        log: (0..4 * CALLS).map(entry).collect(),
    }
}

#[test]
fn the_table_is_at_most_80_columns_wide() {
    let table = Table(&[run("+ KeyRotation", 120)]).to_string();
    assert_eq!(table.lines().count(), 2);
    for line in table.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_picture_says_and_draws_what_each_run_is_allowed() {
    let runs = [run("Backoff", 40), run("+ Fallback", 720)];
    let picture = Picture::of(&runs).to_string();
    let dashed = picture
        .lines()
        .filter(|line| line.contains("stroke-dasharray"));
    // One in the legend and one beside the curve, for each run.
    let dashed: Vec<_> = dashed.collect();
    assert_eq!(dashed.len(), 4);
    for allowed in ["allowed: 40 a minute", "allowed: 720 a minute"] {
        assert!(picture.contains(allowed), "{allowed}");
    }
    // 40, 80 and so on up to 300 are eight steps, and 720 is above all at once.
    let steps = |path: &str| path.matches('V').count();
    assert_eq!((steps(dashed[3]), steps(dashed[2])), (8, 1));
}

#[test]
fn the_picture_goes_where_cargo_builds() {
    let folder = std::env::temp_dir().join(format!("tower-429-demo-{}", std::process::id()));
    let program = folder.join("some-triple/debug/demo");
    let above = folder.join("some-triple");
    assert_eq!(target_folder(&program), above);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("CACHEDIR.TAG"), "").unwrap();
    let found = target_folder(&program).to_owned();
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(found, folder);
    assert_eq!(target_folder(Path::new("demo")), Path::new("."));
}
