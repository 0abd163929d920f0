//! The README is also the crate's page, where no file lies beside it.

const README: &str = include_str!("../../README.md");
const LIB: &str = include_str!("../../src/lib.rs");

/// Lines that are no code.
fn prose() -> impl Iterator<Item = &'static str> {
    let mut is_code = false;
    README.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

#[test]
fn no_link_of_the_readme_depends_on_where_it_is_shown() {
    for line in prose() {
        for (before, link) in line.match_indices("](").map(|(at, _)| line.split_at(at)) {
            let target = link[2..].split(')').next().unwrap();
            let is_picture = before
                .rfind('[')
                .is_some_and(|at| before[..at].ends_with('!'));
            // On the crate's page these are left out.
            let is_known = is_picture && target.starts_with("docs/");
            let is_anywhere = target.starts_with("https://") || target.starts_with('#');
            assert!(is_known || is_anywhere, "{line}");
        }
    }
}

#[test]
fn what_the_readme_defines_by_path_the_crates_page_defines_before_it() {
    let (before, _) = LIB.split_once("include_str!(\"../README.md\")").unwrap();
    let mut defined = 0;
    for line in prose().filter(|line| line.starts_with('[')) {
        let Some((name, path)) = line.split_once("]: ") else {
            continue;
        };
        let at = "https://docs.rs/crate/tower-429/latest/source";
        let definition = format!("#![doc = \"{name}]: {at}/{path}\"]");
        assert!(before.contains(&definition), "{definition}");
        assert!(std::path::Path::new(path).exists(), "{path}");
        defined += 1;
    }
    assert_eq!(defined, 3);
}
