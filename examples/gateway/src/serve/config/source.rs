//! Reads the settings and their lines from the text of a file.

use std::{collections::BTreeMap, fmt, fs, ops::Range, path::Path};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use super::{Config, ConfigError, Mistake, Mistakes, rules};

/// The lines of a file's settings, by path: `upstream.0.routes.1`.
#[derive(Clone, Default)]
pub(crate) struct Places {
    file: String,
    lines: BTreeMap<String, usize>,
    /// The paths of settings that were not understood. No further mistakes of them are reported.
    unread: Vec<String>,
}

// === impl Places ===

impl Places {
    fn new(file: &str, table: &DeTable<'_>, text: &str) -> Self {
        let mut places = Self {
            file: file.into(),
            ..Self::default()
        };
        places.add_table("", table, text);
        places
    }

    fn add_table(&mut self, path: &str, table: &DeTable<'_>, text: &str) {
        for (key, value) in table {
            let path = join(path, key.get_ref());
            // The line of a setting is that of its name.
            self.lines
                .insert(path.clone(), line(text, key.span().start));
            self.add_value(&path, value, text);
        }
    }

    fn add_value(&mut self, path: &str, value: &Spanned<DeValue<'_>>, text: &str) {
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(path, table, text),
            DeValue::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    let path = join(path, &index.to_string());
                    self.lines
                        .insert(path.clone(), line(text, value.span().start));
                    self.add_value(&path, value, text);
                }
            }
            _ => {}
        }
    }

    /// Returns whether a setting is in the file.
    pub(super) fn has(&self, path: &str) -> bool {
        self.lines.contains_key(path)
    }

    /// Returns a mistake at a path, or at the nearest setting around it. Returns `None` if the setting was not
    /// understood, because that is reported already.
    pub(crate) fn mistake(&self, path: &str, error: ConfigError) -> Option<Mistake> {
        if self.unread.iter().any(|unread| unread == path) {
            return None;
        }
        let mut around = Some(path);
        let line = loop {
            match around {
                Some(path) if self.lines.contains_key(path) => break self.lines.get(path).copied(),
                Some(path) => around = path.rsplit_once('.').map(|(around, _)| around),
                None => break None,
            }
        };
        Some(Mistake::new(&self.file, line, error))
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places(..)")
    }
}

// === impl Config ===

impl Config {
    /// Reads a file. Returns its settings, and the mistakes that can be found without its keys.
    pub(crate) fn read(path: &Path) -> Result<(Self, Vec<Mistake>), Mistakes> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            let path = path.into();
            ConfigError::CannotRead { path, error }
        })?;
        of_file(&file, &text)
    }

    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistakes> {
        let (config, mistakes) = of_file("", text)?;
        Mistakes::none_of(mistakes)?;
        Ok(config)
    }
}

fn of_file(file: &str, text: &str) -> Result<(Config, Vec<Mistake>), Mistakes> {
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // The settings are not checked, because the parser guesses after a syntax error.
        let mistakes = errors.iter().map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let error = ConfigError::syntax(error.message());
            Mistake::new(file, Some(line(text, at)), error)
        });
        return Err(Mistakes::one_per_line(mistakes));
    }
    let mut places = Places::new(file, table.get_ref(), text);
    let mut mistakes = Vec::new();
    let config = loop {
        let deserializer = Deserializer::from(table.clone());
        let error = match Config::deserialize(deserializer) {
            Ok(config) => break config,
            Err(error) => error,
        };
        // Without this setting, the next round finds the next mistake.
        let removed = error.span().and_then(|span| remove(table.get_mut(), &span));
        let Some(path) = removed else {
            let error = ConfigError::setting(None, error.message());
            mistakes.push(Mistake::new(file, None, error));
            return Err(Mistakes::from(mistakes));
        };
        // A setting that only lacks the removed part is not reported.
        if !places.unread.iter().any(|unread| is_inside(unread, &path)) {
            let error = ConfigError::setting(Some(name(&path)), error.message());
            mistakes.extend(places.mistake(&path, error));
        }
        places.unread.push(path);
    };
    let config = Config { places, ..config };
    mistakes.extend(rules::check(&config));
    Ok((config, mistakes))
}

/// Removes the innermost setting that an error is about, and returns its path.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    // The span of a table is that of its header, so its contents are searched first.
    for (key, value) in table.iter_mut() {
        if let Some(inner) = remove_inside(value.get_mut(), span) {
            return Some(join(key.get_ref(), &inner));
        }
    }
    let contains = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let mut entries = table.iter();
    let (key, _) = entries.find(|(key, value)| contains(key.span()) || contains(value.span()))?;
    let name = key.get_ref().to_string();
    table.remove(name.as_str());
    Some(name)
}

fn remove_inside(value: &mut DeValue<'_>, span: &Range<usize>) -> Option<String> {
    match value {
        DeValue::Table(table) => remove(table, span),
        // No element is removed, because the paths of the following ones would change.
        DeValue::Array(values) => values.iter_mut().enumerate().find_map(|(index, value)| {
            let inner = match value.get_mut() {
                DeValue::Table(table) => remove(table, span)?,
                _ => return None,
            };
            Some(join(&index.to_string(), &inner))
        }),
        _ => None,
    }
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.into(),
        path => format!("{path}.{name}"),
    }
}

/// Returns the name of the setting at a path, without the parts of its value.
fn name(path: &str) -> &str {
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = path.rsplit('.');
    let last = parts.next().unwrap_or_default();
    let around: Vec<&str> = parts.take_while(|part| !is_number(part)).collect();
    // Outside of a list, the parts around the last one are tables such as `mock`.
    let is_in_list = around.len() + 1 < path.split('.').count();
    match around.last() {
        Some(outermost) if is_in_list => outermost,
        _ => last,
    }
}

fn is_inside(path: &str, outer: &str) -> bool {
    let rest = path.strip_prefix(outer);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// Returns the number of the line at an offset.
fn line(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or_default();
    before.matches('\n').count() + 1
}
