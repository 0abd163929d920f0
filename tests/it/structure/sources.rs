//! The files of `src`, and what their `use` lines import.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

pub(crate) struct Source {
    /// The path below `src`.
    pub(crate) path: String,
    /// The module's path below the crate.
    module: Vec<String>,
    /// The code up to the unit tests, without comments.
    pub(crate) text: String,
    /// Paths below the crate that private `use` lines name.
    pub(crate) imports: Vec<Vec<String>>,
    /// What public `use` lines re-export, as paths below the crate.
    exports: Vec<Vec<String>>,
}

/// Reads all files of `src` but those of unit tests.
pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources: Vec<_> = files(&root)
        .iter()
        .filter_map(|path| {
            let below = path.strip_prefix(&root).expect("a file of src").to_str()?;
            let text = fs::read_to_string(path).expect("a readable file");
            (!below.contains("tests")).then(|| Source::new(below, &text))
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 50, "the sources are found");
    sources
}

/// Reads the code and the documents, each with its path.
pub(crate) fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "examples", "benches", "fuzz/targets", "redis"];
    let folders = folders.map(|folder| root.join(folder));
    let documents = ["README.md", "DESIGN.md", "CHANGELOG.md"].map(|name| root.join(name));
    let all = folders
        .iter()
        .flat_map(|folder| files(folder))
        .chain(documents);
    let is_text = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| end == "rs" || end == "md")
    };
    all.filter(is_text)
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a readable file");
            (path.display().to_string(), text)
        })
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

// === impl Source ===

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let text: String = lines.flat_map(|line| [line, "\n"]).collect();
        let module = path.trim_end_matches(".rs").split('/');
        let module = module.filter(|name| !matches!(*name, "mod" | "lib"));
        let mut source = Self {
            path: path.to_owned(),
            module: module.map(str::to_owned).collect(),
            imports: Vec::new(),
            exports: Vec::new(),
            text: String::new(),
        };
        for statement in text.split_inclusive(';') {
            let Some((before, tree)) = statement.rsplit_once("use ") else {
                continue;
            };
            let is_statement = before.ends_with(['\n', ' ', ')']) || before.is_empty();
            if !is_statement {
                continue;
            }
            let paths = flatten(&[], tree.trim_end_matches(';'));
            let paths = paths
                .into_iter()
                .filter_map(|path| source.resolve(path))
                .collect::<Vec<_>>();
            match before.trim_end().ends_with(')') || before.trim_end().ends_with("pub") {
                true => source.exports.extend(paths),
                false => source.imports.extend(paths),
            }
        }
        source.text = text;
        source
    }

    /// Returns how many lines of code the file has.
    pub(crate) fn lines(&self) -> usize {
        let lines = self.text.lines();
        lines.filter(|line| !line.trim().is_empty()).count()
    }

    /// Returns the first name of the module's path.
    pub(crate) fn room(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// Returns the path below the crate, unless it leads out of it.
    fn resolve(&self, path: Vec<String>) -> Option<Vec<String>> {
        let mut base = match &*path[0] {
            "crate" => return Some(path[1..].to_vec()),
            "self" | "super" => self.module.clone(),
            // A child of this module has no prefix.
            _ => return Some([&*self.module, &*path].concat()),
        };
        let mut rest = &path[..];
        while let [first, others @ ..] = rest {
            match &**first {
                "super" => drop(base.pop()),
                "self" => {}
                _ => break,
            }
            rest = others;
        }
        Some([&*base, rest].concat())
    }

    /// Returns the files in which the imported items are.
    pub(crate) fn imported_files<'a>(&self, sources: &'a [Self]) -> BTreeSet<&'a str> {
        let files = self
            .imports
            .iter()
            .filter_map(|import| file_of(import, sources));
        files.filter(|path| *path != self.path).collect()
    }

    /// Returns the names of the types and traits that the file defines.
    pub(crate) fn types(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter_map(|line| {
            let words = line.trim_start().split(' ');
            let mut words = words.skip_while(|word| word.starts_with("pub"));
            let is_type = matches!(words.next()?, "struct" | "enum" | "trait");
            let name = words.next().filter(|_| is_type)?;
            name.split(['(', '<', ':', ';', '{']).next()
        })
    }

    /// Returns each function's name, and how many lines its code takes.
    pub(crate) fn functions(&self) -> Vec<(String, usize)> {
        let lines: Vec<_> = self
            .text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let mut functions = Vec::new();
        for (first, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let indent = &line[..line.len() - code.len()];
            let Some((qualifiers, rest)) = code.split_once("fn ") else {
                continue;
            };
            let is_function = qualifiers.split(' ').all(|word| {
                word.is_empty() || word.starts_with("pub") || matches!(word, "const" | "async")
            });
            // A function ends in the first line that is indented as it is and closes it.
            let last = lines[first..].iter().position(|line| {
                let code = line.strip_prefix(indent);
                code.is_some_and(|code| !code.starts_with(' ') && code.ends_with(['}', ';']))
            });
            if let (true, Some(last)) = (is_function, last) {
                let name = rest.split(['(', '<']).next().unwrap_or_default();
                functions.push((format!("{}: {name}", self.path), last + 1));
            }
        }
        functions
    }
}

/// Returns the file that defines an item, which the modules on the way may re-export.
fn file_of<'a>(item: &[String], sources: &'a [Source]) -> Option<&'a str> {
    let mut item = item.to_vec();
    // No chain of re-exports is longer.
    for _ in 0..8 {
        let lengths = (0..=item.len()).rev();
        let source = lengths
            .filter_map(|length| {
                sources
                    .iter()
                    .find(|source| source.module == item[..length])
            })
            .next()?;
        let rest = &item[source.module.len()..];
        let exported = rest.first().and_then(|name| {
            let mut exports = source.exports.iter();
            exports.find(|export| export.last() == Some(name) && export.len() > 1)
        });
        match exported {
            Some(export) if *export != item => item = [&**export, &rest[1..]].concat(),
            _ if source.module.is_empty() => return None,
            _ => return Some(&source.path),
        }
    }
    None
}

/// Returns the paths of a `use` tree.
fn flatten(prefix: &[String], tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    // What follows the last comma of a group.
    if tree.is_empty() {
        return Vec::new();
    }
    let Some((head, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let names = path.split("::").map(|name| name.trim().to_owned());
        let names = names.filter(|name| !name.is_empty());
        let mut path = prefix.to_vec();
        path.extend(names);
        let is_self = path.len() > 1 && path.last().is_some_and(|name| name == "self");
        if is_self {
            path.pop();
        }
        return if path.is_empty() {
            Vec::new()
        } else {
            vec![path]
        };
    };
    let head = head.split("::").map(|name| name.trim().to_owned());
    let prefix: Vec<_> = prefix
        .iter()
        .cloned()
        .chain(head.filter(|name| !name.is_empty()))
        .collect();
    let group = group.trim_end().trim_end_matches('}');
    let mut depth = 0_i32;
    let is_end = |letter: char| {
        depth += match letter {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        letter == ',' && depth == 0
    };
    group
        .split(is_end)
        .flat_map(|tree| flatten(&prefix, tree))
        .collect()
}
